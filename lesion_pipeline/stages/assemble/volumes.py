"""Voxels of the series that are used."""

from __future__ import annotations

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.pet import PetFacts
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io import sitk
from lesion_pipeline.io.dicom.lattice import TILT_DEGREES, tilt_degrees
from lesion_pipeline.io.dicom.reader import DicomReader
from lesion_pipeline.io.dicom.stacks import Stack
from lesion_pipeline.stages.assemble.choose import STAGE, grid_of
from lesion_pipeline.stages.assemble.plausible import check_pet

#: Air; scanners pad what lies outside their field of view with less.
AIR_HU = -1024.0


def unit_of(stack: Stack) -> Unit:
    if stack.modality == "CT":
        return Unit.HU
    return Unit.BQML if stack.modality == "PT" and stack.head.units.upper() == "BQML" else Unit.ARBITRARY


def read_volume(reader: DicomReader, stack: Stack) -> tuple[Volume, list[Caveat]]:
    """The volume of a stack, tilt resampled away. Raises InputError with the code of what is wrong with its pixels."""
    ct = stack.modality == "CT"
    decoded = reader.decode([s.ref for s in stack.slices], stack.key, ct=ct, floor=AIR_HU if ct else None)
    caveats: list[Caveat] = []
    if decoded.high_bits:
        text = f"{decoded.high_bits} pixels use bits above BitsStored; they were masked as the standard says"
        caveats.append(Caveat("HIGH_BITS", STAGE, text, stack.key))
    if decoded.below_floor:
        text = f"{decoded.below_floor} voxels below -1024 HU (padding) were set to -1024"
        caveats.append(Caveat("CT_PADDING", STAGE, text, stack.key))
    if stack.modality == "PT":
        caveats += check_pet(decoded.values, stack.key, STAGE)
    volume = Volume(decoded.values, grid_of(stack), unit_of(stack), Modality(stack.modality), stack.key)
    tilt = tilt_degrees(volume.grid.affine)
    if tilt > TILT_DEGREES:
        volume = sitk.straighten(volume, outside=AIR_HU if ct else 0.0)
        text = f"slices are tilted by {tilt:.1f} degrees; resampled to a right-angled grid"
        caveats.append(Caveat("GANTRY_TILT", STAGE, text, stack.key))
    return volume, caveats


def read_facts(reader: DicomReader, stack: Stack) -> PetFacts:
    """PET header facts in slice order. Raises InputError."""
    if stack.head.multi_frame:
        return reader.pet_facts([stack.head], [s.ref.frame for s in stack.slices])
    return reader.pet_facts([s.file for s in stack.slices])
