"""A sharp focus and a fading one, on any grid."""

from __future__ import annotations

import numpy as np
import pytest

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.focality import Focality, FocalityRules, focality

RULES = FocalityRules(ring_low_mm=10.0, ring_high_mm=15.0, reach_mm=20.0, smallest_mm=4.0)
CENTRE = np.array([3.0, -7.0, 11.0])


def _seen(
    fwhm_mm: float, flip: tuple[int, int, int] = (1, 1, 1), spacing: tuple[float, float, float] = (4.0, 4.0, 3.0)
) -> Focality:
    """A Gaussian blob of SUV 5 over a background of 1, its hottest voxel at the centre."""
    shape = (21, 21, 27)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.array(spacing) * flip)
    affine[:3, 3] = CENTRE - affine[:3, :3] @ np.array([10, 10, 13])
    grid = Grid(shape, affine, "pet")
    index = np.argwhere(np.ones(shape, dtype=bool))
    away = np.linalg.norm(grid.world(index) - CENTRE, axis=1)
    values = (1.0 + 4.0 * np.exp(-4 * np.log(2) * (away / fwhm_mm) ** 2)).reshape(shape).astype(np.float32)
    seen = focality(
        Volume(values, grid, Unit.SUVBW, Modality.PT, "PT"), np.array([[10, 10, 13], [11, 10, 13]], np.int32), RULES
    )
    assert seen is not None
    return seen


def test_it_measures_what_was_painted() -> None:
    seen = _seen(12.0, spacing=(1.5, 1.5, 1.5))
    assert seen.half_mm == pytest.approx(6.0, abs=0.4)
    ring = 1.0 + 4.0 * np.exp(-4 * np.log(2) * (12.8 / 12.0) ** 2)  # half of the ring's shell lies within 12.8 mm
    assert seen.contrast == pytest.approx(5.0 / ring, rel=0.05)
    assert seen.per_mm == pytest.approx(np.log(seen.contrast) / seen.half_mm)


def test_what_ends_within_millimetres_is_steeper_than_what_fades() -> None:
    assert _seen(8.0).per_mm > 2 * _seen(24.0).per_mm


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_the_patients_orientation_changes_nothing(flip: tuple[int, int, int]) -> None:
    assert _seen(12.0, flip) == _seen(12.0)


def test_no_smaller_than_a_scanner_shows() -> None:
    assert _seen(3.0).half_mm == RULES.smallest_mm


def test_a_place_without_surroundings_says_nothing() -> None:
    grid = Grid((30, 30, 30), np.diag([4.0, 4.0, 4.0, 1.0]), "pet")
    values = np.zeros(grid.shape, dtype=np.float32)
    values[15, 15, 15] = 5.0
    assert focality(Volume(values, grid, Unit.SUVBW, Modality.PT, "PT"), np.array([[15, 15, 15]], np.int32), RULES) is None
