"""The header's way to a factor: what is repaired with a caveat, what is refused with a code."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.pet import FrameFacts, Injection, PatientFacts, PetFacts, SuvCalibration, SuvStatus
from lesion_pipeline.stages.calibrate.body import Body, ideal_weight_kg, lean_mass_kg, surface_cm2
from lesion_pipeline.stages.calibrate.factor import calibration_of
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options
from lesion_pipeline.stages.calibrate.times import mean_rate_s

PRESET = Path(__file__).resolve().parents[3] / "configs" / "fdg-petct.toml"
OPTIONS = Options.model_validate(tomllib.loads(PRESET.read_text(encoding="utf-8"))["calibrate"])
F18_S = 6586.2
ELEVEN = datetime(2025, 3, 1, 11)
#: One SUV is 3600 Bq/ml: 70 kg, 368.08 MBq an hour before.
PER_BQML = 1.0 / 3600.0


def at(hour: int, minute: int = 0, second: float = 0.0, day: int = 1) -> datetime:
    return datetime(2025, 3, day, hour, minute) + timedelta(seconds=second)


def frame(
    acquisition: datetime | None = ELEVEN, frt_s: float | None = None, duration_s: float | None = 300.0, **more: object
) -> FrameFacts:
    made = FrameFacts(
        acquisition=acquisition,
        frame_reference_time_ms=None if frt_s is None else frt_s * 1000.0,
        duration_ms=None if duration_s is None else duration_s * 1000.0,
    )
    return replace(made, **more)  # type: ignore[arg-type]  # any field of FrameFacts


INJECTION = Injection(
    total_dose=368.08e6,
    half_life_s=F18_S,
    start_datetime=at(10),
    start_time=time(10),
    nuclide_code="C-111A1",
    nuclide_text="18F",
)


def facts(**more: object) -> PetFacts:
    base = PetFacts(
        units="BQML",
        decay_correction="START",
        corrected_image=("DECY", "ATTN"),
        series_datetime=ELEVEN,
        injections=(INJECTION,),
        frames=(frame(),),
        patient=PatientFacts(weight=70.0, size=1.75, sex="M"),
    )
    return replace(base, **more)  # type: ignore[arg-type]  # any field of PetFacts


def injected(**more: object) -> PetFacts:
    return facts(injections=(replace(INJECTION, **more),))  # type: ignore[arg-type]  # any field of Injection


def patient(**more: object) -> PetFacts:
    return facts(patient=replace(PatientFacts(weight=70.0, size=1.75, sex="M"), **more))  # type: ignore[arg-type]  # any field


def calibrated(header: PetFacts, options: Options = OPTIONS) -> tuple[SuvCalibration, set[str]]:
    notes = Notes("PT-1")
    return calibration_of(header, options, notes), {c.code for c in notes.found}


def refusal(header: PetFacts, options: Options = OPTIONS) -> InputError:
    with pytest.raises(InputError) as caught:
        calibration_of(header, options, Notes("PT-1"))
    assert caught.value.series == "PT-1"
    assert caught.value.advice
    return caught.value


def test_the_plain_header_needs_no_caveat() -> None:
    suv, codes = calibrated(facts())
    assert suv.status is SuvStatus.OK
    assert suv.bw_per_unit == pytest.approx(PER_BQML, rel=1e-5)
    assert suv.chosen_reference == "series"
    assert suv.uptake_minutes == 60.0
    assert suv.spread == 0.0
    assert codes == set()


@pytest.mark.parametrize(
    ("header", "factor", "code"),
    [
        (patient(weight=70000.0), PER_BQML, "WEIGHT_GRAMS"),
        (patient(size=175.0), PER_BQML, "SIZE_CM"),
        (patient(size=17.5), PER_BQML, "SIZE_IMPLAUSIBLE"),
        (patient(weight=230.0, size=1.60), PER_BQML * 230 / 70, "BMI_IMPLAUSIBLE"),
        (injected(total_dose=368.08), PER_BQML, "DOSE_MBQ"),
        (injected(half_life_s=None), PER_BQML, "HALF_LIFE_FROM_TABLE"),
        (injected(half_life_s=6588.0, nuclide_code=None, nuclide_text=""), PER_BQML, None),
        (injected(nuclide_code="C-131A1"), PER_BQML, "NUCLIDE_CODE_CONFLICT"),
        (injected(half_life_s=7000.0, nuclide_code=None, nuclide_text=""), None, "HALF_LIFE_UNVERIFIED"),
        (injected(start_datetime=None), PER_BQML, None),
        (injected(start_time=None), PER_BQML, None),
        (injected(start_datetime=at(10, day=2)), PER_BQML, "DATE_SHIFTED"),
        (injected(start_datetime=datetime(2019, 5, 5, 10)), PER_BQML, "DATE_SHIFTED"),
        (injected(start_time=time(10, 5)), PER_BQML, "INJECTION_TIMES_DIFFER"),
        (injected(start_datetime=at(9), start_time=None, utc_offset_min=60), None, "TIMEZONE_ASSUMED"),
        (injected(start_datetime=at(7, 30), start_time=time(7, 30)), None, "UPTAKE_TIME_UNUSUAL"),
        (facts(series_datetime=None), PER_BQML, "REFTIME_FIRST_ACQUISITION"),
    ],
)  # fmt: skip
def test_what_is_repaired_is_said(header: PetFacts, factor: float | None, code: str | None) -> None:
    suv, codes = calibrated(header)
    if factor is not None:
        assert suv.bw_per_unit == pytest.approx(factor, rel=2e-4)
    assert codes == ({code} if code else set())


def test_an_injection_before_midnight() -> None:
    suv, codes = calibrated(
        facts(
            series_datetime=at(0, 30, day=2),
            frames=(frame(at(0, 30, day=2)),),
            injections=(replace(INJECTION, start_datetime=None, start_time=time(23, 30)),),
        )
    )
    assert suv.bw_per_unit == pytest.approx(PER_BQML, rel=1e-5)
    assert codes == {"MIDNIGHT_ASSUMED"}


def test_time_zones_are_brought_onto_one_clock() -> None:
    header = injected(start_datetime=at(9), start_time=None, utc_offset_min=0)
    suv, codes = calibrated(replace(header, utc_offset_min=60))
    assert suv.bw_per_unit == pytest.approx(PER_BQML, rel=1e-5)
    assert codes == set()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (patient(weight=None), "WEIGHT_MISSING"),
        (patient(weight=0.0), "WEIGHT_MISSING"),
        (patient(weight=1.5), "WEIGHT_IMPLAUSIBLE"),
        (patient(weight=500.0), "WEIGHT_IMPLAUSIBLE"),
        (injected(total_dose=None), "DOSE_MISSING"),
        (injected(total_dose=0.0), "DOSE_MISSING"),
        (injected(total_dose=350000.0), "DOSE_AMBIGUOUS"),
        (injected(total_dose=1e12), "DOSE_IMPLAUSIBLE"),
        (injected(total_dose=1e-9), "DOSE_IMPLAUSIBLE"),
        (injected(half_life_s=1e-12, nuclide_code=None, nuclide_text=""), "HALF_LIFE_MISMATCH"),
        (injected(half_life_s=76.38, nuclide_code=None, nuclide_text=""), "DELAY_IMPLAUSIBLE"),
        (injected(half_life_s=4062.6), "HALF_LIFE_MISMATCH"),
        (injected(half_life_s=None, nuclide_code=None, nuclide_text=""), "HALF_LIFE_MISSING"),
        (injected(start_datetime=None, start_time=None), "INJECTION_TIME_MISSING"),
        (injected(start_datetime=None, start_time=time(13)), "INJECTION_AFTER_SCAN"),
        (injected(start_datetime=at(13), start_time=None), "INJECTION_AFTER_SCAN"),
        (injected(start_datetime=ELEVEN, start_time=None), "TIMES_BLANKED"),
        (injected(half_life_s=282280.0, nuclide_code=None, nuclide_text="", start_datetime=None), "INJECTION_DATE_MISSING"),
        (facts(injections=()), "NO_RADIOPHARMACEUTICAL"),
        (facts(injections=(INJECTION, INJECTION)), "MULTIPLE_INJECTIONS"),
        (facts(corrected_image=("DECY",)), "NOT_ATTENUATION_CORRECTED"),
        (facts(corrected_image=("ATTN",)), "DECAY_CORRECTION_CONFLICT"),
        (facts(decay_correction="NONE"), "DECAY_CORRECTION_CONFLICT"),
        (facts(decay_correction=None), "DECAY_CORRECTION_MISSING"),
        (facts(units=None), "UNITS_MISSING"),
        (facts(units="PROPCNTS"), "UNSUPPORTED_UNITS"),
        (facts(units="CPS"), "UNSUPPORTED_UNITS"),
        (facts(units="CNTS"), "CNTS_WITHOUT_FACTOR"),
        (facts(units="GML", suv_type="XYZ"), "UNSUPPORTED_SUV_TYPE"),
        (facts(units="CM2ML", suv_type="BW"), "UNSUPPORTED_SUV_TYPE"),
        (facts(units="GML", suv_type="LBM", patient=PatientFacts(weight=70.0, sex="M")), "HEIGHT_MISSING"),
        (facts(units="CM2ML", patient=PatientFacts(weight=70.0, sex="M")), "HEIGHT_MISSING"),
        (facts(conflicting=("PatientWeight",)), "MIXED_SERIES"),
        (facts(series_datetime=None, frames=(frame(None),)), "NO_REFERENCE_TIME"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_refused(header: PetFacts, code: str) -> None:
    assert refusal(header).code == code


def test_all_times_blanked_to_midnight_are_refused() -> None:
    midnight = datetime(2025, 3, 1)
    header = facts(
        series_datetime=midnight,
        frames=(frame(midnight, 59.9, 120.0, decay_factor=1.006327),),
        injections=(replace(INJECTION, start_datetime=midnight, start_time=time(0)),),
    )
    assert refusal(header).code == "TIMES_BLANKED"


def test_the_users_weight_stands_in_for_the_headers() -> None:
    suv, codes = calibrated(patient(weight=None), OPTIONS.model_copy(update={"weight_kg": 140.0}))
    assert suv.bw_per_unit == pytest.approx(2 * PER_BQML, rel=1e-5)
    assert "WEIGHT_FROM_USER" in codes
    assert "--weight" in refusal(patient(weight=None)).advice


# -- reference time ---------------------------------------------------------------------------------------------------------


def mean(duration_s: float) -> float:
    return mean_rate_s(duration_s, F18_S)


def factor_after(seconds: float) -> float:
    """DecayFactor of a frame whose mean-count instant lies so long after the reference."""
    return math.exp(seconds * math.log(2.0) / F18_S)


def test_mean_rate_instant_of_short_and_long_frames() -> None:
    assert mean_rate_s(1e-6, F18_S) == pytest.approx(5e-7)
    assert mean_rate_s(300.0, F18_S) == pytest.approx(149.6, abs=0.1)
    assert mean_rate_s(3600.0, 1221.8) < 1800.0


@pytest.mark.parametrize(
    ("more", "method", "minutes"),
    [
        ({"frames": (frame(at(11, 30), 150.0, ge_scan_datetime=ELEVEN),)}, "ge", 60),
        ({"frames": (frame(at(11, 30), ge_scan_datetime=at(10, 45)),), "series_datetime": at(15)}, "ge", 45),
        ({"frames": (frame(at(11, 30), siemens_reference=ELEVEN),)}, "siemens", 60),
        ({"frames": (frame(at(11, 30), decay_correction_datetime=at(11, 10)),), "series_datetime": None}, "enhanced", 70),
        ({"frames": (frame(at(11, 2, 30), 298.3 + 150, 603.0), frame(at(11, 5), 598.3, 603.0)), "series_datetime": at(11, 30)},
         "frame_reference_time", 60),
        ({"frames": (frame(at(11, 0, 30), 0.0), frame(at(11, 6), 0.0)), "series_datetime": at(11, 30)},
         "first_acquisition", 60.5),
        ({"frames": (frame(at(11, 50), None, 1200.0, decay_factor=factor_after(3000 + mean(1200.0))),),
          "series_datetime": at(12)}, "decay_factor", 60),
    ],
)  # fmt: skip
def test_the_layers_of_the_reference_time(more: dict[str, object], method: str, minutes: float) -> None:
    suv, _ = calibrated(facts(**more))
    assert suv.chosen_reference == method
    assert suv.uptake_minutes == pytest.approx(minutes, abs=0.1)
    assert suv.reference_times[0].method == method or method != suv.reference_times[0].method


def test_the_decay_factor_confirms_the_series_time_against_a_wrong_acquisition_time() -> None:
    """A scanner wrote the second bed's start into AcquisitionTime; the factor knows better (dcm2niix 983)."""
    late = frame(at(11, 50), None, 1200.0, decay_factor=factor_after(3000 + mean(1200.0)))
    suv, codes = calibrated(facts(frames=(late,)))
    assert suv.chosen_reference == "series"
    assert codes == set()


