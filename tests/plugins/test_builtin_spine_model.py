"""The naming model of builtin-spine alone: lengths, plans, chains, names for points, and resampling."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.plugins.builtin_spine import model
from lesion_pipeline.plugins.builtin_spine.orientation import ribs_rise
from lesion_pipeline.plugins.builtin_spine.points import name_points
from lesion_pipeline.plugins.builtin_spine.resample import Box, box_of
from lesion_pipeline.plugins.builtin_spine.ribs import Ribs, Track
from lesion_pipeline.plugins.builtin_spine.straighten import Curve, Straight
from lesion_pipeline.plugins.builtin_spine.tips import follow_out

Array = npt.NDArray[np.float64]


def column(levels: tuple[Level, ...], scale: float = 1.0) -> Array:
    """Body centres (n, 3), caudal first, on a gently curved column with the model's own lengths."""
    lengths = np.array([model.LENGTH_MM[level] * scale for level in levels])
    z = np.cumsum(lengths) - lengths / 2
    return np.stack([3.0 * np.sin(z / 200.0), 20.0 * np.cos(z / 120.0), z], axis=1)


def plan(name: str) -> tuple[Level, ...]:
    return next(chain.levels for chain in model.CHAINS if chain.name == name)


def test_plans_are_human() -> None:
    counts = {
        c.name: (sum(v.region == "lumbar" for v in c.levels), sum(v.region == "thoracic" for v in c.levels))
        for c in model.CHAINS
    }
    assert counts == {"usual": (5, 12), "L6": (6, 12), "L4": (4, 12), "T13": (5, 13), "T11": (5, 11), "ribs11": (5, 12)}
    assert sum(c.prior for c in model.CHAINS) == pytest.approx(1.0)
    assert all(sum(v.region == "cervical" for v in c.levels) == 7 for c in model.CHAINS)


def test_length_densities_integrate_to_one() -> None:
    d = np.arange(0.5, 90.0, 0.05)
    for level in (Level.C4, Level.T8, Level.L3):
        assert np.exp(model.log_length(level, 1.0, d)).sum() * 0.05 == pytest.approx(1.0, abs=0.02)
        assert np.exp(model.log_cut_length(level, 1.0, d)).sum() * 0.05 == pytest.approx(1.0, abs=0.05)


@settings(max_examples=6, deadline=None)
@given(scale=st.floats(0.86, 1.14), first=st.integers(0, 8), count=st.integers(6, 12))
def test_points_are_named_from_one_end(scale: float, first: int, count: int) -> None:
    levels = plan("usual")[first : first + count]
    points = column(levels, scale)
    named = name_points(points, anchor=(0, levels[0]), plans={"usual": 1.0})
    assert [n.level for n in named] == list(levels)


def test_a_long_last_rib_speaks_for_the_eleventh() -> None:
    short, long = (
        model.log_reach(Level.T12, length, False) - model.log_reach(Level.T11, length, False) for length in (60.0, 150.0)
    )
    assert short > 1.5
    assert long < -1.5
    left_the_view = model.log_reach(Level.T12, 60.0, True) - model.log_reach(Level.T11, 60.0, True)
    assert abs(left_the_view) < 1.0 < short


def _upright() -> Straight:
    """A straight curve up the z axis, 200 mm; nothing sampled along it."""
    points = np.stack([np.zeros(200), np.zeros(200), np.arange(200.0)], axis=1)
    axes = np.tile(np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]), (200, 1, 1))
    each = np.ones(200)
    empty = np.zeros((200, 1, 1), dtype=np.float32)
    return Straight(Curve(points, axes), empty, np.zeros(1), np.zeros(1), each > 0, 12.0 * each, 25.0 * each)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("reach", "width", "is_open"), [(60.0, 300.0, False), (140.0, 500.0, False), (140.0, 240.0, True)])
