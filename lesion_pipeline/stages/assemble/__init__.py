"""Files into series with checked geometry: what is there, what is used, and why."""

from lesion_pipeline.stages.assemble.options import Options
from lesion_pipeline.stages.assemble.stage import run, survey

__all__ = ["Options", "run", "survey"]
