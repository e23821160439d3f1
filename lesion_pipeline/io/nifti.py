"""NIfTI files in and out. The only place that knows RAS: inside, world is LPS millimetres.

NIfTI's world has x and y the other way round (RAS+), array order is ours (i, j, k). A label map goes with a names table
beside it: ``<stem>.names.json``, or a BIDS-like ``<stem>.tsv`` with at least the columns ``index`` and ``name``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Structure
from lesion_pipeline.domain.errors import GeometryError, InputError
from lesion_pipeline.domain.geometry import Grid, Matrix
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.io.names import names_to_json, read_names

nibabel: Any = untyped_nibabel  # the package marks itself typed, its image classes are not

#: Largest array we unpack from one file; a header that claims more is refused before memory is asked for.
MAX_BYTES = 8 << 30

_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SUFFIXES = (".nii.gz", ".nii")


def stem_of(path: Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def names_path(path: Path) -> Path | None:
    """The names table that lies beside a label map, None if there is none."""
    stem = stem_of(path)
    candidates = (path.with_name(stem + ".names.json"), path.with_name(stem + ".json"), path.with_name(stem + ".tsv"))
    return next((c for c in candidates if c.is_file()), None)


def _open(path: Path, frame: str) -> tuple[Any, Grid]:
    try:
        image = nibabel.load(path)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError("BAD_NIFTI", "a NIfTI file cannot be read", advice="Check that the file is whole.") from error
    if not isinstance(image, nibabel.Nifti1Image):  # Nifti2Image is a subclass
        raise InputError("BAD_NIFTI", "a file given as NIfTI is of another kind")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise GeometryError("BAD_SHAPE", f"a NIfTI image must have three axes, not shape {tuple(image.shape)}")
    if math.prod(shape) * max(4, image.get_data_dtype().itemsize) > MAX_BYTES:
        raise InputError("TOO_LARGE", "a NIfTI header claims more voxels than can be read")
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        raise GeometryError(
            "NO_GEOMETRY", "a NIfTI file does not say where its voxels are", advice="Write an sform or a qform into it."
        )
    return image, Grid((shape[0], shape[1], shape[2]), _RAS @ np.asarray(image.affine, dtype=np.float64), frame)


def _values(image: Any, shape: tuple[int, int, int]) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(image.dataobj).reshape(shape, order="A")
    except (OSError, EOFError, ValueError) as error:
        raise InputError("BAD_NIFTI", "the voxels of a NIfTI file cannot be read", advice="Check that it is whole.") from error


def read_volume(path: Path, unit: Unit, modality: Modality, frame: str, series: str = "nifti") -> Volume:
    """A scalar image; float32 (ni, nj, nk).

    Raises InputError (BAD_NIFTI, TOO_LARGE), GeometryError (BAD_SHAPE, NO_GEOMETRY, BAD_AFFINE), UnitError (NOT_FINITE).
    """
    image, grid = _open(path, frame)
    return Volume(_values(image, grid.shape).astype(np.float32, copy=False), grid, unit, modality, series)


def read_label_map(path: Path, names: Mapping[int, Structure] | None, frame: str) -> LabelMap:
    """A segmentation. ``names=None`` reads the table beside the file.

    Raises as read_volume, InputError (BAD_LABELS: not whole numbers 0..65535; NO_NAMES: no table) and UnitError
    (LABEL_WITHOUT_NAME).
    """
    image, grid = _open(path, frame)
    if names is None:
        table = names_path(path)
        if table is None:
            raise InputError("NO_NAMES", "a label map has no names table", advice="Put <stem>.names.json beside it.")
        names = read_names(table)
    values = _values(image, grid.shape)
    labels = values.astype(np.uint16)
    if not np.array_equal(labels, values):
        raise InputError("BAD_LABELS", "a label map holds values that are not whole numbers from 0 to 65535")
    return LabelMap(labels, grid, names)


def _save(values: npt.NDArray[np.generic], affine: Matrix, orthogonal: bool, path: Path) -> None:
    image = nibabel.Nifti1Image(values, _RAS @ affine)
    image.set_sform(_RAS @ affine, code=1)
    if orthogonal:
        image.set_qform(_RAS @ affine, code=1)
    else:
        image.set_qform(None, code=0)  # a quaternion cannot hold shear; readers then use the sform
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_volume(volume: Volume, path: Path) -> None:
    """float32 NIfTI in RAS; the same volume gives the same bytes."""
    _save(np.asarray(volume.values), volume.grid.affine, volume.grid.is_orthogonal, path)


def write_label_map(label_map: LabelMap, path: Path) -> None:
    """uint16 NIfTI in RAS, and its names as ``<stem>.names.json`` beside it."""
    _save(np.asarray(label_map.values), label_map.grid.affine, label_map.grid.is_orthogonal, path)
    table = json.dumps(names_to_json(label_map.names), indent=1, ensure_ascii=True) + "\n"
    path.with_name(stem_of(path) + ".names.json").write_text(table, encoding="utf-8")
