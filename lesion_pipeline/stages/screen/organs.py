"""Rules about organs that take up or carry the tracer: ordinary uptake, its spill, ureter, bowel."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case, Points
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

_CAVITY = (Organ.LYMPH_NODE, Organ.SOFT_TISSUE, Organ.PERITONEUM, Organ.GI)


def _words(key: str) -> str:
    return key.replace("_", " ")


def ordinary_uptake(case: Case) -> Outcome:
    """An organ's own uptake: most of it lies inside an organ that takes up this tracer (specification 3.1). A soft mask."""
    masks = case.scene.options.masks
    for prefix, mask in masks.organs.items():
        keys = [k for k in (s.key for s in case.places.structures if s) if k == prefix or k.startswith(prefix + "_")]
        share = case.share(prefix)
        if not keys or share < masks.share:
            continue
        name = _words(max(keys, key=case.share))
        code = f"ORGAN_{prefix.upper()}"
        usual = case.scene.references.organs.get(max(keys, key=case.share))
        if mask.even and usual is not None:
            limit = usual.median + masks.mad_factor * usual.mad
            numbers = (
                f"SUVmax {case.suv_max:.1f} against {usual.median:.1f} + {masks.mad_factor:g} x {usual.mad:.2f} = {limit:.1f}"
            )
            if case.suv_max > limit:
                return Fired(f"{code}_FOCUS", f"focus that stands out of the {name}: {numbers}", odds=mask.standing_out_odds)
            return Fired(code, f"ordinary uptake of the {name}: {100 * share:.0f} % inside, {numbers}", odds=mask.odds,
                         klass=LesionClass.PHYSIOLOGIC)  # fmt: skip
        text = f"ordinary uptake of the {name}: {100 * share:.0f} % inside, SUVmax {case.suv_max:.1f}"
        return Fired(code, text, odds=mask.odds, klass=LesionClass.PHYSIOLOGIC)
    return None


def spill(case: Case) -> Outcome:
    """Uptake cut from a hotter organ's own and beside it, in no structure of its own: the organ's map is not exact."""
    masks = case.scene.options.masks
    parent = case.finding.located.candidate.parent
    if parent is None or case.share_of_bone() >= 0.3:
        return None
    for other in case.siblings:
        if other is case or other.finding.located.candidate.parent != parent or other.suv_max <= case.suv_max:
            continue
        for prefix, mask in masks.organs.items():
            if mask.even or other.share(prefix) < masks.share:
                continue
            away = case.distance(prefix)
            if away is not None and away <= masks.spill_mm and case.share(prefix) < masks.share:
                text = (
                    f"joins the uptake of the {_words(prefix)} (SUVmax {other.suv_max:.1f} against {case.suv_max:.1f}) "
                    f"and lies {away:.0f} mm from it"
                )
                return Fired("ORGAN_SPILL", text, odds=masks.spill_odds, klass=LesionClass.PHYSIOLOGIC)
    return None


def ureter(case: Case) -> Outcome:
    """R10: inside a tube from the kidney along the psoas to the bladder, elongated head to foot or short, not in bone."""
    options = case.scene.options
    if not options.urinary_excretion:
        return None
    rule = options.ureter
    marks = case.scene.landmarks
    bladder = marks.get("urinary_bladder")
    kidneys = [(side, marks.get(f"kidney_{side}")) for side in ("left", "right")]
    if bladder is None or all(k is None for _, k in kidneys):
        missing = "bladder" if bladder is None else "kidneys"
        return NotAsked("R10_URETER", f"no {missing} in the anatomy")
    spine = [m.centre for key, m in marks.items() if key.startswith("vertebra_L")]
    middle = float(np.mean([c[0] for c in spine])) if spine else bladder.centre[0]
    for side, kidney in kidneys:
        if kidney is None:
            continue
        sign = 1.0 if side == "left" else -1.0
        hilum = np.array([(kidney.centre[0] + (kidney.low[0] if side == "left" else kidney.high[0])) / 2, *kidney.centre[1:]])
        psoas_x = middle + sign * rule.psoas_mm
        lower = 0.35 * kidney.low[2] + 0.65 * bladder.high[2]
        along = np.array([psoas_x, hilum[1] - 5.0, lower])
        above = np.array([psoas_x, hilum[1], min(kidney.low[2], hilum[2])])
        end = np.array([bladder.centre[0] + sign * 25.0, bladder.centre[1] + 15.0, bladder.centre[2]])
        away = _to_polyline(case.centre, np.stack([hilum, above, along, end]))
        if away > rule.tube_mm or not end[2] - rule.tube_mm <= case.centre[2] <= kidney.high[2]:
            continue
        long = case.elongation >= rule.elongation and case.along_body >= 0.7
        if not (long or case.measures.volume_ml <= rule.short_ml) or case.share_of_bone() > rule.max_bone_share:
            continue
        shape = f"{case.elongation:.1f} times longer than wide, head to foot" if long else f"{case.measures.volume_ml:.1f} ml"
        text = f"{side} ureter: {away:.0f} mm from its course between kidney and bladder, {shape}"
        return Fired("R10_URETER", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)
    return None


