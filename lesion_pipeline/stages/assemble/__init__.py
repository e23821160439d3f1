"""Files into series with checked geometry: what is there, what is used, and why."""

from lesion_pipeline.stages.assemble.nifti_ct import from_nifti_ct
from lesion_pipeline.stages.assemble.options import Options
from lesion_pipeline.stages.assemble.stage import run, survey

__all__ = ["Options", "from_nifti_ct", "run", "survey"]
