"""The injected dose in Bq and the half-life it decays with."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_pipeline.domain.errors import MissingTagError, UnitError
from lesion_pipeline.domain.nuclides import Nuclide, nuclide_of_code, nuclide_of_half_life, nuclide_of_text
from lesion_pipeline.domain.pet import Injection, PetFacts
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options


@dataclass(frozen=True, slots=True)
class Decay:
    """half_life_s: as stored where it is plausible, else of the table. nuclide: None when nothing names it."""

    half_life_s: float
    nuclide: Nuclide | None


def the_injection(facts: PetFacts, series: str) -> Injection:
    """The one injection of the series. Raises MissingTagError (NO_RADIOPHARMACEUTICAL), UnitError (MULTIPLE_INJECTIONS)."""
    if not facts.injections:
        raise MissingTagError(
            "NO_RADIOPHARMACEUTICAL",
            "the header says nothing about the injected radiopharmaceutical",
            series=series,
            advice="Export the series again without removing the radiopharmaceutical information.",
        )
    if len(facts.injections) > 1:
        raise UnitError(
            "MULTIPLE_INJECTIONS",
            f"the header lists {len(facts.injections)} injections, and which dose the image shows cannot be known",
            series=series,
            advice="Use a series with one injection.",
        )
    return facts.injections[0]


def decay_of(injection: Injection, options: Options, notes: Notes) -> Decay:
    """Half-life, checked against the nuclide that code and text name.

    Raises UnitError (HALF_LIFE_MISMATCH), MissingTagError (HALF_LIFE_MISSING).
    """
    stored = injection.half_life_s if injection.half_life_s and injection.half_life_s > 0 else None
    coded, said = nuclide_of_code(injection.nuclide_code), nuclide_of_text(injection.nuclide_text)
    named = [n for n in (coded, said) if n]
    if stored is None:
        return _from_table(named, notes)
    by_life = nuclide_of_half_life(stored, options.half_life_tolerance)
    if not options.half_life_low_s <= stored <= options.half_life_high_s:
        raise _mismatch(f"the header gives a half-life of {stored:g} s, which no imaged nuclide has", notes.series)
    if not named:
        if by_life is None:
            notes.add(
                "HALF_LIFE_UNVERIFIED", f"the half-life of {stored:g} s belongs to no nuclide known here and none is named"
            )
        return Decay(stored, by_life)
    if by_life not in named:
        said_life = (
            f"the header names {named[0].name} (half-life {named[0].half_life_s:g} s) but gives a half-life of {stored:g} s"
        )
        raise _mismatch(said_life, notes.series)
    if coded and said and coded != said:
        notes.add(
            "NUCLIDE_CODE_CONFLICT",
            f"the nuclide's code says {coded.name} and its text {said.name}; the half-life is that of {by_life.name}",
        )
    return Decay(stored, by_life)


def _mismatch(message: str, series: str) -> UnitError:
    advice = "Correct the nuclide or the half-life in the header."
    return UnitError("HALF_LIFE_MISMATCH", message, series=series, advice=advice)


def _from_table(named: list[Nuclide], notes: Notes) -> Decay:
    if not named or len({n.name for n in named}) > 1:
        raise MissingTagError(
            "HALF_LIFE_MISSING",
            "the header gives neither a half-life nor one nuclide",
            series=notes.series,
            advice="Add the nuclide or its half-life to the header.",
        )
    notes.add("HALF_LIFE_FROM_TABLE", f"the header gives no half-life; that of {named[0].name} was used")
    return Decay(named[0].half_life_s, named[0])


def dose_of(injection: Injection, decay: Decay, options: Options, notes: Notes) -> float:
    """Injected dose in Bq. A dose that only makes sense in MBq is taken as MBq, if the nuclide is one that is injected.

    Raises MissingTagError (DOSE_MISSING), UnitError (DOSE_AMBIGUOUS, DOSE_IMPLAUSIBLE).
    """
    stored = injection.total_dose
    if stored is None or stored <= 0:
        raise MissingTagError(
            "DOSE_MISSING",
            "the header does not hold the injected dose",
            series=notes.series,
            advice="Export the series again without removing the radiopharmaceutical information.",
        )
    if stored < options.dose_mbq_below:
        if decay.nuclide is None:
            notes.add("DOSE_UNVERIFIED", f"the dose of {stored:g} Bq is very small and the nuclide unknown; taken as stored")
            return stored
        if stored * 1e6 < options.dose_mbq_below:
            raise _implausible(f"the dose in the header ({stored:g}) is too small in Bq and in MBq", notes.series)
        notes.add("DOSE_MBQ", f"the dose in the header ({stored:g}) was read as MBq")
        return stored * 1e6
    if stored <= options.dose_bq_above:
        raise UnitError(
            "DOSE_AMBIGUOUS",
            f"the dose in the header ({stored:g}) is too large for MBq and too small for Bq",
            series=notes.series,
            advice="Correct RadionuclideTotalDose; DICOM wants Bq.",
        )
    if stored > options.dose_bq_high:
        raise _implausible(f"the dose in the header ({stored:g} Bq) is more than is ever injected for imaging", notes.series)
    return stored


def _implausible(message: str, series: str) -> UnitError:
    advice = "Correct RadionuclideTotalDose; DICOM wants Bq."
    return UnitError("DOSE_IMPLAUSIBLE", message, series=series, advice=advice)
