"""From a PET header to factors: SUVbw per stored unit (after rescale), slice by slice where they differ.

SUVbw = activity concentration [Bq/ml] x weight [g] / dose [Bq], the dose decayed to the instant the values refer to.
Units table of the QIBA FDG-PET/CT profile and the IBSI SUV manual; a rescale slope is applied once, before this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from lesion_pipeline.domain.errors import MissingTagError, UnitError
from lesion_pipeline.domain.pet import PetFacts, ReferenceTime, SuvCalibration, SuvStatus
from lesion_pipeline.stages.calibrate.body import (
    Body,
    body_of,
    ideal_weight_kg,
    lean_mass_kg,
    need_weight,
    numerators,
    surface_cm2,
)
from lesion_pipeline.stages.calibrate.dose import Decay, decay_of, dose_of, the_injection
from lesion_pipeline.stages.calibrate.injection import injection_time
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options
from lesion_pipeline.stages.calibrate.times import Reference, mean_rate_s, reference_time

_SPOKEN = {
    "enhanced": "DecayCorrectionDateTime",
    "siemens": "the manufacturer's decay-correction time (Siemens)",
    "ge": "the manufacturer's scan time (GE)",
    "series": "SeriesTime",
    "frame_reference_time": "the time computed back from FrameReferenceTime",
    "decay_factor": "the time computed back from DecayFactor",
    "first_acquisition": "the first AcquisitionTime",
}
_LARGEST = 1e12  # a factor beyond is the product of absurd header values
_SAME_FACTOR = 1e-9  # relative; slices whose factors differ by less share one


@dataclass(frozen=True, slots=True)
class _Factors:
    """per_slice: SUVbw per stored unit. low, high: the factor under the other readings of the times, as a ratio to it."""

    per_slice: tuple[float, ...]
    method: str
    low: float = 1.0
    high: float = 1.0
    reference: Reference | None = None
    uptake_minutes: float | None = None


def calibration_of(facts: PetFacts, options: Options, notes: Notes) -> SuvCalibration:
    """The calibration of one PET series from its header; caveats go to ``notes``.

    Raises MissingTagError or UnitError with the code that says why SUV cannot be known.
    """
    _refuse_mixed(facts, notes.series)
    _refuse_uncorrected(facts, notes.series)
    for code, sentence in facts.notes:
        notes.add(code, sentence)
    units = (facts.units or "").upper()
    body = body_of(facts.patient, options, notes, needed=units == "BQML")
    if units in ("GML", "CM2ML"):
        found = _already_suv(units, facts, body, options, notes)
    elif units == "CNTS":
        found = _from_counts(facts, body, options, notes)
    elif units == "BQML":
        found = _from_activity(facts, body, tuple(1.0 for _ in facts.frames) or (1.0,), options, notes)
        found = _check_philips(found, facts, options, notes)
    elif not units:
        raise MissingTagError(
            "UNITS_MISSING",
            "the header does not say which unit the values are in",
            series=notes.series,
            advice="Export the series again with the PET module's Units.",
        )
    else:
        raise UnitError(
            "UNSUPPORTED_UNITS",
            f"values in {units} cannot be turned into SUV",
            series=notes.series,
            advice="Export a reconstruction in BQML or GML.",
        )
    return _finished(found, body, options, notes)


def _refuse_mixed(facts: PetFacts, series: str) -> None:
    if facts.conflicting:
        raise UnitError(
            "MIXED_SERIES",
            f"the slices of one series disagree on {', '.join(facts.conflicting)}",
            series=series,
            advice="Separate the series that were mixed, or export them again.",
        )


def _refuse_uncorrected(facts: PetFacts, series: str) -> None:
    if "ATTN" not in facts.corrected_image:
        raise UnitError(
            "NOT_ATTENUATION_CORRECTED",
            "the header does not say that attenuation was corrected, so the values are not quantitative",
            series=series,
            advice="Use the attenuation-corrected reconstruction.",
        )


def _already_suv(units: str, facts: PetFacts, body: Body, options: Options, notes: Notes) -> _Factors:
    """GML and CM2ML: values are an SUV of the kind that SUVType names (absent: body weight, PS3.3 C.8.9.1)."""
    kind = (facts.suv_type or ("BSA" if units == "CM2ML" else "BW")).upper()
    count = max(len(facts.frames), 1)
    if len(facts.injections) > 1:
        notes.add("MULTIPLE_INJECTIONS", "the header lists several injections; the stored SUV was taken as it is")
    if units == "GML" and kind == "BW":
        return _Factors((1.0,) * count, "stored as SUVbw")
    over = _numerator(units, kind, body, options)
    if over is None:
        raise UnitError(
            "UNSUPPORTED_SUV_TYPE" if kind not in _SUV_TYPES else "HEIGHT_MISSING",
            f"stored SUV of type {kind} in {units} cannot be turned into SUVbw"
            + ("" if kind not in _SUV_TYPES else " without a plausible height and weight"),
            series=notes.series,
            advice="Export the series in BQML or as SUVbw.",
        )
    if body.sex is None and kind != "BSA":
        notes.add(
            "SEX_UNKNOWN", "the patient's sex is not known; the mean of the formulas for both was used to convert stored SUV"
        )
    return _Factors((need_weight(body, notes.series) * 1000.0 / over,) * count, f"stored as SUV of type {kind}")


_SUV_TYPES = {"LBM": "lbm_james120", "LBMJAMES128": "lbm_james128", "LBMJANMA": "lbm_janmahasatian", "IBW": "ibw", "BSA": "bsa"}


def _numerator(units: str, kind: str, body: Body, options: Options) -> float | None:
    """What the stored SUV was normalised by: g, or cm2 for BSA. None when that cannot be known."""
    if (units == "CM2ML") != (kind == "BSA") or kind not in _SUV_TYPES:
        return None
    if kind == "BSA":
        return surface_cm2(body)
    mass = ideal_weight_kg(body) if kind == "IBW" else lean_mass_kg(body, _SUV_TYPES[kind], options)
    return None if mass is None else mass * 1000.0


def _from_counts(facts: PetFacts, body: Body, options: Options, notes: Notes) -> _Factors:
    """Philips counts: (7053,xx00) gives SUVbw, else (7053,xx09) gives Bq/ml."""
    suv = tuple(f.philips_suv_factor or 0.0 for f in facts.frames)
    activity = tuple(f.philips_activity_factor or 0.0 for f in facts.frames)
    if suv and min(suv) > 0:
        return _Factors(suv, "counts x the manufacturer's SUV factor")
    if activity and min(activity) > 0:
        return _from_activity(facts, body, activity, options, notes)
    raise UnitError(
        "CNTS_WITHOUT_FACTOR",
        "the values are counts and the header holds no factor that makes them activity or SUV",
        series=notes.series,
        advice="Export the series again with its private attributes, or a reconstruction in BQML.",
    )


def _from_activity(facts: PetFacts, body: Body, per_unit: tuple[float, ...], options: Options, notes: Notes) -> _Factors:
    """per_unit: Bq/ml per stored unit in each slice."""
    series = notes.series
    weight_g = need_weight(body, series) * 1000.0
    injection = the_injection(facts, series)
    correction = _decay_correction(facts, series)
    decay = decay_of(injection, options, notes)
    dose = dose_of(injection, decay, options, notes)
    plain = tuple(unit * weight_g / dose for unit in per_unit)
    if correction == "ADMIN":
        return _at_administration(plain, facts, decay, options, notes)
    if correction == "NONE":
        return _uncorrected(plain, facts, decay, options, notes)
    reference = reference_time(facts, decay.half_life_s, options, notes)
    given = injection_time(facts, reference.at, decay.half_life_s, options, notes)

    def grown(at: datetime) -> float:
        """By how much the factor grows because the dose decayed until ``at``."""
        return math.exp((at - given).total_seconds() * math.log(2.0) / decay.half_life_s)

    middle = grown(reference.at)
    return _Factors(
        tuple(f * middle for f in plain),
        f"dose decayed to {_SPOKEN[reference.method]}",
        low=grown(reference.earliest) / middle,
        high=grown(reference.latest) / middle,
        reference=reference,
        uptake_minutes=(reference.at - given).total_seconds() / 60.0,
    )


def _decay_correction(facts: PetFacts, series: str) -> str:
    word = (facts.decay_correction or "").upper()
    if word not in ("START", "ADMIN", "NONE"):
        raise MissingTagError(
            "DECAY_CORRECTION_MISSING",
            "the header does not say to which time the values are decay corrected",
            series=series,
            advice="Export the series again with the PET module's DecayCorrection.",
        )
    corrected = any(flag in facts.corrected_image for flag in ("DECY", "DECAY"))
    if corrected == (word == "NONE"):
        raise UnitError(
            "DECAY_CORRECTION_CONFLICT",
            f"DecayCorrection says {word} but CorrectedImage says that decay was {'' if corrected else 'not '}corrected",
            series=series,
            advice="Correct the header, or export the series from the scanner again.",
        )
    return word


def _at_administration(plain: tuple[float, ...], facts: PetFacts, decay: Decay, options: Options, notes: Notes) -> _Factors:
    """The dose needs no decay; the times are still asked for, because an injection after the scan is a broken header."""
    method = "dose as administered"
    first = min((f.acquisition for f in facts.frames if f.acquisition), default=facts.series_datetime)
    injection = facts.injections[0]
    if first is None or (injection.start_datetime is None and injection.start_time is None):
        return _Factors(plain, method)
    try:
        given = injection_time(facts, first, decay.half_life_s, options, notes)
    except UnitError as refusal:
        if refusal.code == "INJECTION_AFTER_SCAN":
            raise
        return _Factors(plain, method)
    return _Factors(plain, method, uptake_minutes=(first - given).total_seconds() / 60.0)


def _uncorrected(plain: tuple[float, ...], facts: PetFacts, decay: Decay, options: Options, notes: Notes) -> _Factors:
    """Each frame refers to the instant of its own mean count rate, T_ave after its start."""
    stated = [(f.acquisition, f.duration_ms) for f in facts.frames]
    known = [(at, ms) for at, ms in stated if at is not None and ms is not None and ms > 0]
    if not known or len(known) < len(stated):
        raise MissingTagError(
            "NO_REFERENCE_TIME",
            "the values are not decay corrected and the header lacks a frame's start or duration",
            series=notes.series,
            advice="Export a decay-corrected reconstruction.",
        )
    notes.add("DECAY_NOT_CORRECTED", "the values are not decay corrected; each slice was referred to the time of its own frame")
    first = min(at for at, _ in known)
    given = injection_time(facts, first, decay.half_life_s, options, notes)
    rate = math.log(2.0) / decay.half_life_s
    grown = [math.exp(rate * ((at - given).total_seconds() + mean_rate_s(ms / 1000.0, decay.half_life_s))) for at, ms in known]
    return _Factors(
        tuple(f * g for f, g in zip(plain, grown, strict=True)),
        "dose decayed to the mean count rate of each frame",
        reference=Reference(first, "first_acquisition", (ReferenceTime("first_acquisition", first),), first, first),
        uptake_minutes=(first - given).total_seconds() / 60.0,
    )


def _check_philips(found: _Factors, facts: PetFacts, options: Options, notes: Notes) -> _Factors:
    """Where Philips writes both its factors, their ratio is the scanner's own SUV per Bq/ml: a vote of its own."""
    ratios = [
        f.philips_suv_factor / f.philips_activity_factor
        for f in facts.frames
        if f.philips_suv_factor and f.philips_activity_factor
    ]
    if not ratios or len(ratios) < len(facts.frames):
        return found
    apart = [ratio / factor for ratio, factor in zip(ratios, found.per_slice, strict=True)]
    if max(apart) / min(apart) > 1.0 + options.vendor_factor_agree:
        return found
    if abs(apart[0] - 1.0) <= options.vendor_factor_agree:
        if found.high / found.low > 1.0 + options.spread_warn:
            notes.add(
                "REFTIME_OUTVOTED", "one time in the header contradicts the time the values refer to; the others outvote it"
            )
        return _Factors(found.per_slice, found.method, 1.0, 1.0, found.reference, found.uptake_minutes)
    notes.add(
        "VENDOR_FACTOR_DISAGREES",
        f"the manufacturer's own SUV factor is {100.0 * (apart[0] - 1.0):+.1f} % off the one computed from the header",
    )
    low, high = min(found.low, *apart), max(found.high, *apart)
    return _Factors(found.per_slice, found.method, low, high, found.reference, found.uptake_minutes)


