"""The patient's weight and height, and the body measures that SUV is normalised by.

Formulas: James 1976 (lean body mass; the male coefficient is 128 in DICOM's LBMJAMES128, 120 in Morgan's copy that DICOM calls
LBM), Janmahasatian 2005 (BMI with the height in metres), Devine ideal body weight in the form of the QIBA profile, Du Bois
body surface area.
"""

from __future__ import annotations

from dataclasses import dataclass

from lesion_pipeline.domain.errors import MissingTagError, UnitError
from lesion_pipeline.domain.pet import PatientFacts
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options


@dataclass(frozen=True, slots=True)
class Body:
    """weight_kg and height_m after the allowed repairs; None where they are not known. sex: M, F or None."""

    weight_kg: float | None
    height_m: float | None
    sex: str | None

    @property
    def bmi(self) -> float | None:
        if self.weight_kg is None or self.height_m is None:
            return None
        return float(self.weight_kg / self.height_m**2)


def body_of(patient: PatientFacts, options: Options, notes: Notes, *, needed: bool) -> Body:
    """Weight and height with the repairs that are allowed: grams, centimetres, the user's own weight.

    needed: SUV hangs on the weight; then an implausible one is refused with UnitError (WEIGHT_IMPLAUSIBLE), else it is dropped
    with a caveat, as an implausible height always is: only SUL and BSA need that.
    """
    weight = _weight(patient.weight, options, notes, needed=needed)
    height = _height(patient.size, options, notes)
    body = Body(weight, height, patient.sex if patient.sex in ("M", "F") else None)
    if body.bmi is not None and not options.bmi_low <= body.bmi <= options.bmi_high:
        notes.add(
            "BMI_IMPLAUSIBLE",
            f"weight {weight:g} kg and height {height:g} m give a body mass index of {body.bmi:.0f}: one of them may be wrong, "
            "and SUV with it",
        )
    return body


def need_weight(body: Body, series: str) -> float:
    """Raises MissingTagError (WEIGHT_MISSING)."""
    if body.weight_kg is None:
        raise MissingTagError(
            "WEIGHT_MISSING",
            "the header does not hold the patient's weight, so SUV cannot be computed",
            series=series,
            advice="Give the weight at the time of the scan in kg with --weight.",
        )
    return body.weight_kg


def _weight(stored: float | None, options: Options, notes: Notes, *, needed: bool) -> float | None:
    if options.weight_kg is not None:
        notes.add("WEIGHT_FROM_USER", f"the weight of {options.weight_kg:g} kg was given by the user, not read from the header")
        return options.weight_kg
    if stored is None or stored == 0:
        return None
    weight = stored
    if stored > options.weight_grams_above:
        weight = stored / 1000.0
        notes.add("WEIGHT_GRAMS", f"the weight in the header ({stored:g}) was read as grams: {weight:g} kg")
    if not options.weight_kg_low <= weight <= options.weight_kg_high:
        sentence = f"the header says the patient weighs {stored:g}, which is no weight of a person in kg or g"
        if not needed:
            notes.add("WEIGHT_IMPLAUSIBLE", sentence)
            return None
        raise UnitError(
            "WEIGHT_IMPLAUSIBLE",
            sentence,
            series=notes.series,
            advice="Give the weight at the time of the scan in kg with --weight.",
        )
    return weight


def _height(stored: float | None, options: Options, notes: Notes) -> float | None:
    if stored is None or stored == 0:
        return None
    height = stored / 100.0 if stored > options.size_cm_above else stored
    if not options.size_m_low <= height <= options.size_m_high:
        notes.add("SIZE_IMPLAUSIBLE", f"the height in the header ({stored:g}) is not that of a person and was not used")
        return None
    if height != stored:
        notes.add("SIZE_CM", f"the height in the header ({stored:g}) was read as centimetres: {height:g} m")
    return height


def lean_mass_kg(body: Body, formula: str, options: Options) -> float | None:
    """Lean body mass by one formula; without a sex the mean of both. None where it cannot be known.

    James' formulas turn over in obesity: None above the preset's body mass index or when they fall to zero.
    """
    weight, height, bmi = body.weight_kg, body.height_m, body.bmi
    if weight is None or height is None or bmi is None:
        return None
    james = formula in ("lbm_james128", "lbm_james120")
    if james and bmi > options.james_bmi_high:
        return None
    ratio = (weight / (height * 100.0)) ** 2
    by_sex = {
        "lbm_janmahasatian": (9270.0 * weight / (6680.0 + 216.0 * bmi), 9270.0 * weight / (8780.0 + 244.0 * bmi)),
        "lbm_james128": (1.10 * weight - 128.0 * ratio, 1.07 * weight - 148.0 * ratio),
        "lbm_james120": (1.10 * weight - 120.0 * ratio, 1.07 * weight - 148.0 * ratio),
    }[formula]
    mass = _of_sex(by_sex, body.sex)
    return mass if mass > 0 else None


def ideal_weight_kg(body: Body) -> float | None:
    """Ideal body weight; without a sex the mean of both."""
    if body.height_m is None:
        return None
    over = body.height_m * 100.0 - 152.0
    mass = _of_sex((48.0 + 1.06 * over, 45.5 + 0.91 * over), body.sex)
    return mass if mass > 0 else None


def surface_cm2(body: Body) -> float | None:
    """Body surface area in cm2."""
    if body.weight_kg is None or body.height_m is None:
        return None
    return float(0.007184 * body.weight_kg**0.425 * (body.height_m * 100.0) ** 0.725 * 1e4)


def _of_sex(male_female: tuple[float, float], sex: str | None) -> float:
    male, female = male_female
    return {"M": male, "F": female}.get(sex or "", (male + female) / 2.0)


def numerators(body: Body, options: Options) -> dict[str, float]:
    """What stands over the dose for each kind of SUV, where height (and sex) allow: g, or cm2 for ``bsa``."""
    found: dict[str, float | None] = {
        name: _grams(lean_mass_kg(body, name, options)) for name in ("lbm_janmahasatian", "lbm_james128", "lbm_james120")
    }
    found["bsa"] = surface_cm2(body)
    found["ibw"] = _grams(ideal_weight_kg(body))
    return {name: value for name, value in found.items() if value is not None}


def _grams(kilograms: float | None) -> float | None:
    return None if kilograms is None else kilograms * 1000.0
