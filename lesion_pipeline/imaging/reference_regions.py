"""What is normal in this patient: liver, blood pool and marrow on the PET, each accepted or refused with a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import edt
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask, label
from lesion_pipeline.imaging.places import Places

Window = tuple[slice, slice, slice]
#: The extent of a structure is known from a thinned map; this much is added (mm).
_MARGIN_MM = 12.0
#: Organs are looked at in steps of about this much (mm); voxels are measured at full resolution.
_STEP_MM = 3.0
_MAX_POSITIONS = 600
_FEWEST = 5


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
    """Uptake of the patient's own vertebral bodies, diseased ones left out.

    median: over the vertebrae; cv: robust variation between them (1.4826 * MAD / median); vertebrae: (key, median SUV) of all;
    mad: typical median absolute deviation of the voxels inside one healthy vertebra, i.e. how uneven this marrow is.
    """

    median: float
    cv: float
    vertebrae: tuple[tuple[str, float], ...]
    mad: float = 0.0


@dataclass(frozen=True, slots=True)
class OrganUptake:
    """Median and median absolute deviation of the SUV in one named structure, and how many voxels were asked.

    upper: upper quartile. In a bone, half of whose voxels are cortex and its blur, that is what the marrow inside takes up.
    """

    median: float
    mad: float
    samples: int
    upper: float


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
    bodies: list[tuple[str, OrganUptake]] = []
    for structure, values in places.samples(pet, limit=20_000):
        median = float(np.median(values))
        spread, upper = float(np.median(np.abs(values - median))), float(np.percentile(values, 75.0))
        organs[structure.key] = OrganUptake(median, spread, len(values), upper)
        if structure.kind is StructureKind.VERTEBRA and not structure.key.endswith("_posterior"):
            bodies.append((structure.key, organs[structure.key]))
    return References(
        liver=_liver(pet, places, rules, notes),
        blood=_blood(pet, places, rules, notes),
        marrow=_marrow(bodies, rules, notes),
        organs=organs,
        notes=tuple(notes),
    )


def _marrow(bodies: list[tuple[str, OrganUptake]], rules: ReferenceRules, notes: list[str]) -> Marrow | None:
    """The middle of the vertebrae speaks, whatever some of them do: a few diseased or irradiated ones change nothing."""
    if len(bodies) < rules.min_marrow_vertebrae:
        notes.append(f"marrow reference: {len(bodies)} vertebrae in the scan, {rules.min_marrow_vertebrae} needed")
        return None
    medians = np.array([body.median for _, body in bodies])
    middle = float(np.median(medians))
    healthy = medians <= rules.max_ratio * middle
    spread = 1.4826 * float(np.median(np.abs(medians[healthy] - np.median(medians[healthy]))))
    cv = spread / middle if middle > 0 else 0.0
    mad = float(np.median([body.mad for (_, body), fit in zip(bodies, healthy, strict=True) if fit]))
    return Marrow(middle, cv, tuple((key, body.median) for key, body in bodies), mad)


def structure_box(pet: Volume, places: Places, key: str) -> Window | None:
    """Window of the PET grid that holds a structure and a margin; None if it is not in the PET."""
    mark = places.landmarks().get(key)
    if mark is None:
        return None
    corners = pet.grid.index(np.array(list(product(*zip(mark.low, mark.high, strict=True)))))
    margin = np.ceil(_MARGIN_MM / np.array(pet.grid.spacing_mm))
    low = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0) + margin) + 1, np.array(pet.grid.shape)).astype(int)
    if (high <= low).any():
        return None
    return (slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2])))


@dataclass(frozen=True, slots=True, eq=False)
class _Organ:
    """A structure on a thinned PET grid: mask, PET index of its first voxel, step between its voxels along each axis."""

    mask: Mask
    origin: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]

    def index(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """PET indices of positions (n, 3) in the mask."""
        return np.asarray(self.origin + at * self.step)

    def spacing(self, grid: Grid) -> tuple[float, float, float]:
        a, b, c = (float(s * n) for s, n in zip(grid.spacing_mm, self.step, strict=True))
        return (a, b, c)


def _organ(pet: Volume, places: Places, key: str) -> _Organ | None:
    """A structure at about ``_STEP_MM``: enough to say how deep a place lies in it."""
    code, window = places.code(key), structure_box(pet, places, key)
    if code is None or window is None:
        return None
    step = np.maximum(1, np.round(_STEP_MM / np.array(pet.grid.spacing_mm))).astype(np.int64)
    axes = [np.arange(w.start, w.stop, n) for w, n in zip(window, step, strict=True)]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mask = (places.solid(pet.grid.world(indices.reshape(-1, 3))) == code).reshape(indices.shape[:3])
    return _Organ(mask, np.array([w.start for w in window]), step) if mask.any() else None


def _largest(mask: Mask) -> Mask:
    labels, count = label(mask, 26)
    return mask if count < 2 else np.asarray(labels == 1 + np.argmax(np.bincount(labels.reshape(-1))[1:]))


def _depth(organ: _Organ, mask: Mask, grid: Grid) -> npt.NDArray[np.float32]:
    """Distance (mm) of every mask voxel to the outside of the mask."""
    depth = edt.edt(np.ascontiguousarray(mask), anisotropy=organ.spacing(grid), black_border=True, parallel=1)
    return np.asarray(depth, dtype=np.float32)


def _ball(radius_mm: float, grid: Grid) -> npt.NDArray[np.int64]:
    """Index offsets (n, 3) of a sphere."""
    axes = [np.arange(-int(radius_mm // s), int(radius_mm // s) + 1) for s in grid.spacing_mm]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = np.linalg.norm(offsets * np.array(grid.spacing_mm), axis=1) <= radius_mm
    return np.asarray(offsets[inside], dtype=np.int64)


def _liver(pet: Volume, places: Places, rules: ReferenceRules, notes: list[str]) -> Reference | None:
    """The quietest sphere in the right half of the liver, away from its surface (clinical specification 2.6)."""
    organ = _organ(pet, places, "liver")
    if organ is None:
        notes.append("liver reference: the anatomy names no liver inside the PET")
        return None
    mask = _largest(organ.mask)
    allowed = np.argwhere(_depth(organ, mask, pet.grid) >= rules.liver_depth_mm)
    if len(allowed):
        side = pet.grid.world(organ.index(allowed))[:, 0]  # LPS x grows to the patient's left
        allowed = allowed[side <= np.median(pet.grid.world(organ.index(np.argwhere(mask)))[:, 0])]
    centres = organ.index(allowed[:: max(1, len(allowed) // _MAX_POSITIONS)])
    ball = _ball(rules.liver_sphere_mm / 2, pet.grid)
    inside = np.all((centres + ball.min(axis=0) >= 0) & (centres + ball.max(axis=0) < np.array(pet.grid.shape)), axis=1)
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    for centre in centres[inside]:
        suv = pet.values[tuple((centre + ball).T)].astype(np.float64)
        cv = float(suv.std() / max(suv.mean(), 1e-6))
        if best is None or cv < best[0]:
            best = (cv, suv, pet.grid.world(centre))
    if best is None:
        notes.append(f"liver reference: no place {rules.liver_depth_mm:g} mm inside the right half of the liver")
        return None
    return _accept("liver reference", best[1], best[2], rules, notes)


def _blood(pet: Volume, places: Places, rules: ReferenceRules, notes: list[str]) -> Reference | None:
    """The quietest piece of the core of the descending aorta (clinical specification 2.6)."""
    organ = _organ(pet, places, "aorta")
    if organ is None:
        notes.append("blood pool reference: the anatomy names no aorta inside the PET")
        return None
    core = organ.index(np.argwhere(_depth(organ, organ.mask, pet.grid) >= rules.aorta_diameter_mm / 2))
    points = pet.grid.world(core) if len(core) else np.zeros((0, 3))
    if len(points):  # the descending part lies behind: LPS y grows to the back
        behind = points[:, 1] >= np.median(points[:, 1])
        core, points = core[behind], points[behind]
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None
    low, high = (points[:, 2].min(), points[:, 2].max()) if len(points) else (0.0, 0.0)
    for start in np.arange(low, high, rules.aorta_length_mm / 2):
        piece = (points[:, 2] >= start) & (points[:, 2] < start + rules.aorta_length_mm)
        if piece.sum() < _FEWEST:
            continue
        suv = pet.values[tuple(core[piece].T)].astype(np.float64)
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