def test_a_decay_factor_that_contradicts_the_times_is_refused() -> None:
    conflict = refusal(facts(frames=(frame(ELEVEN, mean(120.0), 120.0, decay_factor=1.216216),)))
    assert conflict.code == "REFTIME_CONFLICT"
    assert "30 minutes" in conflict.message or "31 minutes" in conflict.message


@pytest.mark.parametrize("held", [slice(None), slice(0, 3), slice(2, 5)])
def test_beds_that_share_one_acquisition_time_are_told_apart_by_their_offsets(held: slice) -> None:
    """GE whole-body: AcquisitionTime is the scan's start in every bed, FrameReferenceTime the bed's start."""
    starts = [0.0, 243.0, 486.0, 729.0, 972.0]
    beds = [frame(ELEVEN, start, 240.0, decay_factor=factor_after(start + mean(240.0))) for start in starts]
    suv, codes = calibrated(facts(frames=tuple(beds[held])))
    assert suv.chosen_reference == "series"
    assert suv.bw_per_unit == pytest.approx(PER_BQML, rel=1e-5)
    assert codes == set()


def test_a_factor_of_one_everywhere_says_nothing() -> None:
    beds = tuple(frame(ELEVEN + timedelta(seconds=s), None, 300.0, decay_factor=1.0) for s in (0, 303, 606))
    suv, _ = calibrated(facts(frames=beds))
    assert suv.chosen_reference == "series"


