"""One NIfTI file as a study of one CT. NIfTI says neither what an image shows nor its unit: the caller must, and it is told."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import UnitError
from lesion_pipeline.domain.pet import PatientFacts
from lesion_pipeline.domain.study import Assembly, CtFacts, Series, SeriesRole
from lesion_pipeline.domain.volume import Modality, Unit
from lesion_pipeline.io import nifti

_STAGE = "assemble"
#: Every CT reaches from below water to above it; an image scaled to 0..1 or 0..255 does not reach below. Air and lung lie below
#: -500 HU, fat at -100 HU.
_FAT_HU = -50.0


def from_nifti_ct(path: Path) -> Assembly:
    """The file's voxels (after its own slope) taken as HU, in a frame of reference of its own.

    Raises InputError (BAD_NIFTI, TOO_LARGE), GeometryError (NO_GEOMETRY, BAD_SHAPE), UnitError (NOT_FINITE; NOT_HU when no
    voxel is as dark as fat, so that the values cannot be HU of a patient; a volume of one value is let through).
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    key = f"CT-{digest[:8]}"
    volume = nifti.read_volume(path, Unit.HU, Modality.CT, f"FOR-nifti-{digest[:12]}", key)
    low, high = float(volume.values.min()), float(volume.values.max())
    if _FAT_HU < low < high:
        raise UnitError(
            "NOT_HU",
            f"the NIfTI file holds values from {low:g} to {high:g}, which cannot be a CT in HU",
            series=key,
            advice="Give a CT in Hounsfield units.",
        )
    sentence = "a NIfTI file says neither modality nor unit: it was taken as a CT in HU, as the user said"
    series = Series(
        key=key,
        role=SeriesRole.CT,
        kind="CT (NIfTI)",
        modality=Modality.CT,
        description="",
        instances=1,
        shape=volume.grid.shape,
        spacing_mm=volume.grid.spacing_mm,
        frame=volume.grid.frame,
        volume=volume,
        ct=CtFacts(),
        chosen=True,
        reason="the only image",
        caveats=(Caveat("HU_SAID_BY_USER", _STAGE, sentence, key),),
        input_sha256=digest,
    )
    return Assembly((series,), PatientFacts())
