"""What is normal in this patient: liver, blood pool and marrow on the PET, each accepted or refused with a sentence."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field
from scipy.signal import fftconvolve

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask, label
from lesion_pipeline.imaging.places import Places

Window = tuple[slice, slice, slice]


class ReferenceRules(BaseModel):
    """How reference regions are placed and when they are refused; every number comes from the preset.

    max_cv: coefficient of variation above which a region is refused. max_ratio: refused when a voxel exceeds this multiple of
    the region's median (a metastasis inside). All lengths in mm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    liver_sphere_mm: float = Field(gt=0)
    liver_depth_mm: float = Field(gt=0)
    aorta_diameter_mm: float = Field(gt=0)
    aorta_length_mm: float = Field(gt=0)
    max_cv: float = Field(gt=0)
    max_ratio: float = Field(gt=1)
    min_marrow_vertebrae: int = Field(ge=1)


@dataclass(frozen=True, slots=True)
class Reference:
    """Uptake of an accepted region: SUV mean, standard deviation, median, voxels, LPS mm of its centre."""

    mean: float
    sd: float
    median: float
    voxels: int
    centre_lps_mm: tuple[float, float, float]

    @property
    def cv(self) -> float:
        return self.sd / self.mean if self.mean > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Marrow:
    """Uptake of the patient's own vertebral bodies: median over vertebrae, CV between them, (key, median) of each."""

    median: float
    cv: float
    vertebrae: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class OrganUptake:
    """Median and median absolute deviation of the SUV in one named structure, and how many voxels were asked."""

    median: float
    mad: float
    samples: int


@dataclass(frozen=True, slots=True)
class References:
    """Everything known of normal uptake. notes: why a region was refused."""

    liver: Reference | None
    blood: Reference | None
    marrow: Marrow | None
    organs: dict[str, OrganUptake]
    notes: tuple[str, ...]


def measure_references(pet: Volume, places: Places, rules: ReferenceRules) -> References:
    """Place and measure every reference region that the anatomy allows, on the PET's own voxels."""
    notes: list[str] = []
    organs: dict[str, OrganUptake] = {}
    bodies: list[tuple[str, float]] = []
    for structure, values in places.samples(pet, limit=20_000):
        median = float(np.median(values))
        organs[structure.key] = OrganUptake(median, float(np.median(np.abs(values - median))), len(values))
        if structure.kind is StructureKind.VERTEBRA and not structure.key.endswith("_posterior"):
            bodies.append((structure.key, median))
    return References(
        liver=_liver(pet, places, rules, notes),
        blood=_blood(pet, places, rules, notes),
        marrow=_marrow(bodies, rules, notes),
        organs=organs,
        notes=tuple(notes),
    )


def _marrow(bodies: list[tuple[str, float]], rules: ReferenceRules, notes: list[str]) -> Marrow | None:
    if len(bodies) < rules.min_marrow_vertebrae:
        notes.append(f"marrow reference: {len(bodies)} vertebrae in the scan, {rules.min_marrow_vertebrae} needed")
        return None
    medians = np.array([m for _, m in bodies])
    middle = float(np.median(medians))
    # diseased vertebrae must not speak for the healthy ones: those far above the median leave the variation
    healthy = medians[medians <= rules.max_ratio * middle]
    cv = float(healthy.std() / healthy.mean()) if len(healthy) and healthy.mean() > 0 else 0.0
    return Marrow(middle, cv, tuple(bodies))


def organ_window(pet: Volume, places: Places, key: str) -> tuple[Window, Mask] | None:
    """Window of the PET grid that holds a structure, and the structure's mask in it; None if it is not in the PET."""
    code = places.code(key)
    if code is None:
        return None
    coarse = _coarse_indices(pet.grid, places, code)
    if not len(coarse):
        return None
    low = np.maximum(coarse.min(axis=0) - 6, 0)
    high = np.minimum(coarse.max(axis=0) + 7, np.array(pet.grid.shape))
    window = (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2])))
    indices = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in window], indexing="ij"), axis=-1).reshape(-1, 3)
    mask = (places.solid(pet.grid.world(indices)) == code).reshape([s.stop - s.start for s in window])
    return (window, mask) if mask.any() else None


def _coarse_indices(grid: Grid, places: Places, code: int) -> npt.NDArray[np.int64]:
    """PET indices, every fourth voxel, that lie in a structure."""
    axes = [np.arange(0, n, min(4, n)) for n in grid.shape]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.asarray(indices[places.solid(grid.world(indices)) == code], dtype=np.int64)


def _largest(mask: Mask) -> Mask:
    labels, count = label(mask, 26)
    return mask if count < 2 else np.asarray(labels == 1 + np.argmax(np.bincount(labels.reshape(-1))[1:]))


