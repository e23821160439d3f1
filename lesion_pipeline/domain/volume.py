"""Arrays with their place in space. Scalar images and label maps are different types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Structure
from lesion_pipeline.domain.errors import GridMismatchError, UnitError
from lesion_pipeline.domain.geometry import Grid


class Modality(StrEnum):
    """DICOM Modality values that we name; anything else is OTHER."""

    PT = "PT"
    CT = "CT"
    MR = "MR"
    OTHER = "OT"


class Unit(StrEnum):
    """What a voxel value means."""

    HU = "HU"
    BQML = "Bq/ml"
    SUVBW = "SUVbw"
    ARBITRARY = "arbitrary"


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A scalar image.

    values: float32 (ni, nj, nk), finite, made read-only. series: key of the series it came from.
    Raises GridMismatchError (SHAPE_MISMATCH) or UnitError (NOT_FINITE).
    """

    values: npt.NDArray[np.float32]
    grid: Grid
    unit: Unit
    modality: Modality
    series: str

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        if values.shape != self.grid.shape:
            raise GridMismatchError("SHAPE_MISMATCH", f"array {values.shape} on grid {self.grid.shape}", series=self.series)
        # one pass, no full-size temporary: a NaN or an infinity anywhere makes the sum of extremes non-finite
        if not np.isfinite(float(values.min()) + float(values.max())):
            raise UnitError("NOT_FINITE", "the image holds values that are not numbers", series=self.series)
        values.setflags(write=False)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True, eq=False)
class LabelMap:
    """A segmentation: values uint16 (ni, nj, nk), 0 is background, every other value present has a Structure.

    Raises GridMismatchError (SHAPE_MISMATCH) or UnitError (LABEL_WITHOUT_NAME).
    """

    values: npt.NDArray[np.uint16]
    grid: Grid
    names: Mapping[int, Structure]

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.uint16)
        if values.shape != self.grid.shape:
            raise GridMismatchError("SHAPE_MISMATCH", f"label map {values.shape} on grid {self.grid.shape}")
        present = np.flatnonzero(np.bincount(values.reshape(-1)))
        nameless = [int(v) for v in present if v and int(v) not in self.names]
        if nameless:
            raise UnitError("LABEL_WITHOUT_NAME", f"label values without a name: {nameless[:10]}")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "names", MappingProxyType(dict(self.names)))

    def value_of(self, key: str) -> int | None:
        """The label value of the structure with this key, None if the map does not know it."""
        return next((value for value, s in self.names.items() if s.key == key), None)

    def at(self, points_lps_mm: npt.ArrayLike) -> npt.NDArray[np.uint16]:
        """Label at each LPS point (n, 3), nearest voxel, 0 outside. The points must be in this map's frame."""
        idx = np.rint(self.grid.index(np.atleast_2d(np.asarray(points_lps_mm, dtype=np.float64)))).astype(np.int64)
        inside = np.all((idx >= 0) & (idx < np.array(self.grid.shape)), axis=1)
        out = np.zeros(len(idx), dtype=np.uint16)
        i, j, k = idx[inside].T
        out[inside] = self.values[i, j, k]
        return out
