"""A procedural human body: every organ a solid with a formula, so that CT, PET and MR are sampled from one and the same.

Nothing here is derived from a scanned person or a published phantom; sizes are textbook figures of adults.

    body = build_body(BodyParams(sex="F", height_cm=165))
    ct = body.sample_ct(grid, rng)      # Volume, HU
    labels = body.labels(grid)          # LabelMap: organs, every vertebra, every rib
"""

from lesion_pipeline.simulate.anatomy.body import Body, build_body
from lesion_pipeline.simulate.anatomy.params import BodyParams, draw_params

__all__ = ["Body", "BodyParams", "build_body", "draw_params"]
