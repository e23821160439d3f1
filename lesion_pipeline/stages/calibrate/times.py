"""The instant the voxel values refer to, when they are decay corrected to the start of the scan.

No single rule is right for all scanners, so every reading of the header is computed and kept, one is chosen in layers, and
the others say how sure the choice is:

1. the manufacturer's own decay-correction time: Enhanced PET (0018,9701), Siemens (0071,xx22), GE (0009,xx0D);
2. SeriesDate + SeriesTime, if not after the first acquisition (QIBA);
3. back-computed from FrameReferenceTime, AcquisitionTime + T_ave - FrameReferenceTime, if the slices agree (IBSI option B);
4. back-computed from DecayFactor, AcquisitionTime + T_ave - ln(DecayFactor) / lambda;
5. the first AcquisitionTime, with a caveat.

T_ave is the instant within a frame at which the decay rate equals the frame's mean rate:
ln(x / (1 - exp(-x))) / lambda with x = lambda T (QIBA FDG-PET/CT profile; IBSI SUV manual).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from lesion_pipeline.domain.errors import MissingTagError, UnitError
from lesion_pipeline.domain.pet import FrameFacts, PetFacts, ReferenceTime
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options

VENDOR = ("enhanced", "siemens", "ge")
SERIES, BACK, FACTOR, FIRST = "series", "frame_reference_time", "decay_factor", "first_acquisition"


@dataclass(frozen=True, slots=True)
class Reference:
    """at: the chosen instant. spread_s: seconds between the earliest and the latest reading that may still be true."""

    at: datetime
    method: str
    readings: tuple[ReferenceTime, ...]
    earliest: datetime
    latest: datetime


def mean_rate_s(duration_s: float, half_life_s: float) -> float:
    """T_ave of a frame in seconds after its start."""
    decay = math.log(2.0) / half_life_s
    x = decay * duration_s
    if x < 1e-9:
        return duration_s / 2.0
    return math.log(x / -math.expm1(-x)) / decay


def reference_time(facts: PetFacts, half_life_s: float, options: Options, notes: Notes) -> Reference:
    """The reference instant of a START-corrected series.

    Raises MissingTagError (NO_REFERENCE_TIME), UnitError (REFTIME_CONFLICT) when DecayFactor contradicts the chosen reading.
    """
    first = min((f.acquisition for f in facts.frames if f.acquisition), default=None)
    anchor = facts.series_datetime or first
    readings: dict[str, datetime] = _vendor(facts.frames, anchor, options, notes)
    series = facts.series_datetime
    if series and (first is None or series <= first + timedelta(seconds=options.series_after_acquisition_s)):
        readings[SERIES] = series
    back = _back_computed(facts.frames, half_life_s, options)
    if back:
        readings[BACK] = back
    implied = _from_decay_factor(facts.frames, half_life_s, options)
    if implied:
        readings[FACTOR] = implied
    if first:
        readings[FIRST] = first
    if not readings:
        raise MissingTagError(
            "NO_REFERENCE_TIME",
            "the header holds no time the image values refer to",
            series=notes.series,
            advice="Export the series again without removing SeriesTime and AcquisitionTime.",
        )
    order = (*VENDOR, SERIES, BACK, FACTOR, FIRST)
    method = next(name for name in order if name in readings)
    if method == FIRST:
        notes.add(
            "REFTIME_FIRST_ACQUISITION",
            "the first acquisition time was taken as the time the values refer to, for want of a better one",
        )
    chosen = readings[method]
    _check_decay_factor(chosen, implied, options, notes)
    believed = _believed(readings, method, implied, options, notes)
    return Reference(
        at=chosen,
        method=method,
        readings=tuple(ReferenceTime(name, readings[name]) for name in order if name in readings),
        earliest=min(believed),
        latest=max(believed),
    )


def _vendor(frames: tuple[FrameFacts, ...], anchor: datetime | None, options: Options, notes: Notes) -> dict[str, datetime]:
    """The manufacturers' own times, if one in the series. A date the de-identification left behind is replaced."""
    found: dict[str, datetime] = {}
    columns = {
        "enhanced": [f.decay_correction_datetime for f in frames],
        "siemens": [f.siemens_reference for f in frames],
        "ge": [f.ge_scan_datetime for f in frames],
    }
    for name, column in columns.items():
        stated = [value for value in column if value]
        if not stated:
            continue
        if (max(stated) - min(stated)).total_seconds() > options.reference_agree_s:
            notes.add(
                "PRIVATE_TIMES_DIFFER", "the manufacturer's decay-correction time differs between slices and was not used"
            )
            continue
        found[name] = _on_day_of(min(stated), anchor, options, notes)
    return found


