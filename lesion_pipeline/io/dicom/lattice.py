"""From slice positions to one affine, or the reason why there is none. Positions only: no thickness, no instance number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

#: Two slices closer than this (mm) lie at one position.
SAME_POSITION_MM = 0.02
#: A step may differ from the median by this share of it, or by SAME_POSITION_MM (positions are rounded to 0.01 mm in real
#: whole-body PET, and steps of 3.19, 3.27 and 3.29 mm are mixed there).
STEP_TOLERANCE = 0.03
#: No slice may lie further than this share of the spacing from the line through the first and the last.
LINE_TOLERANCE = 0.15
#: A jump of more than this many slices between two runs is a gap between stations.
GAP_SLICES = 8
#: Gantry tilt: the mean step leaves the slice normal by more than this angle (degrees).
TILT_DEGREES = 0.1
_UNIT = 1e-3
_SAME_DIRECTION = 1e-3

Vector = npt.NDArray[np.float64]


class LatticeError(Exception):
    """A stack that is no regular lattice; code and sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one slice lies: position of its first pixel, cosines of row and column direction, (row, column) spacing in mm."""

    position: Vector
    rows_along: Vector
    columns_along: Vector
    spacing: tuple[float, float]

    @property
    def normal(self) -> Vector:
        return np.cross(self.rows_along, self.columns_along)


@lru_cache(maxsize=256)  # the slices of a stack share it
def _cosines(orientation: tuple[float, ...]) -> tuple[Vector, Vector]:
    cosines = np.array(orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if not np.all(np.abs(lengths - 1) < _UNIT) or abs(float(cosines[0] @ cosines[1])) > _UNIT:
        raise LatticeError("BAD_ORIENTATION", "the directions of rows and columns are not two unit vectors at right angles")
    cosines.setflags(write=False)
    return cosines[0], cosines[1]


def placement(
    position: Sequence[float] | None, orientation: Sequence[float] | None, spacing: Sequence[float] | None
) -> Placement:
    """Checked values of ImagePositionPatient, ImageOrientationPatient and PixelSpacing.

    Raises LatticeError (NO_GEOMETRY, BAD_ORIENTATION, BAD_SPACING).
    """
    if position is None or len(position) != 3 or not all(map(math.isfinite, position)):
        raise LatticeError("NO_GEOMETRY", "a slice does not say where it lies")
    if orientation is None or len(orientation) != 6:
        raise LatticeError("NO_GEOMETRY", "a slice does not say how it is turned")
    rows_along, columns_along = _cosines(tuple(orientation))
    if spacing is None or len(spacing) != 2 or not all(map(math.isfinite, spacing)) or min(spacing) <= 0:
        raise LatticeError("BAD_SPACING", "the distance between pixels is missing or not positive")
    return Placement(np.array(position, dtype=np.float64), rows_along, columns_along, (float(spacing[0]), float(spacing[1])))


def same_direction(one: Placement, other: Placement) -> bool:
    """Rows and columns run the same way within 1e-3."""
    if one.rows_along is other.rows_along:
        return True
    off = max(np.abs(one.rows_along - other.rows_along).max(), np.abs(one.columns_along - other.columns_along).max())
    return bool(off < _SAME_DIRECTION)


def heights(placements: Sequence[Placement]) -> Vector:
    """Distance of each slice along the first one's normal, mm."""
    return np.array([p.position for p in placements]) @ placements[0].normal


def repeats(z: Vector) -> bool:
    """Do two slices lie at one position?"""
    return bool(np.any(np.diff(np.sort(z)) < SAME_POSITION_MM))


def _check_spacing(placements: Sequence[Placement]) -> None:
    spacing = np.array([p.spacing for p in placements])
    if np.any(np.abs(spacing - spacing[0]) > 1e-4 * spacing[0]):
        raise LatticeError("MIXED_PIXEL_SPACING", "the distance between pixels changes from slice to slice")


def _check_steps(z: Vector) -> None:
    steps = np.diff(z)
    usual = float(np.median(steps))
    allowed = max(SAME_POSITION_MM, STEP_TOLERANCE * usual)
    wide = steps[steps > usual + allowed]
    if len(wide):
        widest = float(wide.max())
        if widest > GAP_SLICES * usual:
            raise LatticeError("GAP_IN_STACK", f"two runs of slices lie {widest:.1f} mm apart")
        ratio = wide / usual
        if np.all(np.abs(ratio - np.round(ratio)) < 0.1):
            missing = int(np.sum(np.round(ratio) - 1))
            raise LatticeError("MISSING_SLICES", f"{missing} of {len(z) + missing} slices are missing between the others")
    if np.any(np.abs(steps - usual) > allowed):
        raise LatticeError(
            "IRREGULAR_SPACING", f"the distance between slices changes from {steps.min():.2f} to {steps.max():.2f} mm"
        )


def affine_of(placements: Sequence[Placement], lone_step_mm: float) -> npt.NDArray[np.float64]:
    """(4, 4) index -> LPS mm of slices sorted by position; array axes (column, row, slice). Shear is kept.

    The slice step is the straight line from the first to the last position; rounding of positions is not carried on.
    lone_step_mm: slice step of a single slice. Raises LatticeError (MIXED_PIXEL_SPACING, MISSING_SLICES, GAP_IN_STACK,
    IRREGULAR_SPACING).
    """
    first = placements[0]
    _check_spacing(placements)
    positions = np.array([p.position for p in placements])
    if len(placements) > 1:
        z = heights(placements)
        _check_steps(z)
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        line = positions[0] + np.arange(len(positions))[:, None] * step
        off = float(np.linalg.norm(positions - line, axis=1).max())
        if off > max(SAME_POSITION_MM, LINE_TOLERANCE * abs(float(step @ first.normal))):
            raise LatticeError("IRREGULAR_SPACING", f"a slice lies {off:.2f} mm beside the line of the others")
    else:
        step = first.normal * lone_step_mm
    affine = np.eye(4)
    affine[:3, 0] = first.rows_along * first.spacing[1]
    affine[:3, 1] = first.columns_along * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return affine


def tilt_degrees(affine: npt.NDArray[np.float64]) -> float:
    """Angle between the slice step and the slice normal."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    step = affine[:3, 2]
    cosine = abs(float(step @ normal)) / float(np.linalg.norm(step) * np.linalg.norm(normal))
    return float(np.degrees(np.arccos(min(1.0, cosine))))
