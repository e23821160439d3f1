"""A nodule of the CT is told from vessels, from the chest wall and from what lies elsewhere, in any orientation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.lung_nodule import Nodule, NoduleRules, lung_nodule

RULES = NoduleRules(above_hu=-500.0, reach_mm=6.0, least_ml=0.1, most_ml=30.0, longest=3.0, window_mm=40.0)
SPACING = np.array([3.0, 3.0, 5.0])
SHAPE = (60, 60, 40)
CENTRE = np.array([12.0, -30.0, 200.0])


def _chest(
    shapes: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...], flip: tuple[int, int, int] = (1, 1, 1)
) -> Volume:
    """Lung of -850 HU with ellipsoids of soft tissue: (offset from CENTRE, half axes), mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(SPACING * flip)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ (np.array(SHAPE) // 2)
    grid = Grid(SHAPE, affine, "ct")
    points = grid.world(np.argwhere(np.ones(SHAPE, dtype=bool)))
    values = np.full(len(points), -850.0, dtype=np.float32)
    for offset, half in shapes:
        values[np.linalg.norm((points - CENTRE - offset) / np.array(half), axis=1) <= 1.0] = 30.0
    return Volume(values.reshape(SHAPE), grid, Unit.HU, Modality.CT, "CT")


def _seen(ct: Volume, at: npt.ArrayLike = CENTRE) -> Nodule | None:
    return lung_nodule(ct, at, RULES)


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_a_ball_in_the_lung_is_a_nodule_of_its_volume(flip: tuple[int, int, int]) -> None:
    seen = _seen(_chest((((0, 0, 0), (9, 9, 9)),), flip))
    assert seen is not None
    assert seen.volume_ml == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.25)
    assert seen.away_mm == 0.0


def test_breathing_moves_it_by_millimetres_and_no_more() -> None:
    ball = _chest((((0, 0, 0), (9, 9, 9)),))
    near = _seen(ball, np.add(CENTRE, (0, 0, 9)))
    assert near is not None
    assert 0 < near.away_mm <= RULES.reach_mm
    assert _seen(ball, np.add(CENTRE, (0, 0, 20))) is None


def test_a_vessel_is_none() -> None:
    assert _seen(_chest((((0, 0, 0), (4, 4, 30)),))) is None


def test_what_is_one_piece_with_the_chest_wall_is_none() -> None:
    wall = ((0.0, 60.0, 0.0), (200.0, 45.0, 200.0))
    assert _seen(_chest((wall,)), np.add(CENTRE, (0, 12, 0))) is None
    assert _seen(_chest((wall, ((0, 10, 0), (9, 9, 9))))) is None


def test_what_leaves_the_field_of_view_is_none() -> None:
    """Half a ball at the last slices may be the tip of anything."""
    end = np.array([0.0, 0.0, 96.0])
    ball = _chest((((0, 0, 96), (9, 9, 9)),))
    assert ball.values[:, :, -1].max() > RULES.above_hu
    assert _seen(ball, CENTRE + end) is None
    assert _seen(_chest((((0, 0, 80), (9, 9, 9)),)), np.add(CENTRE, (0, 0, 80))) is not None


def test_a_speck_is_none() -> None:
    assert _seen(_chest((((0, 0, 0), (2, 2, 2)),))) is None


def test_the_nearer_of_two() -> None:
    seen = _seen(_chest((((8, 0, 0), (5, 5, 6)), ((-12, 0, 0), (8, 8, 8)))))
    assert seen is not None
    assert seen.volume_ml < 1.2


def test_beyond_the_ct_there_is_none() -> None:
    assert _seen(_chest((((0, 0, 0), (9, 9, 9)),)), np.add(CENTRE, (0, 0, 500))) is None