def test_a_rib_is_followed_to_its_tip(side: int, reach: float, width: float, is_open: bool) -> None:
    origin = np.array([-width / 2, -60.0, 0.0])
    shape = (int(width / 3), 40, 66)
    x, y, z = np.meshgrid(*(origin[n] + 3.0 * np.arange(shape[n]) for n in range(3)), indexing="ij")
    along = np.clip(side * x, 50.0, 58.5 + reach)
    fallen = 120.0 - 0.3 * (along - 58.5)
    rod = np.sqrt((side * x - along) ** 2 + (y - 20.0) ** 2 + (z - fallen) ** 2) < 5.0
    box = Box(np.where(rod, 500.0, 0.0).astype(np.float32), origin, 3.0)
    tip = follow_out(box, _upright(), Track(side, 125.0, 58.5, -0.3, True, 1.0, (120.0, -20.0)))
    assert tip.open is is_open
    if not is_open:
        assert tip.length == pytest.approx(reach * np.hypot(1.0, 0.3), abs=12.0)


def test_upper_ribs_alone_raise_no_doubt_and_lower_ones_do() -> None:
    def ribs(slopes: list[float]) -> Ribs:
        tracks = tuple(Track(1, 20.0 * n, 58.5, slope, True, 1.0, (0.0, 0.0)) for n, slope in enumerate(slopes))
        return Ribs(tracks, np.ones((2, 300)))

    upper = [-0.1, 0.09, 0.08, 0.17, 0.14, -0.09, 0.2, 0.2]
    assert ribs_rise(ribs(upper)) is False
    assert ribs_rise(ribs([0.1, 0.1, 0.2, 0.2, 0.3, 0.4, 0.5, 0.7])) is True
    assert ribs_rise(ribs([0.5] * 4)) is None


@pytest.mark.parametrize("sense", [-1.0, 1.0])
def test_ribs_of_a_whole_chest_rise_only_upside_down(sense: float) -> None:
    slopes = [
        0.02,
        0.04,
        0.06,
        0.07,
        0.1,
        0.11,
        0.12,
        0.13,
        0.2,
        0.21,
        0.24,
        0.31,
        0.32,
    ]  # gently falling, as in a barrel chest
    tracks = tuple(Track(1, 20.0 * n, 58.5, sense * slope, True, 1.0, (0.0, 0.0)) for n, slope in enumerate(slopes))
    assert ribs_rise(Ribs(tracks, np.ones((2, 300)))) is (sense > 0)


def test_a_missing_body_is_noticed() -> None:
    levels = plan("usual")[:10]
    kept = [n for n in range(10) if n != 4]
    named = name_points(column(levels)[kept], anchor=(0, Level.L5), plans={"usual": 1.0})
    assert [n.level for n in named] == [levels[n] for n in kept]


def test_a_short_bent_spine_keeps_its_anchor() -> None:
    levels = plan("usual")[:5]
    points = column(levels, 0.86)
    points[:, 1] += 0.006 * (points[:, 2] - points[2, 2]) ** 2  # a strong lordosis
    named = name_points(points, anchor=(0, Level.L5), plans={"usual": 1.0})
    assert [n.level for n in named] == list(levels)


def test_six_lumbar_vertebrae_are_counted_where_the_end_is_known() -> None:
    levels = plan("L6")[:9]
    named = name_points(column(levels), anchor=(0, Level.L6))
    assert [n.level for n in named] == list(levels)


def test_an_outlier_beside_the_spine_does_not_shift_the_count() -> None:
    levels = plan("usual")[:9]
    points = np.vstack([column(levels), [[90.0, 20.0, 140.0]]])
    named = name_points(points, anchor=(0, Level.L5), plans={"usual": 1.0})
    assert [n.level for n in named[:9]] == list(levels)


def test_a_false_point_above_the_last_vertebra_does_not_bend_the_spine() -> None:
    levels = plan("usual")[-9:]
    points = np.vstack([column(levels), column(levels)[-1] + np.array([-52.0, 0.0, 22.0])])
    named = name_points(points, anchor=(0, levels[0]))
    assert [n.level for n in named[:9]] == list(levels)


