"""CT evidence of a bone lesion: lytic, sclerotic, mixed or none against the patient's own bone (clinical specification 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import RigidTransform
from lesion_pipeline.domain.lesion import Located
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.bone_ct import Crop, CtReader, Reference, foci, lytic_and_sclerotic, metal_near
from lesion_pipeline.imaging.components import Mask
from lesion_pipeline.stages.match.options import CtRules

#: Classes of bone that differs from normal.
CHANGED = ("lytic", "sclerotic", "mixed")


@dataclass(frozen=True, slots=True)
class CtFinding:
    """What the CT says: a class and a sentence with numbers ("" when there is nothing to add)."""

    kind: str
    note: str = ""


def ct_evidence(located: Located, study: Study, reader: CtReader | None, rules: CtRules) -> CtFinding:
    """Class of the bone under a lesion. ``not_assessable``: no bone, no reference, or metal close by."""
    if reader is None or study.ct is None:
        return CtFinding("not_available")
    bone = dict(located.site.organ_probabilities).get(Organ.BONE, 0.0)
    if bone < rules.min_bone_probability:
        return CtFinding("not_assessable")
    try:
        link = study.frames.between(located.candidate.grid.frame, study.ct.grid.frame)
    except FrameMismatchError:
        return CtFinding("not_available")
    points = link.apply(located.candidate.points_lps_mm)
    if not study.ct.grid.contains(points).all():
        return CtFinding("not_available")
    if located.candidate.modality is Modality.CT:
        return _own(located, points, reader)
    return _read(located, link, points, reader, rules)


def _own(located: Located, points: npt.NDArray[np.float64], reader: CtReader) -> CtFinding:
    """What a detector of the CT drew is a finding on CT; only which way it differs from normal bone is left to say."""
    crop = reader.crop(points.min(axis=0) - reader.ct.grid.spacing_mm, points.max(axis=0) + reader.ct.grid.spacing_mm)
    reference = reader.reference(located.site.structure)
    at = np.rint(reader.ct.grid.index(points)).astype(np.int64)
    if crop is None or reference is None:
        return CtFinding("not_assessable", "no normal bone to compare with")
    hu = float(crop.hu[tuple((at - [s.start for s in crop.window]).T)].mean())
    mean, sd = reference
    kind = "lytic" if hu < mean else "sclerotic"
    return CtFinding(kind, f"{hu:.0f} HU against {mean:.0f} +- {sd:.0f} HU in normal bone")


def _read(
    located: Located, link: RigidTransform, points: npt.NDArray[np.float64], reader: CtReader, rules: CtRules
) -> CtFinding:
    margin = rules.margin_mm + max(located.candidate.grid.spacing_mm) / 2
    crop = reader.crop(points.min(axis=0) - margin, points.max(axis=0) + margin)
    if crop is None:
        return CtFinding("not_available")
    metal = metal_near(points, reader)
    if metal is not None:
        return CtFinding("not_assessable", f"metal of {metal:.0f} HU within {rules.metal_mm:g} mm")
    inside = _under(located, link, reader, crop, margin) & (crop.depth >= rules.depth_mm)
    counts = np.bincount(crop.codes[inside], minlength=1)
    if not inside.any() or not counts[1:].any():
        return CtFinding("not_assessable", "no trabecular bone under it")
    structure = reader.places.structures[int(np.argmax(counts[1:])) + 1]
    reference = reader.reference(structure.key) if structure is not None else None
    if reference is None:
        return CtFinding("not_assessable", "no normal bone to compare with")
    return _classify(crop, inside, reference, reader, rules)


def _classify(crop: Crop, inside: Mask, reference: Reference, reader: CtReader, rules: CtRules) -> CtFinding:
    mean, sd = reference
    lytic, sclerotic = lytic_and_sclerotic(crop, inside, reference, rules)
    voxel = reader.ct.grid.voxel_ml
    lytic_ml = voxel * sum(len(piece) for piece in foci(lytic, crop, reader, 0.0))
    sclerotic_ml = voxel * sum(len(piece) for piece in foci(sclerotic, crop, reader, rules.band_mm))
    total = lytic_ml + sclerotic_ml
    numbers = f"{crop.hu[inside].mean():.0f} HU against {mean:.0f} +- {sd:.0f} HU in normal bone"
    if total == 0:
        return CtFinding("none", numbers)
    if min(lytic_ml, sclerotic_ml) >= rules.mixed_share * total:
        return CtFinding("mixed", f"{lytic_ml:.1f} ml lytic and {sclerotic_ml:.1f} ml sclerotic, {numbers}")
    kind, volume = ("lytic", lytic_ml) if lytic_ml > sclerotic_ml else ("sclerotic", sclerotic_ml)
    return CtFinding(kind, f"{volume:.1f} ml, {numbers}")


def _under(located: Located, link: RigidTransform, reader: CtReader, crop: Crop, margin: float) -> Mask:
    """CT voxels of the crop that lie in the lesion's voxels or within ``margin`` of them."""
    grid = reader.ct.grid
    indices = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in crop.window], indexing="ij"), axis=-1)
    source = located.candidate.grid
    at = np.rint(source.index(link.inverse().apply(grid.world(indices.reshape(-1, 3))))).astype(np.int64)
    low = located.candidate.voxels.min(axis=0) - 1
    size = located.candidate.voxels.max(axis=0) + 2 - low
    lookup = np.zeros(size, dtype=bool)
    lookup[tuple((located.candidate.voxels - low).T)] = True
    at -= low
    near = np.all((at >= 0) & (at < size), axis=1)
    out = np.zeros(len(at), dtype=bool)
    out[near] = lookup[tuple(at[near].T)]
    mask = out.reshape(indices.shape[:3])
    away = edt.edt(~mask, anisotropy=grid.spacing_mm, parallel=1)
    return np.asarray(away <= margin) & np.asarray(mask.any())