def _depth(mask: Mask, grid: Grid) -> npt.NDArray[np.float32]:
    """Distance (mm) of every mask voxel to the outside of the mask."""
    depth = edt.edt(np.ascontiguousarray(mask), anisotropy=grid.spacing_mm, black_border=True, parallel=1)
    return np.asarray(depth, dtype=np.float32)


def _ball(radius_mm: float, grid: Grid) -> npt.NDArray[np.float32]:
    reach = [int(radius_mm // s) for s in grid.spacing_mm]
    axes = [np.arange(-r, r + 1) * s for r, s in zip(reach, grid.spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.asarray(x**2 + y**2 + z**2 <= radius_mm**2, dtype=np.float32)


def _liver(pet: Volume, places: Places, rules: ReferenceRules, notes: list[str]) -> Reference | None:
    """The quietest sphere in the right half of the liver, away from its surface (clinical specification 2.6)."""
    found = organ_window(pet, places, "liver")
    if found is None:
        notes.append("liver reference: the anatomy names no liver inside the PET")
        return None
    window, mask = found
    mask = _largest(mask)
    values = pet.values[window].astype(np.float64)
    ball = _ball(rules.liver_sphere_mm / 2, pet.grid)
    origin = np.array([s.start for s in window])
    allowed = np.argwhere(_depth(mask, pet.grid) >= rules.liver_depth_mm)
    if len(allowed):
        side = pet.grid.world(allowed + origin)[:, 0]  # LPS x grows to the patient's left
        allowed = allowed[side <= np.median(pet.grid.world(np.argwhere(mask) + origin)[:, 0])]
    if not len(allowed):
        notes.append(f"liver reference: no place {rules.liver_depth_mm:g} mm inside the right half of the liver")
        return None
    total = float(ball.sum())
    mean = fftconvolve(values, ball, mode="same") / total
    square = fftconvolve(values**2, ball, mode="same") / total
    at = tuple(allowed.T)
    cv = np.sqrt(np.maximum(square[at] - mean[at] ** 2, 0.0)) / np.maximum(mean[at], 1e-6)
    best = allowed[int(np.argmin(cv))]
    reach = [n // 2 for n in ball.shape]
    near = tuple(slice(b - r, b + r + 1) for b, r in zip(best, reach, strict=True))
    return _accept("liver reference", values[near][ball > 0], pet.grid.world(best + origin), rules, notes)


def _blood(pet: Volume, places: Places, rules: ReferenceRules, notes: list[str]) -> Reference | None:
    """The quietest piece of the core of the descending aorta (clinical specification 2.6)."""
    found = organ_window(pet, places, "aorta")
    if found is None:
        notes.append("blood pool reference: the anatomy names no aorta inside the PET")
        return None
    window, mask = found
    core = np.argwhere(_depth(mask, pet.grid) >= rules.aorta_diameter_mm / 2)
    origin = np.array([s.start for s in window])
    points = pet.grid.world(core + origin) if len(core) else np.zeros((0, 3))
    if len(points):  # the descending part lies behind: LPS y grows to the back
        behind = points[:, 1] >= np.median(points[:, 1])
        core, points = core[behind], points[behind]
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    values = pet.values[window]
    low, high = (points[:, 2].min(), points[:, 2].max()) if len(points) else (0.0, 0.0)
    for start in np.arange(low, high, rules.aorta_length_mm / 2):
        piece = (points[:, 2] >= start) & (points[:, 2] < start + rules.aorta_length_mm)
        if piece.sum() < 8:
            continue
        suv = values[tuple(core[piece].T)].astype(np.float64)
        cv = float(suv.std() / max(suv.mean(), 1e-6))
        if best is None or cv < best[0]:
            best = (cv, suv, points[piece].mean(axis=0))
    if best is None:
        notes.append(f"blood pool reference: no piece of aorta is {rules.aorta_diameter_mm:g} mm wide on the PET")
        return None
    return _accept("blood pool reference", best[1], best[2], rules, notes)


def _accept(
    name: str,
    suv: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
    rules: ReferenceRules,
    notes: list[str],
) -> Reference | None:
    mean, sd, median = float(suv.mean()), float(suv.std()), float(np.median(suv))
    if mean <= 0 or sd / mean > rules.max_cv:
        notes.append(f"{name}: refused, uptake varies by {100 * sd / max(mean, 1e-6):.0f} %")
        return None
    if suv.max() > rules.max_ratio * median:
        notes.append(f"{name}: refused, a voxel has {suv.max() / median:.1f} times the median")
        return None
    x, y, z = (float(c) for c in centre)
    return Reference(mean, sd, median, len(suv), (x, y, z))
