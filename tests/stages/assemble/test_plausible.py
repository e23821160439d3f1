"""Holes and spikes one slice thick are damage; everything a PET can hold is not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.stages.assemble import plausible
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


@pytest.mark.parametrize("size", [1.0, 0.02])
def test_slices_passed_over_are_those_with_nothing_to_tell(size: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near every limit, with and without the short cut: the same answer."""

    def answer(values: npt.NDArray[np.float32]) -> list[str]:
        try:
            return [f"{c.code} {c.message}" for c in check_pet(values, "PT-x", "assemble")]
        except InputError as error:
            return [f"{error.code} {error.message}"]

    cases = []
    for k in (5, 12, 19):
        for factor in (0.3, 0.66, 0.67, 0.85, 0.87, 0.88, 1.0, 1.13, 1.15, 1.17, 1.3, 1.49, 1.51, 2.0):
            values = body()[:, :, 3:27] * np.float32(size)
            values[:, :, k] *= factor
            cases.append(values)
    for value in (0.0, 15.0, 30.0, 5000.0):
        values = body()[:, :, 3:27] * np.float32(size)
        values[10, 12, 9] = values[14:16, 14, 9] = value * size
        cases.append(values)
    short = [answer(values) for values in cases]
    monkeypatch.setattr(plausible, "_is_calm", lambda *_: False)
    assert short == [answer(values) for values in cases]
    assert {a[0].split()[0] if a else "" for a in short} == {"", "SLICE_JUMP", "PIXEL_OUTLIERS", "CORRUPT_PIXELS"}
