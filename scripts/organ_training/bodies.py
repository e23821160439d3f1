"""A body around real organs: label maps hold organs only, so skin, fat, muscle, skeleton and bowel are built around them.

Everything is procedural: curves and capsules hung on landmarks of the organs (lungs, kidneys, bladder, brain). No atlas or
phantom of anyone goes in. Arrays are (x to the left, y to the back, z to the head) on a cubic lattice of 4 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

STEP = 4.0
Tissues = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Point = Sequence[float] | Floats
Knots = list[tuple[float, float]]

# labels of the organ maps
SPLEEN, KIDNEY, LIVER, BLADDER, LUNG, BRAIN, HEART, STOMACH, PROSTATE, GLAND = range(1, 11)
# tissues of a body: 0 air, 1..9 rings of 4 mm outside the lean body, 10 + label for organs (11..20), then:
(CORTEX, MARROW, THIN_BONE, CARTILAGE, MUSCLE, FAT, WALL, LUMEN, COLON, AORTA, VESSEL, CANAL, AIRWAY, SOFT, DISC, SINUS) = (
    range(21, 37)
)
ORGAN = 10
RINGS = 9


@dataclass
class Marks:
    """Landmarks in voxels; every curve has one value a slice."""

    mid: Floats
    spine: Floats  # y of the vertebral body's centre
    apex: float
    base: float
    bladder: Floats  # x, y, z
    brain: Floats | None  # x, y, z of the lowest part
    front: Floats
    back: Floats
    half: Floats
    cx: Floats


class NoBodyError(ValueError):
    """The map lacks an organ that the body is hung on."""


def _at(knots: Knots, nz: int, smooth: float) -> Floats:
    knots = sorted(knots)
    z, v = np.array(knots).T
    line = np.interp(np.arange(nz), z, v)
    return np.asarray(ndimage.gaussian_filter1d(line, smooth, mode="nearest"))


def _knots() -> Knots:
    return []


def _extent(mask: Mask, axis: int, q: tuple[float, float] = (0.01, 0.99)) -> tuple[float, float]:
    where = np.nonzero(mask)[axis]
    return float(np.quantile(where, q[0])), float(np.quantile(where, q[1]))


def landmarks(labels: Tissues, rng: np.random.Generator) -> Marks:
    """Read the landmarks off the organs; raises NoBodyError."""
    nz = labels.shape[2]
    counts = np.bincount(labels.reshape(-1), minlength=11)
    if min(counts[LUNG], counts[LIVER], counts[HEART]) < 3000 or min(counts[KIDNEY], counts[BLADDER], counts[SPLEEN]) < 250:
        raise NoBodyError("an organ that carries the body is missing")
    lung = labels == LUNG
    apex, base = _extent(lung, 2, (0.005, 0.995))[1], _extent(lung, 2, (0.02, 0.98))[0]
    mid_k, spine_k, half_k, front_k, back_k, cx_k = (_knots() for _ in range(6))
    for z in np.linspace(base + 4, apex - 3, 7):
        plane = lung[:, :, int(z)]
        if plane.sum() < 60:
            continue
        x = np.nonzero(plane)[0]
        centre = (x.min() + x.max()) / 2
        left, right = x[x > centre], x[x <= centre]
        mid = (left.min() + right.max()) / 2 if len(left) and len(right) else centre
        rows = np.nonzero(plane)[1]
        mid_k.append((z, mid))
        cx_k.append((z, centre))
        spine_k.append((z, float(np.quantile(rows, 0.97)) - 34 / STEP))
        upper = np.clip((apex - z) * STEP / 90, 0, 1)
        half_k.append((z, (x.max() - x.min()) / 2 + 20 / STEP + (1 - upper) * 50 / STEP))
        front_k.append((z, rows.min() - 20 / STEP - (1 - upper) * 10 / STEP))
        back_k.append((z, rows.max() + 34 / STEP))
    kidney = np.argwhere(labels == KIDNEY)
    kz = float(np.median(kidney[:, 2]))
    kx = (np.quantile(kidney[:, 0], 0.02) + np.quantile(kidney[:, 0], 0.98)) / 2
    spine_k.append((kz, float(np.median(kidney[:, 1])) - 10 / STEP))
    mid_k.append((kz, kx))
    b = np.argwhere(labels == BLADDER).mean(axis=0)
    if kz - b[2] < 25:
        raise NoBodyError("kidneys and bladder are too close")
    for dz, dy in ((150, 30), (112, 48), (65, 84), (15, 76), (-60, 60)):
        spine_k.append((b[2] + dz / STEP, b[1] + (dy + rng.normal(0, 4)) / STEP))
    spine_k = [k for k in spine_k if not (b[2] + 150 / STEP < k[0] < kz - 1)]
    mid_k += [(b[2] + 60 / STEP, (b[0] + kx) / 2), (b[2], b[0])]
    _abdomen(labels, base, (b, rng), (half_k, front_k, back_k, cx_k), spine_k)
    brain = None
    if counts[BRAIN] > 4000:
        where = np.argwhere(labels == BRAIN)
        low = float(np.quantile(where[:, 2], 0.02))
        near = where[where[:, 2] < low + 8].mean(axis=0)
        brain = np.array([near[0], near[1], low])
        spine_k += [(low - 6, brain[1] - 1), (low - 22, brain[1] + 2)]
        mid_k += [(low, brain[0])]
        _head(labels, low, apex, brain, (half_k, front_k, back_k, cx_k))
    else:
        y = float(sorted(spine_k)[-1][1])
        half_k += [(apex + 14, 56 / STEP), (apex + 40, 60 / STEP)]
        front_k += [(apex + 14, y - 70 / STEP)]
        back_k += [(apex + 14, y + 58 / STEP)]
    front, back, half = (_at(knots, nz, 4) for knots in (front_k, back_k, half_k))
    return Marks(_at(mid_k, nz, 5), _at(spine_k, nz, 5), apex, base, b, brain, front, back, half, _at(cx_k, nz, 5))


def _abdomen(
    labels: Tissues, base: float, pelvis: tuple[Floats, np.random.Generator], curves: tuple[Knots, ...], spine: Knots
) -> None:
    b, rng = pelvis
    half, front, back, cx = curves
    organs = np.isin(labels, (SPLEEN, KIDNEY, LIVER, STOMACH))
    chest_half = float(np.median([h for _, h in half]))
    low = _extent(organs, 2)[0]
    for z in np.linspace(max(low + 3, b[2] + 25), base, 4):
        plane = organs[:, :, int(z)]
        if plane.sum() < 60:
            continue
        x, y = np.nonzero(plane)
        half.append((z, max((x.max() - x.min()) / 2 + 18 / STEP, 0.9 * chest_half)))
        cx.append((z, (x.min() + x.max()) / 2 if plane.sum() > 900 else b[0]))
        front.append((z, min(y.min() - 20 / STEP, b[1] - 45 / STEP)))
        back.append((z, max(y.max() + 28 / STEP, float(np.median([s for _, s in spine])) + 62 / STEP)))
    hip = rng.normal(168, 9) / STEP
    belly = rng.normal(-82, 12) / STEP
    for dz, grow in ((130, -14), (60, 0), (0, 6), (-40, 4)):
        half.append((b[2] + dz / STEP, hip + grow / STEP))
        cx.append((b[2] + dz / STEP, b[0]))
        front.append((b[2] + dz / STEP, b[1] + belly * (1.0 if dz > 20 else 0.85)))
        back.append((b[2] + dz / STEP, b[1] + rng.normal(122, 6) / STEP))


def _head(labels: Tissues, low: float, apex: float, brain: Floats, curves: tuple[Knots, ...]) -> None:
    half, front, back, cx = curves
    where = labels == BRAIN
    for z in np.linspace(low + 2, _extent(where, 2)[1], 6):
        x, y = np.nonzero(where[:, :, int(z)])
        if len(x) < 40:
            continue
        half.append((z, (x.max() - x.min()) / 2 + 13 / STEP))
        front.append((z, y.min() - 13 / STEP))
        back.append((z, y.max() + 13 / STEP))
        cx.append((z, (x.max() + x.min()) / 2))
    half += [(low - 6, 68 / STEP), (low - 24, 60 / STEP), (max(apex + 12, low - 40), 60 / STEP)]
    face = brain[1] - 105 / STEP
    front += [(low - 4, face), (low - 20, face + 10 / STEP), (max(apex + 10, low - 34), brain[1] - 65 / STEP)]
    back += [(low - 6, brain[1] + 62 / STEP), (low - 24, brain[1] + 62 / STEP)]
    cx += [(low - 10, brain[0]), (low - 26, brain[0])]


@dataclass
class Canvas:
    """The body in the making."""

    labels: Tissues
    out: Tissues
    marks: Marks
    rng: np.random.Generator

    def __post_init__(self) -> None:
        nx, ny, nz = self.labels.shape
        self.x, self.y, self.z = np.ogrid[:nx, :ny, :nz]

    def capsule(self, a: Point, b: Point, r0: float, tissue: int, *, r1: float | None = None, only: Mask | None = None) -> None:
        """A rod from a to b (voxels) with radii in mm."""
        r1 = r0 if r1 is None else r1
        p, q = np.array(a, float), np.array(b, float)
        reach = int(max(r0, r1) / STEP) + 2
        lo = np.maximum(np.floor(np.minimum(p, q)).astype(int) - reach, 0)
        hi = np.minimum(np.ceil(np.maximum(p, q)).astype(int) + reach + 1, self.out.shape)
        if np.any(hi <= lo):
            return
        box = tuple(slice(u, v) for u, v in zip(lo, hi, strict=True))
        grid = np.stack(np.meshgrid(*[np.arange(u, v) for u, v in zip(lo, hi, strict=True)], indexing="ij"), -1) - p
        along = q - p
        t = np.clip(grid @ along / max(along @ along, 1e-6), 0, 1)
        d = np.linalg.norm(grid - t[..., None] * along, axis=-1) * STEP
        hit = d <= r0 + (r1 - r0) * t
        if only is not None:
            hit &= only[box]
        self.out[box][hit] = tissue

    def bone(self, a: Point, b: Point, r0: float, r1: float | None = None) -> None:
        """A long bone: cortex outside, marrow inside."""
        r1 = r0 if r1 is None else r1
        self.capsule(a, b, r0, CORTEX if r0 > 9 else THIN_BONE, r1=r1)
        if min(r0, r1) > 9:
            self.capsule(a, b, r0 - 4.5, MARROW, r1=r1 - 4.5)


def lean_body(c: Canvas) -> Mask:
    """Trunk and head as superellipses, legs as two, and at least a shell round every organ."""
    m = c.marks
    cy = (m.front + m.back) / 2
    b = np.maximum((m.back - m.front) / 2, 3)
    n = 2.4
    rx = np.abs(c.x - m.cx[None, None, :]) / np.maximum(m.half, 3)[None, None, :]
    ry = np.abs(c.y - cy[None, None, :]) / b[None, None, :]
    lean = rx**n + ry**n <= 1
    legs = np.zeros_like(lean)
    for side in (1, -1):
        drop = np.maximum(m.bladder[2] - c.z, 0)
        ex = (c.x - (m.bladder[0] + side * (84 / STEP))) / (84 / STEP - 0.1 * drop)
        ey = (c.y - (m.bladder[1] + 22 / STEP)) / (92 / STEP - 0.12 * drop)
        legs |= ex**2 + ey**2 <= 1
    below = np.broadcast_to(c.z < m.bladder[2] - 60 / STEP, lean.shape)
    lean = np.where(below, legs, lean)
    organs = (c.labels > 0) & (c.labels != GLAND)
    return np.asarray(lean | (edt.edt(~organs) <= 2.6))


def cage_surface(c: Canvas, lean: Mask) -> tuple[Mask, npt.NDArray[np.float32]]:
    """Inside of the chest and abdominal wall, and the distance to it."""
    inner = edt.edt(np.pad(lean, ((0, 0), (0, 0), (1, 1)), mode="edge"))[:, :, 1:-1] * STEP
    wall = c.rng.uniform(14, 22)
    cavity = inner > wall
    front = c.y < c.marks.spine[None, None, :] - 6
    thin = inner > wall * c.rng.uniform(0.6, 0.9)
    cavity = np.where(front & (c.z < c.marks.base - 4), thin, cavity)
    organs = np.isin(c.labels, (LUNG, LIVER, SPLEEN, HEART, STOMACH, KIDNEY))
    cavity = cavity | (edt.edt(~organs) * STEP <= 3.5)
    cavity &= (c.z < c.marks.apex + 1) & (c.z > c.marks.bladder[2] - 16)
    above = (c.z - c.marks.bladder[2]) * STEP
    cavity &= (above > 140) | (np.abs(c.x - c.marks.bladder[0]) * STEP < 68 + 0.24 * np.maximum(above, 0))
    back = (c.y > c.marks.spine[None, None, :] + 2) & (np.abs(c.x - c.marks.mid[None, None, :]) < 15) & ~organs
    cavity &= ~back
    return cavity, edt.edt(~cavity) * STEP


def build(labels: Tissues, seed: int) -> Tissues:
    """Tissues (uint8) of a body from mid-thigh to the top of the head around the organs. Raises NoBodyError."""
    rng = np.random.default_rng(seed)
    if not (labels == BLADDER).any() or not (labels == LUNG).any():
        raise NoBodyError("no bladder or no lungs")
    low = int(np.nonzero(labels == BLADDER)[2].mean() - 180 / STEP)
    tops = np.nonzero(labels == BRAIN)[2] if (labels == BRAIN).sum() > 4000 else np.nonzero(labels == LUNG)[2] + int(90 / STEP)
    labels = labels[:, :, max(low, 0) : int(tops.max()) + 4]
    marks = landmarks(labels, rng)
    c = Canvas(labels, np.zeros_like(labels), marks, rng)
    lean = lean_body(c)
    from scripts.organ_training import skeleton_and_bowel as parts  # noqa: PLC0415  the two halves share this module's names

    outside = edt.edt(~lean)
    ring = np.ceil(outside).astype(np.uint8)
    c.out[:] = np.where(ring <= RINGS, ring, 0)
    c.out[lean] = MUSCLE
    cavity, distance = cage_surface(c, lean)
    c.out[cavity] = FAT
    parts.chest_contents(c, cavity)
    parts.bowel(c, cavity)
    parts.back_muscles(c)
    parts.cage(c, lean, distance)
    parts.shoulders(c, lean, distance)
    parts.pelvis(c)
    parts.spine(c)
    parts.vessels(c)
    parts.head(c, lean)
    organ = labels > 0
    c.out[organ] = labels[organ] + ORGAN
    return c.out
