"""Asking an anatomy at points, dividing uptake among structures, and measuring what is normal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.reference_regions import ReferenceRules, measure_references
from lesion_pipeline.imaging.shares import around, shares
from lesion_pipeline.imaging.surroundings import ShellRules, surroundings

SHAPE = (50, 40, 60)
STRAIGHT = np.diag([4.0, 4.0, 4.0, 1.0])
#: the same lattice stored the other way round: axis 0 runs to the right, axis 2 to the feet
FLIPPED = np.array([[-4.0, 0, 0, 196], [0, 4.0, 0, 0], [0, 0, -4.0, 236], [0, 0, 0, 1]])
LIVER = Structure("liver", StructureKind.ORGAN, Organ.LIVER)
RULES = ReferenceRules(
    liver_sphere_mm=30, liver_depth_mm=15, aorta_diameter_mm=10, aorta_length_mm=20, max_cv=0.2, max_ratio=2.0,
    min_marrow_vertebrae=3,
)  # fmt: skip


def _points(grid: Grid) -> npt.NDArray[np.float64]:
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    return grid.world(index.reshape(-1, 3)).reshape(*grid.shape, 3)


def _inside(grid: Grid, centre: tuple[float, float, float], half: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    return np.asarray(np.all(np.abs(_points(grid) - np.array(centre)) <= np.array(half), axis=-1))


def _map(grid: Grid, *drawn: tuple[Structure, npt.NDArray[np.bool_]]) -> LabelMap:
    values = np.zeros(grid.shape, dtype=np.uint16)
    for n, (_, mask) in enumerate(drawn, start=1):
        values[mask] = n
    return LabelMap(values, grid, {n: s for n, (s, _) in enumerate(drawn, start=1)})


def _vertebra(name: str, instance: int) -> Structure:
    return Structure(f"vertebra_{name}", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[name], instance)


@pytest.mark.parametrize("affine", [STRAIGHT, FLIPPED], ids=["LPS", "flipped"])
def test_the_answer_does_not_depend_on_how_the_map_is_stored(affine: npt.NDArray[np.float64]) -> None:
    grid = Grid(SHAPE, affine, "ct")
    anatomy = Anatomy((NamedMap("a", _map(grid, (LIVER, _inside(grid, (60, 80, 160), (30, 30, 30))))),))
    places = Places(anatomy, Frames(), "ct")
    codes = places.solid(np.array([(60.0, 80.0, 160.0), (150.0, 80.0, 160.0)]))
    assert [places.structures[c].key if c else None for c in codes] == ["liver", None]
    np.testing.assert_allclose(places.landmarks()["liver"].centre, (60, 80, 160), atol=4.0)


def test_the_earlier_map_wins_but_a_named_vertebra_beats_a_nameless_bone() -> None:
    grid = Grid(SHAPE, STRAIGHT, "ct")
    box = _inside(grid, (100, 80, 120), (20, 20, 20))
    bone = Structure("spine", StructureKind.BONE, Organ.BONE)
    spleen = Structure("spleen", StructureKind.ORGAN, Organ.SPLEEN)
    for first, second, expected in ((bone, _vertebra("L3", 1), "vertebra_L3"), (LIVER, spleen, "liver")):
        anatomy = Anatomy((NamedMap("a", _map(grid, (first, box))), NamedMap("b", _map(grid, (second, box)))))
        places = Places(anatomy, Frames(), "ct")
        assert places.code(expected) == places.solid(np.array([(100.0, 80.0, 120.0)]))[0]


def test_a_map_is_asked_through_its_transform_and_left_out_without_one() -> None:
    grid = Grid(SHAPE, STRAIGHT, "ct")
    anatomy = Anatomy((NamedMap("a", _map(grid, (LIVER, _inside(grid, (60, 80, 160), (30, 30, 30))))),))
    shift = np.eye(4)
    shift[0, 3] = 80.0
    linked = Places(anatomy, Frames((RigidTransform("pet", "ct", shift),)), "pet")
    assert linked.solid(np.array([(-20.0, 80.0, 160.0)]))[0] == linked.code("liver")
    np.testing.assert_allclose(linked.landmarks()["liver"].centre, (-20, 80, 160), atol=4.0)
    alone = Places(anatomy, Frames(), "pet")
    assert not alone.known
    assert alone.unlinked == ["a"]


def test_regions_body_and_coverage() -> None:
    grid = Grid(SHAPE, STRAIGHT, "ct")
    body = Structure("body", StructureKind.REGION)
    canal = Structure("spinal_canal", StructureKind.REGION)
    drawn = _map(
        grid, (body, _inside(grid, (100, 80, 120), (80, 60, 100))), (canal, _inside(grid, (100, 120, 120), (6, 6, 80)))
    )
    places = Places(Anatomy((NamedMap("a", drawn),)), Frames(), "ct")
    asked = np.array([(100.0, 120.0, 120.0), (100.0, 60.0, 120.0), (4.0, 4.0, 4.0), (900.0, 0.0, 0.0)])
    assert places.region("spinal_canal", asked).tolist() == [True, False, False, False]  # type: ignore[union-attr]  # known
    assert places.body(asked).tolist() == [True, True, False, False]  # type: ignore[union-attr]  # known
    assert places.covered(asked).tolist() == [True, True, True, False]
    assert places.region("mediastinum", asked) is None


def test_shares_follow_the_uptake_and_sum_to_one() -> None:
    grid = Grid(SHAPE, STRAIGHT, "ct")
    anatomy = Anatomy((NamedMap("a", _map(grid, (_vertebra("L3", 1), _inside(grid, (40, 80, 120), (59, 40, 40))))),))
    places = Places(anatomy, Frames(), "ct")
    voxels = np.array([[24, 20, 30], [28, 20, 30]], dtype=np.int32)  # x = 96 inside, 112 outside by more than a voxel
    divided = shares(voxels, np.array([3.0, 1.0]), grid, places, 3)
    code = places.code("vertebra_L3")
    assert code is not None
    assert divided.inside.sum() == pytest.approx(1.0)
    assert divided.near[code] == pytest.approx(0.75)
    assert divided.millilitres[code] == pytest.approx(0.064)
    near = around((112.0, 80.0, 120.0), places, 40.0)
    assert near[code] == pytest.approx(12.0, abs=4.0)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_place_between_structures_goes_to_the_one_on_most_sides_whatever_the_direction(side: int) -> None:
    """A gap in the maps: one structure on one side of it along x, another beside it along y and z."""
    grid = Grid(SHAPE, STRAIGHT, "ct")
    at = 100.0
    one = _inside(grid, (at + side * 12.0, at, at), (10, 20, 20))
    two = _inside(grid, (at, at + 12.0, at), (3, 10, 3)) | _inside(grid, (at, at, at + 12.0), (3, 3, 10))
    anatomy = Anatomy((NamedMap("a", _map(grid, (LIVER, one), (_vertebra("L3", 1), two))),))
    places = Places(anatomy, Frames(), "ct")
    voxel = np.array([[25, 25, 25]], dtype=np.int32)
    divided = shares(voxel, np.array([1.0]), grid, places, 1)
    assert divided.inside[0] == 1.0
    code = places.code("vertebra_L3")
    assert code is not None
    assert divided.near[code] == 1.0


def _patient(liver_noise: float = 0.1, hot: bool = False) -> tuple[Volume, Places]:
    grid = Grid(SHAPE, STRAIGHT, "ct")
    liver = _inside(grid, (60, 80, 170), (48, 48, 44))
    aorta = _inside(grid, (110, 110, 120), (9, 9, 100))
    spine = [(_vertebra(name, n), _inside(grid, (100, 136, 40 + 40 * n), (20, 12, 16)))
             for n, name in enumerate(("L4", "L3", "L2", "L1"), start=1)]  # fmt: skip
    drawn = [(LIVER, liver), (Structure("aorta", StructureKind.REGION), aorta), *spine]
    rng = np.random.default_rng(2)
    values = np.ones(SHAPE)
    values[liver] = 2.0 + rng.normal(0, liver_noise, liver.sum())
    values[aorta] = 1.5
    for n, (_, mask) in enumerate(spine):
        values[mask] = 1.6 + 0.1 * n
    if hot:
        values[_inside(grid, (40, 80, 170), (90, 90, 60)) & liver] *= np.linspace(1, 3, int(liver.sum()))
    pet = Volume(values.astype(np.float32), grid, Unit.SUVBW, Modality.PT, "PT-1")
    return pet, Places(Anatomy((NamedMap("a", _map(grid, *drawn)),)), Frames(), "ct")


def test_liver_blood_and_marrow_are_measured_where_they_are_quiet() -> None:
    found = measure_references(*_patient(), RULES)
    assert found.liver is not None
    assert found.liver.mean == pytest.approx(2.0, abs=0.05)
    assert found.liver.centre_lps_mm[0] <= 60  # the right half
    assert found.blood is not None
    assert found.blood.mean == pytest.approx(1.5)
    assert found.marrow is not None
    assert found.marrow.median == pytest.approx(1.75, abs=0.06)
    assert found.marrow.mad == pytest.approx(0.0)  # each of these vertebrae is even
    assert found.organs["liver"].mad == pytest.approx(0.0675, abs=0.02)
    assert found.notes == ()


def test_diseased_vertebrae_do_not_speak_for_the_marrow() -> None:
    grid = Grid(SHAPE, STRAIGHT, "ct")
    rng = np.random.default_rng(5)
    values = np.ones(SHAPE)
    spine = []
    for n, (name, usual) in enumerate((("L5", 1.6), ("L4", 1.7), ("L3", 9.0), ("L2", 1.65), ("L1", 5.0)), start=1):
        mask = _inside(grid, (100, 136, 44 * n), (20, 12, 16))
        values[mask] = usual + rng.normal(0, 0.3, int(mask.sum()))
        spine.append((_vertebra(name, n), mask))
    pet = Volume(values.astype(np.float32), grid, Unit.SUVBW, Modality.PT, "PT-1")
    found = measure_references(pet, Places(Anatomy((NamedMap("a", _map(grid, *spine)),)), Frames(), "ct"), RULES)
    assert found.marrow is not None
    assert found.marrow.median == pytest.approx(1.7, abs=0.06)
    assert found.marrow.cv < 0.1
    assert found.marrow.mad == pytest.approx(0.6745 * 0.3, abs=0.05)


def test_a_diseased_liver_is_refused_with_a_sentence() -> None:
    found = measure_references(*_patient(liver_noise=0.9), RULES)
    assert found.liver is None
    assert "uptake varies" in found.notes[0]


def test_without_anatomy_every_reference_says_why_it_is_missing() -> None:
    pet, _ = _patient()
    found = measure_references(pet, Places(Anatomy(), Frames(), "ct"), RULES)
    assert (found.liver, found.blood, found.marrow) == (None, None, None)
    assert len(found.notes) == 3


def test_a_focus_stands_out_of_its_surroundings_by_their_noise() -> None:
    rng = np.random.default_rng(4)
    values = np.abs(rng.normal(1.0, 0.2, SHAPE))
    grid = Grid(SHAPE, STRAIGHT, "ct")
    focus = _inside(grid, (100, 80, 120), (5, 5, 5))
    values[focus] = 6.0
    volume = Volume(values.astype(np.float32), grid, Unit.SUVBW, Modality.PT, "PT-1")
    rules = ShellRules(smoothing_mm=3.0, inner_mm=5.0, outer_mm=25.0)
    around_it = surroundings(volume, np.argwhere(focus).astype(np.int32), rules, 2.5)
    assert around_it is not None
    assert around_it.median == pytest.approx(1.0, abs=0.05)
    assert around_it.contrast_to_noise > 15
    nowhere = surroundings(volume, np.argwhere(focus).astype(np.int32), rules, 0.01)
    assert nowhere is None
