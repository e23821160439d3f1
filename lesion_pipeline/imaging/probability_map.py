"""From a network's probability of lesion at every voxel to candidate lesions on the PET's own grid.

The PET is never interpolated: the probability map comes to the PET's voxels, and everything is measured there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.components import label, voxel_lists
from lesion_pipeline.imaging.measures import measure
from lesion_pipeline.imaging.surroundings import ShellRules, surroundings
from lesion_pipeline.io.sitk import resample_volume


class CandidateRules(BaseModel):
    """probability_from: lowest probability of a lesion's voxel. connectivity: 6, 18 or 26. min_voxels: on the PET's grid.

    probability: what a candidate's own probability is made of: the ``mean`` over its voxels, or the highest (``max``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    probability_from: float = Field(gt=0, lt=1)
    connectivity: Literal[6, 18, 26]
    min_voxels: int = Field(ge=1)
    probability: Literal["mean", "max"]
    shell: ShellRules


def candidates_of(
    probability: npt.NDArray[np.float32], grid: Grid, study: Study, rules: CandidateRules, detector: str
) -> tuple[Candidate, ...]:
    """Connected voxels of the PET whose probability (linear between the map's voxels) reaches ``probability_from``.

    probability: float32 (ni, nj, nk) on ``grid``, 0 to 1. Best seen first. Raises InputError (NO_PET) and FrameMismatchError.
    """
    pet = study.need(Modality.PT)
    said = Volume(probability, grid, Unit.ARBITRARY, Modality.OTHER, detector)
    link = None if grid.frame == pet.grid.frame else study.frames.between(pet.grid.frame, grid.frame)
    on_pet = resample_volume(said, pet.grid, "linear", outside=0.0, link=link).values
    labels, _ = label(on_pet >= rules.probability_from, rules.connectivity)
    pieces = [v for v in voxel_lists(labels) if len(v) >= rules.min_voxels]
    found = []
    for number, voxels in enumerate(pieces, start=1):
        of_voxels = on_pet[tuple(voxels.T)]
        own = float(of_voxels.mean(dtype=np.float64) if rules.probability == "mean" else of_voxels.max())
        measured = measure(pet, voxels)
        lowest = float(pet.values[tuple(voxels.T)].min())
        around = surroundings(pet, voxels, rules.shell, max(lowest, 1e-6))
        if around is not None:
            measured = replace(measured, background=around.median, contrast_to_noise=around.contrast_to_noise)
        found.append(
            Candidate(
                id=f"N{number:03d}",
                voxels=voxels,
                grid=pet.grid,
                modality=Modality.PT,
                detector=detector,
                measures=measured,
                probability=min(1.0, max(0.0, own)),
            )
        )
    return tuple(sorted(found, key=lambda c: (-(c.probability or 0.0), c.id)))
