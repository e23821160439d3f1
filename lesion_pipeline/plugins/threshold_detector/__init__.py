"""Built-in lesion detector ``tracer-threshold``: thresholds of the tracer, lesions from peaks, organs as soft masks."""

from __future__ import annotations

from lesion_pipeline.plugins.threshold_detector.detector import ThresholdDetector, factory
from lesion_pipeline.plugins.threshold_detector.options import ThresholdOptions

__all__ = ["ThresholdDetector", "ThresholdOptions", "factory"]
