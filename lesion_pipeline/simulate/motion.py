"""Where the body lies while PET counts are gathered, against the instant of the CT: a small shift, organs that breathe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.geometry import Grid, Points
from lesion_pipeline.simulate.anatomy.body import Body
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Field
from lesion_pipeline.simulate.sites import points_at

#: Breathing moves organs at the height of the diaphragm fully, and nothing beyond this distance (mm) above and below it.
_FULL_MM, _NONE_MM = 30.0, 105.0
#: Nothing moves within this distance (mm) of the column's axis, everything beyond the second; likewise inside the cage.
_STILL_MM, _FREE_MM = 38.0, 53.0
_CAGE_MM = 10.0


@dataclass(frozen=True)
class Motion:
    """PET relative to CT. shift_mm: the whole body (LPS mm); breath_mm: organs at the diaphragm, positive = toward the head.

    Free-breathing PET shows the dome where it stands on average, a CT where it stood for a moment.
    """

    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    breath_mm: float = 0.0


@dataclass(frozen=True, eq=False)
class Pose:
    """A body as PET sees it."""

    body: Body
    breath_mm: float = 0.0

    def world(self, points: npt.ArrayLike) -> Points:
        """Body coordinates (at the instant of the CT) to LPS mm in the PET."""
        at = np.asarray(points, dtype=np.float64)
        if self.breath_mm:
            lift = self.breath_mm * breath_weight(self.body, points_at(at.reshape(-1, 3))).reshape(at.shape[:-1])
            at = at + np.stack([np.zeros_like(lift), np.zeros_like(lift), lift], axis=-1)
        return self.body.world(at)


def pose(body: Body, motion: Motion) -> Pose:
    """The body shifted; the breathing still to come."""
    move = np.eye(4)
    move[:3, 3] = motion.shift_mm
    return Pose(replace(body, world_from_body=move @ body.world_from_body), motion.breath_mm)


def breath_weight(body: Body, at: Coordinates) -> Field:
    """How far a place follows the diaphragm, 0 to 1: not the column and what lies beside it, not the wall of the chest."""
    x, y, z = at
    f = body.frame
    column = np.array([v.origin for v in f.spine.vertebrae[::-1]])
    along = np.clip((_NONE_MM - np.abs(z - np.float32(f.z("T10")))) / (_NONE_MM - _FULL_MM), 0, 1)
    axis_x, axis_y = (np.interp(z, column[:, 2], column[:, n]).astype(np.float32) for n in (0, 1))
    away = np.clip((np.hypot(x - axis_x, y - axis_y) - _STILL_MM) / (_FREE_MM - _STILL_MM), 0, 1)
    inside = np.clip(-f.cage.distance(at) / _CAGE_MM, 0, 1)
    return np.asarray(along * away * inside, dtype=np.float32)


def breathe_out(image: Field, where: Pose, grid: Grid) -> None:
    """In place: carry painted organs along z to where they stand on average during the PET."""
    if not where.breath_mm:
        return
    f = where.body.frame
    middle = float(where.body.world([0.0, f.y(f.z("T10")), f.z("T10")])[2])
    z = grid.affine[2, 3] + grid.affine[2, 2] * np.arange(grid.shape[2])
    touched = np.flatnonzero(np.abs(z - middle) < _NONE_MM + abs(where.breath_mm))
    if not len(touched):
        return
    first, last = int(touched[0]), int(touched[-1]) + 1
    window = (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(first, last))
    lattice = where.body.lattice(grid)
    weight = np.broadcast_to(breath_weight(where.body, lattice.coordinates(window)), image[window].shape)
    source = np.indices(weight.shape, dtype=np.float32)
    source[2] += first - np.float32(where.breath_mm / grid.affine[2, 2]) * weight
    moved = np.abs(weight) > 0
    image[window][moved] = ndimage.map_coordinates(image, source[:, moved], order=1, mode="nearest")
