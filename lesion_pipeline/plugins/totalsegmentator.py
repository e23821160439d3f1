"""``totalsegmentator``: the user's own TotalSegmentator, run as a process of its own; its classes become our structures.

Nothing is downloaded: where the programme or its weights are absent, one sentence says what to install. Its usage statistics
are switched off by a configuration folder of our own. Its known failures (stray pieces of a vertebra, a level left out, names
out of order, no T13 and no L6) are looked for and said.
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

import cc3d
import nibabel as untyped_nibabel
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Segmentation, Structure, StructureKind
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import PluginContractError, PluginFailedError, PluginNotFoundError
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.vocabulary import known_structure
from lesion_pipeline.domain.volume import LabelMap, Modality
from lesion_pipeline.imaging.vertebra_order import with_vertebrae_in_order
from lesion_pipeline.io.nifti import read_label_map, write_volume

nibabel: Any = untyped_nibabel

_STAGE = "delineate"
_SAID = re.compile(r"<Label\b[^>]*\bKey=\"(\d+)\"[^>]*>\s*(?:<!\[CDATA\[)?([A-Za-z0-9_]+)(?:\]\]>)?\s*</Label>")
#: Weights of the task ``total``, by mode: folders that must be there.
_WEIGHTS: dict[str, tuple[str, ...]] = {
    "normal": ("Dataset291", "Dataset292", "Dataset293", "Dataset294", "Dataset295"),
    "fast": ("Dataset297",),
    "fastest": ("Dataset298",),
}


class Options(BaseModel):
    """program: command or path. weights: its folder of weights, "" for the place it uses itself. mode: resolution of the task.

    stray_share: share of a vertebra in pieces apart from its largest from which a doubt is said (the pieces go anyway).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    program: str
    weights: str
    mode: Literal["normal", "fast", "fastest"]
    device: str
    timeout_s: float = Field(gt=0)
    vertebra_confidence: float = Field(gt=0.0, le=1.0)
    stray_share: float = Field(ge=0.0, le=1.0)


class TotalSegmentator:
    """Adapter to the programme of the same name (version 2)."""

    name = "totalsegmentator"
    version = "1.0"
    needs: frozenset[Modality] = frozenset({Modality.CT})

    def __init__(self, options: Options) -> None:
        self._options = options

    def segment(self, study: Study) -> Segmentation:
        """Label map of the task ``total`` on the CT's grid.

        Raises PluginNotFoundError (TOTALSEGMENTATOR_ABSENT, WEIGHTS_ABSENT), PluginFailedError (TOTALSEGMENTATOR_FAILED) and
        PluginContractError (BAD_SEGMENTATION) when what it wrote cannot be understood.
        """
        ct = study.need(Modality.CT)
        program, weights = self._program(), self._weights()
        with tempfile.TemporaryDirectory(prefix="lesion-pipeline-") as folder:
            image, answer = Path(folder) / "ct.nii.gz", Path(folder) / "structures.nii.gz"
            write_volume(ct, image)
            self._run(program, weights, image, answer)
            label_map = read_label_map(answer, _names(answer), ct.grid.frame)
        values, stray = _one_piece_each(label_map, self._options.stray_share)
        whole = LabelMap(values, label_map.grid, label_map.names)
        ordered = with_vertebrae_in_order(whole, self._options.vertebra_confidence, "TotalSegmentator")
        doubts = list(ordered.caveats)
        if stray:
            sentence = f"TotalSegmentator left pieces of {', '.join(stray[:6])} apart from the rest; they were removed"
            doubts.append(Caveat("VERTEBRA_IN_PIECES", _STAGE, sentence))
        if ordered.vertebrae:
            sentence = "TotalSegmentator knows no thirteenth thoracic and no sixth lumbar vertebra: such a spine is misnamed"
            doubts.append(Caveat("NO_NUMBERING_VARIANTS", _STAGE, sentence))
        return Segmentation(ordered.label_map, ordered.vertebrae, tuple(doubts))

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
        missing = [w for w in _WEIGHTS[self._options.mode] if not any(p.startswith(w) for p in present)]
        if missing:
            task = {"normal": "total", "fast": "total_fast", "fastest": "total_fastest"}[self._options.mode]
            raise PluginNotFoundError(
                "WEIGHTS_ABSENT",
                f"the weights of TotalSegmentator ({self._options.mode} mode) are not on this machine",
                advice=f"Download them once with: totalseg_download_weights -t {task}.",
            )
        return folder

    def _run(self, program: str, weights: Path, image: Path, answer: Path) -> None:
        home = image.parent / "home"
        home.mkdir()
        (home / "config.json").write_text(json.dumps({"totalseg_id": "none", "send_usage_stats": False}), encoding="utf-8")
        mode = [] if self._options.mode == "normal" else [f"--{self._options.mode}"]
        told = ["-i", str(image), "-o", str(answer), "--ml", "--task", "total", "--device", self._options.device, *mode]
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


def _one_piece_each(label_map: LabelMap, share: float) -> tuple[npt.NDArray[np.uint16], list[str]]:
    """Every vertebra reduced to its largest component (26-connected), and those that lost more than ``share``."""
    values = np.array(label_map.values)
    stray: list[str] = []
    for value, structure in label_map.names.items():
        if structure.kind is not StructureKind.VERTEBRA:
            continue
        mask = values == value
        pieces = np.asarray(cc3d.connected_components(mask, connectivity=26))
        sizes = np.bincount(pieces.reshape(-1))[1:]
        if len(sizes) < 2:
            continue
        if 1 - sizes.max() / sizes.sum() > share:
            stray.append(structure.level.name if structure.level is not None else structure.key)
        values[mask & (pieces != int(sizes.argmax()) + 1)] = 0
    return values, stray


def factory(options: Mapping[str, object]) -> TotalSegmentator:
    """The entry point: settings of the preset table [plugins.totalsegmentator]."""
    return TotalSegmentator(Options.model_validate(dict(options)))
