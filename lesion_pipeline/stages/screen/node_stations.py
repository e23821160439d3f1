"""Where nodes of abdomen and pelvis lie: along the great vessels, which no map may name."""

from __future__ import annotations

from lesion_pipeline.imaging.measures import ball_radius_mm
from lesion_pipeline.imaging.places import Landmark
from lesion_pipeline.imaging.shares import round_about
from lesion_pipeline.stages.screen.case import Case


def lumbar_bodies(case: Case) -> list[Landmark]:
    marks = case.scene.landmarks
    return [m for key, m in marks.items() if key.startswith("vertebra_L") and not key.endswith("_posterior")]


def at_a_node_station(case: Case) -> bool:
    """Beside aorta and cava, which run along the front of the lumbar bodies, or at the pelvic wall along the iliac vessels."""
    return _beside_vessels(case) and not (in_the_iliac_fossa(case) or on_the_pelvic_floor(case) or _bowel_round_about(case))


def _bowel_round_about(case: Case) -> bool:
    """On most of its sides lies more of the bowel's map: a node that this map takes in lies at its edge."""
    rule = case.scene.options.bowel
    bowel = case.places.codes(*rule.keys)
    return (
        bool(bowel) and round_about(case.centre, case.measures.volume_ml, rule.round_mm, case.places, bowel) >= rule.round_from
    )


def _beside_vessels(case: Case) -> bool:
    rule, lumbar = case.scene.options.gut, lumbar_bodies(case)
    wall = case.distance("hip", "sacrum", "vertebra_S")
    if wall is not None and wall <= rule.wall_mm:
        return True
    if not lumbar:
        return False
    low, high = min(m.low[2] for m in lumbar), max(m.high[2] for m in lumbar)
    if not low <= case.centre[2] <= high:
        return False
    body = min(lumbar, key=lambda m: abs(m.centre[2] - case.centre[2]))
    return bool(
        case.centre[1] >= body.low[1] - rule.node_front_mm and abs(case.centre[0] - body.centre[0]) <= rule.node_aside_mm
    )


def in_the_rectum(case: Case) -> bool:
    """In the midline before the lower half of the sacrum, or below it: nodes lie at the side walls, and above."""
    rule, sacrum = case.scene.options.bowel, case.scene.sacrum
    if sacrum is None or case.centre[2] > sacrum.centre[2]:
        return False
    aside, before = abs(case.centre[0] - sacrum.centre[0]), sacrum.high[1] - case.centre[1]
    return bool(aside <= rule.rectum_mm and -rule.rectum_mm <= before <= rule.rectum_front_mm)


def in_the_iliac_fossa(case: Case) -> bool:
    """On the wing of the hip bone, lateral of the iliac vessels, where caecum and sigmoid lie and no node does."""
    marks, sacrum = case.scene.landmarks, case.scene.sacrum
    joints = [marks[k].high[2] for k in ("femur_left", "femur_right") if k in marks]
    if sacrum is None or not joints or case.centre[2] < max(joints):
        return False
    return bool(abs(case.centre[0] - sacrum.centre[0]) > case.scene.options.gut.vessels_mm)


def on_the_pelvic_floor(case: Case) -> bool:
    """In the midline under the hip joints, where bladder, urethra and anal canal lie; the nodes of the groins lie aside."""
    rule, marks = case.scene.options.gut, case.scene.landmarks
    joints = [marks[k] for k in ("femur_left", "femur_right") if k in marks]
    if len(joints) < 2:
        return False
    aside = abs(case.centre[0] - (joints[0].centre[0] + joints[1].centre[0]) / 2)
    under = min(m.high[2] for m in joints) - case.centre[2]
    return bool(aside <= rule.floor_aside_mm and under >= rule.floor_under_mm)


def off_the_sacrum(case: Case) -> bool:
    """In the midline before the sacrum without touching it: presacral nodes lie on the bone, sigmoid and rectum before it.

    The vessels have parted above.
    """
    rule, sacrum = case.scene.options.bowel, case.scene.sacrum
    if sacrum is None or not sacrum.low[2] <= case.centre[2] <= sacrum.high[2]:
        return False
    away = from_the_sacrum(case)
    midline = abs(case.centre[0] - sacrum.centre[0]) <= rule.rectum_mm
    return midline and (away is None or away > rule.presacral_mm)


def from_the_sacrum(case: Case) -> float | None:
    """mm from the sacrum to the surface of the uptake, taken as a ball of its volume; None beyond the preset's reach."""
    away = case.distance("sacrum", "vertebra_S")
    return None if away is None else away - ball_radius_mm(case.measures.volume_ml)
