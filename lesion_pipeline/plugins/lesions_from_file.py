"""Detector ``lesions-from-file``: lesions that somebody else drew, as candidates with the file's own voxels.

A NIfTI mask or label map, a DICOM segmentation or an RT structure set. A NIfTI file holds no frame of reference: it is taken to
share the PET's world coordinates, which the user says by naming it. Connectivity is the user's too: a mask does not say where
one lesion ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

import lesion_pipeline
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.errors import ConfigError, FrameMismatchError, InputError
from lesion_pipeline.domain.geometry import Grid, RigidTransform
from lesion_pipeline.domain.lesion import Candidate, Measures
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.components import Voxels, of_values, voxel_lists
from lesion_pipeline.imaging.measures import measure
from lesion_pipeline.io import dicom_seg, nifti, rtstruct

_NIFTI = (".nii", ".nii.gz")


class FileOptions(BaseModel):
    """[plugins.lesions_from_file]

    path: the file. lesions: ``components`` of all that is not 0, ``values`` (each value, segment or region one lesion), or
    ``components_of_values``. connectivity: 6, 18 or 26. min_voxels: smaller pieces are left out. probability: of each lesion,
    where the drawing is believed as it stands; leave it out to have the lesions screened like any candidate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    lesions: Literal["components", "values", "components_of_values"]
    connectivity: Literal[6, 18, 26]
    min_voxels: int = Field(ge=1)
    probability: float | None = Field(default=None, ge=0, le=1)


class LesionsFromFile:
    """Entry point ``lesions-from-file`` of lesion_pipeline.lesion_detectors."""

    name = "lesions-from-file"
    version = lesion_pipeline.__version__
    needs: frozenset[Modality] = frozenset()

    def __init__(self, options: FileOptions) -> None:
        self.options = options
        self.path = Path(options.path)
        if not self.path.is_file():
            raise ConfigError(
                "LESIONS_FILE_NOT_FOUND",
                f"there is no lesion file {self.path.name}",
                advice="Give its path in [plugins.lesions_from_file].",
            )
        self.sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        """Candidates on the PET's grid where the file is on it, else on the file's own grid.

        Raises InputError (LESIONS_NOT_LABELS, LESIONS_ELSEWHERE, LESIONS_FILE_FORMAT) and what the reader of the format raises.
        """
        reference = study.pet if study.pet is not None else study.ct
        if reference is None:
            return ()
        grid, values = self._read(reference)
        link = self._link(study, grid, reference)
        grid = reference.grid if reference.grid.same_as(grid) else grid
        pieces = [v for v in self._pieces(grid, values) if len(v) >= self.options.min_voxels]
        if pieces and not any(reference.grid.contains(link.apply(grid.world(v))).any() for v in pieces):
            raise _elsewhere("no voxel of the lesion file lies inside the image")
        found = [
            Candidate(
                id=f"F{number:03d}",
                voxels=voxels,
                grid=grid,
                modality=reference.modality,
                detector=self.name,
                measures=_measures(reference, voxels, grid, link),
                probability=self.options.probability,
            )
            for number, voxels in enumerate(pieces, start=1)
        ]
        return tuple(sorted(found, key=lambda c: (-(c.measures.suv_max or 0.0), c.id)))

    def _read(self, reference: Volume) -> tuple[Grid, list[Voxels]]:
        """The file's grid and the voxels of each of its values, segments or regions."""
        if self.path.name.endswith(_NIFTI):
            return _from_nifti(self.path, reference.grid.frame)
        try:
            grid, segments = dicom_seg.read_segments(self.path)
            return grid, [s.voxels for s in segments if len(s.voxels)]
        except InputError as no_seg:
            if no_seg.code != "NOT_SEG":
                raise
        try:
            regions = rtstruct.read_rtstruct(self.path)
        except InputError as no_set:
            if no_set.code != "NOT_RTSTRUCT":
                raise
            raise InputError(
                "LESIONS_FILE_FORMAT",
                f"{self.path.name} is neither NIfTI nor a DICOM segmentation nor an RT structure set",
                advice="Give a .nii or .nii.gz mask or label map, a DICOM SEG or an RTSTRUCT.",
            ) from no_set
        drawn = [rtstruct.rasterize(one, reference.grid) for one in regions if one.frame == reference.grid.frame]
        if regions and not drawn:
            raise _elsewhere("the regions of the structure set lie in another frame of reference than the image")
        return reference.grid, [v for v in drawn if len(v)]

    def _link(self, study: Study, grid: Grid, reference: Volume) -> RigidTransform:
        try:
            return study.frames.between(grid.frame, reference.grid.frame)
        except FrameMismatchError as unlinked:
            raise _elsewhere("nothing links the lesion file's frame of reference to the image's") from unlinked

    def _pieces(self, grid: Grid, values: list[Voxels]) -> list[Voxels]:
        """What is one lesion, as the user says."""
        if self.options.lesions == "values":
            return values
        numbered = np.zeros(grid.shape, dtype=np.uint32)
        for number, voxels in enumerate(values, start=1):
            numbered[tuple(voxels.T)] = number if self.options.lesions == "components_of_values" else 1
        return voxel_lists(of_values(numbered, self.options.connectivity)[0])


def _elsewhere(sentence: str) -> InputError:
    return InputError("LESIONS_ELSEWHERE", sentence, advice="The file must be in the world coordinates of this study.")


def _from_nifti(path: Path, frame: str) -> tuple[Grid, list[Voxels]]:
    drawn = nifti.read_volume(path, Unit.ARBITRARY, Modality.OTHER, frame, "lesions-file")
    values = np.rint(drawn.values).astype(np.int64)
    if values.min() < 0 or np.abs(drawn.values - values).max() > 1e-3:
        raise InputError(
            "LESIONS_NOT_LABELS",
            "the lesion file holds values that are no labels (fractions or negative numbers)",
            advice="Give a mask of 0 and 1 or a label map.",
        )
    return drawn.grid, [v for v in voxel_lists(values) if len(v)]


def _measures(reference: Volume, voxels: Voxels, grid: Grid, link: RigidTransform) -> Measures:
    """Measured on the image's own voxels; off its grid, those whose centres are nearest to the drawing's."""
    if reference.grid.same_as(grid):
        return measure(reference, voxels)
    points = link.apply(grid.world(voxels))
    volume_ml = len(voxels) * grid.voxel_ml
    at = np.rint(reference.grid.index(points[reference.grid.contains(points)])).astype(np.int32)
    if not len(at) or reference.unit is not Unit.SUVBW:
        return Measures(volume_ml=volume_ml)
    seen = measure(reference, np.unique(np.clip(at, 0, np.array(reference.grid.shape) - 1), axis=0).astype(np.int32))
    mean = seen.suv_mean or 0.0
    return Measures(volume_ml=volume_ml, suv_max=seen.suv_max, suv_mean=mean, suv_peak=seen.suv_peak, tlg=mean * volume_ml)


def factory(options: Mapping[str, object]) -> LesionsFromFile:
    """Built from the preset's table [plugins.lesions_from_file]."""
    return LesionsFromFile(FileOptions.model_validate(dict(options)))
