"""SimpleITK at the door. The only place that knows its axis reversal: its arrays are (k, j, i), its points LPS mm, as ours.

Resampling asks the source at the target grid's points. It is done in index space (both images are given unit spacing and the
affine between the two index systems as the transform), so sheared grids, which an ITK image cannot hold, are sampled exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK

from lesion_pipeline.domain.errors import FrameMismatchError, GeometryError
from lesion_pipeline.domain.geometry import Grid, Matrix, RigidTransform, inverse_affine
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume

sitk: Any = SimpleITK  # the package ships no types for its calls

Image = Any  # SimpleITK.Image

_ORDERS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "cubic": sitk.sitkBSpline}


def _plain_image(values: npt.NDArray[np.generic]) -> Image:
    """(ni, nj, nk) to an image in index space: origin 0, spacing 1, identity direction."""
    return sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))


def to_image(value: Volume | LabelMap) -> Image:
    """A SimpleITK image with the same world (LPS mm).

    Raises GeometryError (SHEARED_GRID): an ITK image cannot hold shear; call ``straighten`` first.
    """
    grid = value.grid
    if not grid.is_orthogonal:
        raise GeometryError("SHEARED_GRID", "an image with sheared axes cannot be handed to ITK", advice="Straighten it first.")
    image = _plain_image(value.values)
    unit = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    image.SetSpacing(grid.spacing_mm)
    image.SetDirection([float(x) for x in unit.reshape(-1)])
    image.SetOrigin([float(x) for x in grid.affine[:3, 3]])
    return image


def grid_of(image: Image, frame: str) -> Grid:
    """The Grid of a three-dimensional SimpleITK image. Raises GeometryError (BAD_SHAPE)."""
    if image.GetDimension() != 3:
        raise GeometryError("BAD_SHAPE", f"an image must have three axes, not {image.GetDimension()}")
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    ni, nj, nk = image.GetSize()
    return Grid((ni, nj, nk), affine, frame)


def from_image(image: Image, unit: Unit, modality: Modality, frame: str, series: str = "sitk") -> Volume:
    """A scalar image as float32 (ni, nj, nk). Raises GeometryError (BAD_SHAPE), UnitError (NOT_FINITE)."""
    grid = grid_of(image, frame)
    values = sitk.GetArrayFromImage(image).astype(np.float32, copy=False).transpose(2, 1, 0)
    return Volume(values, grid, unit, modality, series)


def _resample(
    values: npt.NDArray[np.generic],
    source: Grid,
    target: Grid,
    *,
    order: str,
    outside: float,
    link: RigidTransform | None,
) -> npt.NDArray[np.generic]:
    """``values`` on ``source`` asked at the voxel centres of ``target``; same dtype, (ni, nj, nk) of the target."""
    between: Matrix = np.eye(4)
    if link is not None:
        if (link.from_frame, link.to_frame) != (target.frame, source.frame):
            raise FrameMismatchError(
                "FRAME_OF_REFERENCE_MISMATCH", "the transform does not lead from the target's frame to the source's frame"
            )
        between = link.matrix
    elif source.frame != target.frame:
        raise FrameMismatchError("FRAME_OF_REFERENCE_MISMATCH", "source and target grid lie in different frames of reference")
    index_map = inverse_affine(source.affine) @ between @ target.affine
    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(x) for x in index_map[:3, :3].reshape(-1)])
    transform.SetTranslation([float(x) for x in index_map[:3, 3]])
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(n) for n in target.shape])
    resampler.SetOutputOrigin((0.0, 0.0, 0.0))
    resampler.SetOutputSpacing((1.0, 1.0, 1.0))
    resampler.SetInterpolator(_ORDERS[order])
    resampler.SetTransform(transform)
    resampler.SetDefaultPixelValue(float(outside))
    image = resampler.Execute(_plain_image(values))
    return np.asarray(sitk.GetArrayFromImage(image)).transpose(2, 1, 0)


def resample_volume(
    volume: Volume, grid: Grid, order: str = "linear", outside: float = 0.0, link: RigidTransform | None = None
) -> Volume:
    """The volume asked at the voxel centres of ``grid``.

    order: ``nearest``, ``linear`` or ``cubic`` (B-spline, may overshoot). outside: value where the source has no voxel.
    link: transform from ``grid.frame`` to the volume's frame where the two differ. Raises FrameMismatchError.
    """
    values = _resample(volume.values, volume.grid, grid, order=order, outside=outside, link=link)
    return Volume(values.astype(np.float32, copy=False), grid, volume.unit, volume.modality, volume.series)


def resample_labels(label_map: LabelMap, grid: Grid, link: RigidTransform | None = None) -> LabelMap:
    """The label at the nearest voxel for each voxel centre of ``grid``, 0 outside. Raises FrameMismatchError."""
    values = _resample(label_map.values, label_map.grid, grid, order="nearest", outside=0.0, link=link)
    return LabelMap(values.astype(np.uint16, copy=False), grid, label_map.names)


def straight_grid(grid: Grid) -> Grid:
    """The smallest right-angled grid that covers a stack sheared by gantry tilt.

    In-plane axes are kept; the slice axis becomes the slice normal with the perpendicular distance between slices; rows or
    columns are added where the tilted stack reaches beyond the first slice.
    """
    i_axis, j_axis, step = (grid.affine[:3, n] for n in range(3))
    normal = np.cross(i_axis, j_axis)
    normal /= np.linalg.norm(normal)
    depth = float(step @ normal)
    affine = grid.affine.copy()
    affine[:3, 2] = normal * depth
    corners = (inverse_affine(affine) @ np.c_[grid.corners(), np.ones(8)].T)[:3].T
    low, high = np.floor(corners.min(axis=0) + 1e-6), np.ceil(corners.max(axis=0) - 1e-6)
    affine[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    size = (high - low).astype(int) + 1
    return Grid((int(size[0]), int(size[1]), grid.shape[2]), affine, grid.frame)


def straighten(volume: Volume, outside: float) -> Volume:
    """A sheared (gantry-tilted) volume on a right-angled grid, linear interpolation along its own slices."""
    return resample_volume(volume, straight_grid(volume.grid), outside=outside)
