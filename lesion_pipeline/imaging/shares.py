"""How a lesion's uptake is divided among the structures of an anatomy, and what lies around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.imaging.components import Voxels
from lesion_pipeline.imaging.measures import ball_radius_mm
from lesion_pipeline.imaging.places import Codes, Places

_MAX_POINTS = 400_000
#: (26, 3) directions, of length 1.
_DIRECTIONS = np.array([np.array(d) / np.linalg.norm(d) for d in product((-1.0, 0.0, 1.0), repeat=3) if any(d)])


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """For each code of Places: share of the uptake, with (``near``) and without (``inside``) a margin of one voxel.

    Both sum to 1 over all codes; code 0 is what no structure holds. millilitres: volume inside each structure, without margin.
    """

    near: npt.NDArray[np.float64]
    inside: npt.NDArray[np.float64]
    millilitres: npt.NDArray[np.float64]


def shares(voxels: Voxels, weights: npt.NDArray[np.floating], grid: Grid, places: Places, supersampling: int) -> Shares:
    """Divide the uptake ``weights`` (n,) of voxels (n, 3) of ``grid``, each seen at supersampling ** 3 points inside it."""
    factor = supersampling
    while factor > 1 and len(voxels) * factor**3 > _MAX_POINTS:
        factor -= 1
    steps = (np.arange(factor) + 0.5) / factor - 0.5
    inner = np.array(list(product(steps, steps, steps)))
    index = (voxels[:, None, :] + inner[None, :, :]).reshape(-1, 3)
    codes = places.solid(grid.world(index))
    weight = np.repeat(np.asarray(weights, dtype=np.float64) / len(inner), len(inner))
    size = len(places.structures)
    inside = np.bincount(codes, weights=weight, minlength=size)
    volume = np.bincount(codes, minlength=size) * (grid.voxel_ml / len(inner))
    near = np.bincount(_widened(codes, index, grid, places), weights=weight, minlength=size)
    total = max(float(weight.sum()), 1e-12)
    return Shares(near / total, inside / total, np.asarray(volume, dtype=np.float64))


def _widened(codes: Codes, index: npt.NDArray[np.float64], grid: Grid, places: Places) -> Codes:
    """Codes with the empty points given to the structure that most of the six places one voxel away hold, if any does."""
    out = codes.copy()
    empty = np.flatnonzero(out == 0)
    if not len(empty):
        return out
    votes = np.zeros((len(empty), len(places.structures)), dtype=np.int8)
    for axis, step in product(range(3), (-1.0, 1.0)):
        moved = index[empty].copy()
        moved[:, axis] += step
        votes[np.arange(len(empty)), places.solid(grid.world(moved))] += 1
    votes[:, 0] = 0
    out[empty] = np.argmax(votes, axis=1)  # 0, nothing, where no neighbour holds anything
    return out


def round_about(
    point_lps_mm: npt.NDArray[np.float64], volume_ml: float, beyond_mm: float, places: Places, codes: frozenset[int]
) -> float:
    """Share (0 to 1) of the structures of ``codes`` on a sphere round a point, beyond_mm outside a ball of volume_ml."""
    radius = ball_radius_mm(volume_ml) + beyond_mm
    return float(np.isin(places.solid(point_lps_mm + radius * _DIRECTIONS), sorted(codes)).mean())


@lru_cache(maxsize=8)
def _lattice(reach_mm: float, step_mm: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    count = int(np.ceil(reach_mm / step_mm))
    axis = np.arange(-count, count + 1) * step_mm
    offsets = np.array(list(product(axis, axis, axis)))
    distance = np.linalg.norm(offsets, axis=1)
    keep = distance <= reach_mm
    order = np.argsort(distance[keep], kind="stable")
    return offsets[keep][order], distance[keep][order]


def around(point_lps_mm: npt.ArrayLike, places: Places, reach_mm: float, step_mm: float = 4.0) -> dict[int, float]:
    """Distance (mm, to a lattice of ``step_mm``) from a point to every structure within reach: {code: distance}."""
    offsets, distance = _lattice(reach_mm, step_mm)
    codes = places.solid(np.asarray(point_lps_mm, dtype=np.float64) + offsets)
    found, first = np.unique(codes, return_index=True)
    return {int(code): float(distance[n]) for code, n in zip(found, first, strict=True) if code > 0}
