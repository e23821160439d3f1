"""What lies around a lesion: the uptake of its neighbourhood, how much that varies, and how far the lesion stands out of it."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Voxels, box, mask_of

_ENOUGH = 8  # voxels of a shell below which it says nothing


class ShellRules(BaseModel):
    """smoothing_mm: sigma of the Gaussian that noise is judged after; the shell reaches from inner_mm to outer_mm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    smoothing_mm: float = Field(gt=0)
    inner_mm: float = Field(ge=0)
    outer_mm: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """median and robust standard deviation (1.4826 * MAD) of the smoothed shell; peak: highest smoothed value inside."""

    median: float
    sd: float
    peak: float

    @property
    def contrast_to_noise(self) -> float:
        """Standard deviations that the smoothed peak lies above the median, at most 1000 (a place without noise)."""
        if self.peak <= self.median:
            return 0.0
        return min(1000.0, (self.peak - self.median) / max(self.sd, 1e-6))


def surroundings(volume: Volume, voxels: Voxels, rules: ShellRules, below: float) -> Surroundings | None:
    """Measure the shell around voxels (n, 3). Values from ``below`` on are other hot places, no background.

    Voxels without any signal (outside the patient) are left out while others remain. None when too few voxels are left.
    """
    grid = volume.grid
    window = box(voxels, grid.shape, int(np.ceil((rules.outer_mm + 3 * rules.smoothing_mm) / min(grid.spacing_mm))))
    inside = mask_of(voxels, window)
    sigma = [rules.smoothing_mm / s for s in grid.spacing_mm]
    smooth = ndimage.gaussian_filter(volume.values[window], sigma, truncate=3.0)
    distance = edt.edt(~inside, anisotropy=grid.spacing_mm, parallel=1)
    around = smooth[(distance > rules.inner_mm) & (distance <= rules.outer_mm) & (volume.values[window] < below)]
    filled = around[around > 0]
    around = filled if len(filled) >= _ENOUGH else around
    if len(around) < _ENOUGH:
        return None
    median = float(np.median(around))
    return Surroundings(median, 1.4826 * float(np.median(np.abs(around - median))), float(smooth[inside].max()))
