"""Connectivity is what the caller states; voxel lists and boxes agree with the array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lesion_pipeline.imaging import components


@pytest.mark.parametrize(("connectivity", "expected"), [(6, 3), (18, 2), (26, 1)])
def test_connectivity_is_the_callers(connectivity: components.Connectivity, expected: int) -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 0] = mask[2, 2, 1] = True  # touching over an edge, then over a corner
    _, count = components.label(mask, connectivity)
    assert count == expected


@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 5), (1, 3, 5), (5, 7, 1), (3, 3, 3), (9, 1, 9)])
@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_the_most_components_that_an_array_can_hold(shape: tuple[int, int, int], connectivity: components.Connectivity) -> None:
    """Voxels that nowhere touch, in an array one voxel thick: a PET uptake of two voxels with a gap is such a one."""
    mask = np.zeros(shape, dtype=bool)
    mask[::2, ::2, ::2] = True
    labels, count = components.label(mask, connectivity)
    assert count == np.count_nonzero(mask)
    assert sorted(labels[mask]) == list(range(1, count + 1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_labels_agree_with_scipy_and_lists_cover_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 7, 8)) > 0.8
    labels, count = components.label(mask, 26)
    assert count == ndimage.label(mask, np.ones((3, 3, 3)))[1]
    lists = components.voxel_lists(labels)
    assert len(lists) == count
    again = np.zeros(mask.shape, dtype=int)
    for number, voxels in enumerate(lists, start=1):
        again[tuple(voxels.T)] = number
    np.testing.assert_array_equal(again, labels)


def test_values_never_join() -> None:
    values = np.array([[[1, 1, 2, 2, 0, 1]]], dtype=np.uint8)
    _, count = components.of_values(values, 26)
    assert count == 3


def test_an_empty_mask_has_no_lists() -> None:
    labels, count = components.label(np.zeros((3, 3, 3), dtype=bool), 6)
    assert count == 0
    assert components.voxel_lists(labels) == []


def test_box_and_mask_meet_at_the_edge_of_the_grid() -> None:
    voxels = np.array([[0, 2, 4], [1, 2, 4]], dtype=np.int32)
    window = components.box(voxels, (5, 5, 5), margin=2)
    assert window == (slice(0, 4), slice(0, 5), slice(2, 5))
    assert np.argwhere(components.mask_of(voxels, window)).tolist() == [[0, 2, 2], [1, 2, 2]]
