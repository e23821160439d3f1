"""PET + CT + MRI evidence of one lesion -> one finding."""

from __future__ import annotations

from lesion_pipeline.stages.match.door import STAGE, run
from lesion_pipeline.stages.match.options import Options

__all__ = ["STAGE", "Options", "run"]
