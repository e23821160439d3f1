"""CT evidence of a bone lesion: lytic, sclerotic, mixed or none against the patient's own bone (clinical specification 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.anatomy import Organ, StructureKind
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import RigidTransform
from lesion_pipeline.domain.lesion import Located
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask, label
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.stages.match.options import CtRules

Window = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class CtFinding:
    """What the CT says: a class and a sentence with numbers ("" when there is nothing to add)."""

    kind: str
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    """A window of the CT: smoothed HU, structure codes and depth (mm) inside bone."""

    window: Window
    hu: npt.NDArray[np.float32]
    codes: npt.NDArray[np.int16]
    depth: npt.NDArray[np.float32]


class CtReader:
    """Reads the CT round lesions; places and references are worked out once for a study."""

    def __init__(self, ct: Volume, places: Places, rules: CtRules) -> None:
        self.ct = ct
        self.places = places
        self.rules = rules
        bones = places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)
        self.is_bone = np.zeros(len(places.structures), dtype=bool)
        self.is_bone[sorted(bones)] = True

    def crop(self, low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> _Crop | None:
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
        return _Crop(window, np.asarray(hu, dtype=np.float32), codes, np.asarray(depth, dtype=np.float32))

    @cached_property
    def trabecular(self) -> dict[str, tuple[float, float]]:
        """Mean and SD of the smoothed HU deep inside every vertebra and every large bone, by key."""
        out: dict[str, tuple[float, float]] = {}
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
                out[key] = (float(crop.hu[inside].mean()), float(crop.hu[inside].std()))
        return out

    def reference(self, key: str) -> tuple[float, float] | None:
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


def ct_evidence(located: Located, study: Study, reader: CtReader | None, rules: CtRules) -> CtFinding:
    """Class of the bone under a lesion. ``not_assessable``: no bone, no reference, or metal close by."""
    if reader is None or study.ct is None:
        return CtFinding("not_available")
    bone = dict(located.site.organ_probabilities).get(Organ.BONE, 0.0)
    if bone < rules.min_bone_probability:
        return CtFinding("not_assessable")
    try:
        link = study.frames.between(located.candidate.grid.frame, study.ct.grid.frame)
    except FrameMismatchError:
        return CtFinding("not_available")
    points = link.apply(located.candidate.points_lps_mm)
    if not study.ct.grid.contains(points).all():
        return CtFinding("not_available")
    return _read(located, link, points, reader)


def _metal_near(points: npt.NDArray[np.float64], reader: CtReader) -> float | None:
    """Highest HU within ``metal_mm`` of the lesion's centre if that is metal."""
    reach, grid = reader.rules.metal_mm, reader.ct.grid
    steps = np.arange(-reach, reach + 1e-6, 3.0)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    around = points.mean(axis=0) + offsets[np.linalg.norm(offsets, axis=1) <= reach]
    at = np.rint(grid.index(around[grid.contains(around)])).astype(np.int64)
    highest = float(reader.ct.values[tuple(np.clip(at, 0, np.array(grid.shape) - 1).T)].max()) if len(at) else 0.0
    return highest if highest > reader.rules.metal_hu else None


def _read(located: Located, link: RigidTransform, points: npt.NDArray[np.float64], reader: CtReader) -> CtFinding:
    rules = reader.rules
    margin = rules.margin_mm + max(located.candidate.grid.spacing_mm) / 2
    crop = reader.crop(points.min(axis=0) - margin, points.max(axis=0) + margin)
    if crop is None:
        return CtFinding("not_available")
    metal = _metal_near(points, reader)
    if metal is not None:
        return CtFinding("not_assessable", f"metal of {metal:.0f} HU within {rules.metal_mm:g} mm")
    inside = _under(located, link, reader, crop, margin) & (crop.depth >= rules.depth_mm)
    counts = np.bincount(crop.codes[inside], minlength=1)
    if not inside.any() or not counts[1:].any():
        return CtFinding("not_assessable", "no trabecular bone under it")
    structure = reader.places.structures[int(np.argmax(counts[1:])) + 1]
    reference = reader.reference(structure.key) if structure is not None else None
    if reference is None:
        return CtFinding("not_assessable", "no normal bone to compare with")
    return _classify(crop, inside, reference, reader)


def _classify(crop: _Crop, inside: Mask, reference: tuple[float, float], reader: CtReader) -> CtFinding:
    rules = reader.rules
    mean, sd = reference
    lytic = inside & (crop.hu < min(mean - rules.lytic_sd * sd, rules.lytic_below_hu))
    sclerotic = inside & (crop.hu > max(mean + rules.sclerotic_sd * sd, rules.sclerotic_above_hu))
    lytic_ml = _connected_ml(lytic, crop.hu, reader, 0.0)
    sclerotic_ml = _connected_ml(sclerotic, crop.hu, reader, rules.band_mm)
    total = lytic_ml + sclerotic_ml
    numbers = f"{crop.hu[inside].mean():.0f} HU against {mean:.0f} +- {sd:.0f} HU in normal bone"
    if total == 0:
        return CtFinding("none", numbers)
    if min(lytic_ml, sclerotic_ml) >= rules.mixed_share * total:
        return CtFinding("mixed", f"{lytic_ml:.1f} ml lytic and {sclerotic_ml:.1f} ml sclerotic, {numbers}")
    kind, volume = ("lytic", lytic_ml) if lytic_ml > sclerotic_ml else ("sclerotic", sclerotic_ml)
    return CtFinding(kind, f"{volume:.1f} ml, {numbers}")


def _under(located: Located, link: RigidTransform, reader: CtReader, crop: _Crop, margin: float) -> Mask:
    """CT voxels of the crop that lie in the lesion's voxels or within ``margin`` of them."""
    grid = reader.ct.grid
    indices = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in crop.window], indexing="ij"), axis=-1)
    source = located.candidate.grid
    at = np.rint(source.index(link.inverse().apply(grid.world(indices.reshape(-1, 3))))).astype(np.int64)
    low = located.candidate.voxels.min(axis=0) - 1
    size = located.candidate.voxels.max(axis=0) + 2 - low
    lookup = np.zeros(size, dtype=bool)
    lookup[tuple((located.candidate.voxels - low).T)] = True
    at -= low
    near = np.all((at >= 0) & (at < size), axis=1)
    out = np.zeros(len(at), dtype=bool)
    out[near] = lookup[tuple(at[near].T)]
    mask = out.reshape(indices.shape[:3])
    away = edt.edt(~mask, anisotropy=grid.spacing_mm, parallel=1)
    return np.asarray(away <= margin) & np.asarray(mask.any())


def _connected_ml(mask: Mask, hu: npt.NDArray[np.float32], reader: CtReader, band_mm: float) -> float:
    """Millilitres in components of at least ``min_ml`` that are thicker than ``band_mm`` and not mostly fat."""
    rules, grid = reader.rules, reader.ct.grid
    labels, _ = label(mask, 26)
    total = 0.0
    for number, window in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        piece = labels[window] == number
        volume = float(piece.sum()) * grid.voxel_ml
        if volume < rules.min_ml or float(np.median(hu[window][piece])) <= rules.fat_hu:
            continue
        depth = edt.edt(np.ascontiguousarray(piece), anisotropy=grid.spacing_mm, black_border=True, parallel=1)
        if 2.0 * float(depth.max()) > band_mm:
            total += volume
    return total
