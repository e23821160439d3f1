"""The procedural body: shapes, levels, volumes, sides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.domain.anatomy import Organ, VertebralLevel
from lesion_pipeline.domain.geometry import Grid, inverse_affine
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.simulate.anatomy import Body, BodyParams, build_body, draw_params
from lesion_pipeline.simulate.anatomy.parts import Layer, paint, part
from lesion_pipeline.simulate.anatomy.solids import Ellipsoid, Lattice, Loft, Tube, capsule, spline


def _grid(
    spacing: float = 6.0,
    low: tuple[float, float, float] = (-260, -260, -330),
    high: tuple[float, float, float] = (260, 200, 660),
) -> Grid:
    shape = [int((b - a) / spacing) + 1 for a, b in zip(low, high, strict=True)]
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = low
    return Grid((shape[0], shape[1], shape[2]), affine, "body")


@pytest.fixture(scope="module")
def body() -> Body:
    return build_body(BodyParams())


@pytest.fixture(scope="module")
def labels(body: Body) -> LabelMap:
    return body.labels(_grid())


def _millilitres(labels: LabelMap) -> dict[str, float]:
    counted = np.bincount(labels.values.reshape(-1), minlength=len(labels.names) + 1)
    return {s.key: float(counted[value]) * labels.grid.voxel_ml for value, s in labels.names.items()}


def _centroid(labels: LabelMap, key: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    value = labels.value_of(key)
    assert value is not None
    return np.asarray(labels.grid.world(np.argwhere(labels.values == value)).mean(axis=0))


ORIENTATIONS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "oblique": np.linalg.qr(np.array([[1.0, 0.2, -0.1], [-0.3, 1.0, 0.2], [0.1, -0.2, 1.0]]))[0],
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_a_ball_has_its_volume_on_every_grid(name: str) -> None:
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS[name] * np.array([2.0, 2.5, 3.0])
    affine[:3, 3] = [5.0, -3.0, 40.0] - affine[:3, :3] @ np.array([15.0, 15.0, 15.0])
    lattice = Lattice(Grid((31, 31, 31), affine, "f"), np.eye(4))
    (image,) = paint([part(Ellipsoid([5.0, -3.0, 40.0], 20.0), "a")], lattice, {"a": (1.0,)}, (0.0,))
    assert float(image.sum()) * 15.0 == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.02)


def test_a_tube_is_the_same_by_pieces_and_at_points() -> None:
    tube = Tube(spline([[0, 0, 0], [20, 10, 5], [30, 0, 40]], 9), np.linspace(5, 2, 9))
    lattice = Lattice(_grid(2.0, (-12, -12, -12), (45, 25, 55)), np.eye(4))
    for window, distance in tube.pieces(lattice):
        whole = tube.distance(lattice.coordinates(window))
        near = np.abs(whole) < 3
        np.testing.assert_allclose(distance[near], whole[near], atol=1e-3)


def test_layers_lie_inside_one_another() -> None:
    bone = part(Ellipsoid([0, 0, 0], 10.0), "cortex", "bone", Layer("marrow", "bone", 3.0))
    lattice = Lattice(_grid(1.0, (-12, -12, -12), (12, 12, 12)), np.eye(4))
    (image,) = paint([bone], lattice, {"cortex": (900.0,), "marrow": (150.0,)}, (0.0,))
    assert image[12, 12, 12] == 150
    assert image[12 + 8, 12, 12] == 900
    assert image[0, 12, 12] == 0


def test_a_capsule_measures_distance_to_its_axis() -> None:
    at = (np.full((1, 1, 1), 5, np.float32), np.full((1, 1, 1), 4, np.float32), np.zeros((1, 1, 1), np.float32))
    assert float(capsule(at, (0, 0, 0), (10, 0, 0), 1.0, 3.0).item()) == pytest.approx(2.0)


def test_a_loft_passes_through_its_knots() -> None:
    loft = Loft([(0, 1, 2, 30, 20), (50, 2, 2, 40, 25), (100, 3, 2, 20, 20)])
    cx, cy, a, b = loft.section(50.0)
    assert [float(v) for v in (cx, cy, a, b)] == pytest.approx([2, 2, 40, 25])


@pytest.mark.parametrize(
    ("thoracic", "lumbar", "names"),
    [(12, 5, ("T12", "L5")), (12, 6, ("L5", "L6")), (13, 5, ("T13", "L5")), (12, 4, ("T12", "L4")), (11, 5, ("T11", "L5"))],
)
def test_numbering_variants(thoracic: int, lumbar: int, names: tuple[str, str]) -> None:
    body = build_body(BodyParams(thoracic=thoracic, lumbar=lumbar))
    column = body.spine.vertebrae
    assert len(column) == 7 + thoracic + lumbar
    assert all(body.spine.has(n) for n in names)
    assert not body.spine.has(f"L{lumbar + 1}")
    assert [v.instance for v in column] == list(range(1, len(column) + 1))
    assert [v.level for v in column] == sorted(v.level for v in column)
    assert np.all(np.diff([v.origin[2] for v in column]) < -8)


def test_a_body_of_another_number_is_refused() -> None:
    with pytest.raises(ValueError, match="thoracic"):
        BodyParams(thoracic=10)


def test_segments_have_adult_lengths(body: Body) -> None:
    lengths = {v.name: v.segment / body.params.scale for v in body.spine.vertebrae}
    assert lengths["L3"] == pytest.approx(38.0)
    assert lengths["T6"] == pytest.approx(23.3)
    assert lengths["C5"] == pytest.approx(17.2)


def test_a_fracture_takes_height() -> None:
    whole, crushed = (build_body(BodyParams(collapsed=c)).spine["L1"] for c in ((), (("L1", 0.4),)))
    assert 0.5 < crushed.height / whole.height < 0.75


def test_eleven_pairs_of_ribs_leave_the_last_vertebra_bare() -> None:
    keys = {s.key for s in build_body(BodyParams(rib_pairs=11)).labels(_grid(12.0)).names.values()}
    assert "rib_left_11" in keys
    assert "rib_left_12" not in keys


def test_organs_have_adult_volumes(labels: LabelMap) -> None:
    ml = _millilitres(labels)
    wanted = {
        "liver": (1000, 2100), "spleen": (100, 350), "kidney_left": (110, 250), "kidney_right": (110, 250),
        "heart": (450, 1000), "lung_left": (1300, 3000), "lung_right": (1500, 3300), "bladder": (80, 400),
        "aorta": (100, 350), "vertebra_L3": (30, 80), "vertebra_T6": (10, 30), "brain": (350, 1500),
        "femur_left": (150, 450), "stomach": (200, 800),
    }  # fmt: skip
    wrong = {key: round(ml[key]) for key, (low, high) in wanted.items() if not low <= ml[key] <= high}
    assert not wrong


def test_every_vertebra_rib_and_organ_is_there(labels: LabelMap, body: Body) -> None:
    ml = _millilitres(labels)
    for v in body.spine.vertebrae:
        assert ml[v.key] > 3, v.key
    for n in range(1, 13):
        assert ml[f"rib_left_{n}"] > 1.5
        assert ml[f"rib_right_{n}"] > 1.5
    named = {s.key: s for s in labels.names.values()}
    assert named["vertebra_T11"].level is VertebralLevel.T11
    assert named["vertebra_T11"].organ is Organ.BONE
    assert named["vertebra_S"].level is VertebralLevel.S
    assert named["adrenal_left"].organ is Organ.ADRENAL
    assert named["couch"].organ is None


def test_left_is_left_and_back_is_back(labels: LabelMap) -> None:
    assert _centroid(labels, "liver")[0] < -25
    assert _centroid(labels, "spleen")[0] > 60
    assert _centroid(labels, "kidney_left")[0] > 40
    assert _centroid(labels, "rib_right_7")[0] < -40
    assert _centroid(labels, "heart")[1] < _centroid(labels, "vertebra_T8")[1] - 40
    assert _centroid(labels, "bladder")[2] < _centroid(labels, "vertebra_L5")[2] < _centroid(labels, "heart")[2]


def test_labels_follow_the_body_into_the_scanner(body: Body) -> None:
    moved = build_body(BodyParams(rotation_deg=4.0), (10.0, 20.0, -500.0))
    here = moved.world([0.0, 0.0, 100.0])
    assert here == pytest.approx([10.0, 20.0, -400.0])
    back = inverse_affine(moved.world_from_body) @ [*here, 1.0]
    assert back[:3] == pytest.approx([0.0, 0.0, 100.0])
    low, high = (-140, -20, -420), (140, 120, -360)
    found = moved.labels(Grid((71, 36, 16), _grid(4.0, low, high).affine, "ct"))
    v = moved.spine["L3"]
    assert found.at(moved.world(v.origin))[0] == found.value_of("vertebra_L3")


def test_ct_values_are_those_of_tissue(body: Body) -> None:
    grid = _grid(4.0, (-180, -170, 60), (180, 120, 330))
    ct = body.sample_ct(grid, np.random.default_rng(3))
    found = body.labels(grid)
    medians = {
        key: float(np.median(ct.values[found.values == found.value_of(key)]))
        for key in ("liver", "muscle", "lung_left", "spleen")
    }
    assert medians["liver"] == pytest.approx(58, abs=4)
    assert medians["muscle"] == pytest.approx(54, abs=5)
    assert medians["lung_left"] == pytest.approx(-860, abs=20)
    assert medians["spleen"] == pytest.approx(50, abs=5)
    liver = ct.values[found.values == found.value_of("liver")]
    assert 8 < float(np.percentile(liver, 75) - np.percentile(liver, 25)) / 1.35 < 25


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_every_drawn_person_can_be_built(seed: int) -> None:
    params = draw_params(np.random.default_rng(seed))
    built = build_body(params)
    assert len(built.spine.vertebrae) == 7 + params.thoracic + params.lumbar
    for one in built.parts:
        assert np.all(one.solid.low < one.solid.high)
