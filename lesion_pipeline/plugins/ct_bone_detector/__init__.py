"""``ct-bone``: holes and dense foci of vertebral bodies that the CT shows, whatever the PET says."""

from __future__ import annotations

from lesion_pipeline.plugins.ct_bone_detector.detector import CtBoneDetector, Options, factory

__all__ = ["CtBoneDetector", "Options", "factory"]