def test_readings_that_differ_make_suv_ambiguous() -> None:
    wide = facts(frames=(frame(at(11, 0, 1), 1800.0),))  # back-computation says half an hour earlier
    suv, codes = calibrated(wide)
    assert suv.status is SuvStatus.AMBIGUOUS
    assert suv.code == "SUV_AMBIGUOUS"
    assert suv.spread > 0.10
    assert "SUV_AMBIGUOUS" in codes
    narrow = facts(frames=(frame(at(11, 0, 1), 600.0),))
    suv, codes = calibrated(narrow)
    assert suv.status is SuvStatus.OK
    assert codes == {"REFTIME_SPREAD"}


def test_a_manufacturers_time_and_the_series_time_outvote_the_rest() -> None:
    suv, codes = calibrated(facts(frames=(frame(at(11, 0, 1), 1800.0, ge_scan_datetime=ELEVEN),)))
    assert suv.status is SuvStatus.OK
    assert codes == {"REFTIME_OUTVOTED"}
    assert {t.method for t in suv.reference_times} == {"ge", "series", "frame_reference_time", "first_acquisition"}


def test_a_private_date_left_behind_by_deidentification_keeps_its_time_of_day() -> None:
    suv, codes = calibrated(facts(frames=(frame(ELEVEN, ge_scan_datetime=datetime(1959, 12, 24, 11)),)))
    assert suv.chosen_reference == "ge"
    assert suv.bw_per_unit == pytest.approx(PER_BQML, rel=1e-5)
    assert codes == {"PRIVATE_DATE_SHIFTED"}


