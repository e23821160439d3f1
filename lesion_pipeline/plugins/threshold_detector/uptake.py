"""One connected uptake into drawn lesions. Candidate voxels say that there is something; each lesion's extent is its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import Mask, Voxels, box, label, mask_of
from lesion_pipeline.imaging.places import Codes
from lesion_pipeline.imaging.watershed import Relief, relief
from lesion_pipeline.plugins.threshold_detector.drawn import DrawnLesion
from lesion_pipeline.plugins.threshold_detector.options import ThresholdOptions
from lesion_pipeline.plugins.threshold_detector.patient import Patient
from lesion_pipeline.plugins.threshold_detector.shoulders import shoulders
from lesion_pipeline.plugins.threshold_detector.split import Limits, Part, split

Image = npt.NDArray[np.float32]
Window = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class _Uptake:
    """Candidate voxels of one connected uptake, all arrays (n,) or (n, 3) in the same order; basin: label of each voxel."""

    voxels: Voxels
    values: Image
    seeds: npt.NDArray[np.bool_]
    codes: Codes
    basin: npt.NDArray[np.int32]


def lesions_of(patient: Patient, voxels: Voxels, number: int) -> list[DrawnLesion]:
    """The lesions of one connected uptake, none when nothing in it passes the threshold of its tissue."""
    pet, options = patient.pet, patient.options
    window = box(voxels, pet.grid.shape, margin=1)
    values, mask = pet.values[window], mask_of(voxels, window)
    codes = np.zeros(mask.shape, dtype=np.int16)
    origin = np.array([s.start for s in window], dtype=np.int32)
    inside = np.argwhere(mask).astype(np.int32) + origin
    if patient.places.known:
        codes[mask] = patient.places.solid(pet.grid.world(inside))
    seeds = patient.seeds(window, codes, mask)
    if not seeds.any() and not (patient.ordinary[codes[mask]] > 0).any():
        return []
    smoothed = _smoothed(pet, window, options.peaks.fwhm_mm)
    if options.peaks.bone_fwhm_mm != options.peaks.fwhm_mm:
        in_bone = patient.is_bone[codes] & mask
        smoothed = np.where(in_bone, _smoothed(pet, window, options.peaks.bone_fwhm_mm), smoothed)
    found = relief(smoothed, mask)
    where = {p.label: patient.place(int(codes[p.index]), float(values[p.index])) for p in found.peaks}
    cut = {p.label: patient.cut(int(codes[p.index]), p.height, where[p.label].masked is not None) for p in found.peaks}
    parts = split(found, smoothed, where, Limits(options.peaks, pet.grid.spacing_mm, cut))
    uptake = _Uptake(inside, values[mask], seeds[mask], codes[mask], found.basins[mask])
    drawn = []
    for part, members in zip(parts, _members(uptake, found, parts), strict=True):
        code = int(codes[part.peak.index])
        shape = _extent(uptake, members, part, code, patient)
        if shape is None:
            continue
        region, level, started = shape
        if not started and (part.masked is None or len(region) * pet.grid.voxel_ml < options.soft_masks.ordinary_ml):
            continue
        drawn.append(DrawnLesion(region, part, level, patient.background_limit(code), number))
    return drawn + shoulders(patient, uptake.voxels, uptake.values, uptake.codes, drawn)


def _smoothed(pet: Volume, window: Window, fwhm_mm: float) -> Image:
    """PET of the window, smoothed by half the scanner's FWHM, with the true surroundings beyond the window's edge."""
    sigma = [0.5 * fwhm_mm / s for s in pet.grid.spacing_mm]
    reach = [int(np.ceil(3 * s)) for s in sigma]
    wide = tuple(slice(max(0, w.start - r), min(n, w.stop + r)) for w, r, n in zip(window, reach, pet.grid.shape, strict=True))
    inner = tuple(slice(w.start - v.start, w.stop - v.start) for w, v in zip(window, wide, strict=True))
    return np.asarray(ndimage.gaussian_filter(pet.values[wide], sigma, truncate=3.0)[inner], dtype=np.float32)


def _members(uptake: _Uptake, found: Relief, parts: list[Part]) -> list[npt.NDArray[np.int64]]:
    """For each part, the positions of its voxels in the uptake's arrays."""
    of_basin = np.zeros(len(found.peaks) + 1, dtype=np.int64)
    for n, part in enumerate(parts):
        of_basin[[b for basins in part.basins for b in basins]] = n
    owner = of_basin[uptake.basin]
    order = np.argsort(owner, kind="stable")
    ends = np.cumsum(np.bincount(owner, minlength=len(parts)))
    return np.split(order, ends[:-1])


def _extent(
    uptake: _Uptake, members: npt.NDArray[np.int64], part: Part, code: int, patient: Patient
) -> tuple[Voxels, float, bool] | None:
    """(voxels, SUV the hottest part was cut at, does it hold a seed): round each peak the voxels above a fraction of it."""
    settings = patient.options.delineation
    basin = uptake.basin[members]
    keep = np.zeros(len(members), dtype=bool)
    highest, level_of_highest = 0.0, 0.0
    for basins in part.basins:
        mine = np.isin(basin, basins)
        top = float(uptake.values[members[mine]].max())
        level = patient.cut(code, top, part.masked is not None)
        keep |= mine & (uptake.values[members] >= level)
        if top > highest:
            highest, level_of_highest = top, level
    chosen = members[keep]
    if len(chosen) < settings.min_voxels:
        return None
    region = _connected(uptake.voxels[chosen], uptake.values[chosen], patient.options)
    if len(region) < settings.min_voxels:
        return None
    return region, level_of_highest, bool(uptake.seeds[members].any())


def _connected(voxels: Voxels, values: Image, options: ThresholdOptions) -> Voxels:
    """The piece with the hottest voxel, and every other piece that is no crumb."""
    low = voxels.min(axis=0)
    size = voxels.max(axis=0) - low + 1
    region: Mask = np.zeros(size, dtype=bool)
    region[tuple((voxels - low).T)] = True
    labels, count = label(region, options.connectivity)
    if count < 2:
        return voxels
    of_voxel = labels[tuple((voxels - low).T)]
    big = np.bincount(of_voxel) >= options.delineation.min_voxels
    big[of_voxel[int(np.argmax(values))]] = True
    return np.asarray(voxels[big[of_voxel]], dtype=np.int32)
