"""The plug-in: candidate voxels above the patient's own thresholds, one candidate for every lesion the peaks tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

import lesion_pipeline
from lesion_pipeline.domain.anatomy import Anatomy, StructureKind
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Volume
from lesion_pipeline.imaging.components import Mask, Voxels, box, label, mask_of, voxel_lists
from lesion_pipeline.imaging.measures import measure
from lesion_pipeline.imaging.places import Codes, Places
from lesion_pipeline.imaging.reference_regions import References, measure_references
from lesion_pipeline.imaging.surroundings import surroundings
from lesion_pipeline.imaging.watershed import Relief, relief
from lesion_pipeline.plugins.threshold_detector.options import ThresholdOptions
from lesion_pipeline.plugins.threshold_detector.split import Limits, Part, PeakPlace, split
from lesion_pipeline.plugins.threshold_detector.thresholds import Thresholds, thresholds

Image = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Uptake:
    """One connected uptake in its box: everything that splitting and drawing need."""

    window: tuple[slice, slice, slice]
    values: Image
    mask: Mask
    codes: Codes
    seeds: Mask

    @property
    def origin(self) -> npt.NDArray[np.int32]:
        return np.array([s.start for s in self.window], dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _Lesion:
    voxels: Voxels
    part: Part
    threshold: float
    below: float
    parent: int


class _Patient:
    """What stays the same for all uptakes of one study."""

    def __init__(self, pet: Volume, places: Places, references: References, options: ThresholdOptions) -> None:
        self.pet = pet
        self.places = places
        self.references = references
        self.options = options
        size = len(places.structures)
        bones = places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)
        self.is_bone = np.zeros(size, dtype=bool)
        self.is_bone[sorted(bones)] = True
        self.limits: Thresholds = thresholds(references, options.soft_tissue, options.bone, bool(bones))
        self.organ_limit = np.zeros(size, dtype=np.float32)
        masks = options.soft_masks
        for code in places.codes(*masks.even, *masks.uneven):
            structure = places.structures[code]
            even = structure is not None and code in places.codes(*masks.even)
            usual = references.organs.get(structure.key) if structure is not None and even else None
            self.organ_limit[code] = (
                max(self.limits.soft, usual.median + options.soft_masks.mad_factor * usual.mad) if usual else np.inf
            )

    def seeds(self, values: Image, codes: Codes, mask: Mask) -> Mask:
        """Voxels that can start a candidate: above the threshold of their tissue. Bone reaches one voxel beyond itself."""
        near_bone = ndimage.binary_dilation(self.is_bone[codes] & mask, np.ones((3, 3, 3)))
        limit = np.where(near_bone & (self.organ_limit[codes] == 0), self.limits.bone, self.limits.soft)
        return np.asarray(mask & (values > limit))

    def background_limit(self, code: int) -> float:
        """SUV from which surroundings are themselves suspicious: the organ's own limit where that is higher."""
        limit = float(self.organ_limit[code])
        return max(self.limits.lowest, limit) if np.isfinite(limit) else self.limits.lowest

    def place(self, code: int, height: float) -> PeakPlace:
        structure = self.places.structures[code]
        limit = float(self.organ_limit[code])
        return PeakPlace(structure, structure.key if structure is not None and 0 < height <= limit else None)


