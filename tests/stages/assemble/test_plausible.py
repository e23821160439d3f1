"""Holes and spikes one slice thick are damage; everything a PET can hold is not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.stages.assemble.plausible import check_pet


def body(background: float = 1.0) -> npt.NDArray[np.float32]:
    """A blurred body with a point source, a hot organ and air, negative noise cut to zero."""
    values = np.zeros((40, 40, 30))
    values[8:32, 8:32, 3:27] = background
    values[20, 20, 15] = 800.0
    values[12:16, 12:16, 10:14] = 10.0
    noise = np.random.default_rng(1).normal(0, 0.05, values.shape)
    blurred: npt.NDArray[np.float64] = gaussian_filter(values, 0.65)
    return np.maximum(blurred + noise, 0).astype(np.float32)


@pytest.mark.parametrize("background", [1.0, 0.0])
def test_a_sharp_scan_is_fine(background: float) -> None:
    assert check_pet(body(background), "PT-x", "assemble") == []


def test_digital_balls_in_nothing_are_fine() -> None:
    values = np.zeros((20, 20, 20), np.float32)
    values[5:8, 5:8, 5:8] = 4.0
    assert check_pet(values, "PT-x", "assemble") == []
    assert check_pet(np.zeros((4, 4, 4), np.float32), "PT-x", "assemble") == []


@pytest.mark.parametrize("value", [0.0, 5000.0])
def test_a_damaged_block_is_refused_and_one_voxel_told(value: float) -> None:
    damaged = body()
    damaged[10:30, 12, 18] = value
    with pytest.raises(InputError, match="CORRUPT_PIXELS"):
        check_pet(damaged, "PT-x", "assemble")
    one = body()
    one[14, 14, 12] = value if value else 0.0
    assert [c.code for c in check_pet(one, "PT-x", "assemble")] == ["PIXEL_OUTLIERS"]


@pytest.mark.parametrize(("k", "factor", "refused"), [(12, 2.0, True), (12, 0.4, True), (3, 4.0, True), (12, 1.25, False)])
def test_a_slice_with_another_slope(k: int, factor: float, refused: bool) -> None:
    values = body()[:, :, 3:27].copy()
    values[:, :, k - 3] *= factor
    if refused:
        with pytest.raises(InputError, match="times as bright"):
            check_pet(values, "PT-x", "assemble")
    else:
        assert [c.code for c in check_pet(values, "PT-x", "assemble")] == ["SLICE_JUMP"]
