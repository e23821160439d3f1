"""Runs nnU-Net's own predictor. This file is started as a script by the user's interpreter and knows nothing of our package.

    python runner.py REQUEST.json

The request names the model, the image (``image.npy``: float32 (channels, k, j, i)) and what to write. Settings of the
environment are made here, before nnunetv2 is imported, so that they are the child's alone. Exit status 3 goes with a refusal
in ``answer.json``; the codes are turned into sentences by the parent.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


class RefusalError(Exception):
    """A code that the parent knows, and a detail."""


def main(request_path: str) -> int:
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    folder = Path(request_path).parent
    # the script's own folder leads sys.path: its modules must not stand before the user's packages of the same name
    sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != Path(__file__).resolve().parent]
    _prepare(request, folder)
    try:
        answer = _predict(request, folder)
    except RefusalError as refusal:
        code, detail = refusal.args
        answer = {"refusal": code, "detail": detail}
    except MemoryError:
        answer = {"refusal": "MEMORY", "detail": ""}
    (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    return 3 if "refusal" in answer else 0


def _prepare(request: dict[str, Any], folder: Path) -> None:
    """Environment and limits of this process."""
    threads = str(request["threads"])
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(folder)  # never used, but nnunetv2 warns without them
    os.environ.update(nnUNet_compile="f", nnUNet_def_n_proc=threads)
    try:
        import resource  # noqa: PLC0415  # not on Windows
    except ImportError:
        return
    limit = int(request["memory_gb"] * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _predict(request: dict[str, Any], folder: Path) -> dict[str, object]:
    try:
        import numpy as np  # noqa: PLC0415
        import torch  # noqa: PLC0415
        from nnunetv2.inference import predict_from_raw_data as nnunet  # noqa: PLC0415
    except ImportError as error:
        raise RefusalError("NNUNET_ABSENT", str(error)) from error
    torch.set_num_threads(int(request["threads"]))
    torch.manual_seed(0)
    if not request["trust_pickle"]:
        _load_weights_only(torch, np)
    _name_missing_trainer(nnunet)
    device = torch.device(request["device"])
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RefusalError("DEVICE_ABSENT", request["device"])
    started = time.perf_counter()
    predictor = nnunet.nnUNetPredictor(
        tile_step_size=request["step"],
        use_gaussian=True,
        use_mirroring=request["mirroring"],
        perform_everything_on_device=device.type != "cpu",
        device=device,
        verbose=False,
        verbose_preprocessing=False,
        allow_tqdm=False,
    )
    _initialize(predictor, request)
    image = np.load(folder / "image.npy", allow_pickle=False)
    try:
        answered = predictor.predict_single_npy_array(image, {"spacing": request["spacing_kji"]}, None, None, True)
    except RuntimeError as error:
        if "memory" in str(error).lower():
            raise RefusalError("MEMORY", "") from error
        raise
    _write(np, answered[1], request, folder, image.shape[1:])
    return {
        "seconds": time.perf_counter() - started,
        "trainer": str(predictor.trainer_name),
        "patch_kji": [int(n) for n in predictor.configuration_manager.patch_size],
        "spacing_kji": [float(s) for s in predictor.configuration_manager.spacing],
    }


def _initialize(predictor: Any, request: dict[str, Any]) -> None:
    folds = tuple(fold if fold == "all" else int(fold) for fold in request["folds"])
    try:
        predictor.initialize_from_trained_model_folder(request["model"], folds, request["checkpoint"])
    except RefusalError:
        raise
    except RuntimeError as error:
        text = str(error)
        if "Unable to locate trainer" in text:
            raise RefusalError("TRAINER_ABSENT", text) from error
        if "size mismatch" in text or "Missing key" in text or "Unexpected key" in text:
            raise RefusalError("WEIGHTS_DIFFER_FROM_PLANS", text[:300]) from error
        raise
    except (KeyError, EOFError) as error:
        raise RefusalError("CHECKPOINT_UNREADABLE", type(error).__name__) from error


def _name_missing_trainer(module: Any) -> None:
    """Have nnU-Net's search for the trainer class say which class it looked for, whatever the search itself stumbles over."""
    if not hasattr(module, "recursive_find_trainer_class_by_name"):
        return  # before 2.7 it says so itself
    search = module.recursive_find_trainer_class_by_name

    def find(name: str) -> Any:
        try:
            return search(name)
        except (RuntimeError, ImportError) as error:
            raise RefusalError("TRAINER_ABSENT", name) from error

    module.recursive_find_trainer_class_by_name = find


def _load_weights_only(torch: Any, np: Any) -> None:
    """Let nnunetv2 load tensors and plain numbers only; anything else in a checkpoint could run code."""
    import pickle  # noqa: PLC0415  # for the name of its error only

    core = np._core if hasattr(np, "_core") else np.core
    allowed = [core.multiarray.scalar, np.dtype, np.ndarray, core.multiarray._reconstruct]
    allowed += [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1")]
    torch.serialization.add_safe_globals(allowed)
    whole = torch.load

    def load(*args: Any, **options: Any) -> Any:
        options["weights_only"] = True
        try:
            return whole(*args, **options)
        except pickle.UnpicklingError as error:
            raise RefusalError("PICKLE_NOT_TRUSTED", str(error)[:300]) from error

    torch.load = load


def _write(np: Any, probabilities: Any, request: dict[str, Any], folder: Path, shape: tuple[int, ...]) -> None:
    """Probability of lesion as float32 (k, j, i): the sum over its labels, or the highest of its regions."""
    whole = np.asarray(probabilities)
    heads = request["heads"]
    if whole.ndim != len(shape) + 1 or whole.shape[1:] != shape or max(heads) >= whole.shape[0]:
        raise RefusalError("BAD_OUTPUT", f"probabilities of shape {whole.shape} for an image of {shape}")
    chosen = whole[heads]
    lesion = chosen.max(axis=0) if request["regions"] else chosen.sum(axis=0, dtype=np.float32)
    np.save(folder / "probability.npy", np.ascontiguousarray(lesion, dtype=np.float32), allow_pickle=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
