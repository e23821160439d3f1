"""The prostate and its bed: what takes up the tracer there is the primary or its recurrence, not a metastasis."""

from __future__ import annotations

from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.node_stations import from_the_sacrum
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome


def prostate(case: Case) -> Outcome:
    """In the midline between the hip joints, outside bone and off the sacrum (a mapped prostate is the business of ORGAN)."""
    rule = case.scene.options.prostate
    marks = case.scene.landmarks
    heads = [marks[k] for k in ("femur_left", "femur_right") if k in marks]
    if len(heads) < 2:
        return NotAsked("PROSTATE", "no hip joints in the anatomy")
    if case.share_of_bone() > rule.max_bone_share or case.share("urinary_bladder", "bladder", "prostate") >= 0.5:
        return None
    middle = (heads[0].centre[0] + heads[1].centre[0]) / 2
    joints = min(h.high[2] for h in heads)
    aside, above = abs(case.centre[0] - middle), case.centre[2] - joints
    before = case.centre[1] - min(h.low[1] for h in heads)
    if aside > rule.aside_mm or not -rule.below_mm <= above <= rule.above_mm or before < -rule.front_mm:
        return None
    away = from_the_sacrum(case)
    if away is not None and away <= rule.sacrum_mm:
        return None
    text = (
        f"{aside:.0f} mm from the midline at the height of the hip joints, where prostate or its bed lies: the primary or its "
        "recurrence is no metastasis"
    )
    return Fired("PROSTATE", text, odds=rule.odds, klass=LesionClass.PRIMARY)
