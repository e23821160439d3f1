from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.domain.errors import GeometryError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.measures import PEAK_RADIUS_MM, measure, suv_peak


def suv_volume(values: npt.ArrayLike, affine: npt.ArrayLike, unit: Unit = Unit.SUVBW) -> Volume:
    array = np.asarray(values, dtype=np.float32)
    i, j, k = array.shape
    return Volume(array, Grid((i, j, k), np.asarray(affine, dtype=np.float64), "frame"), unit, Modality.PT, "PT-1")


def spaced(*mm: float) -> npt.NDArray[np.float64]:
    return np.diag([*mm, 1.0])


def test_a_box_of_known_values() -> None:
    values = np.zeros((20, 20, 20))
    values[8:12, 8:12, 8:12] = 5.0
    values[9, 9, 9] = 9.0
    voxels = np.argwhere(values > 1).astype(np.int32)
    found = measure(suv_volume(values, spaced(4, 4, 4)), voxels, threshold=2.5)
    assert found.volume_ml == pytest.approx(64 * 0.064)
    assert found.suv_max == 9.0
    assert found.suv_mean == pytest.approx((63 * 5 + 9) / 64)
    assert found.tlg == pytest.approx((63 * 5 + 9) * 0.064)
    assert found.threshold == 2.5
    assert found.suv_peak is not None
    assert 4.5 < found.suv_peak < 6.0


@pytest.mark.parametrize("mm", [(1.0, 1.0, 1.0), (2.0, 2.0, 3.0), (4.07, 4.07, 2.0), (4.6875, 4.6875, 3.27), (5.3, 5.3, 5.0)])
def test_the_peak_of_a_uniform_image_is_its_value_on_every_grid(mm: tuple[float, float, float]) -> None:
    volume = suv_volume(np.full((24, 24, 24), 3.25), spaced(*mm))
    assert suv_peak(volume, np.array([[12, 12, 12]], dtype=np.int32)) == pytest.approx(3.25, rel=1e-6)


@pytest.mark.parametrize("mm", [1.0, 2.0, 4.0])
def test_the_peak_weights_a_voxel_by_what_lies_inside_the_sphere(mm: float) -> None:
    """One hot voxel of 1 in zeros: the best sphere holds the whole voxel, so the peak is voxel volume / 1 ml."""
    values = np.zeros((21, 21, 21))
    values[10, 10, 10] = 1.0
    peak = suv_peak(suv_volume(values, spaced(mm, mm, mm)), np.array([[10, 10, 10]], dtype=np.int32))
    assert peak == pytest.approx(mm**3 / 1000.0, rel=0.01)


def test_the_peak_of_a_ball_of_one_millilitre_on_a_fine_grid_is_its_value() -> None:
    i, j, k = np.indices((31, 31, 31))
    ball = ((i - 15) ** 2 + (j - 15) ** 2 + (k - 15) ** 2) <= PEAK_RADIUS_MM**2
    peak = suv_peak(suv_volume(ball * 10.0, spaced(1, 1, 1)), np.argwhere(ball).astype(np.int32))
    assert peak == pytest.approx(10.0, rel=0.05)


def test_the_peak_looks_one_voxel_beyond_the_lesion() -> None:
    values = np.zeros((21, 21, 21))
    values[11, 10, 10] = 1.0
    volume = suv_volume(values, spaced(6, 6, 6))
    on_it = suv_peak(volume, np.array([[11, 10, 10]], dtype=np.int32))
    beside = suv_peak(volume, np.array([[10, 10, 10]], dtype=np.int32))
    two_away = suv_peak(volume, np.array([[9, 10, 10]], dtype=np.int32))
    assert on_it == beside
    assert two_away < beside


def test_at_the_edge_the_mean_is_over_the_part_inside() -> None:
    volume = suv_volume(np.full((6, 6, 6), 2.0), spaced(4, 4, 4))
    assert suv_peak(volume, np.array([[0, 0, 0]], dtype=np.int32)) == pytest.approx(2.0)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_the_measures_do_not_depend_on_how_the_image_is_stored(axes: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(7)
    values = rng.random((14, 15, 16), dtype=np.float32)
    values[5:9, 6:9, 7:10] += 4.0
    affine = spaced(3.0, 4.0, 5.0)
    plain = suv_volume(values, affine)
    stored = values.transpose(axes)[tuple(slice(None, None, s) for s in signs)]
    turned = np.eye(4)
    turned[:3, :3] = affine[:3, :3][:, axes] * np.array(signs)
    other = suv_volume(np.ascontiguousarray(stored), turned)
    first = measure(plain, np.argwhere(plain.values > 3).astype(np.int32))
    second = measure(other, np.argwhere(other.values > 3).astype(np.int32))
    assert second.suv_peak == pytest.approx(first.suv_peak, rel=1e-6)
    assert (second.suv_max, second.volume_ml) == pytest.approx((first.suv_max, first.volume_ml))
    assert second.tlg == pytest.approx(first.tlg)


def test_the_fast_way_and_the_way_at_the_edge_agree() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((20, 20, 20), dtype=np.float32)
    voxels = np.array([[8, 9, 10], [9, 9, 10]], dtype=np.int32)
    whole = suv_peak(suv_volume(values, spaced(4, 4, 4)), voxels)
    cropped = suv_volume(values[5:13, 6:14, 7:14], spaced(4, 4, 4))  # just misses the reach of the sphere on some sides
    assert suv_peak(cropped, voxels - np.array([5, 6, 7], dtype=np.int32)) == pytest.approx(whole, rel=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 20.0))
def test_peak_lies_between_mean_of_the_surroundings_and_their_maximum(seed: int, scale: float) -> None:
    values = np.random.default_rng(seed).random((13, 13, 13)).astype(np.float32) * scale
    voxels = np.array([[6, 6, 6], [6, 6, 7]], dtype=np.int32)
    volume = suv_volume(values, spaced(4, 4, 4))
    peak = suv_peak(volume, voxels)
    assert float(values.min()) <= peak <= float(values.max())
    doubled = suv_volume(values * 2.0, spaced(4, 4, 4))
    assert suv_peak(doubled, voxels) == pytest.approx(2.0 * peak, rel=1e-5)


def test_only_the_volume_is_measured_where_the_unit_is_not_suv() -> None:
    found = measure(suv_volume(np.ones((5, 5, 5)), spaced(2, 2, 2), Unit.ARBITRARY), np.array([[1, 1, 1]], dtype=np.int32))
    assert found.volume_ml == pytest.approx(0.008)
    assert found.suv_max is None
    assert found.suv_peak is None


@pytest.mark.parametrize(
    ("voxels", "code"),
    [
        (np.zeros((0, 3), dtype=np.int32), "EMPTY_CANDIDATE"),
        (np.array([[5, 0, 0]], dtype=np.int32), "OUTSIDE_GRID"),
        (np.array([[-1, 0, 0]], dtype=np.int32), "OUTSIDE_GRID"),
    ],
)
def test_voxels_that_are_not_in_the_image_are_refused(voxels: npt.NDArray[np.int32], code: str) -> None:
    with pytest.raises(GeometryError) as refusal:
        measure(suv_volume(np.ones((5, 5, 5)), spaced(2, 2, 2)), voxels)
    assert refusal.value.code == code
