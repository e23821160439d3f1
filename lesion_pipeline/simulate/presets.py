"""A cohort's distributions, read from a preset (configs/simulate/*.toml)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.io.settings_file import load_settings
from lesion_pipeline.simulate.faults import FAULTS


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LogNormal(_Table):
    """median and spread (standard deviation of the logarithm), cut at low and high."""

    median: float = Field(gt=0)
    spread: float = Field(ge=0)
    low: float
    high: float


class Lesions(_Table):
    """count: weight of 0, 1, 2, ... metastases. sites: weight of each kind of site. ct: weight of each change in bone.

    bridging, beside: chance that a vertebral lesion fills two vertebrae, that a lesion in an organ has a close neighbour.
    near_physiologic: chance that a lesion beside an organ with uptake lies as close to it as it can. necrotic: that a large
    tumour of a soft organ has a core without uptake. mr_only, treated: chance of one more lesion in a vertebra that PET does
    not show. levels: weight of each spinal region.
    """

    count: tuple[float, ...]
    sites: dict[str, float]
    levels: dict[str, float]
    ct: dict[str, float]
    diameter_mm: LogNormal
    suv: LogNormal
    bridging: float = Field(ge=0, le=1)
    beside: float = Field(ge=0, le=1)
    mr_only: float = Field(ge=0, le=1)
    treated: float = Field(ge=0, le=1)
    near_physiologic: float = Field(ge=0, le=1)
    necrotic: float = Field(ge=0, le=1)


class Mimics(_Table):
    """Expected number per study of each kind, or a chance for reactive_node, brown_fat, marrow_activation, rib_fracture."""

    degenerative: float
    fracture: float
    haemangioma: float
    ganglion: float
    unspecific_bone: float
    reactive_node: float
    brown_fat: float
    ureter: float
    marrow_activation: float
    rib_fracture: float = Field(ge=0, le=1)


class Implants(_Table):
    """Chance of a prosthesis of one hip, of screws in two lumbar vertebrae, of filled teeth."""

    hip: float = Field(ge=0, le=1)
    screws: float = Field(ge=0, le=1)
    teeth: float = Field(ge=0, le=1)


class Scanners(_Table):
    """One of each list is drawn for a study; the lists of voxel, matrix and blur go together. The CT shows 500 mm.

    ct_contrast: chance of a portal venous CT. patient_shift_mm, breath_shift_mm: spread of the body's and of the diaphragm's
    movement between CT and PET.
    """

    pet_voxel_mm: tuple[tuple[float, float, float], ...]
    pet_matrix: tuple[int, ...]
    pet_fwhm_mm: tuple[float, ...]
    pet_noise: tuple[float, float]
    breath_mm: tuple[float, float]
    ct_matrix: int = Field(ge=32)
    ct_slice_mm: tuple[float, ...]
    ct_noise_hu: tuple[float, float]
    truncated_top: float = Field(ge=0, le=1)
    truncated_bottom: float = Field(ge=0, le=1)
    ct_contrast: float = Field(ge=0, le=1)
    patient_shift_mm: float = Field(ge=0)
    breath_shift_mm: float = Field(ge=0)

    @model_validator(mode="after")
    def _same_lengths(self) -> Self:
        if not len(self.pet_voxel_mm) == len(self.pet_matrix) == len(self.pet_fwhm_mm):
            raise ValueError("pet_voxel_mm, pet_matrix and pet_fwhm_mm must have one entry per scanner")
        return self


class Mr(_Table):
    """Chances of an MR, of contrast medium, of headers that share the PET-CT's frame; spread of the patient's shift (mm)."""

    chance: float = Field(ge=0, le=1)
    contrast: float = Field(ge=0, le=1)
    shared_frame: float = Field(ge=0, le=1)
    shift_mm: float = Field(ge=0)
    turn_deg: float = Field(ge=0)


class Faults(_Table):
    """Chance that a study carries one fault, and which ones."""

    chance: float = Field(ge=0, le=1)
    kinds: tuple[str, ...]

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = sorted(set(self.kinds) - set(FAULTS))
        if unknown:
            raise ValueError(f"unknown fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
        return self


class Preset(_Table):
    """A cohort. tracers: weight by name. variation: spread of physiologic uptake relative to the tables in ``tracer``.

    texture: patches of uptake inside tissues, as in ``texture``.
    """

    name: str
    description: str
    tracers: dict[Tracer, float]
    sexes: dict[str, float]
    variation: float = Field(ge=0)
    texture: bool
    lesions: Lesions
    mimics: Mimics
    implants: Implants
    scanners: Scanners
    mr: Mr
    faults: Faults


def presets_folder() -> Path:
    """configs/simulate inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs" / "simulate"
    return installed if installed.is_dir() else package.parent / "configs" / "simulate"


def preset_path(preset: str) -> Path:
    """The file of a preset: a name under configs/simulate, or a path. Raises ConfigError (CONFIG_NOT_FOUND)."""
    if preset.endswith(".toml"):
        return Path(preset)
    path = presets_folder() / f"{preset}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in presets_folder().glob("*.toml")))
        raise ConfigError("CONFIG_NOT_FOUND", f"no simulation preset named {preset!r}", advice=f"There are: {known}.")
    return path


def load_preset(preset: str) -> Preset:
    """A checked preset. Raises ConfigError as in ``io.settings_file``."""
    return load_settings(Preset, preset_path(preset))
