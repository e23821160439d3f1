"""A lesion on its way: candidate, located, finding, screened. The type says how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Organ, VertebralLevel
from lesion_pipeline.domain.errors import GeometryError
from lesion_pipeline.domain.geometry import Grid, Points
from lesion_pipeline.domain.volume import Modality


@dataclass(frozen=True, slots=True)
class Measures:
    """Measured on the grid the lesion was seen on, never interpolated.

    volume_ml: voxels in the delineation x voxel volume. suv_peak: highest mean over a 1 ml sphere (partial voxels weighted)
    centred within the lesion; None for other modalities. tlg: suv_mean * volume_ml.
    """

    volume_ml: float
    suv_max: float | None = None
    suv_mean: float | None = None
    suv_peak: float | None = None
    tlg: float | None = None
    threshold: float | None = None
    background: float | None = None  # SUV around it, for contrast
    contrast_to_noise: float | None = None  # (smoothed peak - background) / robust SD of the smoothed surroundings


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Voxels that may be one lesion.

    id: unique in the study, e.g. ``C001``. voxels: int32 (n, 3) indices on ``grid``, n >= 1, unique.
    probability: the detector's own probability that this is tumour, None if it has none.
    split_probability: probability that what is one candidate here is really two lesions (saddle between the merge and the split
    limit), 0 when there is no doubt. own_probability: probability that it is a lesion of its own and not a piece of the
    neighbour it was cut from. parent: id shared by candidates cut from one connected uptake, None if alone. seen_by, missed_by:
    names of the readers of the same image, where there were several; ceiling: most that their disagreement leaves of the
    probability.
    """

    id: str
    voxels: npt.NDArray[np.int32]
    grid: Grid
    modality: Modality
    detector: str
    measures: Measures
    probability: float | None = None
    split_probability: float = 0.0
    parent: str | None = None
    own_probability: float = 1.0
    seen_by: tuple[str, ...] = ()
    missed_by: tuple[str, ...] = ()
    ceiling: float = 1.0

    def __post_init__(self) -> None:
        voxels = np.ascontiguousarray(self.voxels, dtype=np.int32)
        if voxels.ndim != 2 or voxels.shape[1:] != (3,) or not len(voxels):
            raise GeometryError("EMPTY_CANDIDATE", f"candidate {self.id} has no voxels")
        if (voxels < 0).any() or (voxels >= np.array(self.grid.shape)).any():
            raise GeometryError("OUTSIDE_GRID", f"candidate {self.id} reaches outside its grid")
        voxels.setflags(write=False)
        object.__setattr__(self, "voxels", voxels)

    @property
    def points_lps_mm(self) -> Points:
        """(n, 3) voxel centres."""
        return self.grid.world(self.voxels)

    @property
    def centroid_lps_mm(self) -> tuple[float, float, float]:
        x, y, z = self.points_lps_mm.mean(axis=0)
        return (float(x), float(y), float(z))


@dataclass(frozen=True, slots=True)
class VertebraShare:
    """How much of a lesion's uptake lies in one vertebra. involved: by the preset's rule (share or ml)."""

    instance: int
    level: VertebralLevel | None
    confidence: float
    share: float
    volume_ml: float
    involved: bool
    part: str = ""  # body, posterior_elements, ... where the anatomy gives them


@dataclass(frozen=True, slots=True)
class Site:
    """Where a candidate lies. organ_probabilities: best first, sum 1; empty when nothing is known of the place."""

    organ_probabilities: tuple[tuple[Organ, float], ...]
    structure: str  # key of the structure that holds most of it, "" if none
    spinal: bool | None  # None: cannot be known without anatomy
    vertebrae: tuple[VertebraShare, ...] = ()
    distance_mm: float = 0.0  # to the structure, when nearest rather than overlapping
    doubts: tuple[str, ...] = ()  # codes, e.g. ANATOMY_DOUBTFUL

    @property
    def organ(self) -> Organ | None:
        return self.organ_probabilities[0][0] if self.organ_probabilities else None

    @property
    def level(self) -> VertebralLevel | None:
        """Level of the vertebra with the largest share, if it has a name."""
        return max(self.vertebrae, key=lambda v: v.share).level if self.vertebrae else None


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """A candidate whose place is known as well as it can be."""

    candidate: Candidate
    site: Site


@dataclass(frozen=True, slots=True)
class Evidence:
    """What each modality says of a finding: positive, negative, lytic, sclerotic, mixed, none,
    not_assessable, not_available.
    """

    pet: str = "not_available"
    ct: str = "not_available"
    mri: str = "not_available"
    mri_enhanced: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One lesion as seen by one or several modalities; sightings[0] is the one it is measured on."""

    id: str
    sightings: tuple[Located, ...]
    evidence: Evidence

    @property
    def located(self) -> Located:
        return self.sightings[0]


class Decision(StrEnum):
    """What became of a finding."""

    COUNTED = "counted"
    UNCERTAIN = "uncertain"
    EXCLUDED = "excluded"


class LesionClass(StrEnum):
    """What a finding is thought to be; only METASTASIS enters the count."""

    METASTASIS = "metastasis"
    PRIMARY = "primary"
    REGIONAL_NODE = "regional_node"
    PHYSIOLOGIC = "physiologic"
    BENIGN = "benign"
    TREATED = "treated_or_inactive"
    ADDITIONAL = "additional"  # seen on CT or MR only
    DIFFUSE = "diffuse"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable code (``R4_SPINAL_CORD``) and a sentence with numbers a physician can check."""

    code: str
    text: str
    log_odds: float | None = None  # what it added to the probability


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """A finding with a decision. Excluded findings are kept with their reasons.

    probability: that this is a metastasis that the criterion counts.
    """

    finding: Finding
    decision: Decision
    probability: float
    lesion_class: LesionClass
    reasons: tuple[Reason, ...]