def _on_day_of(stated: datetime, anchor: datetime | None, options: Options, notes: Notes) -> datetime:
    limit = timedelta(hours=options.reference_date_shift_hours)
    if anchor is None or abs(stated - anchor) <= limit:
        return stated
    notes.add(
        "PRIVATE_DATE_SHIFTED",
        "the date of the manufacturer's decay-correction time is not that of the series; only its time of day was used",
    )
    same_day = datetime.combine(anchor.date(), stated.time())
    return min((same_day + timedelta(days=d) for d in (-1, 0, 1)), key=lambda t: abs(t - anchor))


def _back_computed(frames: tuple[FrameFacts, ...], half_life_s: float, options: Options) -> datetime | None:
    """Layer 3. A FrameReferenceTime below T_ave is relative to the frame, not to the reference, and says nothing."""
    if not frames:
        return None
    seen = []
    for frame in frames:
        if frame.acquisition is None or frame.frame_reference_time_ms is None or frame.duration_ms is None:
            return None
        mean_at = mean_rate_s(frame.duration_ms / 1000.0, half_life_s)
        offset = frame.frame_reference_time_ms / 1000.0
        if frame.duration_ms <= 0 or offset < mean_at - 1.0:
            return None
        seen.append(frame.acquisition + timedelta(seconds=mean_at - offset))
    return _middle(seen) if _seconds(seen) <= options.back_computation_spread_s else None


def _from_decay_factor(frames: tuple[FrameFacts, ...], half_life_s: float, options: Options) -> datetime | None:
    """Layer 4, from the frames whose times are their own: ln(DecayFactor) / lambda after the reference lies the mean instant.

    Some scanners write the scan's start into AcquisitionTime of every bed. Their first bed, the one with the smallest factor,
    still tells, unless FrameReferenceTime says that the series does not hold the first bed: then the offset is taken off.
    A factor of exactly 1 in every slice is a default, not a measurement.
    """
    usable = [f for f in frames if f.acquisition and f.decay_factor and f.duration_ms]
    if not usable or len(usable) < len(frames) or all(f.decay_factor == 1.0 for f in usable):
        return None
    if any((f.decay_factor or 0.0) < 1.0 for f in usable):
        return None
    seen: list[tuple[float, datetime]] = []
    for f in usable:
        after = math.log(f.decay_factor or 1.0) * half_life_s / math.log(2.0)
        mean_at = mean_rate_s((f.duration_ms or 0.0) / 1000.0, half_life_s)
        seen.append((after, (f.acquisition or datetime.min) + timedelta(seconds=mean_at - after)))
    instants = [at for _, at in seen]
    if _seconds(instants) <= options.back_computation_spread_s:
        return _middle(instants)
    offsets = [f.frame_reference_time_ms for f in usable]
    if len({f.acquisition for f in usable}) == 1 and all(o is not None for o in offsets) and len(set(offsets)) > 1:
        relative = [at + timedelta(milliseconds=o or 0.0) for (_, at), o in zip(seen, offsets, strict=True)]
        if _seconds(relative) <= options.decay_factor_agree_s:
            return _middle(relative)
    return min(seen)[1]


def _check_decay_factor(chosen: datetime, implied: datetime | None, options: Options, notes: Notes) -> None:
    if implied is None or abs((implied - chosen).total_seconds()) <= options.decay_factor_agree_s:
        return
    minutes = (chosen - implied).total_seconds() / 60.0
    raise UnitError(
        "REFTIME_CONFLICT",
        f"the decay factor in the header says that the values refer to a time {abs(minutes):.0f} minutes "
        f"{'earlier' if minutes > 0 else 'later'} than the times in the header do",
        series=notes.series,
        advice="Correct SeriesTime, AcquisitionTime or DecayFactor, or export the series from the scanner again.",
    )


def _believed(
    readings: dict[str, datetime], method: str, implied: datetime | None, options: Options, notes: Notes
) -> list[datetime]:
    """The readings that may still be true once some have voted.

    A manufacturer's time and SeriesTime that agree outvote the rest, and so does an agreeing DecayFactor. The first
    acquisition counts only when nothing else is there.
    """
    chosen = readings[method]
    others = {name: at for name, at in readings.items() if name not in (method, FIRST)}
    agreeing = [
        at for name, at in others.items() if name != BACK and abs((at - chosen).total_seconds()) <= options.reference_agree_s
    ]
    vendor_and_series = method in VENDOR and SERIES in readings and readings[SERIES] in agreeing
    if vendor_and_series or implied is not None:
        if any(abs((at - chosen).total_seconds()) > options.decay_factor_agree_s for at in others.values()):
            notes.add(
                "REFTIME_OUTVOTED", "one time in the header contradicts the time the values refer to; the others outvote it"
            )
        return [chosen, *agreeing]
    return [chosen, *others.values()]


def _seconds(instants: list[datetime]) -> float:
    return (max(instants) - min(instants)).total_seconds()


def _middle(instants: list[datetime]) -> datetime:
    start = min(instants)
    return start + timedelta(seconds=median((t - start).total_seconds() for t in instants))
