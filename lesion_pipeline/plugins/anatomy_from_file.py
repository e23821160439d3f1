"""``anatomy-from-file``: structures that somebody else delineated, as files.

A NIfTI label map with a names table (JSON ``{value: key}`` or ``{value: {key, kind, organ, level}}``, or a TSV with the columns
index and name), a folder with one NIfTI mask a structure, named after it, a DICOM segmentation or an RT structure set. Names of
common tools and plain words ("Left kidney") are understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Segmentation, Structure, StructureKind
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import ConfigError, GridMismatchError, InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.vocabulary import known_structure, structure_from_words
from lesion_pipeline.domain.volume import LabelMap, Modality
from lesion_pipeline.imaging.vertebra_order import with_vertebrae_in_order
from lesion_pipeline.io.dicom_seg import read_segments
from lesion_pipeline.io.names import read_names, structure_from_key
from lesion_pipeline.io.nifti import read_label_map, stem_of
from lesion_pipeline.io.rtstruct import rasterize, read_rtstruct


class Options(BaseModel):
    """path: a label map or a folder of masks ("" until a user gives one). names: its table, where not beside the map.

    frame: the image of the study whose patient space the files share. least_overlap: share of the labelled voxels that must
    lie inside that image. vertebra_confidence: what a vertebra's name in a file is worth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    names: str = ""
    frame: Literal["ct", "pet"]
    least_overlap: float = Field(gt=0.0, le=1.0)
    vertebra_confidence: float = Field(gt=0.0, le=1.0)


class AnatomyFromFile:
    """Reads, checks that the map lies on the patient, and orders its vertebrae."""

    name = "anatomy-from-file"
    version = "1.0"

    def __init__(self, options: Options) -> None:
        if not options.path:
            raise ConfigError(
                "NO_ANATOMY_FILE",
                "anatomy-from-file was asked for without a file",
                advice="Give path in [plugins.anatomy_from_file].",
            )
        self._options = options
        self._path = Path(options.path)
        self.needs: frozenset[Modality] = frozenset({Modality.CT if options.frame == "ct" else Modality.PT})

    def segment(self, study: Study) -> Segmentation:
        """The label map in the frame of the study's CT or PET.

        Raises InputError (NO_ANATOMY_FILE, BAD_NIFTI, BAD_LABELS, BAD_NAMES, NO_NAMES, SEG_UNREADABLE, NOT_RTSTRUCT),
        GeometryError (NO_GEOMETRY, CONTOUR_OFF_PLANE), FrameMismatchError, and GridMismatchError (ANATOMY_BESIDE_IMAGE) when
        the labels do not lie on the image.
        """
        image = study.need(Modality.CT if self._options.frame == "ct" else Modality.PT)
        label_map = _read(self._path, self._options.names, image.grid)
        label_map = LabelMap(label_map.values, label_map.grid, _understood(label_map.names))
        _check_overlap(label_map, image.grid, self._options.least_overlap)
        answer = with_vertebrae_in_order(label_map, self._options.vertebra_confidence, "the anatomy file")
        return Segmentation(answer.label_map, answer.vertebrae, (*answer.caveats, *_strangers(answer.label_map)))


def _read(path: Path, names: str, image: Grid) -> LabelMap:
    if path.is_dir():
        return _from_masks(path, image.frame)
    if not path.is_file():
        raise InputError("NO_ANATOMY_FILE", "the anatomy file does not exist", advice="Check the path in the preset.")
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return _from_dicom(path, image)
    return read_label_map(path, read_names(Path(names)) if names else None, image.frame)


