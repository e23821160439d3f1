"""Candidate -> organ, vertebra, level, and how sure each is."""

from __future__ import annotations

from lesion_pipeline.stages.localize.door import STAGE, run
from lesion_pipeline.stages.localize.options import Options

__all__ = ["STAGE", "Options", "run"]
