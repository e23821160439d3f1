"""What the preset must say about turning a PET into SUV."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SulFormula = Literal["lbm_janmahasatian", "lbm_james128", "lbm_james120"]


class Options(BaseModel):
    """Settings of the stage; every number has its source in the preset.

    weight_kg: the patient's weight in kg in place of the header's, None to use the header's.
    sul_formula: which lean body mass the study's SUL means. The other names say the unit they are in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight_kg: float | None = Field(default=None, ge=2.0, le=400.0)
    sul_formula: SulFormula

    weight_grams_above: float
    weight_kg_low: float
    weight_kg_high: float
    size_cm_above: float
    size_m_low: float
    size_m_high: float
    bmi_low: float
    bmi_high: float
    james_bmi_high: float

    dose_mbq_below: float
    dose_bq_above: float
    dose_bq_high: float
    half_life_tolerance: float
    half_life_low_s: float
    half_life_high_s: float

    midnight_delay_hours: float
    date_needed_half_life_hours: float
    delay_hours_high: float
    delay_half_lives_high: float
    delay_half_lives_refuse: float
    injection_times_agree_s: float
    uptake_minutes_low: float
    uptake_minutes_high: float

    series_after_acquisition_s: float
    reference_agree_s: float
    back_computation_spread_s: float
    decay_factor_agree_s: float
    reference_date_shift_hours: float
    spread_warn: float
    spread_ambiguous: float
    vendor_factor_agree: float
    real_world_agree: float

    body_suv_low: float
    body_suv_high: float
    body_suv_refuse_below: float
    body_suv_refuse_above: float
    suv_max_high: float
