"""A whole small study: headers, determinism, answer key, faults, cohorts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.io.nifti import read_label_map
from lesion_pipeline.simulate import cohort as make_cohort
from lesion_pipeline.simulate import faults, make_study
from lesion_pipeline.simulate.anatomy import BodyParams
from lesion_pipeline.simulate.dicom_files import File
from lesion_pipeline.simulate.lesions import LesionPlan
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import load_preset, preset_path, presets_folder
from lesion_pipeline.simulate.sample import sample_plan
from lesion_pipeline.simulate.scanner import MrSettings, ScannerSettings
from lesion_pipeline.simulate.study import stage_scene
from lesion_pipeline.simulate.tracer import draw_uptake

COARSE = ScannerSettings(
    pet_spacing=(8.0, 8.0, 12.0), pet_matrix=60, pet_fwhm=6.0, pet_noise=0.03, ct_spacing=(8.0, 8.0, 14.0), ct_matrix=60
)
SMALL_MR = MrSettings(matrix=64, pixel_mm=5.5, slices=9, slice_mm=6.0)


def _plan(**changes: object) -> StudyPlan:
    plan = StudyPlan(
        name="small",
        seed=7,
        scanner=COARSE,
        mr=SMALL_MR,
        lesions=(
            LesionPlan("M1", "body:T11", 24.0, 12.0, ct="lytic"),
            LesionPlan("M2", "liver", 30.0, 11.0, ct="mass", mr=False),
            LesionPlan("U1", "body:L2", 15.0, 0.0),
            LesionPlan("D1", "facet_left:L4", 12.0, 3.0, "degenerative", "spur"),
        ),
        hot_ureter=((1, 0.4),),
    )
    return replace(plan, **changes)  # type: ignore[arg-type]  # fields of the plan by name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("study")
    make_study(_plan(), folder / "dicom", folder / "truth", labels=True)
    return folder, json.loads((folder / "truth" / "answer.json").read_text())


def _series(folder: Path, description: str) -> list[pydicom.Dataset]:
    found = [pydicom.dcmread(p) for p in sorted(folder.rglob("IM*"))]
    return sorted((d for d in found if d.SeriesDescription == description), key=lambda d: int(d.InstanceNumber))


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        yield str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()


def test_same_plan_same_bytes(made: tuple[Path, dict[str, object]], tmp_path: Path) -> None:
    make_study(_plan(), tmp_path / "dicom", tmp_path / "truth", labels=True)
    assert list(_hashes(tmp_path)) == list(_hashes(made[0]))


def test_pet_header_gives_the_suv_of_the_key(made: tuple[Path, dict[str, object]]) -> None:
    folder, key = made
    slices = _series(folder / "dicom", "PET WB AC")
    assert len({float(d.RescaleSlope) for d in slices}) > len(slices) / 2
    first = slices[0]
    injection = first.RadiopharmaceuticalInformationSequence[0]
    started = datetime.strptime(first.SeriesDate + first.SeriesTime, "%Y%m%d%H%M%S.%f")
    injected = datetime.strptime(injection.RadiopharmaceuticalStartDateTime, "%Y%m%d%H%M%S.%f")
    seconds = (started - injected).total_seconds()
    dose = float(injection.RadionuclideTotalDose) * 2 ** (-seconds / float(injection.RadionuclideHalfLife))
    factor = float(first.PatientWeight) * 1000 / dose
    assert factor == pytest.approx(key["suv_bw_per_bqml"], rel=1e-6)
    volume = np.stack([d.pixel_array * float(d.RescaleSlope) for d in slices]) * factor
    lesions = key["lesions"]
    assert isinstance(lesions, list)
    brightest = max(row["suv_max_image"] for row in lesions)
    assert float(volume.max()) >= brightest * 0.999


def test_decay_factor_is_a_checksum(made: tuple[Path, dict[str, object]]) -> None:
    for d in _series(made[0] / "dicom", "PET WB AC")[::9]:
        half_life = float(d.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife)
        since = np.log(float(d.DecayFactor)) / np.log(2) * half_life
        assert since == pytest.approx(float(d.FrameReferenceTime) / 1000, abs=0.05)
        acquired = datetime.strptime(d.AcquisitionTime, "%H%M%S.%f") - datetime.strptime(d.SeriesTime, "%H%M%S.%f")
        assert 0 < since - acquired.total_seconds() < float(d.ActualFrameDuration) / 1000


def test_every_image_has_its_own_uid_and_the_frames_are_told_apart(made: tuple[Path, dict[str, object]]) -> None:
    images = [pydicom.dcmread(p, stop_before_pixels=True) for p in (made[0] / "dicom").rglob("IM*")]
    assert len({d.SOPInstanceUID for d in images}) == len(images)
    frames = {m: {d.FrameOfReferenceUID for d in images if d.Modality == m} for m in ("CT", "PT", "MR")}
    assert frames["CT"] == frames["PT"]
    assert len(frames["MR"]) == 1
    assert not frames["MR"] & frames["CT"]
    assert {d.StudyInstanceUID for d in images if d.Modality == "MR"} != {
        d.StudyInstanceUID for d in images if d.Modality == "PT"
    }


def test_the_decoys_are_there(made: tuple[Path, dict[str, object]]) -> None:
    nac = _series(made[0] / "dicom", "PET WB NAC")
    assert nac
    assert all("ATTN" not in d.CorrectedImage for d in nac)
    (scout,) = _series(made[0] / "dicom", "TOPOGRAM")
    assert scout.ImageType[2] == "LOCALIZER"


def test_mr_protocols_are_told_by_their_times(made: tuple[Path, dict[str, object]]) -> None:
    stir = _series(made[0] / "dicom", "STIR SAG")[0]
    assert float(stir.InversionTime) == 160
    after = _series(made[0] / "dicom", "T1 TSE SAG KM")[0]
    assert after.ContrastBolusAgent
    assert "ContrastBolusAgent" not in _series(made[0] / "dicom", "T1 TSE SAG")[0]
    assert [round(float(v)) for v in after.ImageOrientationPatient] == [0, 1, 0, 0, 0, -1]


def test_the_key_counts_what_a_perfect_reader_would(made: tuple[Path, dict[str, object]]) -> None:
    key = made[1]
    assert key["counts"] == {
        "lesions": 2, "organs": 2, "spinal_lesions": 1, "involved_vertebrae": 1,
        "by_organ": {"bone": 1, "liver": 1}, "by_level": {"T11": 1},
    }  # fmt: skip
    lesions = key["lesions"]
    assert isinstance(lesions, list)
    assert [row["counts"] for row in lesions] == [True, True, False, False]
    assert "MR" in lesions[2]["why"]
    assert key["criteria"]["INC4"] == {"answer": "meets", "over_readings": "meets"}  # type: ignore[index]  # JSON
    assert key["criteria"]["INC5"] == {"answer": "meets"}  # type: ignore[index]  # JSON


def test_the_lesion_map_lies_where_the_key_says(made: tuple[Path, dict[str, object]]) -> None:
    folder, key = made
    lesions = key["lesions"]
    assert isinstance(lesions, list)
    names = {row["label"]: Structure(row["id"], StructureKind.REGION) for row in lesions}
    found = read_label_map(folder / "truth" / "lesions.nii.gz", names, "petct")
    for row in lesions:
        inside = found.grid.world(np.argwhere(found.values == row["label"]))
        assert np.linalg.norm(inside.mean(axis=0) - row["centroid_lps_mm"]) < 6
    anatomy = read_label_map(folder / "truth" / "anatomy.nii.gz", None, "petct")
    assert anatomy.at(lesions[1]["centroid_lps_mm"])[0] == anatomy.value_of("liver")


def test_the_image_shows_the_lesions(made: tuple[Path, dict[str, object]]) -> None:
    lesions = made[1]["lesions"]
    assert isinstance(lesions, list)
    for row in lesions[:2]:
        assert 0.6 * row["suv_true"] < row["suv_max_image"] < 1.25 * row["suv_true"]


@pytest.mark.parametrize(
    ("site", "key"),
    [
        ("pedicle_left:L3", "vertebra_L3"),
        ("rib_left_7", "rib_left_7"),
        ("hip_right", "hip_right"),
        ("vertebra_S", "vertebra_S"),
    ],
)
def test_bone_lesions_stay_in_their_bone(site: str, key: str) -> None:
    scene = stage_scene(_plan(lesions=(LesionPlan("M1", site, 14.0, 8.0),)))
    (lesion,) = scene.lesions
    here = scene.body.labels(Grid((41, 41, 41), _around(scene.body.world(lesion.centre)), "ct"))
    value = here.value_of(key)
    assert value is not None
    assert (here.values[15:26, 15:26, 15:26] == value).any()
    assert lesion.structure == key


def _around(centre: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    affine = np.eye(4)
    affine[:3, 3] = centre - 20
    return affine


def test_a_bridging_lesion_is_one_with_two_vertebrae() -> None:
    (lesion,) = stage_scene(_plan(lesions=(LesionPlan("M1", "body:T9", 20.0, 8.0, bridge_to="T10"),))).lesions
    assert lesion.levels == ("T9", "T10")


def test_lesions_keep_their_distance_or_there_is_no_room() -> None:
    plans = tuple(LesionPlan(f"M{n}", "liver", 30.0, 8.0) for n in range(4))
    placed = stage_scene(_plan(lesions=plans)).lesions
    for n, a in enumerate(placed):
        for b in placed[n + 1 :]:
            assert np.linalg.norm(a.centre - b.centre) > 40
    with pytest.raises(ValueError, match="no room"):
        stage_scene(_plan(lesions=tuple(LesionPlan(f"M{n}", "liver", 60.0, 8.0) for n in range(12))))


@pytest.mark.parametrize("tracer", [Tracer.FDG, Tracer.PSMA_11, Tracer.PSMA_1007, Tracer.DOTATATE])
def test_uptake_varies_round_published_means(tracer: Tracer) -> None:
    draws = [draw_uptake(tracer, np.random.default_rng(n)) for n in range(200)]
    liver = np.median([d["liver"] for d in draws])
    assert liver == pytest.approx(
        {Tracer.FDG: 2.1, Tracer.PSMA_11: 5.4, Tracer.PSMA_1007: 11.7, Tracer.DOTATATE: 4.8}[tracer], rel=0.08
    )
    assert draw_uptake(tracer, np.random.default_rng(5)) == draws[5]


@pytest.mark.parametrize("name", sorted(faults.FAULTS))
def test_every_fault_changes_the_files_and_says_so(name: str, made: tuple[Path, dict[str, object]]) -> None:
    root = made[0] / "dicom"
    files = [
        File(str(p.relative_to(root)), pydicom.dcmread(p))
        for p in sorted(root.rglob("IM*"))
        if "SE000003" in str(p) or "IM000001" in p.name
    ]
    before = [(f.path, f.dataset.to_json()) for f in files]
    after, planted = faults.plant(files, (name,), np.random.default_rng(1))
    assert planted[0]["fault"] == name
    assert [(f.path, f.dataset.to_json()) for f in after] != before


def test_every_preset_can_be_read() -> None:
    names = sorted(p.stem for p in presets_folder().glob("*.toml"))
    assert {"fdg", "psma", "dotatate", "faults"} <= set(names)
    for name in names:
        assert load_preset(name).name == name
    with pytest.raises(ConfigError, match="CONFIG_NOT_FOUND"):
        load_preset("ftg")


@pytest.fixture
def coarse_preset(tmp_path: Path) -> Path:
    text = preset_path("fdg").read_text(encoding="utf-8").replace("ct_matrix = 256", "ct_matrix = 48")
    lines = []
    for line in text.splitlines():
        key = line.partition("=")[0].strip()
        coarse = {"pet_voxel_mm": "[[9.0, 9.0, 16.0]]", "pet_matrix": "[52]", "pet_fwhm_mm": "[7.0]", "ct_slice_mm": "[16.0]"}
        lines.append(f"{key} = {coarse[key]}" if key in coarse else line)
    lines[lines.index("[mr]") + 1] = "chance = 0.0"
    path = tmp_path / "coarse.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_cohort_goes_on_where_it_stopped(coarse_preset: Path, tmp_path: Path) -> None:
    out = tmp_path / "cohort"
    told: list[tuple[str, int, int]] = []
    folders = make_cohort(out, 2, 11, str(coarse_preset), progress=lambda *a: told.append(a))
    assert [n for _, n, _ in told] == [1, 2]
    before = dict(_hashes(out))
    (folders[1] / "truth" / "answer.json").unlink()
    stamp = (folders[0] / "truth" / "answer.json").stat().st_mtime_ns
    make_cohort(out, 2, 11, str(coarse_preset))
    assert dict(_hashes(out)) == before
    assert (folders[0] / "truth" / "answer.json").stat().st_mtime_ns == stamp
    with pytest.raises(ConfigError, match="CONFIG_MISMATCH"):
        make_cohort(out, 2, 12, str(coarse_preset))
    with pytest.raises(ConfigError, match="BAD_VALUE"):
        make_cohort(out, 0, 11, str(coarse_preset))


def test_the_sample_study_tells_its_story() -> None:
    plan = sample_plan()
    assert plan.body == BodyParams(sex="M", age=61, height_cm=176, weight_kg=81, scoliosis_deg=2.0, seed=plan.body.seed)
    lesions = {one.plan.id: one for one in stage_scene(plan).lesions}
    assert lesions["M1"].levels == ("T11",)
    assert lesions["M2"].levels == ("L3",)
    assert lesions["M4"].structure == "lung_right"
