"""What the rules may ask: one finding (Case) and the study round it (Scene)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Anatomy, Organ, StructureKind, VertebraInstance
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import RigidTransform
from lesion_pipeline.domain.lesion import Finding, Measures, Site
from lesion_pipeline.domain.study import Study
from lesion_pipeline.imaging.focality import Focality, focality
from lesion_pipeline.imaging.places import Landmark, Places
from lesion_pipeline.imaging.reference_regions import References, measure_references
from lesion_pipeline.imaging.shares import Shares, around, shares
from lesion_pipeline.stages.screen.options import Options

Points = npt.NDArray[np.float64]


class Scene:
    """The study, its anatomy in the PET's frame, and normal uptake; shared by all cases."""

    def __init__(self, study: Study, anatomy: Anatomy, options: Options) -> None:
        self.study = study
        self.anatomy = anatomy
        self.options = options
        self._places: dict[str, Places] = {}

    def places(self, frame: str) -> Places:
        if frame not in self._places:
            self._places[frame] = Places(self.anatomy, self.study.frames, frame)
        return self._places[frame]

    @cached_property
    def references(self) -> References:
        pet = self.study.pet
        if pet is None:
            return References(None, None, None, {}, ("no PET",))
        return measure_references(pet, self.places(pet.grid.frame), self.options.references)

    @property
    def landmarks(self) -> dict[str, Landmark]:
        """Structures by key in the PET's frame, empty without a PET."""
        return self.places(self.study.pet.grid.frame).landmarks() if self.study.pet is not None else {}

    @property
    def sacrum(self) -> Landmark | None:
        """The sacrum, by the name of whichever segmenter drew it."""
        return self.landmarks.get("sacrum") or self.landmarks.get("vertebra_S")

    def link_to_ct(self, frame: str) -> RigidTransform | None:
        """From a frame to the CT's; None without a CT, or where nothing links the two."""
        if self.study.ct is None:
            return None
        try:
            return self.study.frames.between(frame, self.study.ct.grid.frame)
        except FrameMismatchError:
            return None

    def hounsfield(self, points: Points, frame: str) -> npt.NDArray[np.float32] | None:
        """HU at LPS points (n, 3) of ``frame``, nearest voxel; None unless the CT reaches all of them."""
        ct, link = self.study.ct, self.link_to_ct(frame)
        if ct is None or link is None:
            return None
        moved = link.apply(points)
        if not ct.grid.contains(moved).all():
            return None
        at = np.clip(np.rint(ct.grid.index(moved)).astype(np.int64), 0, np.array(ct.grid.shape) - 1)
        return np.asarray(ct.values[tuple(at.T)], dtype=np.float32)

    @cached_property
    def midline_x(self) -> float | None:
        """LPS x (mm) of the patient's midline in the PET's frame, from the vertebrae; None without them."""
        centres = [m.centre[0] for key, m in self.landmarks.items() if key.startswith("vertebra_")]
        return float(np.median(centres)) if centres else None

    def midline_at(self, z: float) -> float | None:
        """LPS x (mm) of the midline at a height: of the nearest vertebrae, for spines bend and patients lie askew."""
        named = [(key, mark.centre) for key, mark in self.landmarks.items() if key.startswith("vertebra_")]
        bodies = [centre for key, centre in named if not key.endswith("_posterior")]
        nearest = sorted(bodies, key=lambda centre: abs(centre[2] - z))[: self.options.midline_vertebrae]
        return float(np.median([centre[0] for centre in nearest])) if nearest else None

    @cache  # noqa: B019  # one scene lives as long as one call of the stage
    def volume_ml(self, key: str) -> float:
        """Volume of a structure in its own map, 0 if there is none."""
        found = self.anatomy.find(key)
        if found is None:
            return 0.0
        label_map, value = found
        return float(np.count_nonzero(label_map.values == value)) * label_map.grid.voxel_ml

    def nearest_vertebra(self, case: Case) -> VertebraInstance | None:
        """The vertebra whose centre lies nearest in height to a case; None without named vertebrae."""
        pet = self.study.pet
        if not self.anatomy.vertebrae or pet is None:
            return None
        ct_frame = self.study.ct.grid.frame if self.study.ct is not None else case.frame
        try:
            link = self.study.frames.between(ct_frame, case.frame)
        except FrameMismatchError:
            return None
        heights = [float(link.apply(np.array(v.centroid_lps_mm))[2]) for v in self.anatomy.vertebrae]
        return self.anatomy.vertebrae[int(np.argmin(np.abs(np.array(heights) - case.centre[2])))]


