"""Runs against truth: lesions, organs, levels, counts, criteria, calibration. The door is ``evaluate``."""

from lesion_pipeline.evaluate.judge import evaluate

__all__ = ["evaluate"]
