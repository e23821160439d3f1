"""Rules about urine that carries the tracer: ureter and renal bed (R10)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.imaging.places import Landmark
from lesion_pipeline.stages.screen.case import Case, Points, Scene
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome
from lesion_pipeline.stages.screen.rule_tables import Ureter

_BLADDER = ("urinary_bladder", "bladder")
_BELOW_BRIM_MM = 30.0


def _mark(scene: Scene, *keys: str) -> Landmark | None:
    return next((scene.landmarks[k] for k in keys if k in scene.landmarks), None)


def _course(scene: Scene, rule: Ureter, side: str) -> Points | None:
    """Usual course of one ureter as points (n, 3): hilum, psoas, over the pelvic brim, side wall, bladder.

    None with neither that kidney nor L2, or with neither bladder nor sacrum. Without the bladder, which a short field of view
    leaves out, it ends below the pelvic brim. LPS: x grows to the left, y to the back, z to the head.
    """
    bladder, kidney, upper = _mark(scene, *_BLADDER), _mark(scene, f"kidney_{side}"), _mark(scene, "vertebra_L2")
    sacrum = _mark(scene, "sacrum", "vertebra_S", "vertebra_S1")
    lower = bladder or sacrum
    if lower is None or (kidney is None and upper is None):
        return None
    sign = 1.0 if side == "left" else -1.0
    lumbar = [m.centre for key in ("vertebra_L3", "vertebra_L4", "vertebra_L5") if (m := _mark(scene, key)) is not None]
    middle = scene.midline_x if scene.midline_x is not None else lower.centre[0]
    psoas = middle + sign * rule.psoas_mm
    if kidney is not None:
        inner = kidney.low[0] if side == "left" else kidney.high[0]
        points = [
            ((kidney.centre[0] + inner) / 2, kidney.centre[1], kidney.centre[2]),
            (psoas, kidney.centre[1], kidney.low[2]),
        ]
    else:  # where no map names the kidney, its hilum lies beside L2
        points = [(middle + sign * (rule.psoas_mm + 15.0), *upper.centre[1:])] if upper is not None else []
    points += [(psoas, c[1] - 15.0, c[2]) for c in sorted(lumbar, key=lambda c: -c[2]) if c[2] < points[-1][2]]
    if sacrum is not None:
        brim = sacrum.high[2]
        points.append((middle + sign * (rule.psoas_mm - 4.0), sacrum.low[1], brim))
        if bladder is None:
            points.append((middle + sign * rule.psoas_mm, sacrum.low[1], brim - _BELOW_BRIM_MM))
            return np.array(points)
        wall = (bladder.centre[1] + sacrum.centre[1]) / 2
        points.append((middle + sign * (rule.psoas_mm + 12.0), wall, (brim + bladder.centre[2]) / 2))
        points.append((middle + sign * (rule.psoas_mm + 10.0), wall, bladder.centre[2] + 15.0))
    if bladder is None:
        return np.array(points)
    points.append((bladder.centre[0] + sign * 22.0, bladder.centre[1] + 15.0, bladder.centre[2]))
    return np.array(points)


def ureter(case: Case) -> Outcome:
    """R10: inside a tube from the kidney along the psoas to the bladder, elongated head to foot or short, not in bone."""
    options = case.scene.options
    if not options.urinary_excretion:
        return None
    rule = options.ureter
    courses = [(side, _course(case.scene, rule, side)) for side in ("left", "right")]
    if all(course is None for _, course in courses):
        below = _mark(case.scene, *_BLADDER, "sacrum", "vertebra_S", "vertebra_S1")
        missing = "bladder or sacrum" if below is None else "kidneys"
        return NotAsked("R10_URETER", f"no {missing} in the anatomy")
    if case.share_of_bone() > rule.max_bone_share:
        return None
    for side, course in courses:
        if course is None:
            continue
        away = _to_polyline(case.centre, course)
        long = case.elongation >= rule.elongation and case.along_body >= 0.7
        thread = long and case.elongation >= rule.thread_elongation and away <= rule.thread_mm
        if away > rule.tube_mm and not thread:
            continue
        text = f"{side} ureter: {away:.0f} mm from its course between kidney and bladder"
        if long:
            text += f", {case.elongation:.1f} times longer than wide, head to foot"
            odds = rule.thread_odds if away > rule.tube_mm else rule.odds
            return Fired("R10_URETER", text, odds=odds, klass=LesionClass.PHYSIOLOGIC)
        if case.measures.volume_ml <= rule.short_ml:
            return _short_piece(case, text, rule)
    return None


def _short_piece(case: Case, text: str, rule: Ureter) -> Fired:
    """No longer than a node is: thin, it may be either; a ureter that is not dilated is never as thick as most nodes."""
    text += f", but only {case.measures.volume_ml:.1f} ml and {case.elongation:.1f} times longer than wide: ureter or node?"
    if case.width_mm < rule.thick_mm:
        return Fired("R10_URETER_OR_NODE", text, odds=rule.short_odds)
    text += f" With {case.width_mm:.0f} mm it is too thick for a ureter that is not dilated"
    return Fired("R10_URETER_OR_NODE", text, odds=rule.thick_odds)


def renal_bed(case: Case) -> Outcome:
    """R10: beside the spine where kidneys and renal pelves lie: the map of a kidney is never exact, or there is none."""
    options = case.scene.options
    if not options.urinary_excretion:
        return None
    rule = options.renal_bed
    vertebra = case.scene.nearest_vertebra(case)
    if vertebra is None or vertebra.level is None:
        return NotAsked("R10_RENAL_BED", "the level is not known")
    mark = _mark(case.scene, f"vertebra_{vertebra.level.name}")
    if mark is None or vertebra.level.name not in rule.levels or case.share_of_bone() > rule.max_bone_share:
        return None
    aside, behind = case.centre[0] - mark.centre[0], case.centre[1] - mark.centre[1]
    inside = rule.nearest_mm <= abs(aside) <= rule.farthest_mm and -rule.front_mm <= behind <= rule.back_mm
    if not inside or case.probability_of(Organ.LIVER) >= 0.9:
        return None
    where = f"{abs(aside):.0f} mm beside the spine at {vertebra.level.name}"
    return _beside_kidney(case, "left" if aside > 0 else "right", where)


def _beside_kidney(case: Case, side: str, where: str) -> Fired | None:
    """Renal bed of one side, by what its kidney's map says, if there is one."""
    rule, kidney = case.scene.options.renal_bed, _mark(case.scene, f"kidney_{side}")
    hot = case.suv_max >= rule.hot_suv
    if kidney is None:
        text = f"renal bed: {where}, where kidney and renal pelvis lie; no map names this kidney"
        odds = rule.unmapped_odds if hot else rule.odds
        return Fired("R10_RENAL_BED", text, odds=odds, klass=LesionClass.PHYSIOLOGIC)
    away = case.distance(f"kidney_{side}")
    if away is None or away > rule.kidney_mm or case.probability_of(Organ.ADRENAL) >= case.scene.options.bowel.adrenal_from:
        return None
    text = f"renal bed: {where}, {away:.0f} mm from the kidney"
    if hot and abs(case.centre[2] - kidney.centre[2]) <= rule.hilum_mm:
        text += ", at the height of its hilum and as hot as urine"
        return Fired("R10_RENAL_PELVIS", text, odds=rule.pelvis_odds, klass=LesionClass.PHYSIOLOGIC)
    return Fired("R10_RENAL_BED", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _to_polyline(point: Points, line: Points) -> float:
    """Distance (mm) from a point (3,) to a polyline (n, 3)."""
    best = np.inf
    for start, end in pairwise(line):
        way = end - start
        at = np.clip(float((point - start) @ way) / max(float(way @ way), 1e-9), 0.0, 1.0)
        best = min(best, float(np.linalg.norm(point - start - at * way)))
    return best
