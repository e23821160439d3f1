"""A large image in overlapping tiles, and their answers blended into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.float32]
Triple = tuple[int, int, int]
#: Smallest weight of a voxel relative to the middle of a tile, so that the outermost voxels of an image have one at all.
_LEAST = 1e-3


def window(patch: Triple, kind: Literal["gaussian", "hann"]) -> Image:
    """Weight of each voxel of a tile, float32 (a, b, c), highest in the middle, separable.

    gaussian: sigma is an eighth of the patch (nnU-Net's). hann: sin^2 over the patch, voxel centres.
    """
    sides = []
    for size in patch:
        at = np.arange(size, dtype=np.float64) + 0.5
        if kind == "gaussian":
            side = np.exp(-0.5 * ((at - size / 2) / max(size / 8, 1e-6)) ** 2)
        else:
            side = np.sin(np.pi * at / size) ** 2
        sides.append(side / side.max())
    whole = sides[0][:, None, None] * sides[1][None, :, None] * sides[2][None, None, :]
    return np.asarray(np.maximum(whole, _LEAST), dtype=np.float32)


def starts(size: int, patch: int, step: float) -> list[int]:
    """First voxels of the tiles along an axis of ``size`` >= patch: evenly spread, at most ``step * patch`` apart."""
    last = size - patch
    number = int(np.ceil(last / max(1.0, step * patch))) + 1
    return [round(n * last / max(1, number - 1)) for n in range(number)]


def blended(
    image: Image, predict: Callable[[Image], Image], *, weight: Image, step: float, fill: npt.NDArray[np.float32]
) -> Image:
    """Weighted mean of ``predict`` over all tiles of an image (channels, a, b, c); float32 (a, b, c).

    weight: of each voxel of a tile; its shape is the patch. predict: tile (channels, *patch) -> (*patch). fill: value of each
    channel where the image is smaller than a tile.
    """
    patch = (weight.shape[0], weight.shape[1], weight.shape[2])
    padded = _padded(image, patch, fill)
    shape = padded.shape[1:]
    total = np.zeros(shape, dtype=np.float32)
    weights = np.zeros(shape, dtype=np.float32)
    for place in _places(shape, patch, step):
        total[place] += weight * predict(np.ascontiguousarray(padded[(slice(None), *place)]))
        weights[place] += weight
    a, b, c = image.shape[1:]
    return np.asarray((total / weights)[:a, :b, :c], dtype=np.float32)


def _places(shape: tuple[int, ...], patch: Triple, step: float) -> Iterator[tuple[slice, slice, slice]]:
    for a, b, c in product(*[starts(n, p, step) for n, p in zip(shape, patch, strict=True)]):
        yield slice(a, a + patch[0]), slice(b, b + patch[1]), slice(c, c + patch[2])


def _padded(image: Image, patch: Triple, fill: npt.NDArray[np.float32]) -> Image:
    size = [max(n, p) for n, p in zip(image.shape[1:], patch, strict=True)]
    if tuple(size) == image.shape[1:]:
        return image
    out = np.empty((image.shape[0], *size), dtype=np.float32)
    out[:] = fill[:, None, None, None]
    a, b, c = image.shape[1:]
    out[:, :a, :b, :c] = image
    return out