class ThresholdDetector:
    """Entry point ``tracer-threshold`` of lesion_pipeline.lesion_detectors."""

    name = "tracer-threshold"
    version = lesion_pipeline.__version__
    needs = frozenset({Modality.PT})

    def __init__(self, options: ThresholdOptions) -> None:
        self.options = options

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        """Candidates on the PET's own grid, highest SUV first. Raises InputError (NO_PET)."""
        pet = study.need(Modality.PT)
        places = Places(anatomy, study.frames, pet.grid.frame)
        references = measure_references(pet, places, self.options.references)
        patient = _Patient(pet, places, references, self.options)
        labels, _ = label(pet.values > patient.limits.lowest, self.options.connectivity)
        lesions: list[_Lesion] = []
        for number, voxels in enumerate(voxel_lists(labels), start=1):
            if len(voxels) >= self.options.delineation.min_voxels:
                lesions.extend(self._lesions(patient, voxels, number))
        return self._candidates(pet, lesions)

    def _lesions(self, patient: _Patient, voxels: Voxels, number: int) -> list[_Lesion]:
        """The lesions of one connected uptake, none when nothing in it passes the threshold of its tissue."""
        pet = patient.pet
        if float(pet.values[tuple(voxels.T)].max()) <= patient.limits.lowest:
            return []
        window = box(voxels, pet.grid.shape, margin=1)
        values, mask = pet.values[window], mask_of(voxels, window)
        codes = np.zeros(mask.shape, dtype=np.int16)
        if patient.places.known:
            codes[mask] = patient.places.solid(pet.grid.world(np.argwhere(mask) + [s.start for s in window]))
        seeds = patient.seeds(values, codes, mask)
        if not seeds.any():
            return []
        uptake = _Uptake(window, values, mask, codes, seeds)
        smoothed = self._smoothed(pet, window)
        found = relief(smoothed, mask)
        where = {p.label: patient.place(int(codes[p.index]), float(values[p.index])) for p in found.peaks}
        parts = split(
            found,
            smoothed,
            where,
            Limits(self.options.peaks, pet.grid.spacing_mm, patient.limits.lowest, self.options.delineation.fraction),
        )
        drawn = (self._draw(patient, uptake, found, part) for part in parts)
        return [
            _Lesion(v, part, level, patient.background_limit(int(codes[part.peak.index])), number)
            for v, part, level in filter(None, drawn)
        ]

    def _smoothed(self, pet: Volume, window: tuple[slice, slice, slice]) -> Image:
        """PET of the window, smoothed by half the scanner's FWHM, with the true surroundings beyond the window's edge."""
        sigma = [0.5 * self.options.peaks.fwhm_mm / s for s in pet.grid.spacing_mm]
        reach = [int(np.ceil(3 * s)) for s in sigma]
        wide = tuple(
            slice(max(0, w.start - r), min(n, w.stop + r)) for w, r, n in zip(window, reach, pet.grid.shape, strict=True)
        )
        inner = tuple(slice(w.start - v.start, w.stop - v.start) for w, v in zip(window, wide, strict=True))
        return np.asarray(ndimage.gaussian_filter(pet.values[wide], sigma, truncate=3.0)[inner], dtype=np.float32)

    def _draw(self, patient: _Patient, uptake: _Uptake, found: Relief, part: Part) -> tuple[Voxels, Part, float] | None:
        """Extent of one part: around each of its peaks the voxels above a fraction of it; None if nothing in it is a seed."""
        settings = self.options.delineation
        region = np.zeros(uptake.mask.shape, dtype=bool)
        highest, level_of_highest = 0.0, patient.limits.lowest
        started = False
        for basins in part.basins:
            basin = np.isin(found.basins, basins)
            top = float(uptake.values[basin].max())
            level = max(settings.fraction * top, patient.limits.lowest)
            region |= basin & (uptake.values >= level)
            started |= bool((basin & uptake.seeds).any())
            if top > highest:
                highest, level_of_highest = top, level
        if not started:
            return None
        labels, count = label(region, self.options.connectivity)
        if count > 1:
            peak = np.unravel_index(int(np.argmax(np.where(region, uptake.values, -np.inf))), region.shape)
            sizes = np.bincount(labels.reshape(-1))
            sizes[0] = 0
            keep = sizes >= settings.min_voxels
            keep[labels[peak]] = True
            region = keep[labels]
        voxels = np.argwhere(region).astype(np.int32) + uptake.origin
        return (voxels, part, level_of_highest) if len(voxels) >= settings.min_voxels else None

    def _candidates(self, pet: Volume, lesions: list[_Lesion]) -> tuple[Candidate, ...]:
        siblings: dict[int, int] = {}
        for lesion in lesions:
            siblings[lesion.parent] = siblings.get(lesion.parent, 0) + 1
        noise = self.options.noise
        measured = []
        for lesion in lesions:
            around = surroundings(pet, lesion.voxels, noise.shell, lesion.below)
            contrast = around.contrast_to_noise if around else None
            if contrast is not None and contrast < noise.min_contrast_to_noise and lesion.part.masked is None:
                continue
            measures = replace(
                measure(pet, lesion.voxels, lesion.threshold),
                background=around.median if around else None,
                contrast_to_noise=contrast,
            )
            measured.append((lesion, measures))
        measured.sort(key=lambda item: (-(item[1].suv_max or 0.0), tuple(item[0].voxels[0])))
        return tuple(
            Candidate(
                id=f"C{rank:03d}",
                voxels=lesion.voxels,
                grid=pet.grid,
                modality=Modality.PT,
                detector=self.name,
                measures=measures,
                split_probability=lesion.part.split_probability,
                own_probability=lesion.part.own_probability,
                parent=f"U{lesion.parent:03d}" if siblings[lesion.parent] > 1 else None,
            )
            for rank, (lesion, measures) in enumerate(measured, start=1)
        )


def factory(options: Mapping[str, object]) -> ThresholdDetector:
    """Built from the preset's table [plugins.tracer_threshold]."""
    return ThresholdDetector(ThresholdOptions.model_validate(dict(options)))
