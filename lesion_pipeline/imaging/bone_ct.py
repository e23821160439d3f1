"""What a CT says of bone: trabecular bone against the patient's own, holes and dense foci (clinical specification 5.1).

Low-dose noise is met by smoothing before anything is compared, and by comparing with the spread of the reference bone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import edt
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask, Voxels, label
from lesion_pipeline.imaging.places import Places

Window = tuple[slice, slice, slice]
Reference = tuple[float, float]


class BoneRules(BaseModel):
    """5.1. smoothing_mm: sigma of the Gaussian against low-dose noise. depth_mm: trabecular bone begins this deep in a bone.

    lytic_sd, lytic_below_hu, fat_hu: lytic is below the reference by that many SD, below that HU and above fat.
    sclerotic_sd, sclerotic_above_hu: likewise. band_mm: a thinner sclerotic band along an endplate is degenerative.
    metal_hu within metal_mm: nothing can be said. robust: reference bone by median and 1.4826 MAD, which its dense shell does
    not widen, in place of mean and SD.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    smoothing_mm: float = Field(gt=0)
    depth_mm: float = Field(ge=0)
    min_ml: float = Field(gt=0)
    lytic_sd: float
    lytic_below_hu: float
    fat_hu: float
    sclerotic_sd: float
    sclerotic_above_hu: float
    band_mm: float
    metal_hu: float
    metal_mm: float
    robust: bool


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A window of the CT: smoothed HU, structure codes and depth (mm) inside bone."""

    window: Window
    hu: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int16]
    depth: npt.NDArray[np.float32]


class CtReader:
    """Reads the CT round places in bone; structures and references are worked out once for a study."""

    def __init__(self, ct: Volume, places: Places, rules: BoneRules) -> None:
        self.ct = ct
        self.places = places
        self.rules = rules
        bones = places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)
        self.is_bone = np.zeros(len(places.structures), dtype=bool)
        self.is_bone[sorted(bones)] = True

    def crop(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> Crop | None:
        """The CT between two LPS corners; None where it does not reach."""
        corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1).T
        index = self.ct.grid.index(corners)
        first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, np.array(self.ct.grid.shape))
        if (last - first < 2).any():
            return None
        window = (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))
        sigma = [self.rules.smoothing_mm / s for s in self.ct.grid.spacing_mm]
        hu = ndimage.gaussian_filter(self.ct.values[window], sigma, truncate=3.0)
        indices = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in window], indexing="ij"), axis=-1).reshape(-1, 3)
        codes = self.places.solid(self.ct.grid.world(indices)).reshape(hu.shape)
        depth = edt.edt(np.ascontiguousarray(self.is_bone[codes]), anisotropy=self.ct.grid.spacing_mm, parallel=1)
        return Crop(window, np.asarray(hu, dtype=np.float32), codes, np.asarray(depth, dtype=np.float32))

    @cached_property
    def trabecular(self) -> dict[str, Reference]:
        """Mean and SD of the smoothed HU deep inside every vertebra and every large bone, by key."""
        out: dict[str, Reference] = {}
        for key, mark in self.places.landmarks().items():
            code = self.places.code(key)
            if code is None or not self.is_bone[code] or key.endswith("_posterior"):
                continue
            middle, half = np.array(mark.centre), np.minimum(np.subtract(mark.high, mark.low) / 2, 25.0)
            crop = self.crop(middle - half, middle + half)
            if crop is None:
                continue
            inside = (crop.codes == code) & (crop.depth >= self.rules.depth_mm)
            if inside.sum() >= 50:
                out[key] = _spread(crop.hu[inside], self.rules.robust)
        return out

    def reference(self, key: str) -> Reference | None:
        """Normal trabecular bone for a structure: its vertebral neighbours, else the same bone of the other side."""
        known = self.trabecular
        code = self.places.code(key)
        structure = self.places.structures[code] if code is not None else None
        if structure is not None and structure.kind is StructureKind.VERTEBRA:
            marks = self.places.landmarks()
            mine = marks.get(key)
            own = key.removesuffix("_posterior")
            if mine is None:
                return None
            away = sorted(
                (abs(marks[k].centre[2] - mine.centre[2]), k) for k in known if k.startswith("vertebra_") and k != own
            )
            near = [known[k] for _, k in away[:4]]
            if len(near) < 2:
                return None
            # the median neighbour, so that one diseased vertebra does not speak for the others
            return float(np.median([m for m, _ in near])), float(np.median([s for _, s in near]))
        for one, other in (("_left", "_right"), ("_right", "_left")):
            if key.endswith(one):
                return known.get(key.removesuffix(one) + other)
        return None


def _spread(hu: npt.NDArray[np.float32], robust: bool) -> Reference:
    if not robust:
        return float(hu.mean()), float(hu.std())
    middle = float(np.median(hu))
    return middle, 1.4826 * float(np.median(np.abs(hu - middle)))


def lytic_and_sclerotic(crop: Crop, inside: Mask, reference: Reference, rules: BoneRules) -> tuple[Mask, Mask]:
    """Voxels of a crop that are much less, and much more dense than the reference (mean, SD of smoothed HU)."""
    mean, sd = reference
    lytic = inside & (crop.hu < min(mean - rules.lytic_sd * sd, rules.lytic_below_hu))
    sclerotic = inside & (crop.hu > max(mean + rules.sclerotic_sd * sd, rules.sclerotic_above_hu))
    return lytic, sclerotic


def foci(mask: Mask, crop: Crop, reader: CtReader, band_mm: float) -> list[Voxels]:
    """Components (26-connected) of a mask of a crop, as indices (n, 3) in the crop: at least ``min_ml``, thicker than
    ``band_mm`` and not mostly fat.
    """
    rules, grid = reader.rules, reader.ct.grid
    labels, _ = label(mask, 26)
    found = []
    for number, window in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        piece = labels[window] == number
        if float(piece.sum()) * grid.voxel_ml < rules.min_ml or float(np.median(crop.hu[window][piece])) <= rules.fat_hu:
            continue
        depth = edt.edt(np.ascontiguousarray(piece), anisotropy=grid.spacing_mm, black_border=True, parallel=1)
        if 2.0 * float(depth.max()) > band_mm:
            found.append((np.argwhere(piece) + [s.start for s in window]).astype(np.int32))
    return found


def metal_near(points: npt.NDArray[np.float64], reader: CtReader) -> float | None:
    """Highest HU within ``metal_mm`` of the centre of LPS points (n, 3) if that is metal."""
    reach, grid = reader.rules.metal_mm, reader.ct.grid
    steps = np.arange(-reach, reach + 1e-6, 3.0)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    around = points.mean(axis=0) + offsets[np.linalg.norm(offsets, axis=1) <= reach]
    at = np.rint(grid.index(around[grid.contains(around)])).astype(np.int64)
    highest = float(reader.ct.values[tuple(np.clip(at, 0, np.array(grid.shape) - 1).T)].max()) if len(at) else 0.0
    return highest if highest > reader.rules.metal_hu else None