def _finished(found: _Factors, body: Body, options: Options, notes: Notes) -> SuvCalibration:
    factors = found.per_slice
    if not 0.0 < min(factors) <= max(factors) < _LARGEST:
        raise UnitError(
            "SUV_IMPLAUSIBLE",
            "dose, weight and times in the header give a factor that is no number",
            series=notes.series,
            advice="Check RadionuclideTotalDose, PatientWeight and the times of the series.",
        )
    one = max(factors) <= min(factors) * (1.0 + _SAME_FACTOR)
    factor = factors[0] if one else sorted(factors)[len(factors) // 2]
    spread = found.high / found.low - 1.0
    status, code = SuvStatus.OK, None
    if spread > options.spread_ambiguous:
        status, code = SuvStatus.AMBIGUOUS, "SUV_AMBIGUOUS"
        notes.add(code, f"readings of the header that may all be true give SUVs that differ by {100.0 * spread:.0f} %")
    elif spread > options.spread_warn:
        notes.add("REFTIME_SPREAD", f"readings of the times in the header give SUVs that differ by {100.0 * spread:.1f} %")
    if (
        found.uptake_minutes is not None
        and not options.uptake_minutes_low <= found.uptake_minutes <= options.uptake_minutes_high
    ):
        notes.add(
            "UPTAKE_TIME_UNUSUAL",
            f"{found.uptake_minutes:.0f} minutes passed between injection and scan; the preset expects "
            f"{options.uptake_minutes_low:g} to {options.uptake_minutes_high:g}",
        )
    reference = found.reference
    return SuvCalibration(
        status=status,
        code=code,
        bw_per_unit=factor,
        per_slice=() if one else factors,
        method=found.method,
        reference_times=reference.readings if reference else (),
        chosen_reference=reference.method if reference else None,
        spread=spread,
        uptake_minutes=found.uptake_minutes,
        other_factors=_other_factors(factor, body, options),
        sul_formula=options.sul_formula,
    )


def _other_factors(factor: float, body: Body, options: Options) -> tuple[tuple[str, float], ...]:
    """SUVlbm, SUVbsa and SUVibw per stored unit: SUVbw differs from them by its numerator only."""
    if body.weight_kg is None:
        return ()
    weight_g = body.weight_kg * 1000.0
    return tuple((name, factor * over / weight_g) for name, over in numerators(body, options).items())
