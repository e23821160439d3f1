"""The child process: what is asked of the user's interpreter, and what its failures mean in words."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.errors import PluginFailedError, PluginNotFoundError
from lesion_pipeline.plugins.nnunet_detector.model_folder import ModelFolder
from lesion_pipeline.plugins.nnunet_detector.options import Options

_RUNNER = Path(__file__).with_name("runner.py")
_INSTALL = (
    "Install torch and nnunetv2 into an environment and give its interpreter as plugins.nnunet.python; "
    "docs/detectors.md says how, without CUDA too."
)
#: Asks for versions only: importing torch takes seconds.
_VERSIONS = (
    "import importlib.metadata as m, json\n"
    "def v(n):\n"
    "    try: return m.version(n)\n"
    "    except m.PackageNotFoundError: return None\n"
    "print(json.dumps({n: v(n) for n in ('nnunetv2', 'torch')}))"
)

#: Refusal of the runner -> (code, sentence, advice); {} takes the detail.
_SENTENCES: Mapping[str, tuple[str, str, str]] = {
    "DEVICE_ABSENT": ("NNUNET_FAILED", "the device {} of nnunet is not on this machine", 'Set plugins.nnunet.device = "cpu".'),
    "TRAINER_ABSENT": (
        "NNUNET_TRAINER_ABSENT",
        "the model was trained with a class that the installed nnunetv2 does not have ({})",
        "Install the nnunetv2 that the model's authors give with it into the interpreter of plugins.nnunet.python.",
    ),
    "PICKLE_NOT_TRUSTED": (
        "NNUNET_PICKLE",
        "the checkpoint holds Python objects that are no weights; loading it could run code",
        "If you trust its source, set plugins.nnunet.trust_pickle = true and sha256 to the hash in its description.",
    ),
    "CHECKPOINT_UNREADABLE": ("NNUNET_FAILED", "a checkpoint cannot be read ({})", "Download the model again."),
    "WEIGHTS_DIFFER_FROM_PLANS": ("NNUNET_FAILED", "the weights do not fit the model's plans", "Download the model again."),
    "BAD_OUTPUT": ("NNUNET_FAILED", "nnU-Net answered with {}", "Check lesion_labels against the model's dataset.json."),
}


def interpreter(options: Options) -> str:
    """The interpreter that runs nnU-Net. Raises PluginNotFoundError (NNUNET_ABSENT)."""
    if not options.python:
        return sys.executable
    found = shutil.which(options.python)
    if found is None:
        raise PluginNotFoundError("NNUNET_ABSENT", "the interpreter that nnunet should run in does not exist", advice=_INSTALL)
    return found


def versions(python: str) -> Mapping[str, str]:
    """Versions of nnunetv2 and torch there. Raises PluginNotFoundError (NNUNET_ABSENT)."""
    try:
        said = subprocess.run([python, "-c", _VERSIONS], capture_output=True, check=True, timeout=60.0).stdout
        found: dict[str, str | None] = json.loads(said)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise PluginNotFoundError("NNUNET_ABSENT", "the interpreter of nnunet does not answer", advice=_INSTALL) from error
    missing = [name for name, version in found.items() if version is None]
    if missing:
        raise PluginNotFoundError("NNUNET_ABSENT", f"{' and '.join(missing)} are not installed for nnunet", advice=_INSTALL)
    return {name: str(version) for name, version in found.items()}


def probability(
    image: npt.NDArray[np.float32], spacing_mm: tuple[float, float, float], model: ModelFolder, python: str, options: Options
) -> npt.NDArray[np.float32]:
    """Probability of lesion, float32 (ni, nj, nk), for an image (channels, ni, nj, nk).

    Raises PluginNotFoundError (NNUNET_ABSENT) and PluginFailedError (NNUNET_FAILED, NNUNET_TIMEOUT, NNUNET_MEMORY,
    NNUNET_TRAINER_ABSENT, NNUNET_PICKLE).
    """
    request = {
        "model": str(model.path.resolve()),
        "folds": list(model.folds),
        "checkpoint": model.checkpoint,
        "heads": list(model.heads),
        "regions": model.regions,
        "spacing_kji": list(reversed(spacing_mm)),
        **options.model_dump(include={"device", "step", "mirroring", "threads", "memory_gb", "trust_pickle"}),
    }
    with tempfile.TemporaryDirectory(prefix="lesion-pipeline-") as name:
        folder = Path(name)
        np.save(folder / "image.npy", np.ascontiguousarray(image.transpose(0, 3, 2, 1)), allow_pickle=False)
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        status = _run([python, str(_RUNNER), str(folder / "request.json")], folder, options)
        check_end(status, folder, options)
        lesion = np.load(folder / "probability.npy", allow_pickle=False)
    return np.ascontiguousarray(lesion.transpose(2, 1, 0), dtype=np.float32)


def _run(command: list[str], folder: Path, options: Options) -> int:
    """Exit status of the child; -9, as of a process killed for its memory, where an allocation in C++ failed."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, cwd=folder, timeout=options.timeout_s)
    except subprocess.TimeoutExpired as late:
        raise PluginFailedError(
            "NNUNET_TIMEOUT",
            f"nnU-Net took longer than {options.timeout_s:g} s",
            advice="Raise plugins.nnunet.timeout_s, turn mirroring off, widen step, or use a GPU.",
        ) from late
    return -9 if done.returncode < 0 and b"bad_alloc" in done.stderr else done.returncode


def check_end(status: int, folder: Path, options: Options) -> None:
    """Turn what the child left behind into a typed error, if it is no success."""
    answer = folder / "answer.json"
    said = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}
    refusal, detail = str(said.get("refusal", "")), str(said.get("detail", ""))
    if refusal == "NNUNET_ABSENT":
        raise PluginNotFoundError("NNUNET_ABSENT", "nnunetv2 cannot be imported by its interpreter", advice=_INSTALL)
    if refusal in _SENTENCES:
        code, sentence, advice = _SENTENCES[refusal]
        raise PluginFailedError(code, sentence.format(detail.splitlines()[0][:200] if detail else ""), advice=advice)
    if refusal == "MEMORY" or status == -9:
        raise PluginFailedError(
            "NNUNET_MEMORY",
            f"nnU-Net needs more than the {options.memory_gb:g} GB it may take",
            advice='Raise plugins.nnunet.memory_gb, or use grid = "pet".',
        )
    if status != 0 or not (folder / "probability.npy").is_file():
        raise PluginFailedError(
            "NNUNET_FAILED",
            f"nnU-Net ended with status {status} and no answer",
            advice="Run nnUNetv2_predict_from_modelfolder on the model by hand to see why.",
        )
