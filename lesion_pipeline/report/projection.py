"""A volume seen from the front or from the side, in true proportion, whatever way its array runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.geometry import Grid, Points
from lesion_pipeline.domain.volume import Volume

FloatImage = npt.NDArray[np.float32]
Reduce = Literal["max", "mean"]


class Plane(StrEnum):
    """Coronal: seen from the front, patient's right at the left. Sagittal: anterior at the left. Head up in both."""

    CORONAL = "coronal"
    SAGITTAL = "sagittal"

    @property
    def across(self) -> int:
        """LPS coordinate that grows from the left to the right of the picture."""
        return 0 if self is Plane.CORONAL else 1

    @property
    def through(self) -> int:
        """LPS coordinate that is projected away."""
        return 1 - self.across

    @property
    def letters(self) -> tuple[str, str]:
        """Letters at the left and the right edge."""
        return ("R", "L") if self is Plane.CORONAL else ("A", "P")


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """values: float32 (rows, columns), square pixels of ``mm_per_px``, in the unit of the volume.

    corner: LPS mm (across, z) of the outer corner of the top left pixel; z falls as the row grows.
    """

    plane: Plane
    values: FloatImage
    corner: tuple[float, float]
    mm_per_px: float

    def pixels(self, points_lps_mm: Points) -> Points:
        """LPS mm (n, 3) to (n, 2) fractional (column, row), pixel centres at whole numbers."""
        column = (points_lps_mm[:, self.plane.across] - self.corner[0]) / self.mm_per_px - 0.5
        row = (self.corner[1] - points_lps_mm[:, 2]) / self.mm_per_px - 0.5
        return np.stack([column, row], axis=1)

    def shadow(self, voxels: npt.NDArray[np.int32], grid: Grid, to_view: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Bool (rows, columns): the shadow that whole voxels (n, 3) of ``grid`` throw.

        to_view: (4, 4), LPS mm of the grid's frame to LPS mm of the projected volume's frame.
        """
        matrix = to_view @ grid.affine
        cells = voxels.astype(np.float64)
        steps: list[npt.NDArray[np.float64]] = []
        for axis in range(3):
            seen = np.linalg.norm(matrix[[self.plane.across, 2], axis])
            if seen < 1e-6 * np.linalg.norm(matrix[:3, axis]):
                # this array axis runs along the line of sight: voxels behind one another throw one shadow
                cells[:, axis] = 0.0
                steps.append(np.zeros(1))
                continue
            n = int(np.ceil(2.0 * seen / self.mm_per_px)) + 1
            steps.append((np.arange(n) + 0.5) / n - 0.5)
        cells = np.unique(cells, axis=0)
        offsets = np.array([(i, j, k) for i in steps[0] for j in steps[1] for k in steps[2]])
        rows, columns = self.values.shape
        out = np.zeros((rows, columns), dtype=np.bool_)
        for chunk in np.array_split(cells, len(cells) * len(offsets) // 2_000_000 + 1):
            index = (chunk[:, np.newaxis] + offsets).reshape(-1, 3)
            pixels = np.rint(self.pixels(index @ matrix[:3, :3].T + matrix[:3, 3])).astype(np.int64)
            column, row = pixels.T
            inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
            out[row[inside], column[inside]] = True
        return out


def project(volume: Volume, plane: Plane, *, reduce: Reduce = "max", fit_px: tuple[int, int] = (640, 860)) -> Projection:
    """Project a volume along the patient's own axis, not along an array axis.

    fit_px: (width, height) that the picture must fit in. Grids that lie along the patient's axes (in any order and
    direction) are reduced as they are; oblique ones are resampled linearly onto such a grid first.
    """
    values, affine = _along_patient_axes(volume)
    # after this, array axes 0, 1, 2 run along L, P and S
    low = affine[:3, 3] - 0.5 * np.diag(affine)[:3]
    extent = np.array(values.shape) * np.diag(affine)[:3]
    across = plane.across
    mm_per_px = float(max(extent[across] / fit_px[0], extent[2] / fit_px[1]))
    columns = max(1, int(np.ceil(extent[across] / mm_per_px - 1e-6)))
    rows = max(1, int(np.ceil(extent[2] / mm_per_px - 1e-6)))
    flat = values.max(axis=plane.through) if reduce == "max" else values.mean(axis=plane.through, dtype=np.float32)
    corner = (float(low[across]), float(low[2] + extent[2]))
    at_column = (corner[0] + (np.arange(columns) + 0.5) * mm_per_px - affine[across, 3]) / affine[across, across]
    at_row = (corner[1] - (np.arange(rows) + 0.5) * mm_per_px - affine[2, 3]) / affine[2, 2]
    grid = np.meshgrid(at_column, at_row, indexing="xy")
    # "nearest" reaches half a voxel beyond the outermost centres: the picture shows whole voxels
    image = ndimage.map_coordinates(np.asarray(flat, dtype=np.float32), grid, order=1, mode="nearest")
    return Projection(plane, np.asarray(image, dtype=np.float32), corner, mm_per_px)


def _along_patient_axes(volume: Volume) -> tuple[FloatImage, npt.NDArray[np.float64]]:
    """The array with axes along L, P, S and its diagonal-plus-offset affine."""
    grid = volume.grid
    order = [grid.axis_toward(direction)[0] for direction in np.eye(3)]
    if sorted(order) == [0, 1, 2]:
        linear = grid.affine[:3, order]
        signs = np.sign(np.diag(linear))
        shape = np.array(grid.shape)[order]
        drift = np.abs(linear - np.diag(np.diag(linear))) * (shape - 1)
        if drift.sum(axis=1).max() <= 0.5 * min(grid.spacing_mm):
            steps = tuple(slice(None, None, int(s)) for s in signs)
            affine = np.eye(4)
            affine[[0, 1, 2], [0, 1, 2]] = np.abs(np.diag(linear))
            affine[:3, 3] = grid.bounds()[0]
            return volume.values.transpose(order)[steps], affine
    return _resampled(volume)


def _resampled(volume: Volume) -> tuple[FloatImage, npt.NDArray[np.float64]]:
    """Linear resampling of an oblique volume onto an isotropic grid along the patient's axes; lowest value outside."""
    low, high = volume.grid.bounds()
    # a picture does not need the finest of three spacings
    step = float(np.median(volume.grid.spacing_mm))
    shape = tuple(int(n) for n in np.floor((high - low) / step + 1e-6) + 1)
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    back = np.linalg.inv(volume.grid.affine) @ affine
    values = ndimage.affine_transform(
        volume.values,
        back[:3, :3],
        back[:3, 3],
        output_shape=shape,
        order=1,
        mode="constant",
        cval=float(volume.values.min()),
        output=np.float32,
    )
    return np.asarray(values, dtype=np.float32), affine
