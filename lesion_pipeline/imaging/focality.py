"""How sharp a focus is: its uptake ends within millimetres, as a lesion's does, or fades into its surroundings like marrow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Voxels, label

_ENOUGH = 20  # voxels of a ring below which it says nothing


class FocalityRules(BaseModel):
    """The ring round the hottest voxel that is called surroundings, and how far its extent is followed; mm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ring_low_mm: float = Field(gt=0)
    ring_high_mm: float = Field(gt=0)
    reach_mm: float = Field(gt=0)
    smallest_mm: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Focality:
    """contrast: highest value over the median of the ring; half_ml: what joins it above half its height over the ring.

    half_mm: radius of a ball of that volume, at least ``smallest_mm`` (no scanner shows less).
    """

    contrast: float
    half_ml: float
    half_mm: float

    @property
    def per_mm(self) -> float:
        """Logarithm of the contrast, lost on each mm of the half radius: the steepness of the edge."""
        return float(np.log(max(self.contrast, 1.0))) / self.half_mm


def focality(volume: Volume, voxels: Voxels, rules: FocalityRules) -> Focality | None:
    """Measure round the hottest of voxels (n, 3). Unlike a delineated volume it does not depend on a detector's threshold.

    None where the volume holds too little of the ring, or nothing but emptiness in it.
    """
    grid = volume.grid
    spacing = np.array(grid.spacing_mm)
    top = voxels[int(np.argmax(volume.values[tuple(voxels.T)]))].astype(int)
    reach = np.ceil(max(rules.reach_mm, rules.ring_high_mm) / spacing).astype(int)
    low, high = np.maximum(top - reach, 0), np.minimum(top + reach + 1, grid.shape)
    values = volume.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(low - top, high - top, strict=True))]
    away = np.sqrt(sum((axis * step) ** 2 for axis, step in zip(axes, spacing, strict=True)))
    ring = values[(away > rules.ring_low_mm) & (away <= rules.ring_high_mm)]
    ring = ring[ring > 0]
    if len(ring) < _ENOUGH:
        return None
    highest, around = float(volume.values[tuple(top)]), float(np.median(ring))
    labels, _ = label((values > (highest + around) / 2) & (away <= rules.reach_mm), 6)
    at = labels[tuple(top - low)]
    ml = float((labels == at).sum()) * grid.voxel_ml if at else grid.voxel_ml
    radius = (3.0 * 1000.0 * ml / (4.0 * np.pi)) ** (1.0 / 3.0)
    return Focality(highest / around, ml, max(float(radius), rules.smallest_mm))
