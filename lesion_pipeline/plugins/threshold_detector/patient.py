"""What holds for all uptakes of one study: the thresholds of every tissue and the limits of every organ's ordinary uptake."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask
from lesion_pipeline.imaging.places import Codes, Places
from lesion_pipeline.imaging.reference_regions import References, Window, structure_box
from lesion_pipeline.plugins.threshold_detector.faint import FaintBone
from lesion_pipeline.plugins.threshold_detector.options import RegionRule, ThresholdOptions
from lesion_pipeline.plugins.threshold_detector.split import PeakPlace
from lesion_pipeline.plugins.threshold_detector.thresholds import Thresholds, above_blood, thresholds


class Patient:
    """One study's limits, by code of its Places.

    limit: SUV above which a voxel of that tissue can start a candidate. ordinary: SUV up to which an organ's uptake is its own;
    0 where the organ has none, infinite where its uptake is uneven by nature. usual: median of an even organ, else 0.
    between_organs: voxels (ni, nj, nk) of the mediastinum that can start a candidate by its own threshold.
    """

    def __init__(self, pet: Volume, places: Places, references: References, options: ThresholdOptions) -> None:
        self.pet = pet
        self.places = places
        self.options = options
        size = len(places.structures)
        bones = places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)
        self.thresholds: Thresholds = thresholds(references, options.soft_tissue, options.bone, bool(bones))
        self.is_bone = np.zeros(size, dtype=bool)
        self.is_bone[sorted(bones)] = True
        self.limit = np.full(size, self.thresholds.soft, dtype=np.float32)
        self.limit[self.is_bone] = self.thresholds.bone
        self.faint = FaintBone(pet, places, references.marrow, options.faint_bone, above_blood(references, options.bone))
        self.lungs = sorted(places.codes(*options.lung.keys))
        for code in self.lungs:
            usual = references.organs.get(self._key(code))
            lung = max(options.lung.floor, options.lung.factor * usual.median) if usual else self.thresholds.soft
            self.limit[code] = min(lung, self.thresholds.soft)
        self.between_organs = self._between_organs(options.mediastinum)
        self.ordinary = np.zeros(size, dtype=np.float32)
        self.usual = np.zeros(size, dtype=np.float32)
        self.ordinary[sorted(places.codes(*options.soft_masks.uneven))] = np.inf
        self.divided = places.codes(*options.soft_masks.divided)
        for code in places.codes(*options.soft_masks.hollow):
            usual = references.organs.get(self._key(code))
            if usual is not None:
                self.ordinary[code] = max(self.thresholds.soft, options.soft_masks.hollow_factor * usual.upper)
                self.usual[code] = usual.median
        for code in places.codes(*options.soft_masks.even):
            usual = references.organs.get(self._key(code))
            highest = usual.median + options.soft_masks.mad_factor * usual.mad if usual else np.inf
            self.ordinary[code] = max(self.thresholds.soft, highest)
            self.limit[code] = self.ordinary[code]
            self.usual[code] = usual.median if usual else 0.0

    def _key(self, code: int) -> str:
        structure = self.places.structures[code]
        return structure.key if structure is not None else ""

    @property
    def lowest(self) -> float:
        """SUV below which nothing belongs to a candidate, lung and mediastinum aside."""
        return self.thresholds.lowest

    def candidate_voxels(self) -> Mask:
        """Voxels of the PET that may belong to a candidate: above the lowest threshold, in lung and mediastinum above their
        own, and what is faint but large in bone.
        """
        mask = np.asarray(self.pet.values > self.lowest)
        mask |= self.faint.mask
        mask |= self.between_organs
        for code in self.lungs:
            limit = float(self.limit[code])
            window = structure_box(self.pet, self.places, self._key(code)) if limit < self.lowest else None
            if window is not None:
                values = self.pet.values[window]
                at = np.argwhere((values > limit) & (values <= self.lowest)) + [w.start for w in window]
                lung = at[self.places.solid(self.pet.grid.world(at)) == code] if len(at) else at
                mask[tuple(lung.T)] = True
        return mask

    def seeds(self, window: Window, codes: Codes, mask: Mask) -> Mask:
        """Voxels of a window that can start a candidate: above the limit of their tissue, or of a large faint focus in bone.

        Bone reaches one voxel beyond itself.
        """
        limit = self.limit[codes]
        near_bone = ndimage.binary_dilation(self.is_bone[codes] & mask, np.ones((3, 3, 3))) & (self.ordinary[codes] == 0)
        limit = np.where(near_bone, np.minimum(limit, self.thresholds.bone), limit)
        return np.asarray(mask & ((self.pet.values[window] > limit) | self.faint.mask[window] | self.between_organs[window]))

    def _between_organs(self, rule: RegionRule) -> Mask:
        """Voxels of the PET above the region's own threshold where a map draws the region and no organ, vessel or bone."""
        out = np.zeros(self.pet.grid.shape, dtype=bool)
        window = structure_box(self.pet, self.places, rule.key)
        if window is None:
            return out
        at = np.argwhere(self.pet.values[window] > min(rule.floor, self.thresholds.soft)) + [w.start for w in window]
        points = self.pet.grid.world(at)
        inside = self.places.region(rule.key, points) if len(at) else None
        if inside is not None:
            out[tuple(at[inside & (self.places.solid(points) == 0)].T)] = True
        return out

    def cut(self, code: int, top: float, masked: bool) -> float:
        """SUV at which the extent of a lesion with this highest voxel ends, never below the candidate threshold.

        A focus in an organ of even uptake is measured from the organ's own level, or it would take the organ along.
        """
        fraction = self.options.delineation.fraction
        own = 0.0 if masked else float(self.usual[code])
        lowest = min(self.lowest, float(self.limit[code]))
        if self.is_bone[code] and self.faint.limit is not None:
            lowest = min(lowest, self.faint.limit)
        if top <= lowest:  # it began by the mediastinum's own threshold
            lowest = min(lowest, self.options.mediastinum.floor)
        return max(own + fraction * (top - own), lowest)

    def background_limit(self, code: int) -> float:
        """SUV from which surroundings are themselves suspicious: the organ's own limit where that is higher."""
        highest = float(self.ordinary[code])
        return max(self.lowest, highest) if np.isfinite(highest) else self.lowest

    def place(self, code: int, height: float) -> PeakPlace:
        """Where a peak of this SUV lies, and whether it is an organ's ordinary uptake."""
        structure = self.places.structures[code]
        masked = structure.key if structure is not None and 0 < height <= float(self.ordinary[code]) else None
        return PeakPlace(structure, masked, code in self.divided, 0.0 if masked else float(self.usual[code]))
