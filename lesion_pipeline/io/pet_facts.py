"""What a PET header says of dose, time, decay and patient, as recorded: no repair, no choice.

Sources of the tags: DICOM PS3.3 C.8.9 (PET), C.8.22 (Enhanced PET), C.7.1 and C.7.2 (patient), PS3.15 table of safe private
attributes (Philips), the vendors' conformance statements (GE GEMS_PETD_01, Siemens SIEMENS MED PT).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import date, datetime

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as PydicomSequence
from pydicom.tag import BaseTag, Tag

from lesion_pipeline.domain.pet import FrameFacts, Injection, PatientFacts, PetFacts, Tracer
from lesion_pipeline.io import dicom_values as dv
from lesion_pipeline.io.tracer import Recognised, recognise

ENHANCED_PET = ("1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.128.1")
_PHILIPS = (0x7053, "Philips PET Private Group", "philips")
_GE = (0x0009, "GEMS_PETD_01", "ge")
_SIEMENS = (0x0071, "SIEMENS MED PT", "siemens")
_WEEK_MS = 7 * 86_400_000.0
_FACTOR_HIGH = 1e9
#: Stands in where the header holds times but no date at all: only differences of times are used then.
NO_DATE = date(1900, 1, 2)
#: Real World Value unit codes that say what an enhanced PET holds.
_UNIT_CODES = {"Bq/ml": "BQML", "bq/ml": "BQML", "g/ml": "GML", "g/ml{SUVbw}": "GML", "{SUVbw}g/ml": "GML"}
_PLAIN_UNITS = frozenset({"BQML", "GML", "CM2ML", "CNTS", "CPS", "PROPCNTS", "PROPCPS", "1CM", "NONE"})


_ONE_PER_SERIES = (
    "PatientWeight",
    "PatientSize",
    "PatientSex",
    "DecayCorrection",
    "SUVType",
    "SeriesDate",
    "SeriesTime",
    "Units",
    "CorrectedImage",
)
_ONE_PER_INJECTION = (
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
)
_PER_FRAME = (
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "StudyDate",
    "FrameReferenceTime",
    "ActualFrameDuration",
    "DecayFactor",
    "Manufacturer",
    "SpecificCharacterSet",
    "RadiopharmaceuticalInformationSequence",
)
_DECIDING = frozenset(int(Tag(keyword)) for keyword in (*_ONE_PER_SERIES, *_PER_FRAME))
#: group of a private block -> last two digits of its elements that are read
_PRIVATE_DECIDING = {0x7053: (0x00, 0x09), 0x0009: (0x0D,), 0x0071: (0x22,)}


def decides_facts(tag: int) -> bool:
    """Is anything that differs between the slices of a series read from this element? The rest is read from the first slice.

    Slices that are the same in all such elements have the same FrameFacts and never contradict each other.
    """
    if tag in _DECIDING:
        return True
    group, number = tag >> 16, tag & 0xFFFF
    return group in _PRIVATE_DECIDING and (0x10 <= number <= 0xFF or number & 0xFF in _PRIVATE_DECIDING[group])


def read_pet_facts(datasets: Sequence[Dataset], order: Sequence[int] | None = None) -> PetFacts:
    """Facts of one PET series.

    datasets: the slices in slice order, or one enhanced multi-frame object; pixels are not touched.
    order: for an enhanced object, stored frame number (from 0) of each slice; stored order when None.
    ``frames`` of the answer follow the slices. Values that must be one in a series and are not are named in ``conflicting``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's remarks on single values: a bad value is an absent value here
        return _read(datasets, order)


