"""Large faint lesions of bone: no brighter than single voxels of uneven marrow, yet above it over their whole extent.

Averaging over some millimetres takes the unevenness of single voxels away and leaves a lesion of several millilitres as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.reference_regions import Marrow, Window, structure_box
from lesion_pipeline.plugins.threshold_detector.options import FaintBoneRule

Image = npt.NDArray[np.float32]


class FaintBone:
    """Voxels of bone that exceed the patient's marrow once both are smoothed.

    least: SUV that they exceed in any case. limit: the SUV that the plain and the smoothed value of such a voxel exceed; None
    where the marrow is not known, and then ``mask``, an array of the PET's shape, holds nothing.
    """

    def __init__(self, pet: Volume, places: Places, marrow: Marrow | None, rule: FaintBoneRule, least: float) -> None:
        self.limit: float | None = None
        self.mask: Mask = np.zeros(pet.grid.shape, dtype=bool)
        uneven = _unevenness(pet, places, marrow, rule) if marrow is not None else None
        if marrow is None or uneven is None:
            return
        own = max(rule.marrow_factor * marrow.median, marrow.median + rule.marrow_mad_factor * uneven)
        self.limit = max(rule.floor, own, least)
        for code in sorted(places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)):
            window = _window(pet, places, code)
            if window is None or not (pet.values[window] > self.limit).any():
                continue
            above = (pet.values[window] > self.limit) & (_smoothed(pet, window, rule.smoothing_mm) > self.limit)
            at = np.argwhere(above) + [w.start for w in window]
            if len(at):
                self.mask[tuple(at[places.solid(pet.grid.world(at)) == code].T)] = True


def _unevenness(pet: Volume, places: Places, marrow: Marrow, rule: FaintBoneRule) -> float | None:
    """Typical median absolute deviation of the smoothed values inside one healthy vertebral body; None without any."""
    said = []
    for code in sorted(places.codes_of_kind(StructureKind.VERTEBRA)):
        window = _window(pet, places, code)
        structure = places.structures[code]
        if window is None or structure is None or structure.key.endswith("_posterior"):
            continue
        smoothed = _smoothed(pet, window, rule.smoothing_mm)
        at = np.argwhere(smoothed > 0)
        at = at[places.solid(pet.grid.world(at + [w.start for w in window])) == code]
        values = smoothed[tuple(at.T)]
        if len(values) and float(np.median(values)) <= rule.diseased_ratio * marrow.median:
            said.append(float(np.median(np.abs(values - np.median(values)))))
    return float(np.median(said)) if said else None


def _window(pet: Volume, places: Places, code: int) -> Window | None:
    structure = places.structures[code]
    return structure_box(pet, places, structure.key) if structure is not None else None


def _smoothed(pet: Volume, window: Window, sigma_mm: float) -> Image:
    """The PET of a window after a Gaussian, with the true surroundings beyond the window's edge."""
    sigma = [sigma_mm / s for s in pet.grid.spacing_mm]
    reach = [int(np.ceil(3 * s)) for s in sigma]
    wide = tuple(slice(max(0, w.start - r), w.stop + r) for w, r in zip(window, reach, strict=True))
    inner = tuple(slice(w.start - v.start, w.stop - v.start) for w, v in zip(window, wide, strict=True))
    return np.asarray(ndimage.gaussian_filter(pet.values[wide], sigma, truncate=3.0)[inner], dtype=np.float32)