def test_private_times_that_differ_between_slices_are_not_used() -> None:
    beds = (frame(ELEVEN, ge_scan_datetime=ELEVEN), frame(ELEVEN, ge_scan_datetime=at(11, 20)))
    suv, codes = calibrated(facts(frames=beds))
    assert suv.chosen_reference == "series"
    assert codes == {"PRIVATE_TIMES_DIFFER"}


# -- units ------------------------------------------------------------------------------------------------------------------


def test_administration_needs_no_decay() -> None:
    suv, codes = calibrated(facts(decay_correction="ADMIN"))
    assert suv.bw_per_unit == pytest.approx(70000.0 / 368.08e6)
    assert suv.uptake_minutes == 60.0
    assert codes == set()
    blank = facts(decay_correction="ADMIN", injections=(replace(INJECTION, start_datetime=None, start_time=None),))
    assert calibrated(blank)[0].bw_per_unit == pytest.approx(70000.0 / 368.08e6)
    assert (
        refusal(replace(injected(start_datetime=at(13), start_time=None), decay_correction="ADMIN")).code
        == "INJECTION_AFTER_SCAN"
    )


def test_uncorrected_slices_are_referred_to_their_own_frames() -> None:
    beds = (frame(ELEVEN, duration_s=603.0), frame(at(11, 5), duration_s=603.0))
    header = facts(decay_correction="NONE", corrected_image=("ATTN",), frames=beds)
    suv, codes = calibrated(header)
    assert len(suv.per_slice) == 2
    assert suv.per_slice[0] == pytest.approx(PER_BQML * factor_after(mean(603.0)), rel=1e-5)
    assert suv.per_slice[1] / suv.per_slice[0] == pytest.approx(factor_after(300.0), rel=1e-9)
    assert "DECAY_NOT_CORRECTED" in codes
    assert refusal(replace(header, frames=(frame(ELEVEN, duration_s=None),))).code == "NO_REFERENCE_TIME"


