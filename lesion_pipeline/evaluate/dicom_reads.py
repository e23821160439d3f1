"""Users' reference reads as DICOM: SEG and RTSTRUCT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.evaluate.reads import Read
from lesion_pipeline.evaluate.reference_reads import CONNECTIVITY, from_label_map
from lesion_pipeline.evaluate.run_reader import SPACE
from lesion_pipeline.imaging.components import label
from lesion_pipeline.io.dicom_seg import read_segments
from lesion_pipeline.io.rtstruct import Roi, rasterize, read_rtstruct

#: In-plane spacing of the grid that contours are drawn on, mm: finer than any PET, so that outlines are not judged by it.
PIXEL_MM = 1.0

Voxels = npt.NDArray[np.int32]


def read(path: Path, key: str) -> Read:
    """One read from one file; every segment or region is a metastasis.

    A single segment or region is taken apart into 26-connected components; of several, each is one lesion, and where two
    overlap the first keeps the voxel. Raises InputError (BAD_REFERENCE) and what the readers of SEG and RTSTRUCT raise.
    """
    try:
        rois = read_rtstruct(path)
    except InputError as error:
        if error.code != "NOT_RTSTRUCT":
            raise
        grid, segments = read_segments(path)
        return _read(key, grid, [(s.label or f"segment {s.number}", s.voxels) for s in segments])
    if not rois:
        raise InputError("BAD_REFERENCE", f"{path.name} holds no closed contour", advice="Give a mask instead.")
    if len({roi.frame for roi in rois}) > 1:
        raise InputError("BAD_REFERENCE", f"the regions of {path.name} lie in several frames of reference")
    grid = contour_grid(rois)
    return _read(key, grid, [(roi.name or f"region {roi.number}", rasterize(roi, grid)) for roi in rois])


def contour_grid(rois: Sequence[Roi]) -> Grid:
    """A grid along the patient's axes that holds every contour, one slice a contour plane.

    Raises InputError (BAD_REFERENCE) when the contours are not parallel to two of the patient's axes.
    """
    contours = [contour for roi in rois for contour in roi.contours]
    flat = {int(np.argmin(np.ptp(c, axis=0))) for c in contours}
    if len(flat) != 1 or max(float(np.ptp(c, axis=0).min()) for c in contours) > 0.5:
        raise InputError(
            "BAD_REFERENCE", "contours that are not axial, coronal or sagittal cannot be used", advice="Give a mask."
        )
    through = flat.pop()
    planes = np.unique(np.round([float(c[:, through].mean()) for c in contours], 2))
    spacing = np.full(3, PIXEL_MM)
    if len(planes) > 1:
        gaps = np.diff(planes)
        spacing[through] = float(np.median(gaps[gaps <= 1.5 * gaps.min()]))
    points = np.concatenate(contours)
    low = points.min(axis=0) - 2 * spacing
    low[through] = planes[0] - spacing[through]
    shape = np.ceil((points.max(axis=0) - low) / spacing).astype(int) + 3
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = low
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, rois[0].frame)


def _read(key: str, grid: Grid, parts: Sequence[tuple[str, Voxels]]) -> Read:
    values = np.zeros(grid.shape, dtype=np.uint16)
    names: dict[int, Structure] = {}
    for number, (name, voxels) in enumerate(parts, start=1):
        i, j, k = voxels.T
        free = values[i, j, k] == 0
        values[i[free], j[free], k[free]] = number
        unique = name if all(s.key != name for s in names.values()) else f"{name} ({number})"
        names[number] = Structure(unique, StructureKind.REGION)
    if len(parts) == 1:
        labels, count = label(values > 0, CONNECTIVITY)
        values = labels.astype(np.uint16)
        names = {n: Structure(f"R{n:03d}", StructureKind.REGION) for n in range(1, count + 1)}
    placed = Grid(grid.shape, grid.affine, SPACE)
    return from_label_map(LabelMap(values, placed, names), key)
