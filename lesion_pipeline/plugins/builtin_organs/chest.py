"""Lungs and airway: gas inside the body that behaves like a lung. Gas in the bowel does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, distance_to, grown, shrunk, window_box

_GAS_HU = -400.0
#: Inside a lung, away from its edge: vessels and blood keep it above pure air. Bowel gas and the airway are pure.
_LUNG_HU = (-960.0, -450.0)
SMALLEST_LUNG_ML = 60.0
#: A lung that the end of the field of view cuts may show no more than its tip; the network must bear it out (``fusion``).
_SMALLEST_TIP_ML = 10.0
_LARGE_LUNG_ML = 900.0
_AIRWAY_AREA_MM2 = (40.0, 900.0)


@dataclass(frozen=True, slots=True, eq=False)
class Chest:
    """Masks on the lattice; all empty where no lung is seen. mid: x index of the midline seen from the lungs, or None."""

    left: Mask
    right: Mask
    airway: Mask
    mid: float | None

    @property
    def lungs(self) -> Mask:
        return np.asarray(self.left | self.right)


def find_chest(hu: Floats, body: Mask, step_mm: float) -> Chest:
    """Lungs and airway. hu, body: (ni, nj, nk) on the lattice (axis 0 to the left, 1 to the back, 2 to the head)."""
    nothing = np.zeros(hu.shape, dtype=bool)
    gas = body & (hu < _GAS_HU)
    airway = _airway(hu, gas, body, step_mm)
    lung = _lung_components(hu, gas & ~airway, body, step_mm)
    if not lung.any():
        return Chest(nothing, nothing, nothing, None)
    left, right, mid = _sides(lung, body, step_mm)
    if airway.any() and not (grown(lung, 30.0, step_mm) & airway).any():
        airway = nothing
    closed = [_closed(side, step_mm) & body for side in (left, right)]
    both = closed[0] & closed[1]
    return Chest(closed[0] & ~both & ~airway, closed[1] & ~both & ~airway, airway, mid)


def _closed(mask: Mask, step_mm: float) -> Mask:
    """Vessels and small nodules inside the lung belong to it (closing by 6 mm)."""
    if not mask.any():
        return mask
    return np.asarray(mask | shrunk(grown(mask, 6.0, step_mm), 6.0, step_mm))


def _lung_components(hu: Floats, gas: Mask, body: Mask, step_mm: float) -> Mask:
    voxel_ml = step_mm**3 / 1000
    labels, count = ndimage.label(gas)
    out = np.zeros(gas.shape, dtype=bool)
    if count == 0:
        return out
    size = np.bincount(labels.reshape(-1), minlength=count + 1) * voxel_ml
    core = shrunk(gas, 1.5 * step_mm, step_mm)
    cut = np.zeros(count + 1, dtype=bool)
    cut[np.unique(labels[:, :, [0, -1]])] = True
    for value in np.flatnonzero(size >= np.where(cut, _SMALLEST_TIP_ML, SMALLEST_LUNG_ML)):
        if value == 0:
            continue
        part = labels == value
        deep = hu[part & core]
        if len(deep) < 20:
            continue
        middle, high = float(np.median(deep)), float(np.quantile(deep, 0.9))
        parenchyma = _LUNG_HU[0] < middle < _LUNG_HU[1] and high - float(np.quantile(deep, 0.1)) > 15
        emphysema = size[value] > _LARGE_LUNG_ML and float((deep > -980).mean()) > 0.3
        if (parenchyma or emphysema) and _in_chest(part, body):
            out |= part
    return out


def _in_chest(part: Mask, body: Mask) -> bool:
    """A lung reaches the back half of the body in at least some slices; gas under the front wall does not."""
    where = np.argwhere(part)
    low, high = where[:, 2].min(), where[:, 2].max()
    section = body[:, :, low : high + 1]
    rows = np.flatnonzero(section.any(axis=(0, 2)))
    depth = (np.quantile(where[:, 1], 0.95) - rows[0]) / max(rows[-1] - rows[0], 1)
    return bool(depth > 0.55)


def _sides(lung: Mask, body: Mask, step_mm: float) -> tuple[Mask, Mask, float]:
    """Left and right lung: components by side; one that holds both is cut where opening parts it."""
    columns = np.flatnonzero(body.any(axis=(1, 2)))
    span = lung.any(axis=(0, 1))
    weights = body[:, :, span].sum(axis=(1, 2))
    mid = float((np.arange(len(weights)) * weights).sum() / max(weights.sum(), 1)) if weights.any() else float(columns.mean())
    labels, _ = ndimage.label(lung)
    left, right = np.zeros(lung.shape, dtype=bool), np.zeros(lung.shape, dtype=bool)
    sizes = np.bincount(labels.reshape(-1))
    for value in range(1, len(sizes)):
        part = labels == value
        profile = part.sum(axis=(1, 2))
        share_left = float(profile[round(mid) :].sum() / max(profile.sum(), 1))
        if 0.15 < share_left < 0.85 and sizes[value] * step_mm**3 / 1000 > _LARGE_LUNG_ML:
            a, b = _parted(part, mid, step_mm)
            left, right = left | a, right | b
        elif share_left >= 0.5:
            left |= part
        else:
            right |= part
    return left, right, _midline(left, right, mid)


def _midline(left: Mask, right: Mask, fallback: float) -> float:
    """Half way between the medial borders of the lungs (robust: fifth percentiles)."""
    if not (left.any() and right.any()):
        return fallback
    medial_left = float(np.quantile(np.nonzero(left)[0], 0.05))
    medial_right = float(np.quantile(np.nonzero(right)[0], 0.95))
    return (medial_left + medial_right) / 2


def _parted(part: Mask, mid: float, step_mm: float) -> tuple[Mask, Mask]:
    """Two lungs that touch: eroded until they part, each voxel then goes to the nearer seed."""
    box = window_box(part, 1)
    if box is None:
        return part, part
    inside = distance_to(~part[box], step_mm)
    for radius in (3.0, 6.0, 9.0, 12.0, 15.0):
        labels, count = ndimage.label(inside > radius)
        if count < 2:
            continue
        sizes = np.bincount(labels.reshape(-1))
        sizes[0] = 0
        first, second = np.argsort(sizes)[::-1][:2]
        if sizes[second] < 0.15 * sizes[first]:
            continue
        seeds = (labels == first, labels == second)
        nearer_first = distance_to(seeds[0], step_mm) <= distance_to(seeds[1], step_mm)
        a, b = np.zeros(part.shape, dtype=bool), np.zeros(part.shape, dtype=bool)
        a[box], b[box] = part[box] & nearer_first, part[box] & ~nearer_first
        first_is_left = np.nonzero(seeds[0])[0].mean() > np.nonzero(seeds[1])[0].mean()
        return (a, b) if first_is_left else (b, a)
    side = np.arange(part.shape[0])[:, None, None] >= mid
    return part & side, part & ~side


def _airway(hu: Floats, gas: Mask, body: Mask, step_mm: float) -> Mask:
    """The tube of pure air above and between the lungs, followed slice by slice from the neck down.

    A section of the trachea is a round blob of 0.4..9 cm2 near the middle of the body. The longest chain of overlapping
    sections wins; it must be at least 25 mm long.
    """
    out = np.zeros(gas.shape, dtype=bool)
    chain: list[tuple[int, Mask]] = []
    best: list[tuple[int, Mask]] = []
    for k in range(gas.shape[2] - 1, -1, -1):
        section = _tube_section(hu[:, :, k], gas[:, :, k], body[:, :, k], chain[-1][1] if chain else None, step_mm)
        if section is not None:
            chain.append((k, section))
            continue
        best = max(best, chain, key=len)
        chain = []
    best = max(best, chain, key=len)
    if len(best) * step_mm < 25.0:
        return out
    for k, section in best:
        out[:, :, k] = section
    wall = grown(out, 1.5 * step_mm, step_mm)
    wall[:, :, : best[-1][0]] = False
    return np.asarray((out | (wall & gas)) & body)


def _tube_section(hu: Floats, gas: Mask, body: Mask, previous: Mask | None, step_mm: float) -> Mask | None:
    labels, count = ndimage.label(gas)
    if count == 0:
        return None
    columns = np.flatnonzero(body.any(axis=1))
    middle, reach = (columns[0] + columns[-1]) / 2, 45.0 / step_mm
    best, score = None, 0.0
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[box] == value
        area = float(part.sum()) * step_mm**2
        if not _AIRWAY_AREA_MM2[0] <= area <= _AIRWAY_AREA_MM2[1] or float(hu[box][part].min()) > -750:
            continue
        x = (box[0].start + box[0].stop - 1) / 2
        sides = (box[0].stop - box[0].start, box[1].stop - box[1].start)
        if abs(x - middle) > reach or max(sides) > 3.2 * min(sides) + 1:
            continue
        overlap = 1.0 if previous is None else float((previous[box] & part).sum() / part.sum())
        if previous is not None and overlap == 0.0:
            continue
        if overlap * area > score:
            best, score = labels == value, overlap * area
    return best
