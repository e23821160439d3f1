"""Where voxels are: LPS millimetres, (i, j, k) index order, affine column n belongs to array axis n."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.errors import FrameMismatchError, GeometryError, GridMismatchError

Points = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

#: Two grids are one when their corners lie within this distance (mm).
SAME_GRID_MM = 0.01


def _frozen(matrix: npt.ArrayLike, name: str) -> Matrix:
    out = np.array(matrix, dtype=np.float64, copy=True)
    if out.shape != (4, 4) or not np.all(np.isfinite(out)):
        raise GeometryError("BAD_AFFINE", f"{name} must be a finite 4 x 4 matrix")
    if not np.array_equal(out[3], [0.0, 0.0, 0.0, 1.0]):
        raise GeometryError("BAD_AFFINE", f"the last row of {name} must be 0 0 0 1")
    out.setflags(write=False)
    return out


def apply_affine(matrix: Matrix, points: npt.ArrayLike) -> Points:
    """(n, 3) or (3,) points through a (4, 4) matrix; float64, same shape."""
    pts = np.asarray(points, dtype=np.float64)
    return np.asarray(pts @ matrix[:3, :3].T + matrix[:3, 3])


def inverse_affine(matrix: Matrix) -> Matrix:
    """Inverse of a (4, 4) affine, its last row exactly 0 0 0 1."""
    out = np.array(np.linalg.inv(matrix), dtype=np.float64)
    out[3] = (0.0, 0.0, 0.0, 1.0)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular lattice of voxel centres in one frame of reference.

    shape: (ni, nj, nk), all >= 1. affine: (4, 4) float64, index -> LPS mm at voxel centres. frame: name of the frame of
    reference (a hash of the DICOM UID, or a name the user gave), never empty.

    Raises GeometryError (BAD_AFFINE, BAD_SHAPE) when it does not describe a lattice.
    """

    shape: tuple[int, int, int]
    affine: Matrix
    frame: str

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(int(n) < 1 for n in self.shape):
            raise GeometryError("BAD_SHAPE", f"a grid needs three positive lengths, not {self.shape}")
        if not self.frame:
            raise GeometryError("NO_FRAME", "a grid must name its frame of reference")
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", _frozen(self.affine, "the affine"))
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-9:
            raise GeometryError("BAD_AFFINE", "the affine is singular")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along each array axis."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return (float(lengths[0]), float(lengths[1]), float(lengths[2]))

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres (holds for sheared grids too)."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def is_orthogonal(self) -> bool:
        """True when the axes are at right angles within 0.1 degree (no gantry tilt left)."""
        unit = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        off = np.abs(unit.T @ unit - np.eye(3))
        return bool(off.max() < np.sin(np.radians(0.1)))

    def world(self, indices: npt.ArrayLike) -> Points:
        """Index coordinates (n, 3) or (3,), fractions allowed, to LPS mm."""
        return apply_affine(self.affine, indices)

    def index(self, points_lps_mm: npt.ArrayLike) -> Points:
        """LPS mm (n, 3) or (3,) to fractional index coordinates."""
        return apply_affine(inverse_affine(self.affine), points_lps_mm)

    def corners(self) -> Points:
        """(8, 3) LPS mm of the outermost voxel centres."""
        ends = [(0, n - 1) for n in self.shape]
        return self.world([(i, j, k) for i in ends[0] for j in ends[1] for k in ends[2]])

    def bounds(self) -> tuple[Points, Points]:
        """Smallest and largest LPS coordinate (mm) among the voxel centres."""
        corners = self.corners()
        return corners.min(axis=0), corners.max(axis=0)

    def same_as(self, other: Grid) -> bool:
        """Same frame, same shape, corners within 0.01 mm."""
        if self.frame != other.frame or self.shape != other.shape:
            return False
        return bool(np.abs(self.corners() - other.corners()).max() <= SAME_GRID_MM)

    def require_same(self, other: Grid, what: str) -> None:
        """Raise GridMismatchError (GRID_MISMATCH) naming ``what`` unless the grids are one."""
        if not self.same_as(other):
            raise GridMismatchError("GRID_MISMATCH", f"{what}: the two grids differ ({self.shape} and {other.shape})")

    def contains(self, points_lps_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """For each LPS point: does it fall into a voxel of this grid (half a voxel of margin counts)?"""
        idx = self.index(np.atleast_2d(np.asarray(points_lps_mm, dtype=np.float64)))
        upper = np.array(self.shape, dtype=np.float64) - 0.5
        return np.asarray(np.all((idx >= -0.5) & (idx < upper), axis=1))

    def axis_toward(self, direction_lps: npt.ArrayLike) -> tuple[int, int]:
        """(array axis, +1 or -1) that runs most nearly along an LPS direction; (0, 0, 1) is toward the head."""
        unit = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        along = np.asarray(direction_lps, dtype=np.float64) @ unit
        axis = int(np.argmax(np.abs(along)))
        return axis, 1 if along[axis] > 0 else -1


@dataclass(frozen=True, slots=True, eq=False)
class RigidTransform:
    """Takes points of ``from_frame`` to ``to_frame``, both LPS mm; matrix (4, 4) with a proper rotation."""

    from_frame: str
    to_frame: str
    matrix: Matrix

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", _frozen(self.matrix, "the transform"))
        rotation = self.matrix[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-4 or np.linalg.det(rotation) < 0:
            raise GeometryError("BAD_TRANSFORM", f"the transform {self.from_frame} -> {self.to_frame} is not rigid")

    @classmethod
    def identity(cls, from_frame: str, to_frame: str) -> RigidTransform:
        return cls(from_frame, to_frame, np.eye(4))

    def apply(self, points_lps_mm: npt.ArrayLike) -> Points:
        return apply_affine(self.matrix, points_lps_mm)

    def inverse(self) -> RigidTransform:
        return RigidTransform(self.to_frame, self.from_frame, inverse_affine(self.matrix))


@dataclass(frozen=True, slots=True)
class Frames:
    """The transforms that link frames of reference."""

    links: tuple[RigidTransform, ...] = ()

    def between(self, from_frame: str, to_frame: str) -> RigidTransform:
        """The transform from one frame to another.

        Raises FrameMismatchError (FRAME_OF_REFERENCE_MISMATCH) when nothing links them.
        """
        if from_frame == to_frame:
            return RigidTransform.identity(from_frame, to_frame)
        for link in self.links:
            if (link.from_frame, link.to_frame) == (from_frame, to_frame):
                return link
            if (link.to_frame, link.from_frame) == (from_frame, to_frame):
                return link.inverse()
        raise FrameMismatchError(
            "FRAME_OF_REFERENCE_MISMATCH",
            "two series lie in different frames of reference and nothing links them",
            advice="Register them, or set assume_registered in the preset if the scanner did not move the patient.",
        )