@pytest.mark.parametrize(
    ("units", "kind", "sex", "factor"),
    [
        ("GML", None, None, 1.0),
        ("GML", "BW", "M", 1.0),
        ("GML", "LBMJAMES128", "M", 70.0 / (77.0 - 128 * 0.16)),
        ("GML", "LBM", "M", 70.0 / (77.0 - 120 * 0.16)),
        ("GML", "LBM", "F", 70.0 / (74.9 - 148 * 0.16)),
        ("GML", "IBW", None, 70.0 / (((48 + 1.06 * 23) + (45.5 + 0.91 * 23)) / 2)),
        ("CM2ML", None, "M", 70000.0 / 18481.0),
    ],
)
def test_stored_suv_is_converted_by_its_type(units: str, kind: str | None, sex: str | None, factor: float) -> None:
    header = facts(units=units, suv_type=kind, injections=(), decay_correction=None, patient=PatientFacts(70.0, 1.75, sex))
    suv, codes = calibrated(header)
    assert suv.bw_per_unit == pytest.approx(factor, rel=1e-4)
    assert codes == ({"SEX_UNKNOWN"} if kind == "IBW" else set())


def test_stored_suvbw_needs_neither_weight_nor_dose() -> None:
    suv, _ = calibrated(facts(units="GML", suv_type="BW", injections=(), patient=PatientFacts()))
    assert suv.bw_per_unit == 1.0
    assert suv.other_factors == ()
    odd, codes = calibrated(facts(units="GML", patient=PatientFacts(weight=0.5)))
    assert odd.bw_per_unit == 1.0
    assert codes == {"WEIGHT_IMPLAUSIBLE"}


def test_philips_counts() -> None:
    by_suv = facts(units="CNTS", frames=(frame(philips_suv_factor=5e-4, philips_activity_factor=0.5),), patient=PatientFacts())
    assert calibrated(by_suv)[0].bw_per_unit == 5e-4
    by_activity = facts(units="CNTS", frames=(frame(philips_suv_factor=0.0, philips_activity_factor=0.5),))
    assert calibrated(by_activity)[0].bw_per_unit == pytest.approx(0.5 * PER_BQML, rel=1e-5)
    one_missing = facts(units="CNTS", frames=(frame(philips_suv_factor=5e-4), frame(at(11, 5))))
    assert refusal(one_missing).code == "CNTS_WITHOUT_FACTOR"
    each = facts(units="CNTS", frames=(frame(philips_suv_factor=5e-4), frame(philips_suv_factor=6e-4)))
    assert calibrated(each)[0].per_slice == (5e-4, 6e-4)


def test_philips_own_ratio_votes_on_the_reference_time() -> None:
    agreeing = frame(at(11, 0, 1), 1800.0, philips_suv_factor=PER_BQML * 4.0, philips_activity_factor=4.0)
    suv, codes = calibrated(facts(frames=(agreeing,)))
    assert suv.status is SuvStatus.OK
    assert codes == {"REFTIME_OUTVOTED"}
    other = frame(philips_suv_factor=PER_BQML * 4.0 * 1.2, philips_activity_factor=4.0)
    suv, codes = calibrated(facts(frames=(other,)))
    assert suv.status is SuvStatus.AMBIGUOUS
    assert "VENDOR_FACTOR_DISAGREES" in codes


# -- body measures ----------------------------------------------------------------------------------------------------------


