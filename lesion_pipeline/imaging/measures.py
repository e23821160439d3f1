"""What is measured of a lesion on the grid it was seen on. Nothing is interpolated.

Definitions
-----------
volume_ml   number of voxels x voxel volume; for a PET delineation this is the metabolic tumour volume (MTV).
suv_max     largest voxel value.
suv_mean    plain mean over the voxels.
suv_peak    largest mean over a sphere of 1 ml (radius 6.204 mm, EANM 2015 and PERCIST 2009), its centre tried at every voxel
            of the lesion and its 26 neighbours, each voxel weighted by the fraction of it that lies inside the sphere. Voxels
            outside the lesion take part. Where the sphere leaves the image, the mean is over the part inside.
tlg         total lesion glycolysis, suv_mean x volume_ml, in g.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.errors import GeometryError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Measures
from lesion_pipeline.domain.volume import Unit, Volume

Voxels = npt.NDArray[np.int32]
#: Radius of a sphere of 1 ml in mm.
PEAK_RADIUS_MM = 10.0 * (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
_SUBSAMPLES = 7  # per axis and voxel; the weights' sum then differs from 1 ml by less than 0.5 % on grids of 1 to 8 mm


def measure(volume: Volume, voxels: Voxels, threshold: float | None = None) -> Measures:
    """Measures of a delineation.

    volume: in SUVbw for the SUV measures; in any other unit only ``volume_ml`` is given. voxels: (n, 3) indices on its grid,
    n >= 1. threshold: what the delineation was cut at, recorded as given.
    Raises GeometryError (EMPTY_CANDIDATE, OUTSIDE_GRID).
    """
    _require_inside(volume.grid, voxels)
    volume_ml = len(voxels) * volume.grid.voxel_ml
    if volume.unit is not Unit.SUVBW:
        return Measures(volume_ml=volume_ml, threshold=threshold)
    values = volume.values[tuple(voxels.T)]
    mean = float(values.mean(dtype=np.float64))
    return Measures(
        volume_ml=volume_ml,
        suv_max=float(values.max()),
        suv_mean=mean,
        suv_peak=suv_peak(volume, voxels),
        tlg=mean * volume_ml,
        threshold=threshold,
    )


def suv_peak(volume: Volume, voxels: Voxels) -> float:
    """SUVpeak of a lesion as defined above; the unit is the volume's.

    voxels: (n, 3) indices, n >= 1. Raises GeometryError (EMPTY_CANDIDATE, OUTSIDE_GRID).
    """
    _require_inside(volume.grid, voxels)
    offsets, weights = _sphere(volume.grid.affine[:3, :3].tobytes())
    centres = _with_neighbours(voxels, volume.grid.shape)
    shape = np.array(volume.grid.shape)
    reach = np.abs(offsets).max(axis=0)
    total = np.zeros(len(centres), dtype=np.float64)
    low, high = centres.min(axis=0) - reach, centres.max(axis=0) + reach + 1
    if np.all(low >= 0) and np.all(high <= shape):
        around = np.ascontiguousarray(volume.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
        strides = np.array([around.shape[1] * around.shape[2], around.shape[2], 1], dtype=np.int64)
        flat = around.reshape(-1)
        at = (centres - low) @ strides
        for offset, weight in zip(offsets @ strides, weights, strict=True):
            total += weight * flat[at + offset]
        return float(total.max())
    inside_weight = np.zeros(len(centres), dtype=np.float64)
    for offset, weight in zip(offsets, weights, strict=True):
        place = centres + offset
        inside = np.all((place >= 0) & (place < shape), axis=1)
        total[inside] += weight * volume.values[tuple(place[inside].T)]
        inside_weight[inside] += weight
    return float((total / inside_weight).max())


def ball_radius_mm(volume_ml: float) -> float:
    """Radius (mm) of the ball of a volume."""
    return float(np.cbrt(3000.0 * volume_ml / (4.0 * np.pi)))


def _require_inside(grid: Grid, voxels: Voxels) -> None:
    if voxels.ndim != 2 or voxels.shape[1:] != (3,) or not len(voxels):
        raise GeometryError("EMPTY_CANDIDATE", "a lesion without voxels cannot be measured")
    if (voxels < 0).any() or (voxels >= np.array(grid.shape)).any():
        raise GeometryError("OUTSIDE_GRID", "the lesion reaches outside its image")


def _with_neighbours(voxels: Voxels, shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """The voxels and their 26 neighbours inside the image, each once: (m, 3) in raster order."""
    low = np.maximum(voxels.min(axis=0) - 1, 0)
    high = np.minimum(voxels.max(axis=0) + 2, np.array(shape))
    mask = np.zeros(high - low, dtype=bool)
    for step in product((-1, 0, 1), repeat=3):
        place = voxels + np.array(step, dtype=np.int32) - low
        place = place[np.all((place >= 0) & (place < mask.shape), axis=1)]
        mask[tuple(place.T)] = True
    return np.asarray(np.argwhere(mask) + low, dtype=np.int64)


@lru_cache(maxsize=32)
def _sphere(matrix_bytes: bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Index offsets (m, 3) and weights (m,), summing to 1, of a 1 ml sphere on a grid with this (3, 3) index -> mm matrix."""
    matrix = np.frombuffer(matrix_bytes, dtype=np.float64).reshape(3, 3)
    # the longest index step inside the sphere along axis n is r * |row n of the inverse|
    reach = np.ceil(PEAK_RADIUS_MM * np.linalg.norm(np.linalg.inv(matrix), axis=1) + 0.5).astype(int)
    offsets = np.array(list(product(*(range(-r, r + 1) for r in reach))), dtype=np.int64)
    ticks = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES - 0.5
    inside = np.zeros(len(offsets), dtype=np.float64)
    for step in product(ticks, repeat=3):
        inside += ((((offsets + np.array(step)) @ matrix.T) ** 2).sum(axis=1) <= PEAK_RADIUS_MM**2).astype(np.float64)
    keep = inside > 0
    return offsets[keep], inside[keep] / inside[keep].sum()
