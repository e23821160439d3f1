"""The small doors plug-ins come in by. Built-ins use them too."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lesion_pipeline.domain.anatomy import Anatomy, Segmentation
from lesion_pipeline.domain.geometry import RigidTransform
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Volume


@runtime_checkable
class AnatomySegmenter(Protocol):
    """Entry-point groups lesion_pipeline.organ_segmenters and lesion_pipeline.vertebra_segmenters."""

    name: str
    version: str
    needs: frozenset[Modality]

    def segment(self, study: Study) -> Segmentation:
        """Label map on any grid whose frame the study knows. ``study`` holds every modality in ``needs``."""
        ...


@runtime_checkable
class LesionDetector(Protocol):
    """Entry-point group lesion_pipeline.lesion_detectors."""

    name: str
    version: str
    needs: frozenset[Modality]

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        """Candidates on the grid they were seen on, ids unique, best seen first."""
        ...


@runtime_checkable
class Registrar(Protocol):
    """Entry-point group lesion_pipeline.registrars."""

    name: str
    version: str

    def register(self, fixed: Volume, moving: Volume) -> RigidTransform:
        """Transform from the moving volume's frame to the fixed volume's frame."""
        ...
