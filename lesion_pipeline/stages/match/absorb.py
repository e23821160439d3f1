"""Foci seen on CT alone that are a lesion of the PET: they become its second sighting, not a lesion of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.lesion import Located
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.stages.match.options import CtRules


def absorb(located: Sequence[Located], study: Study, rules: CtRules) -> list[tuple[Located, ...]]:
    """Sightings of each finding, in the given order: a PET lesion with the CT foci on it, or whatever nothing absorbed."""
    lesions = {n: one for n, one in enumerate(located) if one.candidate.modality is Modality.PT}
    taken: dict[int, list[Located]] = {}
    gone: set[int] = set()
    for number, one in enumerate(located):
        if one.candidate.modality is not Modality.CT:
            continue
        shares = {n: _share(one, lesion, study, rules.absorb_mm) for n, lesion in lesions.items()}
        best = max(shares, key=lambda n: (shares[n], -n), default=None)
        if best is not None and shares[best] >= rules.absorb_share:
            taken.setdefault(best, []).append(one)
            gone.add(number)
    return [(one, *taken.get(number, ())) for number, one in enumerate(located) if number not in gone]


def _share(focus: Located, lesion: Located, study: Study, reach_mm: float) -> float:
    """Share of a focus within reach of a lesion's voxels (half a voxel more); 0 where nothing links the two frames."""
    seen_on, of_lesion = focus.candidate.grid, lesion.candidate.grid
    try:
        points = study.frames.between(seen_on.frame, of_lesion.frame).apply(focus.candidate.points_lps_mm)
    except FrameMismatchError:
        return 0.0
    reach = reach_mm + max(of_lesion.spacing_mm) / 2
    around = lesion.candidate.points_lps_mm
    near = np.all((points >= around.min(axis=0) - reach) & (points <= around.max(axis=0) + reach), axis=1)
    if not near.any():
        return 0.0
    away, _ = KDTree(around).query(points[near], distance_upper_bound=reach)
    return float(np.isfinite(away).sum() / len(points))
