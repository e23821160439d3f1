"""The plug-in: candidate voxels above the patient's own thresholds, one candidate for every lesion the peaks tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import lesion_pipeline
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Candidate, Measures
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Volume
from lesion_pipeline.imaging.components import label, voxel_lists
from lesion_pipeline.imaging.focality import focality
from lesion_pipeline.imaging.measures import measure
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.reference_regions import measure_references
from lesion_pipeline.imaging.surroundings import surroundings
from lesion_pipeline.plugins.threshold_detector.drawn import DrawnLesion
from lesion_pipeline.plugins.threshold_detector.fragments import join_fragments, join_rings
from lesion_pipeline.plugins.threshold_detector.options import ThresholdOptions
from lesion_pipeline.plugins.threshold_detector.patient import Patient
from lesion_pipeline.plugins.threshold_detector.uptake import lesions_of


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
        patient = Patient(pet, places, references, self.options)
        labels, _ = label(patient.candidate_voxels(), self.options.connectivity)
        lesions: list[DrawnLesion] = []
        for number, voxels in enumerate(voxel_lists(labels), start=1):
            if len(voxels) >= self.options.delineation.min_voxels:
                lesions.extend(join_rings(lesions_of(patient, voxels, number), patient))
        return self._candidates(pet, join_fragments(lesions, patient))

    def _measured(self, pet: Volume, lesion: DrawnLesion) -> Measures | None:
        """What is measured of a lesion; None when it does not stand out of the noise around it."""
        noise = self.options.noise
        around = surroundings(pet, lesion.voxels, noise.shell, lesion.below)
        faint = around is not None and around.contrast_to_noise < noise.min_contrast_to_noise and lesion.part.masked is None
        if faint and not self._has_edge(pet, lesion):
            return None
        return replace(
            measure(pet, lesion.voxels, lesion.threshold),
            background=around.median if around else None,
            contrast_to_noise=around.contrast_to_noise if around else None,
        )

    def _has_edge(self, pet: Volume, lesion: DrawnLesion) -> bool:
        noise = self.options.noise
        seen = focality(pet, lesion.voxels, noise.edge)
        return seen is not None and seen.per_mm >= noise.edge_per_mm and seen.half_ml >= noise.edge_ml

    def _candidates(self, pet: Volume, lesions: list[DrawnLesion]) -> tuple[Candidate, ...]:
        measured = [(lesion, m) for lesion in lesions if (m := self._measured(pet, lesion)) is not None]
        measured.sort(key=lambda item: (-(item[1].suv_max or 0.0), tuple(item[0].voxels[0])))
        siblings = Counter(lesion.uptake for lesion, _ in measured)
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
                parent=f"U{lesion.uptake:03d}" if siblings[lesion.uptake] > 1 else None,
            )
            for rank, (lesion, measures) in enumerate(measured, start=1)
        )


def factory(options: Mapping[str, object]) -> ThresholdDetector:
    """Built from the preset's table [plugins.tracer_threshold]."""
    return ThresholdDetector(ThresholdOptions.model_validate(dict(options)))
