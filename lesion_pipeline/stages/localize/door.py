"""The stage's door: one Site for every candidate, asked of the label maps at the candidate's own points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Candidate, Located, Site
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.shares import around, shares
from lesion_pipeline.stages.localize.options import Options
from lesion_pipeline.stages.localize.organs import contradicted, main_structure, organ_probabilities
from lesion_pipeline.stages.localize.unmapped import at_the_adrenal, beside_the_heart, in_the_lung
from lesion_pipeline.stages.localize.vertebrae import in_spine, vertebra_shares

STAGE = "localize"


def run(candidates: Sequence[Candidate], study: Study, anatomy: Anatomy, options: Options) -> tuple[Located, ...]:
    """Locate every candidate, in the given order. Without anatomy a place stays unknown, and its doubts say why."""
    asked: dict[str, Places] = {}
    located = []
    for candidate in candidates:
        frame = candidate.grid.frame
        places = asked.get(frame)
        if places is None:
            places = asked[frame] = Places(anatomy, study.frames, frame)
        located.append(Located(candidate, _site(candidate, study, anatomy, places, options)))
    return tuple(located)


def _site(candidate: Candidate, study: Study, anatomy: Anatomy, places: Places, options: Options) -> Site:
    if not places.known:
        why = "ANATOMY_NOT_LINKED" if places.unlinked else "NO_ANATOMY"
        return Site((), "", None, doubts=(why,))
    points = candidate.points_lps_mm
    if not places.covered(points).any():
        return Site((), "", None, doubts=("OUTSIDE_ANATOMY",))
    weights = _weights(candidate, study)
    divided = shares(candidate.voxels, weights, candidate.grid, places, options.supersampling)
    centre = np.average(points, axis=0, weights=weights)
    nearby = around(centre, places, options.reach_mm)
    canal = places.region("spinal_canal", points)
    in_canal = float(np.average(canal, weights=weights)) if canal is not None else 0.0
    chest = places.region("mediastinum", points)
    in_chest = float(np.average(chest & (places.solid(points) == 0), weights=weights)) if chest is not None else 0.0
    volume = candidate.measures.volume_ml
    organs, doubts = organ_probabilities(
        divided, nearby, centre, (in_canal, in_chest), volume_ml=volume, places=places, options=options
    )
    organs, contradiction = contradicted(organs, points, weights, places, options)
    organs = beside_the_heart(organs, volume, centre, nearby, places=places, options=options)
    organs = in_the_lung(organs, volume, centre, places=places, options=options)
    organs = at_the_adrenal(organs, volume, centre, places=places, options=options)
    vertebrae = vertebra_shares(divided, places, anatomy, options)
    structure, distance = main_structure(divided, nearby, in_canal, places, options)
    spinal = in_spine(vertebrae, organs, in_canal, places)
    return Site(organs, structure, spinal, vertebrae, distance, (*doubts, *contradiction))


def _weights(candidate: Candidate, study: Study) -> npt.NDArray[np.float64]:
    """Uptake of each voxel; all alike where the candidate was not seen on the PET."""
    volume = _seen_on(candidate, study)
    if volume is None:
        return np.ones(len(candidate.voxels))
    return np.asarray(np.maximum(volume.values[tuple(candidate.voxels.T)].astype(np.float64), 1e-6), dtype=np.float64)


def _seen_on(candidate: Candidate, study: Study) -> Volume | None:
    return study.pet if study.pet is not None and candidate.grid.same_as(study.pet.grid) else None