def test_body_measures_of_a_published_patient() -> None:
    """59.94 kg, 166.5 cm, female: SUL / SUV 0.75 by James (QIBA DRO)."""
    woman = Body(59.94, 1.665, "F")
    assert (lean_mass_kg(woman, "lbm_james128", OPTIONS) or 0) / 59.94 == pytest.approx(0.75, abs=0.002)
    man = Body(91.0, 1.88, "M")
    assert lean_mass_kg(man, "lbm_james128", OPTIONS) == pytest.approx(70.11, abs=0.01)
    assert lean_mass_kg(man, "lbm_james120", OPTIONS) == pytest.approx(71.98, abs=0.01)
    assert lean_mass_kg(man, "lbm_janmahasatian", OPTIONS) == pytest.approx(68.91, abs=0.01)
    assert ideal_weight_kg(man) == pytest.approx(86.16)
    assert surface_cm2(man) == pytest.approx(21763, abs=5)


def test_james_is_not_given_in_obesity_and_janmahasatian_is() -> None:
    large = Body(160.0, 1.60, "F")
    assert lean_mass_kg(large, "lbm_james128", OPTIONS) is None
    assert (lean_mass_kg(large, "lbm_janmahasatian", OPTIONS) or 0) > 50


@settings(max_examples=60, deadline=None)
@given(
    weight=st.floats(30.0, 130.0),
    dose=st.floats(2e6, 1e9),
    minutes=st.floats(5.0, 400.0),
    scale=st.floats(1.1, 3.0),
)
def test_suv_grows_with_weight_and_time_and_falls_with_dose(weight: float, dose: float, minutes: float, scale: float) -> None:
    def factor(w: float, d: float, m: float) -> float:
        given_at = ELEVEN - timedelta(minutes=m)
        header = replace(
            facts(injections=(replace(INJECTION, total_dose=d, start_datetime=given_at, start_time=None),)),
            patient=PatientFacts(weight=w),
        )
        return calibrated(header)[0].bw_per_unit or 0.0

    base = factor(weight, dose, minutes)
    assert factor(weight * scale, dose, minutes) == pytest.approx(base * scale, rel=1e-9)
    assert factor(weight, dose * scale, minutes) == pytest.approx(base / scale, rel=1e-9)
    later = factor(weight, dose, minutes + 109.77)
    assert later == pytest.approx(2.0 * base, rel=1e-5)


NUMBERS = st.one_of(
    st.none(), st.sampled_from([0.0, -1.0, 1e-300, 1e300, 70.0, 368e6, 6586.2, 300000.0]), st.floats(-1e9, 1e12)
)
MOMENTS = st.one_of(st.none(), st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1)), st.sampled_from([ELEVEN, at(10)]))
PAST = st.one_of(st.none(), st.floats(0.0, 6e8))


@settings(max_examples=300, deadline=None)
@given(
    header=st.builds(
        PetFacts,
        units=st.sampled_from(["BQML", "GML", "CM2ML", "CNTS", "CPS", "", None]),
        suv_type=st.sampled_from([None, "BW", "LBM", "BSA", "?"]),
        decay_correction=st.sampled_from(["START", "ADMIN", "NONE", None]),
        corrected_image=st.sampled_from([("ATTN", "DECY"), ("ATTN",), ()]),
        series_datetime=MOMENTS,
        injections=st.lists(
            st.builds(
                Injection,
                total_dose=NUMBERS,
                half_life_s=NUMBERS,
                start_datetime=MOMENTS,
                start_time=st.one_of(st.none(), st.times()),
                utc_offset_min=st.sampled_from([None, 0, 6039]),
                nuclide_text=st.sampled_from(["", "F18", "Rb82"]),
            ),
            max_size=2,
        ).map(tuple),
        frames=st.lists(
            st.builds(
                FrameFacts, acquisition=MOMENTS, frame_reference_time_ms=PAST, duration_ms=PAST, decay_factor=PAST,
                philips_suv_factor=NUMBERS, philips_activity_factor=NUMBERS, ge_scan_datetime=MOMENTS,
            ),
            max_size=3,
        ).map(tuple),
        patient=st.builds(PatientFacts, weight=NUMBERS, size=NUMBERS, sex=st.sampled_from(["M", "F", "O", None])),
    )
)  # fmt: skip
def test_any_header_gives_a_finite_factor_or_a_coded_refusal(header: PetFacts) -> None:
    try:
        suv, _ = calibrated(header)
    except InputError as refused:
        assert refused.code
        assert refused.advice
        return
    assert suv.bw_per_unit is not None
    assert math.isfinite(suv.bw_per_unit)
    assert suv.bw_per_unit > 0
    assert math.isfinite(suv.spread)
    assert all(math.isfinite(value) for _, value in suv.other_factors)
