"""Peaks, saddles and merges of known hills."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.imaging.watershed import Pass, merge, relief


def _hills(*hills: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Gaussian hills (position along the first axis, height) in a 60 x 21 x 21 box, voxels of 1 mm."""
    x, y, z = np.meshgrid(np.arange(60), np.arange(21) - 10, np.arange(21) - 10, indexing="ij")
    out = np.zeros(x.shape)
    for at, height in hills:
        out = np.maximum(out, height * np.exp(-((x - at) ** 2 + y**2 + z**2) / (2 * 5.0**2)))
    return out.astype(np.float32)


def test_saddle_between_two_hills_is_where_they_cross() -> None:
    image = _hills((20, 8.0), (40, 4.0))
    found = relief(image, image > 0.2)
    assert sorted(p.height for p in found.peaks) == [4.0, 8.0]
    (saddle,) = found.saddles.values()
    along = image[20:41, 10, 10]
    assert saddle == pytest.approx(float(along.min()), abs=0.15)


def test_a_single_hill_is_one_basin() -> None:
    image = _hills((30, 5.0))
    found = relief(image, image > 1)
    assert len(found.peaks) == 1
    assert found.saddles == {}
    np.testing.assert_array_equal(found.basins > 0, image > 1)


def test_a_plateau_is_one_peak() -> None:
    image = np.minimum(_hills((30, 5.0)), np.float32(3.0))
    assert len(relief(image, image > 1).peaks) == 1


def test_merge_goes_over_the_highest_saddle_first_and_keeps_the_higher_name() -> None:
    image = _hills((10, 6.0), (24, 5.0), (46, 4.0))
    found = relief(image, image > 0.05)
    names = {round(p.height): p.label for p in found.peaks}
    merged = merge(found, lambda item: item.ratio > 0.3)
    assert merged.group[names[5] - 1] == names[6]
    assert merged.group[names[4] - 1] == names[4]
    (closed,) = merged.kept
    assert (closed.high.label, closed.low.label) == (names[6], names[4])


def test_everything_or_nothing() -> None:
    image = _hills((10, 6.0), (30, 5.0), (50, 4.0))
    found = relief(image, image > 0.05)
    assert len(set(merge(found, lambda _: True).group)) == 1
    nothing = merge(found, lambda _: False)
    assert len(set(nothing.group)) == 3
    assert len(nothing.kept) == 2


def test_ratio_is_held_at_one() -> None:
    image = _hills((30, 5.0))
    peak = relief(image, image > 1).peaks[0]
    assert Pass(peak, peak, 9.0).ratio == 1.0