def _from_dicom(path: Path, image: Grid) -> LabelMap:
    """A segmentation object on its own grid, or the contours of a structure set on the image's. Earlier parts win overlaps.

    Both name their frame of reference themselves.
    """
    try:
        grid, segments = read_segments(path)
        parts = [(" ".join(filter(None, (s.label, s.side))), s.code, s.voxels) for s in segments]
    except InputError as other:
        if other.code != "NOT_SEG":
            raise
        grid = image
        parts = [(roi.name, None, rasterize(roi, image)) for roi in read_rtstruct(path)]
    values = np.zeros(grid.shape, dtype=np.uint16)
    names: dict[int, Structure] = {}
    for value, (words, code, voxels) in enumerate(parts, start=1):
        at = tuple(voxels.T)
        values[at] = np.where(values[at] == 0, value, values[at])
        known = structure_from_words(words, code)
        plain = re.sub(r"[^a-z0-9]+", "_", words.casefold()).strip("_")
        taken = known is not None and any(s.key == known.key for s in names.values())
        names[value] = (
            known if known is not None and not taken else Structure(f"part_{value}_{plain}".rstrip("_"), StructureKind.REGION)
        )
    return LabelMap(values, grid, names)


def _from_masks(folder: Path, frame: str) -> LabelMap:
    """One mask a file; where two overlap the earlier name in the alphabet wins."""
    files = sorted(p for p in folder.iterdir() if p.name.endswith((".nii", ".nii.gz")))
    if not files:
        raise InputError("NO_ANATOMY_FILE", "the anatomy folder holds no NIfTI mask", advice="Check the path in the preset.")
    names: dict[int, Structure] = {}
    values: npt.NDArray[np.uint16] | None = None
    grid: Grid | None = None
    for value, path in enumerate(files, start=1):
        key = stem_of(path)
        mask = read_label_map(path, {1: structure_from_key(key)}, frame)
        if values is None or grid is None:
            values, grid = np.zeros(mask.grid.shape, dtype=np.uint16), mask.grid
        mask.grid.require_same(grid, "the masks of the anatomy folder")
        names[value] = structure_from_key(key)
        values[(mask.values == 1) & (values == 0)] = value
    if values is None or grid is None:
        raise InputError("NO_ANATOMY_FILE", "the anatomy folder holds no NIfTI mask")
    return LabelMap(values, grid, names)


def _understood(names: Mapping[int, Structure]) -> dict[int, Structure]:
    """A name that says no more than itself is looked up; what the table says itself stays."""
    out: dict[int, Structure] = {}
    for value, structure in names.items():
        known = known_structure(structure.key)
        bare = structure == structure_from_key(structure.key)
        out[value] = known if known is not None and bare else structure
    keys = [s.key for s in out.values()]
    if len(set(keys)) != len(keys):  # two names of one structure (an alias): keep the file's own words
        return dict(names)
    return out


def _strangers(label_map: LabelMap) -> tuple[Caveat, ...]:
    """A caveat for structures that the vocabulary does not know: they keep their names and count under no organ."""
    unknown = [
        s.key
        for s in label_map.names.values()
        if s.kind is StructureKind.REGION and s.organ is None and known_structure(s.key) is None
    ]
    if not unknown:
        return ()
    sentence = f"{len(unknown)} structures of the anatomy file have names we do not know: they are kept and belong to no organ"
    return (Caveat("UNKNOWN_STRUCTURES", "delineate", sentence),)


def _check_overlap(label_map: LabelMap, image: Grid, least: float) -> None:
    where = np.argwhere(label_map.values)
    if not len(where):
        return
    points = label_map.grid.world(where[:: max(len(where) // 20000, 1)])
    inside = float(np.mean(image.contains(points)))
    if inside < least:
        raise GridMismatchError(
            "ANATOMY_BESIDE_IMAGE",
            f"only {inside:.0%} of the labelled voxels of the anatomy file lie inside the image",
            advice="Check that the file belongs to this study, and its orientation.",
        )


def factory(options: Mapping[str, object]) -> AnatomyFromFile:
    """The entry point: settings of the preset table [plugins.anatomy_from_file]. Raises ConfigError (NO_ANATOMY_FILE)."""
    return AnatomyFromFile(Options.model_validate(dict(options)))
