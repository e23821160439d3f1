"""Finding -> counted, uncertain or excluded, with reasons a physician can check."""

from __future__ import annotations

from lesion_pipeline.stages.screen.coverage import caveats
from lesion_pipeline.stages.screen.door import STAGE, run
from lesion_pipeline.stages.screen.options import Options

__all__ = ["STAGE", "Options", "caveats", "run"]