def renal_bed(case: Case) -> Outcome:
    """R10: beside the spine where kidneys and renal pelves lie, outside a drawn kidney: the map of a kidney is never exact."""
    options = case.scene.options
    if not options.urinary_excretion:
        return None
    rule = options.renal_bed
    vertebra = case.scene.nearest_vertebra(case)
    if vertebra is None or vertebra.level is None:
        return NotAsked("R10_RENAL_BED", "the level is not known")
    mark = case.scene.landmarks.get(f"vertebra_{vertebra.level.name}")
    if mark is None or vertebra.level.name not in rule.levels or case.share_of_bone() > rule.max_bone_share:
        return None
    aside, behind = abs(case.centre[0] - mark.centre[0]), case.centre[1] - mark.centre[1]
    if not rule.nearest_mm <= aside <= rule.farthest_mm or not -rule.front_mm <= behind <= rule.back_mm:
        return None
    if case.site.organ is Organ.LIVER and case.site.organ_probabilities[0][1] >= 0.9:
        return None
    text = f"renal bed: {aside:.0f} mm beside the spine at {vertebra.level.name}, where kidney and renal pelvis lie"
    return Fired("R10_RENAL_BED", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _to_polyline(point: Points, line: Points) -> float:
    """Distance (mm) from a point (3,) to a polyline (n, 3)."""
    best = np.inf
    for start, end in pairwise(line):
        way = end - start
        at = np.clip(float((point - start) @ way) / max(float(way @ way), 1e-9), 0.0, 1.0)
        best = min(best, float(np.linalg.norm(point - start - at * way)))
    return best


def bowel(case: Case) -> Outcome:
    """R11: inside bowel, stomach or gallbladder; a focal nodule keeps a floor. Without a map of the bowel: a doubt, no more."""
    rule = case.scene.options.bowel
    if not case.places.codes(*rule.keys):
        return _unmapped_bowel(case)
    share = case.share(*rule.keys)
    if share < rule.share:
        return None
    held = max(case.places.codes(*rule.keys), key=lambda code: float(case.shares.near[code]))
    structure = case.places.structures[held]
    name = structure.key if structure is not None else "bowel"
    usual = case.scene.references.organs.get(name)
    text = f"{_words(name)}: {100 * share:.0f} % inside"
    if usual is not None and case.suv_max > rule.focal_ratio * usual.median and case.elongation < 2.0:
        text += f", a focal nodule of {case.suv_max / usual.median:.1f} times the segment's median"
        return Fired("R11_BOWEL_FOCUS", text, odds=rule.odds, floor=rule.focal_floor)
    return Fired("R11_BOWEL", f"{text}, SUVmax {case.suv_max:.1f}", odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _unmapped_bowel(case: Case) -> Outcome:
    """A focus of the abdominal cavity that may be bowel, for nobody drew the bowel."""
    rule = case.scene.options.bowel
    organ = case.site.organ
    if organ not in _CAVITY or case.probability_of(Organ.BONE) >= 0.3:
        return None
    marks = case.scene.landmarks
    liver, kidney = marks.get("liver"), marks.get("kidney_left") or marks.get("kidney_right")
    top = liver.centre[2] if liver is not None else kidney.high[2] if kidney is not None else None
    lumbar = [m.centre for key, m in marks.items() if key.startswith("vertebra_L") and not key.endswith("_posterior")]
    if top is None or not lumbar:
        return NotAsked("R11_BOWEL", "no bowel in the anatomy")
    front = float(np.mean([c[1] for c in lumbar]))  # LPS y grows to the back
    if case.centre[2] > top or case.centre[1] > front:
        return None
    text = "in the abdominal cavity, where no map names the bowel: bowel content cannot be told from a lesion"
    return Fired("R11_BOWEL_UNMAPPED", text, odds=rule.unmapped_odds)
