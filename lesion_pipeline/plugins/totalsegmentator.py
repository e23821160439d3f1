"""``totalsegmentator``: the user's own TotalSegmentator, run as a process of its own; its classes become our structures.

Nothing is downloaded: where the programme or its weights are absent, one sentence says what to install. Its usage statistics
are switched off by a configuration folder of our own. Its known failures (a vertebra in pieces, neighbours mixed, a level
left out, names out of order, no T13 and no L6) are looked for, said, and cost the name half its confidence.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import nibabel as untyped_nibabel
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Segmentation, Structure, StructureKind
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import ConfigError, InputError, PluginContractError, PluginFailedError, PluginNotFoundError
from lesion_pipeline.domain.study import MrFacts, Study
from lesion_pipeline.domain.vocabulary import known_structure
from lesion_pipeline.domain.volume import LabelMap, Modality, Volume
from lesion_pipeline.imaging.vertebra_gates import Limits, gated, one_piece_each
from lesion_pipeline.imaging.vertebra_order import with_vertebrae_in_order
from lesion_pipeline.io.nifti import read_label_map, write_volume

nibabel: Any = untyped_nibabel

_STAGE = "delineate"
_CLASS = re.compile(r"[a-z][A-Za-z0-9_]*")
_SAID = re.compile(r"<Label\b[^>]*\bKey=\"(\d+)\"[^>]*>\s*(?:<!\[CDATA\[)?([A-Za-z0-9_]+)(?:\]\]>)?\s*</Label>")
#: Weights by task and mode: folders that must be there (map_tasks_config.py of TotalSegmentator 2.18), and the name that
#: ``totalseg_download_weights -t`` knows them by.
_WEIGHTS: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("total", "normal"): (("Dataset291", "Dataset292", "Dataset293", "Dataset294", "Dataset295"), "total"),
    ("total", "fast"): (("Dataset297",), "total_fast"),
    ("total", "fastest"): (("Dataset298",), "total_fast"),
    ("total_mr", "normal"): (("Dataset850", "Dataset851"), "total_mr"),
    ("total_mr", "fast"): (("Dataset852",), "total_fast_mr"),
    ("total_mr", "fastest"): (("Dataset853",), "total_fast_mr"),
    ("vertebrae_mr", "normal"): (("Dataset756",), "vertebrae_mr"),
}
#: A subset is cropped to first, by a coarse model of its own.
_CROP: dict[str, tuple[str, str]] = {"total": ("Dataset298", "total_fast"), "total_mr": ("Dataset852", "total_fast_mr")}
#: Contrasts that show no anatomy to speak of.
_DIFFUSION = ("DWI", "ADC")


class Options(BaseModel):
    """program: command or path. weights: its folder of weights, "" for the place it uses itself. task: ``total`` (CT),
    ``total_mr`` or ``vertebrae_mr`` (MR). mode: resolution of the task. roi_subset: its classes to look for, all when empty.

    vertebra_confidence: what a name is worth. stray_share, spacing_low, spacing_high, small_share: ``vertebra_gates.Limits``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str
    weights: str
    task: Literal["total", "total_mr", "vertebrae_mr"]
    mode: Literal["normal", "fast", "fastest"]
    roi_subset: tuple[str, ...]
    device: str
    timeout_s: float = Field(gt=0)
    vertebra_confidence: float = Field(gt=0.0, le=1.0)
    stray_share: float = Field(ge=0.0, le=1.0)
    spacing_low: float = Field(gt=0.0, lt=1.0)
    spacing_high: float = Field(gt=1.0)
    small_share: float = Field(ge=0.0, lt=1.0)


