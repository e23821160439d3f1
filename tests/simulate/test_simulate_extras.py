"""Metal, contrast medium, motion, patches, hard places and dead cores: what they do to images and to the answer key."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from lesion_pipeline.domain.geometry import Grid, apply_affine, inverse_affine
from lesion_pipeline.simulate import answer, make_study, scanner
from lesion_pipeline.simulate.anatomy import Body, BodyParams, build_body
from lesion_pipeline.simulate.cohort import study_seed
from lesion_pipeline.simulate.draws import draw_study
from lesion_pipeline.simulate.implants import METAL_HU, Implant, centroid
from lesion_pipeline.simulate.lesions import LesionPlan, place
from lesion_pipeline.simulate.materials import ct_values
from lesion_pipeline.simulate.motion import Motion, pose
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import load_preset
from lesion_pipeline.simulate.scanner import MrSettings, ScannerSettings
from lesion_pipeline.simulate.sites import host_distance, points_at
from lesion_pipeline.simulate.study import stage_scene
from lesion_pipeline.simulate.texture import mottle

COARSE = ScannerSettings(pet_spacing=(12.0, 12.0, 20.0), pet_matrix=40, ct_spacing=(10.0, 10.0, 20.0), ct_matrix=48)
QUIET = ScannerSettings(pet_noise=0.0, ct_noise=0.0, breath_mm=0.0)
HIP, SCREWS, TEETH = (
    Implant("hip_prosthesis", "left", 3.0),
    Implant("spinal_screws", "L3-L4"),
    Implant("dental_fillings", "4"),
)


@pytest.fixture(scope="module")
def body() -> Body:
    return build_body(BodyParams())


def _box(body: Body, centre: np.ndarray[tuple[int], np.dtype[np.float64]], half: float, step: float) -> Grid:
    n = int(2 * half / step) + 1
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = body.world(centre) - half
    return Grid((n, n, n), affine, "ct")


@pytest.mark.parametrize("implant", [HIP, SCREWS, TEETH], ids=lambda i: i.kind)
def test_metal_is_bright_on_ct_with_streaks_and_dark_on_pet_and_mr(implant: Implant, body: Body) -> None:
    middle = centroid(implant, body)
    grid = _box(body, middle, 56.0, 4.0)
    plain = scanner.acquire_ct(body, grid, (), QUIET, rng=np.random.default_rng(1))
    ct = scanner.acquire_ct(body, grid, (), QUIET, rng=np.random.default_rng(1), metal=(implant,))
    assert ct.max() > 0.5 * METAL_HU
    changed = np.abs(ct - plain) > 15
    far = changed & (ct < 1500) & (plain > -200) & (plain < 200)
    assert far.mean() > 0.005  # streaks reach tissue beyond the metal
    assert np.array_equal(ct[:, :, ~changed.any(axis=(0, 1))], plain[:, :, ~changed.any(axis=(0, 1))])
    uptake = dict.fromkeys(("muscle", "fat", "cortex", "spongiosa", "tooth", "spongiosa_limb"), 1.0)
    sharp = replace(QUIET, pet_fwhm=2.0)
    before = scanner.acquire_pet(body, grid, uptake, (), sharp, rng=np.random.default_rng(1))
    pet = scanner.acquire_pet(body, grid, uptake, (), sharp, rng=np.random.default_rng(1), metal=(implant,))
    inside = ct > 2500
    assert inside.any()
    assert pet[inside].mean() < 0.6 * before[inside].mean()
    beside = (pet / np.maximum(before, 0.2))[~inside & (before > 0.5)]
    assert beside.max() > 1.02  # corrected for more attenuation than there is


def test_mr_shows_a_void_where_screws_are(body: Body) -> None:
    settings = MrSettings(matrix=64, pixel_mm=3.0, slices=15, slice_mm=5.0, noise=0.0, centre="L3", shift=(0.0, 0.0, 0.0))
    grid = scanner.mr_grid(body, settings, "mr")
    plain, void = (
        scanner.acquire_mr(body, grid, (), settings, rng=np.random.default_rng(1), metal=m)[0] for m in ((), (SCREWS,))
    )
    tip = body.world(body.spine["L3"].pedicle(1))
    i, j, k = np.rint(grid.index([tip])[0]).astype(int)
    assert void[i, j, k] < 0.15 * plain[i, j, k]


def test_contrast_medium_brightens_vessels_and_kidneys_and_says_so(tmp_path: Path) -> None:
    coarse = replace(COARSE, top=-260.0, bottom=-150.0)  # the belly
    found = {}
    for contrast in (False, True):
        plan = StudyPlan("c", 7, scanner=coarse, mr=None, ct_contrast=contrast, motion=Motion((1.0, 0.0, 0.0), 3.0))
        key = make_study(plan, tmp_path / str(contrast), tmp_path / f"truth-{contrast}")
        assert key["ct_contrast"] is contrast
        assert key["pet_from_ct"] == {"shift_mm": (1.0, 0.0, 0.0), "breath_mm": 3.0}
        images = [pydicom.dcmread(p) for p in (tmp_path / str(contrast)).rglob("SE000002/IM*")]
        assert all(("ContrastBolusAgent" in d) is contrast for d in images)
        found[contrast] = np.mean([d.pixel_array for d in images])
    assert found[True] > found[False]
    values = [ct_values(60, contrast=c) for c in (False, True)]
    assert values[1]["blood"][0] - values[0]["blood"][0] > 80
    assert values[1]["spongiosa"] == values[0]["spongiosa"]


@pytest.mark.parametrize(("site", "moves"), [("liver@T10", True), ("body:T10", False)])
def test_the_key_follows_what_moved_since_the_ct(site: str, moves: bool, body: Body) -> None:
    plan = StudyPlan(
        "m",
        7,
        scanner=QUIET,
        mr=None,
        lesions=(LesionPlan("M1", site, 18.0, 20.0),),
        motion=Motion((4.0, -3.0, 0.0), 9.0),
    )
    scene = stage_scene(plan)
    (lesion,) = scene.lesions
    still = scene.body.world(lesion.centre)
    moved = scene.in_pet.world(lesion.centre)
    assert moved[:2] - still[:2] == pytest.approx([4.0, -3.0], abs=1e-6)
    assert moved[2] - still[2] == pytest.approx(9.0 if moves else 0.0, abs=2.5 if moves else 1e-6)
    grid = _box(scene.body, lesion.centre, 48.0, 3.0)
    suv = scanner.acquire_pet(
        scene.in_pet, grid, {"liver": 1.0, "spongiosa": 1.0}, scene.lesions, QUIET, rng=np.random.default_rng(1)
    )
    labels = answer.lesion_labels(scene.lesions, scene.in_pet, grid)
    hot = grid.world(np.argwhere(suv > 10)).mean(axis=0)
    assert grid.world(np.argwhere(labels == 1)).mean(axis=0) == pytest.approx(hot, abs=1.6)
    (truth,) = answer.truths(scene.lesions, scene.in_pet, labels, grid, suv)
    assert truth.centroid_lps_mm == pytest.approx(hot, abs=1.6)
    assert pose(scene.body, Motion()).world(lesion.centre) == pytest.approx(still)


def test_patches_keep_the_mean_and_bring_the_spread() -> None:
    grid = Grid((60, 50, 40), np.diag([4.0, 4.0, 3.0, 1.0]), "pet")
    image = np.full(grid.shape, 2.0, dtype=np.float32)
    spread = np.zeros(grid.shape, dtype=np.float32)
    spread[30:] = 0.2
    mottle(image, spread, grid, np.random.default_rng(3))
    assert np.all(image[:30] == 2.0)
    assert float(image[30:].mean()) == pytest.approx(2.0, rel=0.03)
    assert float(np.log(image[30:]).std()) == pytest.approx(0.2, rel=0.15)
    steps = np.abs(np.diff(np.log(image[30:]), axis=0)).mean()
    assert steps < 0.12  # patches, not grains


@pytest.mark.parametrize(("site", "near"), [("hip_left", "bladder"), ("lung_right", "liver"), ("rib_right_10", "kidney_right")])
def test_a_lesion_can_be_asked_to_lie_beside_uptake(site: str, near: str) -> None:
    def gap(asked: str | None) -> float:
        scene = stage_scene(StudyPlan("n", 7, mr=None, lesions=(LesionPlan("M1", site, 12.0, 8.0, near=asked),)))
        return float(host_distance(scene.body, near)(points_at(scene.lesions[0].centre)).item())

    assert gap(near) < gap(None)


def test_a_necrotic_tumour_is_cold_inside_and_whole_in_the_key() -> None:
    plan = StudyPlan(
        "k", 7, scanner=QUIET, mr=None, lesions=(LesionPlan("M1", "liver", 40.0, 10.0, ct="mass", elongation=1.0),)
    )
    volumes, centres = [], []
    for necrotic in (False, True):
        scene = stage_scene(replace(plan, lesions=(replace(plan.lesions[0], necrotic=necrotic),)))
        grid = _box(scene.body, scene.lesions[0].centre, 36.0, 3.0)
        suv = scanner.acquire_pet(scene.body, grid, {"liver": 2.0}, scene.lesions, QUIET, rng=np.random.default_rng(1))
        centres.append(float(suv[12, 12, 12]))
        assert suv.max() > 6.5
        volumes.append(int((answer.lesion_labels(scene.lesions, scene.body, grid) == 1).sum()))
    assert volumes[0] == volumes[1]
    assert centres[1] < 0.5 * centres[0]


@pytest.mark.parametrize("preset", ["fdg", "psma", "dotatate"])
def test_extras_are_drawn_at_the_rates_of_the_preset_and_leave_the_rest_of_a_seed_alone(preset: str) -> None:
    laws = load_preset(preset)
    bare = laws.model_copy(
        update={
            "texture": False,
            "implants": laws.implants.model_copy(update={"hip": 0.0, "screws": 0.0, "teeth": 0.0}),
            "mimics": laws.mimics.model_copy(update={"rib_fracture": 0.0}),
            "lesions": laws.lesions.model_copy(update={"near_physiologic": 0.0, "necrotic": 0.0}),
            "scanners": laws.scanners.model_copy(update={"ct_contrast": 0.0, "patient_shift_mm": 0.0, "breath_shift_mm": 0.0}),
        }
    )
    plans = []
    for number in range(60):
        seed = study_seed(preset, 3, number)
        rich, plain = (draw_study(p, f"x-{number}", seed) for p in (laws, bare))
        assert (rich.body, rich.scanner, rich.mr, rich.hot_ureter) == (plain.body, plain.scanner, plain.mr, plain.hot_ureter)
        stripped = tuple(replace(one, near=None, necrotic=False) for one in rich.lesions if one.kind != "rib_fracture")
        assert stripped == plain.lesions
        assert not plain.implants
        assert not plain.ct_contrast
        plans.append(rich)
    share = np.mean([p.ct_contrast for p in plans])
    assert abs(share - laws.scanners.ct_contrast) < 0.2
    kinds = {i.kind for p in plans for i in p.implants}
    assert "dental_fillings" in kinds
    assert all(p.texture for p in plans)
    assert any(one.near for p in plans for one in p.lesions)
    assert np.std([p.motion.breath_mm for p in plans]) > 1


def test_the_key_names_the_metal(tmp_path: Path) -> None:
    plan = StudyPlan("i", 7, scanner=replace(COARSE, top=-260.0, bottom=-150.0), mr=None, implants=(HIP, SCREWS, TEETH))
    make_study(plan, tmp_path / "dicom", tmp_path / "truth")
    key = json.loads((tmp_path / "truth" / "answer.json").read_text())
    assert [(row["kind"], row["site"]) for row in key["implants"]] == [(i.kind, i.site) for i in plan.implants]
    hip, spine, jaw = (row["centroid_lps_mm"] for row in key["implants"])
    assert hip[0] > 50  # left
    assert hip[2] < spine[2] < jaw[2]


@pytest.mark.parametrize(
    "site", ["lung_left", "hip_right", "node:hilar_left", "node:subcarinal", "node:coeliac", "ganglion:coeliac_right"]
)
def test_a_lesion_lies_in_what_the_finished_body_shows_at_its_place(site: str) -> None:
    """The heart is laid over the left lung, the femoral head over the hip, the liver over the coeliac trunk."""
    for seed in (3, 4, 5):
        body = build_body(replace(BodyParams(), seed=seed))
        placed = place(LesionPlan("M1", site, 11.0, 8.0), body, np.random.default_rng(seed))
        points = np.random.default_rng(0).uniform(placed.solid.low, placed.solid.high, (600, 3))
        inside = points[placed.solid.distance(points_at(points)).reshape(-1) < 0]
        owners = body.owners(inside)
        home = {site} if ":" not in site else {"mediastinum", "abdominal_cavity", "muscle"}
        assert np.isin(owners, sorted(home)).mean() > 0.6, (seed, sorted(set(owners)))


@pytest.mark.parametrize("level", ["C4", "T5", "T6", "T8", "L3"])
def test_a_lesion_of_a_spinous_process_is_no_sliver(level: str) -> None:
    """Spinous processes differ in slope; a thoracic one ends a segment lower than a lumbar one."""
    for seed in (1, 2):
        body = build_body(replace(BodyParams(), seed=seed))
        placed = place(LesionPlan("M1", f"spinous:{level}", 12.0, 8.0), body, np.random.default_rng(seed))
        axes = [np.arange(low, high) for low, high in zip(placed.solid.low, placed.solid.high, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        ml = (placed.solid.distance(points_at(points)) < 0).sum() / 1000
        assert ml > 0.3


def test_a_lesion_of_the_psoas_lies_in_it() -> None:
    for seed in (1, 2, 3):
        body = build_body(replace(BodyParams(), seed=seed))
        placed = place(LesionPlan("M1", "psoas_left", 16.0, 8.0), body, np.random.default_rng(seed))
        points = np.random.default_rng(0).uniform(placed.solid.low, placed.solid.high, (600, 3))
        inside = points[placed.solid.distance(points_at(points)).reshape(-1) < 0]
        assert (body.owners(inside) == "psoas_left").mean() > 0.8


def test_owners_are_the_labels_of_the_body(body: Body) -> None:
    affine = np.diag([16.0, 16.0, 16.0, 1.0])
    affine[:3, 3] = body.world([-200.0, -150.0, -200.0])
    labels = body.labels(Grid((26, 20, 45), affine, "ct"))
    at = np.argwhere(np.ones(labels.values.shape, dtype=bool))
    names = [labels.names[int(v)].key if v else "" for v in labels.values.reshape(-1)]
    owners = body.owners(apply_affine(inverse_affine(body.world_from_body), labels.grid.world(at)))
    assert len(set(names)) > 40
    assert np.mean([a == b for a, b in zip(owners, names, strict=True)]) > 0.999
