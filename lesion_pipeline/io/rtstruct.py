"""RT Structure Sets: contours in LPS mm, and the voxels of a grid whose centres lie inside them.

Contours of one region on one plane are combined by the even-odd rule, so an inner contour is a hole and a keyhole contour
works (PS3.3 C.8.8.6). Nothing is interpolated between planes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lesion_pipeline.domain.errors import FrameMismatchError, GeometryError, InputError
from lesion_pipeline.domain.geometry import Grid, Points
from lesion_pipeline.io import dicom_values as dv
from lesion_pipeline.io.dicom.stacks import hashed

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
_OFF_PLANE = 0.1  # voxels a contour may bend out of its plane, and lie off a slice before it counts as between slices
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One region. frame: name of its frame of reference, as the assembled series name theirs. contours: (n, 3) LPS mm each."""

    number: int
    name: str
    frame: str
    contours: tuple[Points, ...]


def frame_name(uid: str) -> str:
    """The name that an assembled series with this FrameOfReferenceUID gives its frame."""
    return f"FOR-{hashed(uid)}"


def read_rtstruct(path: Path) -> tuple[Roi, ...]:
    """The regions of a structure set that have closed planar contours, in the order of their numbers.

    Raises InputError (NOT_RTSTRUCT, BAD_CONTOUR).
    """
    try:
        dataset = dcmread(path)
    except (InvalidDicomError, OSError, EOFError) as error:
        raise InputError("NOT_RTSTRUCT", f"{path.name} cannot be read as DICOM") from error
    if dv.text(dataset, "SOPClassUID") != RTSTRUCT:
        raise InputError("NOT_RTSTRUCT", f"{path.name} is no RT Structure Set", advice="Give an RTSTRUCT file.")
    return rois_of(dataset)


def rois_of(dataset: Dataset) -> tuple[Roi, ...]:
    """As ``read_rtstruct``, of a dataset in memory."""
    named = {}
    for item in dv.items(dataset, "StructureSetROISequence"):
        number = dv.number(item, "ROINumber")
        if number is not None:
            uid = dv.text(item, "ReferencedFrameOfReferenceUID") or dv.text(dataset, "FrameOfReferenceUID")
            named[int(number)] = (dv.text(item, "ROIName"), frame_name(uid))
    found = []
    for item in dv.items(dataset, "ROIContourSequence"):
        number = dv.number(item, "ReferencedROINumber")
        if number is None or int(number) not in named:
            continue
        contours = tuple(
            _contour(c) for c in dv.items(item, "ContourSequence") if dv.text(c, "ContourGeometricType") in _CLOSED
        )
        if contours:
            found.append(Roi(int(number), *named[int(number)], contours))
    return tuple(sorted(found, key=lambda roi: roi.number))


def _contour(item: Dataset) -> Points:
    stored = dv.raw(item, "ContourData")
    try:
        values = np.array([float(v) for v in stored], dtype=np.float64)  # type: ignore[attr-defined]  # anything else is caught
    except (TypeError, ValueError) as error:
        raise InputError("BAD_CONTOUR", "a contour holds something that is not a number") from error
    if values.size % 3 or values.size < 9 or not np.all(np.isfinite(values)):
        raise InputError("BAD_CONTOUR", "a contour does not hold three or more points of three finite numbers")
    return values.reshape(-1, 3)


def rasterize(roi: Roi, grid: Grid) -> npt.NDArray[np.int32]:
    """(n, 3) voxels of ``grid`` whose centres lie inside the region, each once, in raster order; n may be 0.

    A contour between two slices belongs to the nearer one. Raises FrameMismatchError (FRAME_OF_REFERENCE_MISMATCH), and
    GeometryError (CONTOUR_OFF_PLANE) when a contour does not lie in a plane of the grid's voxels.
    """
    if roi.frame != grid.frame:
        raise FrameMismatchError(
            "FRAME_OF_REFERENCE_MISMATCH", f"the region {roi.name} lies in another frame of reference than the image"
        )
    planes: dict[tuple[int, int], list[Points]] = defaultdict(list)
    for contour in roi.contours:
        at = grid.index(contour)
        axis = int(np.argmin(np.ptp(at, axis=0)))
        if np.ptp(at[:, axis]) > 2 * _OFF_PLANE:
            raise GeometryError("CONTOUR_OFF_PLANE", f"a contour of the region {roi.name} does not lie in a plane of the image")
        planes[axis, int(np.rint(at[:, axis].mean()))].append(np.delete(at, axis, axis=1))
    filled: list[npt.NDArray[np.int32]] = []
    for (axis, slice_number), polygons in planes.items():
        if not 0 <= slice_number < grid.shape[axis]:
            continue
        size = tuple(np.delete(np.array(grid.shape), axis))
        mask = np.zeros(size, dtype=bool)
        for polygon in polygons:
            mask ^= inside(polygon, (int(size[0]), int(size[1])))
        filled.append(np.insert(np.argwhere(mask), axis, slice_number, axis=1).astype(np.int32))
    if not filled:
        return np.zeros((0, 3), dtype=np.int32)
    return np.unique(np.concatenate(filled), axis=0)


def inside(polygon: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Which integer points of a (nu, nv) lattice lie inside a polygon of (n, 2) vertices, by the even-odd rule.

    Edges are half open, so polygons that share an edge share no point and leave none out.
    """
    mask = np.zeros(shape, dtype=bool)
    u, v = polygon[:, 0], polygon[:, 1]
    u_next, v_next = np.roll(u, -1), np.roll(v, -1)
    low, high = max(0, int(np.ceil(v.min()))), min(shape[1] - 1, int(np.floor(v.max())))
    columns = np.arange(shape[0])
    for line in range(low, high + 1):
        crosses = (v <= line) != (v_next <= line)
        if not crosses.any():
            continue
        share = (line - v[crosses]) / (v_next[crosses] - v[crosses])
        at = np.sort(u[crosses] + share * (u_next[crosses] - u[crosses]))
        mask[:, line] = np.searchsorted(at, columns, side="right") % 2 == 1
    return mask