class TotalSegmentator:
    """Adapter to the programme of the same name (version 2)."""

    name = "totalsegmentator"
    version = "1.0"

    def __init__(self, options: Options) -> None:
        if options.task == "vertebrae_mr" and (options.mode != "normal" or options.roi_subset):
            raise ConfigError(
                "BAD_PLUGIN_OPTIONS", "the task vertebrae_mr of TotalSegmentator has one mode, normal, and no subset"
            )
        if any(not _CLASS.fullmatch(name) for name in options.roi_subset):
            raise ConfigError("BAD_PLUGIN_OPTIONS", "roi_subset holds something that is no class name of TotalSegmentator")
        self._options = options
        self.needs: frozenset[Modality] = frozenset({Modality.CT if options.task == "total" else Modality.MR})

    def segment(self, study: Study) -> Segmentation:
        """Label map of the task on the grid of the CT, or of the MR that shows most of the body.

        Raises PluginNotFoundError (TOTALSEGMENTATOR_ABSENT, WEIGHTS_ABSENT), PluginFailedError (TOTALSEGMENTATOR_FAILED) and
        PluginContractError (BAD_SEGMENTATION) when what it wrote cannot be understood.
        """
        image = study.need(Modality.CT) if Modality.CT in self.needs else _largest_mr(study)
        program, weights = self._program(), self._weights()
        with tempfile.TemporaryDirectory(prefix="lesion-pipeline-") as folder:
            given, answer = Path(folder) / "image.nii.gz", Path(folder) / "structures.nii.gz"
            write_volume(image, given)
            self._run(program, weights, given, answer)
            label_map = read_label_map(answer, _names(answer), image.grid.frame)
        options = self._options
        limits = Limits(options.stray_share, options.spacing_low, options.spacing_high, options.small_share)
        cleaned = one_piece_each(label_map, limits.stray_share)
        whole = LabelMap(cleaned.values, label_map.grid, label_map.names)
        ordered = with_vertebrae_in_order(whole, options.vertebra_confidence, "TotalSegmentator")
        answered = gated(ordered, cleaned, limits, "TotalSegmentator")
        if not answered.vertebrae:
            return answered
        sentence = "TotalSegmentator knows no thirteenth thoracic and no sixth lumbar vertebra: such a spine is misnamed"
        doubts = (*answered.caveats, Caveat("NO_NUMBERING_VARIANTS", _STAGE, sentence))
        return Segmentation(answered.label_map, answered.vertebrae, doubts)

    def _program(self) -> str:
        found = shutil.which(self._options.program)
        if found is None:
            raise PluginNotFoundError(
                "TOTALSEGMENTATOR_ABSENT",
                "TotalSegmentator is not installed",
                advice="Install it with: pip install TotalSegmentator.",
            )
        return found

    def _weights(self) -> Path:
        given = self._options.weights
        folder = Path(given) if given else Path.home() / ".totalsegmentator" / "nnunet" / "results"
        present = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
        task, mode = self._options.task, self._options.mode
        needed = [_WEIGHTS[task, mode], *([((_CROP[task][0],), _CROP[task][1])] if self._options.roi_subset else [])]
        missing = [name for datasets, name in needed if not all(any(p.startswith(d) for p in present) for d in datasets)]
        if missing:
            raise PluginNotFoundError(
                "WEIGHTS_ABSENT",
                f"the weights of TotalSegmentator (task {task}, {mode} mode) are not on this machine",
                advice=f"Download them once with: totalseg_download_weights -t {missing[0]}.",
            )
        return folder

    def _run(self, program: str, weights: Path, image: Path, answer: Path) -> None:
        home = image.parent / "home"
        home.mkdir()
        (home / "config.json").write_text(json.dumps({"totalseg_id": "none", "send_usage_stats": False}), encoding="utf-8")
        mode = [] if self._options.mode == "normal" else [f"--{self._options.mode}"]
        subset = ["--roi_subset", *self._options.roi_subset] if self._options.roi_subset else []
        told = ["-i", str(image), "-o", str(answer), "--ml", "--task", self._options.task]
        told += ["--device", self._options.device, *mode, *subset]
        settings = [f"TOTALSEG_HOME_DIR={home}", f"TOTALSEG_WEIGHTS_PATH={weights.resolve()}"]
        try:
            done = subprocess.run(
                ["env", *settings, program, *told], capture_output=True, check=False, timeout=self._options.timeout_s
            )
        except subprocess.TimeoutExpired as late:
            sentence = f"TotalSegmentator took longer than {self._options.timeout_s:g} s"
            raise PluginFailedError(
                "TOTALSEGMENTATOR_FAILED", sentence, advice="Raise timeout_s, or use the fast mode."
            ) from late
        if done.returncode != 0 or not answer.is_file():
            raise PluginFailedError(
                "TOTALSEGMENTATOR_FAILED",
                f"TotalSegmentator ended with status {done.returncode} and {'a' if answer.is_file() else 'no'} label map",
                advice="Run it on the CT by hand to see why.",
            )


def _names(path: Path) -> dict[int, Structure]:
    """The class names it wrote into the header; ids differ between its versions and are never trusted alone."""
    image = nibabel.load(path)
    said = " ".join(
        e.get_content().decode("utf-8", "replace") if isinstance(e.get_content(), bytes) else str(e.get_content())
        for e in image.header.extensions
    )
    names = {
        int(value): known_structure(name) or Structure(name.lower(), StructureKind.REGION)
        for value, name in _SAID.findall(said)
    }
    if not names:
        raise PluginContractError(
            "BAD_SEGMENTATION",
            "TotalSegmentator wrote a label map without class names",
            advice="Use version 2 or later.",
        )
    keys = [s.key for s in names.values()]
    return {v: s if keys.count(s.key) == 1 else Structure(f"{s.key}_{v}", s.kind, s.organ, s.level) for v, s in names.items()}


def _largest_mr(study: Study) -> Volume:
    """The MR that shows most of the body: largest volume, diffusion images last. ``needs`` has seen to it that there is one."""

    def rank(item: tuple[MrFacts, Volume]) -> tuple[bool, float]:
        facts, volume = item
        return facts.label not in _DIFFUSION, volume.grid.voxel_ml * volume.values.size

    if not study.mr:
        raise InputError("NO_MR", "the study holds no usable MR")
    return max(study.mr, key=rank)[1]


def factory(options: Mapping[str, object]) -> TotalSegmentator:
    """The entry point: settings of the preset table [plugins.totalsegmentator]."""
    return TotalSegmentator(Options.model_validate(dict(options)))
