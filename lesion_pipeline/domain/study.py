"""Series as they come out of a folder, and the study they form."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.geometry import Frames
from lesion_pipeline.domain.pet import PatientFacts, PetFacts, SuvCalibration, Tracer
from lesion_pipeline.domain.volume import Modality, Volume


class SeriesRole(StrEnum):
    """What a series is to us. ``rejected``: an image of the right modality that must not be used; ``other``: no image."""

    PET = "pet"
    CT = "ct"
    MR = "mr"
    REJECTED = "rejected"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class MrFacts:
    """What an MR series is. label: T1, T2, STIR, PD, FLAIR, DWI, ADC, DIXON_W, ... or ``unknown``; confidence 0..1."""

    label: str
    confidence: float
    fat_suppressed: bool = False
    contrast: bool | None = None
    plane: str = ""  # sagittal, axial, coronal, oblique
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CtFacts:
    """What decides between several CTs."""

    kernel: str = ""
    kvp: float | None = None
    contrast: bool | None = None
    slice_spacing_mm: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One candidate volume (or object) found in the input.

    key: ``PT-1a2b3c4d``: modality and the first hex digits of a hash of what the series is; never a UID, a path or a name.
    kind: short human word: "PET AC", "PET NAC", "CT", "scout", "T1", "RTSTRUCT", "RWV", ... reason: why chosen or rejected.
    volume: present once read, stored units after rescale (PET: Bq/ml or whatever Units says, as ARBITRARY until calibrated).
    refusal: code when the series itself cannot be used.
    """

    key: str
    role: SeriesRole
    kind: str
    modality: Modality
    description: str
    instances: int
    shape: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    frame: str | None = None
    volume: Volume | None = None
    pet: PetFacts | None = None
    mr: MrFacts | None = None
    ct: CtFacts | None = None
    suv: SuvCalibration | None = None
    chosen: bool = False
    reason: str = ""
    refusal: str | None = None
    caveats: tuple[Caveat, ...] = ()
    input_sha256: str = ""  # over the sorted content hashes of its files


@dataclass(frozen=True, slots=True)
class RealWorldMap:
    """A Real World Value Mapping object: slope of one quantity, and the series keys it refers to."""

    quantity: str  # UCUM unit code, e.g. g/ml{SUVbw}
    slope: float
    intercept: float
    refers_to: tuple[str, ...] = ()
    verdict: str = "unchecked"  # agrees, rejected: why


@dataclass(frozen=True, slots=True, eq=False)
class Assembly:
    """Everything found in the input of one study. At most one series each of role PET and CT is ``chosen``; MR: any number."""

    series: tuple[Series, ...]
    patient: PatientFacts
    real_world_maps: tuple[RealWorldMap, ...] = ()
    caveats: tuple[Caveat, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()  # (kind of junk, how many files)

    def chosen(self, role: SeriesRole) -> tuple[Series, ...]:
        return tuple(s for s in self.series if s.role is role and s.chosen)


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """Images of one patient at one time, linked in space.

    pet is in SUVbw; ct in HU; mr in arbitrary units, each with its facts. Any of them may be absent; caveats say so.
    key: short hash that names the study in outputs; no identifier of the patient goes into it in the clear.
    """

    key: str
    patient: PatientFacts
    tracer: Tracer
    series: tuple[Series, ...]
    pet: Volume | None
    ct: Volume | None
    mr: tuple[tuple[MrFacts, Volume], ...] = ()
    frames: Frames = field(default_factory=Frames)
    suv: SuvCalibration | None = None
    pet_facts: PetFacts | None = None
    real_world_maps: tuple[RealWorldMap, ...] = ()
    caveats: tuple[Caveat, ...] = ()

    def need(self, modality: Modality) -> Volume:
        """The PET or CT of this study. Raises InputError (NO_PET, NO_CT)."""
        volume = {Modality.PT: self.pet, Modality.CT: self.ct}.get(modality)
        if volume is None:
            name = {Modality.PT: "PET", Modality.CT: "CT"}.get(modality, str(modality))
            raise InputError(f"NO_{name}", f"the study holds no usable {name}")
        return volume
