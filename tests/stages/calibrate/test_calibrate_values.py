"""From factors to images: the assembly as a whole, plausibility, and real world value maps."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.errors import MissingTagError, UnitError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import FrameFacts, Injection, PatientFacts, PetFacts, SuvCalibration, SuvStatus
from lesion_pipeline.domain.study import Assembly, RealWorldMap, Series, SeriesRole
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.stages import calibrate
from lesion_pipeline.stages.calibrate.values import body_median, to_suv

ROOT = Path(__file__).resolve().parents[3]
OPTIONS = calibrate.Options.model_validate(
    tomllib.loads((ROOT / "configs" / "fdg-petct.toml").read_text(encoding="utf-8"))["calibrate"]
)
HOUR = datetime(2025, 3, 1, 11)
INJECTION = Injection(total_dose=368.08e6, half_life_s=6586.2, start_time=time(10))
FACTS = PetFacts(
    units="BQML",
    decay_correction="START",
    corrected_image=("DECY", "ATTN"),
    series_datetime=HOUR,
    injections=(INJECTION,),
    frames=(FrameFacts(acquisition=HOUR),) * 5,
    patient=PatientFacts(weight=70.0, size=1.75, sex="M"),
)


def body(value: float = 3600.0, hot: float = 10.0) -> npt.NDArray[np.float32]:
    values = np.zeros((8, 7, 5), dtype=np.float32)
    values[2:6, 2:6, :] = value
    values[3, 3, 2] = value * hot
    return values


def volume(values: npt.NDArray[np.float32], unit: Unit = Unit.ARBITRARY) -> Volume:
    i, j, k = values.shape
    return Volume(values, Grid((i, j, k), np.eye(4), "frame"), unit, Modality.PT, "PT-1")


def series(
    key: str = "PT-1", facts: PetFacts = FACTS, chosen: bool = True, values: npt.NDArray[np.float32] | None = None
) -> Series:
    shown = volume(body() if values is None else values)
    return Series(key, SeriesRole.PET, "PET AC", Modality.PT, "", 5, pet=facts, volume=shown, chosen=chosen)


def assembly(*found: Series, maps: tuple[RealWorldMap, ...] = ()) -> Assembly:
    return Assembly(series=found, patient=PatientFacts(), real_world_maps=maps)


def test_the_chosen_pet_comes_out_in_suv_and_a_ct_untouched() -> None:
    ct_volume = Volume(
        np.full((4, 4, 4), 40.0, dtype=np.float32), Grid((4, 4, 4), np.eye(4), "frame"), Unit.HU, Modality.CT, "CT-1"
    )
    ct = Series("CT-1", SeriesRole.CT, "CT", Modality.CT, "", 4, volume=ct_volume, chosen=True)
    done = calibrate.run(assembly(series(), ct), OPTIONS)
    pet = done.series[0]
    assert pet.volume is not None
    assert pet.volume.unit is Unit.SUVBW
    assert pet.volume.values.dtype == np.float32
    assert float(pet.volume.values[4, 4, 4]) == pytest.approx(1.0, rel=1e-4)
    assert float(pet.volume.values.max()) == pytest.approx(10.0, rel=1e-4)
    assert pet.suv is not None
    assert pet.suv.status is SuvStatus.OK
    assert done.series[1] is ct


def test_one_factor_a_slice_is_applied_along_the_third_axis() -> None:
    suv = SuvCalibration(SuvStatus.OK, bw_per_unit=3.0, per_slice=(1.0, 2.0, 3.0, 4.0, 5.0))
    out = to_suv(volume(np.ones((8, 7, 5), dtype=np.float32)), suv)
    assert out.values[0, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert np.array_equal(out.values, np.broadcast_to(np.arange(1, 6, dtype=np.float32), (8, 7, 5)))
    with pytest.raises(UnitError, match="SLICES_DIFFER"):
        to_suv(volume(np.ones((8, 7, 4), dtype=np.float32)), suv)


def test_factors_are_applied_in_float64() -> None:
    values = np.full((2, 2, 1), 16777217.0, dtype=np.float32)
    out = to_suv(volume(values), SuvCalibration(SuvStatus.OK, bw_per_unit=1.0 / 3.0))
    assert out.values[0, 0, 0] == np.float32(float(values[0, 0, 0]) * (1.0 / 3.0))


def test_run_refuses_the_chosen_pet_and_assess_writes_it_down() -> None:
    lost = series(facts=replace(FACTS, patient=PatientFacts()))
    with pytest.raises(MissingTagError, match="WEIGHT_MISSING") as refusal:
        calibrate.run(assembly(lost), OPTIONS)
    assert "--weight" in refusal.value.advice
    (seen,) = calibrate.assess(assembly(lost), OPTIONS).series
    assert seen.suv is not None
    assert (seen.suv.status, seen.suv.code) == (SuvStatus.REFUSED, "WEIGHT_MISSING")
    assert [c.code for c in seen.caveats] == ["WEIGHT_MISSING"]
    assert seen.volume is not None
    assert seen.volume.unit is Unit.ARBITRARY


def test_a_pet_that_was_not_chosen_never_stops_the_run() -> None:
    other = series("PT-2", replace(FACTS, units="PROPCNTS"), chosen=False)
    done = calibrate.run(assembly(series(), other), OPTIONS)
    assert [s.suv.code for s in done.series if s.suv] == [None, "UNSUPPORTED_UNITS"]


def test_the_users_weight_rescues_a_missing_one() -> None:
    lost = series(facts=replace(FACTS, patient=PatientFacts()))
    done = calibrate.run(assembly(lost), OPTIONS.model_copy(update={"weight_kg": 70.0}))
    assert done.series[0].volume is not None
    assert float(done.series[0].volume.values.max()) == pytest.approx(10.0, rel=1e-4)
    assert [c.code for c in done.series[0].caveats] == ["WEIGHT_FROM_USER"]


@pytest.mark.parametrize("value", [3600.0 * 200, 3.0, 0.0, -5.0])
def test_values_no_patient_has_are_refused(value: float) -> None:
    with pytest.raises(UnitError, match="SUV_IMPLAUSIBLE"):
        calibrate.run(assembly(series(values=body(value))), OPTIONS)


@pytest.mark.parametrize(("value", "hot"), [(3600.0 * 4, 5.0), (3600.0 * 0.05, 5.0), (3600.0, 300.0)])
def test_unusual_values_go_on_with_a_caveat(value: float, hot: float) -> None:
    done = calibrate.run(assembly(series(values=body(value, hot))), OPTIONS)
    assert [c.code for c in done.series[0].caveats] == ["SUV_IMPLAUSIBLE"]


def test_the_typical_body_value_is_not_moved_by_air_or_a_hot_bladder() -> None:
    rng = np.random.default_rng(5)
    values = np.abs(rng.normal(0.0, 0.01, (60, 60, 60))).astype(np.float32)
    values[15:45, 15:45, :] = 1.0 + rng.normal(0.0, 0.1, (30, 30, 60))
    values[28:32, 28:32, 5:9] = 150.0
    assert body_median(values) == pytest.approx(1.0, abs=0.05)
    assert body_median(np.zeros((3, 3, 3), dtype=np.float32)) is None


def real_world(quantity: str, slope: float, to: str = "PT-1", intercept: float = 0.0) -> RealWorldMap:
    return RealWorldMap(quantity, slope, intercept, (to,))


def test_real_world_maps_are_judged_and_never_used() -> None:
    bw = 1.0 / 3600.0
    refused = series("PT-9", replace(FACTS, units="PROPCNTS"), chosen=False)
    maps = (
        real_world("{SUVbw}g/ml", bw),
        real_world("g/ml{SUVbw}", bw / 1000.0),
        real_world("{SUVlbm}g/ml", bw * (77.0 - 128 * 0.16) / 70.0),
        real_world("{SUVbsa}cm2/ml", bw * 1848.1 / 70000.0),
        real_world("{SUVbw}g/ml", bw, intercept=0.5),
        real_world("{SUVbw}g/ml", bw, to="PT-9"),
        real_world("{SUVbw}g/ml", bw, to="PT-77"),
        real_world("Bq/ml", 1.0),
        real_world("{SUVbw}g/ml", -bw),
    )
    done = calibrate.run(assembly(series(), refused, maps=maps), OPTIONS)
    verdicts = [m.verdict for m in done.real_world_maps]
    assert verdicts[0] == "agrees (bw)"
    assert verdicts[1].startswith("rejected: 0.001 times")
    assert verdicts[2] == "agrees (lbm_james128)"
    assert verdicts[3] == "agrees (bsa, written with 1000 cm2 to the square metre)"
    assert [v.split(":")[0] for v in verdicts[4:]] == ["rejected", "rejected", "not judged", "not judged", "rejected"]
    assert [c.code for c in done.caveats] == ["RWV_REJECTED"]
    assert done.series[0].volume is not None
    assert float(done.series[0].volume.values.max()) == pytest.approx(10.0, rel=1e-4)


def conformance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance_suv", ROOT / "scripts" / "conformance_suv.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_rejected_pet_without_facts_says_why_it_has_no_suv() -> None:
    nac = Series(
        "PT-3", SeriesRole.REJECTED, "PET NAC", Modality.PT, "", 5, refusal="NOT_ATTENUATION_CORRECTED", reason="no ATTN"
    )
    (seen,) = calibrate.assess(assembly(nac), OPTIONS).series
    assert seen.suv is not None
    assert (seen.suv.status, seen.suv.code) == (SuvStatus.REFUSED, "NOT_ATTENUATION_CORRECTED")


@pytest.mark.realdata
def test_every_published_header_vector(real_data: Callable[[str], Path]) -> None:
    name, passed, total, note = conformance().suv_vectors(real_data("suv_vectors.json").parent)
    assert (passed, total) == (41, 41), f"{name}: {note}"


@pytest.mark.realdata
@pytest.mark.slow
def test_every_digital_reference_object(real_data: Callable[[str], Path]) -> None:
    name, passed, total, note = conformance().suv_dro(real_data("suv_dro"))
    assert (passed, total) == (17, 17), f"{name}: {note}"


@pytest.mark.realdata
@pytest.mark.slow
def test_factors_of_an_independent_program_and_its_wrong_map(real_data: Callable[[str], Path]) -> None:
    factors, maps = conformance().independent_factors(real_data("acrin_petct"))
    assert factors[1:3] == (4, 4), factors
    assert maps[1:3] == (12, 12), maps


@pytest.mark.realdata
@pytest.mark.slow
def test_suvmax_inside_a_published_contour(real_data: Callable[[str], Path]) -> None:
    name, passed, total, note = conformance().published_suvmax(real_data("sts_001"))
    assert (passed, total) == (1, 1), f"{name}: {note}"


@pytest.mark.realdata
@pytest.mark.slow
def test_contours_fill_the_voxels_of_their_published_masks(real_data: Callable[[str], Path]) -> None:
    name, passed, total, note = conformance().published_masks(real_data("sts_cropped"))
    assert (passed, total) == (6, 6), f"{name}: {note}"


def test_the_documentation_names_every_code() -> None:
    page = (ROOT / "docs" / "suv.md").read_text(encoding="utf-8")
    sources = [*(ROOT / "lesion_pipeline" / "stages" / "calibrate").glob("*.py"), ROOT / "lesion_pipeline" / "io" / "tracer.py"]
    codes = {code for path in sources for code in re.findall(r'"([A-Z]+(?:_[A-Z0-9]+)+)"', path.read_text(encoding="utf-8"))}
    assert sorted(code for code in codes if f"`{code}`" not in page) == ["SLICES_DIFFER", "SUV_UNKNOWN"]  # defects, not headers
