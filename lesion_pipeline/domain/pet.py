"""What a PET header says, and what SUV was made of it.

Everything here is as recorded: no repair, no choice. Repairs and choices are made by the stage ``calibrate`` and written into
``SuvCalibration``. Times are naive datetimes on the scanner's own clock unless ``utc_offset_min`` says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time
from enum import StrEnum


class Tracer(StrEnum):
    """Tracers that have a preset; UNKNOWN is never treated as FDG."""

    FDG = "FDG"
    PSMA_11 = "PSMA-11"
    DCFPYL = "DCFPyL"
    PSMA_1007 = "PSMA-1007"
    DOTATATE = "DOTATATE"
    NAF = "NaF"
    CHOLINE = "choline"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Injection:
    """One item of RadiopharmaceuticalInformationSequence (0054,0016), values as stored."""

    total_dose: float | None = None  # RadionuclideTotalDose, Bq by the standard, MBq in some real data
    half_life_s: float | None = None
    start_datetime: datetime | None = None  # RadiopharmaceuticalStartDateTime (0018,1078)
    start_time: time | None = None  # RadiopharmaceuticalStartTime (0018,1072)
    utc_offset_min: int | None = None
    nuclide_code: str | None = None  # RadionuclideCodeSequence CodeValue
    nuclide_text: str = ""  # code meaning of RadionuclideCodeSequence, or the free-text Radionuclide
    tracer_code: str | None = None  # RadiopharmaceuticalCodeSequence CodeValue
    tracer_scheme: str | None = None
    tracer_text: str = ""  # Radiopharmaceutical, code meaning


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """Timing of one slice or frame, in slice order of the volume."""

    acquisition: datetime | None = None
    frame_reference_time_ms: float | None = None
    duration_ms: float | None = None
    decay_factor: float | None = None
    units: str | None = None
    philips_suv_factor: float | None = None  # (7053,xx00)
    philips_activity_factor: float | None = None  # (7053,xx09)
    ge_scan_datetime: datetime | None = None  # (0009,xx0D) GEMS_PETD_01
    siemens_reference: datetime | None = None  # (0071,xx22)
    decay_correction_datetime: datetime | None = None  # (0018,9701), enhanced


@dataclass(frozen=True, slots=True)
class PatientFacts:
    """Patient module values that quantification or a criterion needs; nothing that identifies."""

    weight: float | None = None  # PatientWeight, kg by the standard
    size: float | None = None  # PatientSize, m by the standard
    sex: str | None = None  # "M", "F", "O" or None
    age_years: int | None = None  # completed years at the study date
    age_source: str | None = None  # "PatientBirthDate" or "PatientAge"
    age_boundary: bool = False  # the birthday is on the study date


@dataclass(frozen=True, slots=True)
class PetFacts:
    """The PET header of one series."""

    units: str | None = None  # Units (0054,1001)
    suv_type: str | None = None  # SUVType (0054,1006)
    decay_correction: str | None = None  # NONE, START, ADMIN
    corrected_image: tuple[str, ...] = ()
    series_type: tuple[str, ...] = ()
    series_datetime: datetime | None = None
    utc_offset_min: int | None = None
    manufacturer: str = ""
    reconstruction: str = ""
    injections: tuple[Injection, ...] = ()
    frames: tuple[FrameFacts, ...] = ()
    patient: PatientFacts = field(default_factory=PatientFacts)
    tracer: Tracer = Tracer.UNKNOWN
    tracer_source: str | None = None  # which tag named it
    conflicting: tuple[str, ...] = ()  # keywords of values that must be one in a series and are not
    notes: tuple[tuple[str, str], ...] = ()  # (caveat code, sentence) met while reading, e.g. a private tag without creator


class SuvStatus(StrEnum):
    """``ambiguous``: a factor exists, but defensible readings of the header differ by more than the preset allows."""

    OK = "ok"
    AMBIGUOUS = "ambiguous"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ReferenceTime:
    """One reading of the instant the voxel values refer to."""

    method: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SuvCalibration:
    """How stored units became SUVbw.

    bw_per_unit: SUVbw per stored unit after rescale; one number when it is the same in every slice, else the median, with
    ``per_slice`` holding all of them in slice order. other_factors: {"lbm_janmahasatian": ..., "lbm_james128": ..., "bsa": ...,
    "ibw": ...} per stored unit, where height and sex allow. spread: largest / smallest factor - 1 over defensible readings.
    """

    status: SuvStatus
    code: str | None = None
    bw_per_unit: float | None = None
    per_slice: tuple[float, ...] = ()
    method: str = ""
    reference_times: tuple[ReferenceTime, ...] = ()
    chosen_reference: str | None = None
    spread: float = 0.0
    uptake_minutes: float | None = None
    other_factors: tuple[tuple[str, float], ...] = ()
    sul_formula: str | None = None