def test_a_given_end_is_never_taken_for_the_sacrum() -> None:
    heights = np.array([0.0, 47.0, 88.0, 122.0, 152.0, 176.0])  # bodies larger than any that the model expects
    points = np.stack([np.zeros(6), 0.0004 * (heights - 80.0) ** 2, heights], axis=1)
    named = name_points(points, anchor=(0, Level.L3))
    assert [n.level.name for n in named] == ["L3", "L2", "L1", "T12", "T11", "T10"]


def test_regions_alone_find_the_thoracolumbar_border() -> None:
    levels = plan("usual")[2:12]
    regions = np.array([[0.02, 0.96, 0.02] if v.region == "thoracic" else [0.02, 0.02, 0.96] for v in levels])
    named = name_points(column(levels), regions, plans={"usual": 1.0})
    assert [n.level for n in named] == list(levels)


def test_one_point_is_refused() -> None:
    with pytest.raises(ValueError, match="two centres"):
        name_points([[0.0, 0.0, 0.0]])


def _blob(values: npt.NDArray[np.floating[Any]], affine: Array) -> Volume:
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Volume(values.astype(np.float32), Grid(shape, affine, "ct"), Unit.HU, Modality.CT, "ct")


def _reversed(volume: Volume, axis: int) -> Volume:
    affine = volume.grid.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (volume.grid.shape[axis] - 1)
    affine[:3, axis] *= -1
    return _blob(np.flip(volume.values, axis), affine)


@pytest.fixture(scope="module")
def cloud() -> Volume:
    values = np.random.default_rng(3).normal(0, 200, (24, 20, 12))
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    affine[:3, 3] = (-20.0, 7.0, 300.0)
    return _blob(values, affine)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_storage_order_does_not_matter(cloud: Volume, axis: int) -> None:
    straight, turned = box_of(cloud, 3.0), box_of(_reversed(cloud, axis), 3.0)
    assert np.allclose(straight.hu, turned.hu, atol=1e-2)
    assert np.allclose(straight.origin, turned.origin)


def test_exchanged_axes_do_not_matter(cloud: Volume) -> None:
    turned = _blob(cloud.values.transpose(2, 0, 1), cloud.grid.affine[:, [2, 0, 1, 3]])
    assert np.allclose(box_of(cloud, 3.0).hu, box_of(turned, 3.0).hu, atol=1e-2)


def test_a_linear_ramp_survives_resampling() -> None:
    affine = np.diag([1.5, 1.5, 5.0, 1.0])
    i, j, k = np.meshgrid(*(np.arange(n) for n in (30, 28, 14)), indexing="ij")
    box = box_of(_blob(1.5 * i * 3.0 - 1.5 * j + 5.0 * k, affine), 3.0)
    x, y, z = (box.origin[n] + 3.0 * np.arange(box.hu.shape[n]) for n in range(3))
    expected = 3.0 * x[:, None, None] - y[None, :, None] + z[None, None, :]
    assert np.abs(box.hu - expected)[2:-2, 2:-2, 2:-2].max() < 0.05


def test_a_tilted_gantry_is_sampled_where_the_voxels_are() -> None:
    affine = np.diag([2.0, 2.0, 4.0, 1.0])
    affine[1, 2] = 1.0  # sheared: every slice lies 1 mm further back
    i, j, k = np.meshgrid(*(np.arange(n) for n in (24, 24, 16)), indexing="ij")
    volume = _blob(2.0 * j + 1.0 * k + 0.0 * i, affine)  # the value is the posterior coordinate
    box = box_of(volume, 3.0)
    y = box.origin[1] + 3.0 * np.arange(box.hu.shape[1])
    middle = box.hu[3:-3, 8:12, 4:-4]
    assert np.abs(middle - y[None, 8:12, None]).max() < 1.0
