"""A lesion as the detector draws it, before it is measured."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_pipeline.imaging.components import Voxels
from lesion_pipeline.plugins.threshold_detector.split import Part


@dataclass(frozen=True, slots=True, eq=False)
class DrawnLesion:
    """voxels (n, 3) on the PET; threshold: what its hottest part was cut at; below: SUV of what may be called background."""

    voxels: Voxels
    part: Part
    threshold: float
    below: float
    uptake: int