def read_patient_facts(dataset: Dataset) -> PatientFacts:
    """Weight, size, sex and age in completed years at the study date; nothing that identifies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _patient(dataset)


def _read(datasets: Sequence[Dataset], order: Sequence[int] | None) -> PetFacts:
    head = datasets[0]
    conflicting = _conflicting(datasets)
    injections = tuple(_injection(item) for item in dv.items(head, "RadiopharmaceuticalInformationSequence"))
    enhanced = len(datasets) == 1 and bool(dv.items(head, "PerFrameFunctionalGroupsSequence"))
    private_notes: dict[str, str] = {}
    frames = _enhanced_frames(head, order) if enhanced else tuple(_frame(ds, private_notes) for ds in datasets)
    description = f"{dv.text(head, 'SeriesDescription')} {dv.text(head, 'ProtocolName')}"
    tracer = recognise(injections[0], description) if len(injections) == 1 else Recognised(Tracer.UNKNOWN, None)
    notes = tuple(private_notes.items()) + ((tracer.note,) if tracer.note else ())
    _, offset = dv.as_datetime("19000101000000" + dv.text(head, "TimezoneOffsetFromUTC"))
    return PetFacts(
        units=_units(head, frames),
        suv_type=dv.text(head, "SUVType") or None,
        decay_correction=_decay_correction(head),
        corrected_image=_corrections(head),
        series_type=dv.texts(head, "SeriesType"),
        series_datetime=_series_datetime(head),
        utc_offset_min=offset,
        manufacturer=dv.text(head, "Manufacturer"),
        reconstruction=dv.text(head, "ReconstructionMethod"),
        injections=injections,
        frames=frames,
        patient=_patient(head),
        tracer=tracer.tracer,
        tracer_source=tracer.source,
        conflicting=conflicting,
        notes=notes,
    )


def _units(head: Dataset, frames: tuple[FrameFacts, ...]) -> str | None:
    return dv.text(head, "Units") or next((f.units for f in frames if f.units), None)


def _injection(item: Dataset) -> Injection:
    nuclide = dv.first_item(item, "RadionuclideCodeSequence")
    tracer = dv.first_item(item, "RadiopharmaceuticalCodeSequence")
    start, offset = dv.as_datetime(dv.text(item, "RadiopharmaceuticalStartDateTime"))
    words = [dv.text(item, "Radiopharmaceutical"), dv.text(tracer, "CodeMeaning") if tracer else ""]
    nuclide_words = [dv.text(nuclide, "CodeMeaning") if nuclide else "", dv.text(item, "Radionuclide")]
    return Injection(
        total_dose=dv.number(item, "RadionuclideTotalDose"),
        half_life_s=dv.number(item, "RadionuclideHalfLife"),
        start_datetime=start,
        start_time=dv.time_of(item, "RadiopharmaceuticalStartTime"),
        utc_offset_min=offset,
        nuclide_code=(dv.text(nuclide, "CodeValue") or None) if nuclide else None,
        nuclide_text=" ".join(w for w in nuclide_words if w),
        tracer_code=(dv.text(tracer, "CodeValue") or None) if tracer else None,
        tracer_scheme=(dv.text(tracer, "CodingSchemeDesignator") or None) if tracer else None,
        tracer_text=" ".join(w for w in words if w),
    )


def _series_datetime(head: Dataset) -> datetime | None:
    clock = dv.time_of(head, "SeriesTime")
    day = dv.date_of(head, "SeriesDate", "AcquisitionDate", "StudyDate") or NO_DATE
    return datetime.combine(day, clock) if clock else None


def _acquisition(ds: Dataset) -> datetime | None:
    whole = dv.datetime_of(ds, "AcquisitionDateTime")
    if whole:
        return whole
    clock = dv.time_of(ds, "AcquisitionTime")
    day = dv.date_of(ds, "AcquisitionDate", "SeriesDate", "StudyDate") or NO_DATE
    return datetime.combine(day, clock) if clock else None


def _frame(ds: Dataset, notes: dict[str, str]) -> FrameFacts:
    groups = {tag >> 16 for tag in ds._dict}  # keys only: iterating a Dataset would parse every value

    def private_value(where: tuple[int, str, str], element: int) -> object | None:
        group, creator, maker = where
        if group not in groups:
            return None
        value, orphan = dv.private(ds, group, element, creator, maker)
        if orphan:
            notes["PRIVATE_WITHOUT_CREATOR"] = "a private value of the manufacturer was read though its creator is missing"
        return value

    def private_datetime(where: tuple[int, str, str], element: int) -> datetime | None:
        value = private_value(where, element)
        word = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
        return dv.as_datetime(word.strip("\x00 "))[0]

    return FrameFacts(
        acquisition=_acquisition(ds),
        frame_reference_time_ms=_within(dv.number(ds, "FrameReferenceTime"), 0.0, _WEEK_MS),
        duration_ms=_within(dv.number(ds, "ActualFrameDuration"), 0.0, _WEEK_MS),
        decay_factor=_within(dv.number(ds, "DecayFactor"), 0.0, _FACTOR_HIGH),
        units=dv.text(ds, "Units") or None,
        philips_suv_factor=dv.as_number(private_value(_PHILIPS, 0x00)),
        philips_activity_factor=dv.as_number(private_value(_PHILIPS, 0x09)),
        ge_scan_datetime=private_datetime(_GE, 0x0D),
        siemens_reference=private_datetime(_SIEMENS, 0x22),
    )


def _within(value: float | None, low: float, high: float) -> float | None:
    """A value that can be what it says; anything else is as good as absent."""
    return value if value is not None and low <= value <= high else None


def _enhanced_frames(head: Dataset, order: Sequence[int] | None) -> tuple[FrameFacts, ...]:
    groups = dv.items(head, "PerFrameFunctionalGroupsSequence")
    shared = dv.first_item(head, "SharedFunctionalGroupsSequence")
    reference = dv.datetime_of(head, "DecayCorrectionDateTime")
    top = dv.text(head, "Units")
    top_duration = _within(dv.number(head, "ActualFrameDuration"), 0.0, _WEEK_MS)
    out = []
    for number in order if order is not None else range(len(groups)):
        group = groups[number]
        content = dv.first_item(group, "FrameContentSequence") or Dataset()
        factors = _macro(group, shared, "PETFrameCorrectionFactorsSequence")
        out.append(
            FrameFacts(
                acquisition=dv.datetime_of(content, "FrameAcquisitionDateTime") or _acquisition(head),
                frame_reference_time_ms=None,
                duration_ms=_within(dv.number(content, "FrameAcquisitionDuration"), 0.0, _WEEK_MS) or top_duration,
                decay_factor=_within(dv.number(factors, "DecayFactor"), 0.0, _FACTOR_HIGH) if factors else None,
                units=top or _enhanced_units(group, shared),
                decay_correction_datetime=reference,
            )
        )
    return tuple(out)


def _macro(group: Dataset, shared: Dataset | None, keyword: str) -> Dataset | None:
    return dv.first_item(group, keyword) or dv.first_item(shared, keyword)


def _enhanced_units(group: Dataset, shared: Dataset | None) -> str | None:
    rescale = _macro(group, shared, "PixelValueTransformationSequence")
    word = dv.text(rescale, "RescaleType").upper() if rescale else ""
    if word in _PLAIN_UNITS:
        return word
    mapping = _macro(group, shared, "RealWorldValueMappingSequence")
    unit = dv.first_item(mapping, "MeasurementUnitsCodeSequence")
    return _UNIT_CODES.get(dv.text(unit, "CodeValue")) if unit else None


def _decay_correction(head: Dataset) -> str | None:
    word = dv.text(head, "DecayCorrection").upper()
    if word:
        return word
    return {"YES": "START", "NO": "NONE"}.get(dv.text(head, "DecayCorrected").upper())


def _corrections(head: Dataset) -> tuple[str, ...]:
    words = tuple(w.upper() for w in dv.texts(head, "CorrectedImage"))
    flags = (("AttenuationCorrected", "ATTN"), ("DecayCorrected", "DECY"), ("ScatterCorrected", "SCAT"))
    return words or tuple(word for keyword, word in flags if dv.text(head, keyword).upper() == "YES")


def _conflicting(datasets: Sequence[Dataset]) -> tuple[str, ...]:
    """Keywords whose values differ between slices though the SUV of all slices hangs on one value."""
    found = []
    for keyword in _ONE_PER_SERIES:
        if not _stored_alike(datasets, keyword) and len({dv.texts(ds, keyword) for ds in datasets}) > 1:
            found.append(keyword)
    if _stored_alike(datasets, "RadiopharmaceuticalInformationSequence"):
        return tuple(found)
    injections = [dv.items(ds, "RadiopharmaceuticalInformationSequence") for ds in datasets]
    if len({len(found_items) for found_items in injections}) > 1:
        return (*found, "RadiopharmaceuticalInformationSequence")
    for keyword in _ONE_PER_INJECTION:
        if len({tuple(dv.text(item, keyword) for item in found_items) for found_items in injections}) > 1:
            found.append(keyword)
    return tuple(found)


def _stored_alike(datasets: Sequence[Dataset], keyword: str) -> bool:
    """True when the element is stored in the same bytes everywhere: spares parsing it in every slice."""
    tag = Tag(keyword)
    first = _as_stored(datasets[0], tag)
    return all(_as_stored(ds, tag) == first for ds in datasets)


def _as_stored(ds: Dataset, tag: BaseTag) -> object:
    element = ds._dict.get(tag)
    if element is None or not isinstance(element.value, (list, PydicomSequence)):
        return None if element is None else element.value
    return [[(t, _as_stored(item, t)) for t in item._dict] if isinstance(item, Dataset) else item for item in element.value]


def _patient(ds: Dataset) -> PatientFacts:
    age, source, boundary = _age(ds)
    sex = dv.text(ds, "PatientSex").upper()
    return PatientFacts(
        weight=dv.number(ds, "PatientWeight"),
        size=dv.number(ds, "PatientSize"),
        sex=sex if sex in ("M", "F", "O") else None,
        age_years=age,
        age_source=source,
        age_boundary=boundary,
    )


def _age(ds: Dataset) -> tuple[int | None, str | None, bool]:
    """(completed years, tag it came from, birthday on the study date)."""
    born = dv.date_of(ds, "PatientBirthDate")
    day = dv.date_of(ds, "StudyDate", "SeriesDate", "AcquisitionDate")
    if born and day and born <= day:
        years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
        return years, "PatientBirthDate", (day.month, day.day) == (born.month, born.day)
    word = dv.text(ds, "PatientAge").upper()
    if len(word) == 4 and word[:3].isdigit() and word[3] in "DWMY":
        count = int(word[:3])
        years = {"Y": count, "M": count // 12, "W": count * 7 // 365, "D": count // 365}[word[3]]
        return years, "PatientAge", False
    return None, None, False
