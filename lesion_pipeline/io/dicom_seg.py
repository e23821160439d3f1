"""DICOM Segmentation objects (binary, fractional and label map) as voxels on the grid that the object itself describes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.domain.errors import GeometryError, InputError
from lesion_pipeline.domain.geometry import Grid, Points
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.io import dicom_values as dv
from lesion_pipeline.io.rtstruct import frame_name

SEGMENTATION = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_SIDES = {"7771000": "left", "24028007": "right", "G-A101": "left", "G-A100": "right"}
_HALF = 0.5  # of the largest fractional value: a voxel from here on belongs to the segment
_LARGEST = 4_000_000_000  # voxels over all frames, beyond which an object is refused before it is decoded
_SLICE_JITTER = 0.1  # of a slice step that positions may be off the regular lattice


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """number, label as written, SNOMED (or other) code of its property type, and voxels (n, 3) int32 on the object's grid.

    side: ``left`` or ``right``, where the property type has a modifier that says so.
    """

    number: int
    label: str
    code: str | None
    voxels: npt.NDArray[np.int32]
    side: str | None = None


def read_segments(path: Path) -> tuple[Grid, tuple[Segment, ...]]:
    """The grid of a segmentation object and its segments, those without a voxel included.

    Slices between the first and the last that no frame shows are empty. Raises InputError (NOT_SEG, SEG_UNREADABLE),
    GeometryError (NO_GEOMETRY, IRREGULAR_SPACING).
    """
    try:
        dataset = dcmread(path)
    except (InvalidDicomError, OSError, EOFError) as error:
        raise InputError("NOT_SEG", f"{path.name} cannot be read as DICOM") from error
    if dv.text(dataset, "SOPClassUID") not in SEGMENTATION:
        raise InputError("NOT_SEG", f"{path.name} is no segmentation object", advice="Give a DICOM SEG file.")
    return segments_of(dataset)


def segments_of(dataset: Dataset) -> tuple[Grid, tuple[Segment, ...]]:
    """As ``read_segments``, of a dataset in memory."""
    frames = dv.items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = dv.first_item(dataset, "SharedFunctionalGroupsSequence") or Dataset()
    grid, slices = _grid(dataset, frames, shared)
    pixels = _pixels(dataset, len(frames))
    found: dict[int, list[npt.NDArray[np.int32]]] = {number: [] for number, _, _ in _named(dataset)}
    for number, frame, k in _parts(dataset, frames, shared, pixels, slices):
        rows_columns = np.argwhere(frame)
        voxels = np.column_stack([rows_columns[:, 1], rows_columns[:, 0], np.full(len(rows_columns), k)])
        found.setdefault(number, []).append(voxels.astype(np.int32))
    names = {number: (label, code) for number, label, code in _named(dataset)}
    sides = {number: side for number, side in _sides(dataset) if side is not None}
    return grid, tuple(
        Segment(number, *names.get(number, (f"segment {number}", None)), _joined(parts), sides.get(number))
        for number, parts in sorted(found.items())
    )


def read_label_map(path: Path) -> LabelMap:
    """A segmentation object as a label map; each segment is a structure of kind TISSUE with a key made from its label.

    Raises what ``read_segments`` raises, and GeometryError (SEGMENTS_OVERLAP) when two segments share a voxel.
    """
    grid, segments = read_segments(path)
    values = np.zeros(grid.shape, dtype=np.uint16)
    names: dict[int, Structure] = {}
    for segment in segments:
        at = tuple(segment.voxels.T)
        if np.any(values[at]):
            raise GeometryError(
                "SEGMENTS_OVERLAP",
                f"the segment {segment.label} overlaps another, which a label map cannot hold",
                advice="Read the segments one by one.",
            )
        values[at] = segment.number
        key = re.sub(r"[^a-z0-9]+", "_", segment.label.casefold()).strip("_")
        names[segment.number] = Structure(
            f"segment_{segment.number}_{key}".rstrip("_"), StructureKind.TISSUE, snomed=segment.code
        )
    return LabelMap(values, grid, names)


def _joined(parts: list[npt.NDArray[np.int32]]) -> npt.NDArray[np.int32]:
    return np.unique(np.concatenate(parts), axis=0) if parts else np.zeros((0, 3), dtype=np.int32)


def _named(dataset: Dataset) -> list[tuple[int, str, str | None]]:
    out = []
    for item in dv.items(dataset, "SegmentSequence"):
        number = dv.number(item, "SegmentNumber")
        kind = dv.first_item(item, "SegmentedPropertyTypeCodeSequence")
        if number is not None and number > 0:
            out.append((int(number), dv.text(item, "SegmentLabel"), (dv.text(kind, "CodeValue") or None) if kind else None))
    return out


def _sides(dataset: Dataset) -> Iterator[tuple[int, str | None]]:
    """(segment number, side) of every segment, from the modifier of its property type, SNOMED CT or the older SRT."""
    for item in dv.items(dataset, "SegmentSequence"):
        number = dv.number(item, "SegmentNumber")
        kind = dv.first_item(item, "SegmentedPropertyTypeCodeSequence")
        modifier = dv.first_item(kind, "SegmentedPropertyTypeModifierCodeSequence") if kind else None
        if number is not None and modifier is not None:
            yield int(number), _SIDES.get(dv.text(modifier, "CodeValue"))


def _pixels(dataset: Dataset, frames: int) -> npt.NDArray[np.generic]:
    """(frames, rows, columns) as stored."""
    rows, columns = dv.number(dataset, "Rows") or 0, dv.number(dataset, "Columns") or 0
    if not 0 < rows * columns * max(frames, 1) <= _LARGEST:
        raise InputError("SEG_UNREADABLE", "the segmentation object declares no pixels, or far too many")
    try:
        pixels = np.asarray(dataset.pixel_array)
    except (AttributeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise InputError("SEG_UNREADABLE", "the pixels of the segmentation object cannot be decoded") from error
    return pixels.reshape(-1, int(rows), int(columns))


def _parts(
    dataset: Dataset, frames: tuple[Dataset, ...], shared: Dataset, pixels: npt.NDArray[np.generic], slices: list[int]
) -> Iterator[tuple[int, npt.NDArray[np.bool_], int]]:
    """(segment number, mask of one frame (rows, columns), slice index)."""
    kind = dv.text(dataset, "SegmentationType").upper()
    half = _HALF * (dv.number(dataset, "MaximumFractionalValue") or 1.0) if kind == "FRACTIONAL" else _HALF
    for frame, values, k in zip(frames, pixels, slices, strict=True):
        if kind == "LABELMAP":
            for number in np.unique(values):
                if number:
                    yield int(number), values == number, k
            continue
        which = dv.first_item(frame, "SegmentIdentificationSequence") or dv.first_item(shared, "SegmentIdentificationSequence")
        number = dv.number(which, "ReferencedSegmentNumber") if which else None
        if number is None:
            raise InputError("SEG_UNREADABLE", "a frame of the segmentation object does not say which segment it shows")
        yield int(number), np.asarray(values, dtype=np.float32) >= half, k


def _grid(dataset: Dataset, frames: tuple[Dataset, ...], shared: Dataset) -> tuple[Grid, list[int]]:
    """The lattice that the frames lie on, and the slice index of each frame."""
    if not frames:
        raise GeometryError("NO_GEOMETRY", "the segmentation object places no frame in space")
    orientation = _one(frames, shared, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    spacing = _one(frames, shared, "PixelMeasuresSequence", "PixelSpacing", 2)
    positions = np.array([_vector(dv.first_item(f, "PlanePositionSequence"), "ImagePositionPatient", 3) for f in frames])
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    distance = np.round(positions @ normal, 4)
    unique, first, which = np.unique(distance, return_index=True, return_inverse=True)
    index, step = _regular(unique, _thickness(frames, shared))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * spacing[1], column * spacing[0], normal * step
    affine[:3, 3] = positions[first[0]]
    rows, columns = int(dv.number(dataset, "Rows") or 0), int(dv.number(dataset, "Columns") or 0)
    uid = dv.text(dataset, "FrameOfReferenceUID")
    grid = Grid((columns, rows, int(index[-1]) + 1), affine, frame_name(uid))
    return grid, [int(index[n]) for n in np.ravel(which)]


def _regular(distances: Points, thickness: float) -> tuple[npt.NDArray[np.int64], float]:
    """Slice index of each distinct distance along the normal (ascending), and the step in mm. Gaps are whole steps."""
    if len(distances) == 1:
        return np.zeros(1, dtype=np.int64), thickness
    gaps = np.diff(distances)
    step = float(np.median(gaps[gaps <= 1.5 * gaps.min()]))
    counts = np.rint(gaps / step)
    if np.any(np.abs(gaps - counts * step) > _SLICE_JITTER * step * np.maximum(counts, 1)):
        raise GeometryError("IRREGULAR_SPACING", "the slices of the segmentation object do not lie at regular distances")
    index = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return index, float((distances[-1] - distances[0]) / index[-1])


def _one(frames: tuple[Dataset, ...], shared: Dataset, macro: str, keyword: str, length: int) -> Points:
    """A value that all frames share, wherever it is written."""
    group = dv.first_item(shared, macro)
    if group is not None:
        return _vector(group, keyword, length)
    values = np.array([_vector(dv.first_item(f, macro), keyword, length) for f in frames])
    if np.abs(values - values[0]).max() > 1e-4:
        raise GeometryError("NO_GEOMETRY", f"the frames of the segmentation object differ in {keyword}")
    return np.asarray(values[0])


def _vector(item: Dataset | None, keyword: str, length: int) -> Points:
    stored = dv.raw(item, keyword) if item is not None else None
    try:
        values = np.array([float(v) for v in stored], dtype=np.float64)  # type: ignore[attr-defined]  # anything else is caught
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (length,) or not np.all(np.isfinite(values)):
        raise GeometryError("NO_GEOMETRY", f"the segmentation object lacks a usable {keyword}")
    return values


def _thickness(frames: tuple[Dataset, ...], shared: Dataset) -> float:
    group = dv.first_item(shared, "PixelMeasuresSequence") or dv.first_item(frames[0], "PixelMeasuresSequence")
    stated = [dv.number(group, k) for k in ("SpacingBetweenSlices", "SliceThickness")] if group is not None else []
    return next((abs(x) for x in stated if x), 1.0)