@dataclass(eq=False)
class Case:
    """One finding and what is measured of it for the rules."""

    finding: Finding
    scene: Scene
    siblings: Sequence[Case] = field(default=())

    @property
    def site(self) -> Site:
        return self.finding.located.site

    @property
    def measures(self) -> Measures:
        return self.finding.located.candidate.measures

    @property
    def frame(self) -> str:
        return self.finding.located.candidate.grid.frame

    @property
    def suv_max(self) -> float:
        return self.measures.suv_max or 0.0

    @cached_property
    def points(self) -> Points:
        return self.finding.located.candidate.points_lps_mm

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        pet, candidate = self.scene.study.pet, self.finding.located.candidate
        if pet is None or not candidate.grid.same_as(pet.grid):
            return np.ones(len(candidate.voxels))
        return np.asarray(np.maximum(pet.values[tuple(candidate.voxels.T)], 1e-6), dtype=np.float64)

    @cached_property
    def centre(self) -> Points:
        return np.asarray(np.average(self.points, axis=0, weights=self.weights))

    @cached_property
    def places(self) -> Places:
        return self.scene.places(self.frame)

    @cached_property
    def shares(self) -> Shares:
        return shares(self.finding.located.candidate.voxels, self.weights, self.finding.located.candidate.grid, self.places, 2)

    @cached_property
    def nearby(self) -> dict[int, float]:
        """{code: mm} of the structures within the preset's reach."""
        return around(self.centre, self.places, self.scene.options.reach_mm)

    def share(self, *keys: str) -> float:
        """Share of the uptake in the structures of these keys, a margin of one voxel included."""
        return float(sum(self.shares.near[code] for code in self.places.codes(*keys)))

    def share_of(self, key: str) -> float:
        """Share of the uptake in exactly this structure."""
        code = self.places.code(key)
        return float(self.shares.near[code]) if code is not None else 0.0

    @cached_property
    def hounsfield(self) -> npt.NDArray[np.float32] | None:
        """HU of the CT at eight points in every voxel; None unless the CT reaches all of them."""
        grid = self.finding.located.candidate.grid
        steps = np.array(list(product((-0.25, 0.25), repeat=3)))
        index = (self.finding.located.candidate.voxels[:, None, :] + steps[None, :, :]).reshape(-1, 3)
        return self.scene.hounsfield(grid.world(index), self.frame)

    @cached_property
    def focality(self) -> Focality | None:
        """Edge and extent of the focus on the PET; None if it was found on another grid, or its surroundings are not seen."""
        pet, candidate = self.scene.study.pet, self.finding.located.candidate
        if pet is None or not candidate.grid.same_as(pet.grid):
            return None
        return focality(pet, candidate.voxels, self.scene.options.focus.measure)

    def skin_depth(self, reach_mm: float) -> float | None:
        """Distance (mm) from the centre to the outside of the patient along eight axial directions, at most ``reach_mm``."""
        turns = np.arange(8) * np.pi / 4
        rays = np.stack([np.cos(turns), np.sin(turns), np.zeros(8)], axis=1)
        for depth in np.arange(0.0, reach_mm, 2.0):
            inside = self.places.body(self.centre + depth * rays)
            if inside is None:
                return None
            if not inside.all():
                return float(depth)
        return reach_mm

    def share_of_bone(self) -> float:
        codes = self.places.codes_of_kind(StructureKind.BONE, StructureKind.VERTEBRA)
        return float(sum(self.shares.near[code] for code in codes))

    def distance(self, *keys: str) -> float | None:
        """mm from the centre to the nearest of these structures; None beyond the preset's reach."""
        found = [self.nearby[code] for code in self.places.codes(*keys) if code in self.nearby]
        return min(found) if found else None

    def probability_of(self, organ: Organ) -> float:
        return dict(self.site.organ_probabilities).get(organ, 0.0)

    @cached_property
    def usual(self) -> float:
        """Median SUV of the bone or organ that holds it: what the place takes up without a lesion; 0 where that is not known.

        A bone is judged by the patient's marrow too, for a diseased bone does not know what is usual.
        """
        references = self.scene.references
        own = references.organs.get(self.site.structure)
        if self.share_of_bone() < 0.3:
            inside = self.site.distance_mm == 0 and self.share_of(self.site.structure) >= 0.5
            return own.median if own is not None and inside else 0.0
        said = [own.median] if own is not None else []
        said += [references.marrow.median] if references.marrow is not None else []
        return min(said, default=0.0)

    @cached_property
    def axes(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Standard deviations (mm) along the principal axes, longest first, and the axes as rows; voxel size included."""
        spacing = np.array(self.finding.located.candidate.grid.spacing_mm)
        spread = np.cov(self.points.T, aweights=self.weights) if len(self.points) > 1 else np.zeros((3, 3))
        values, vectors = np.linalg.eigh(spread + np.diag(np.full(3, float((spacing**2).mean()) / 12.0)))
        order = np.argsort(values)[::-1]
        return np.sqrt(values[order]), vectors[:, order].T

    @property
    def elongation(self) -> float:
        """Longest over middle principal axis."""
        lengths, _ = self.axes
        return float(lengths[0] / lengths[1])

    @property
    def width_mm(self) -> float:
        """Along the middle principal axis: 4 standard deviations, the diameter of a disc of even uptake."""
        lengths, _ = self.axes
        return float(4.0 * lengths[1])

    @property
    def along_body(self) -> float:
        """|cosine| between the longest axis and head-foot."""
        _, vectors = self.axes
        return float(abs(vectors[0][2]))
