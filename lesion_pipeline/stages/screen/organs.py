"""Rules about organs that take up the tracer: ordinary uptake, its spill, bowel."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.imaging.reference_regions import OrganUptake
from lesion_pipeline.stages.screen import heart
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.node_stations import at_a_node_station, in_the_rectum, off_the_sacrum
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

_CAVITY = (Organ.LYMPH_NODE, Organ.SOFT_TISSUE, Organ.PERITONEUM, Organ.GI)


def _words(key: str) -> str:
    return key.replace("_", " ")


def ordinary_uptake(case: Case) -> Outcome:
    """An organ's own uptake: most of it lies inside an organ that takes up this tracer (specification 3.1). A soft mask.

    In an even organ a focus survives that exceeds median + mad_factor * MAD and is small against the organ.
    """
    masks = case.scene.options.masks
    for name, mask in masks.organs.items():
        share = case.share(*mask.keys)
        if share < masks.share:
            continue
        held = max(case.places.codes(*mask.keys), key=lambda code: float(case.shares.near[code]))
        structure = case.places.structures[held]
        key = structure.key if structure is not None else name
        code = f"ORGAN_{name.upper()}"
        usual = case.scene.references.organs.get(key)
        text = f"ordinary uptake of the {_words(key)}: {100 * share:.0f} % inside, SUVmax {case.suv_max:.1f}"
        if mask.even and usual is not None:
            limit = usual.median + masks.mad_factor * usual.mad
            against = f"against {usual.median:.1f} + {masks.mad_factor:g} x {usual.mad:.2f} = {limit:.1f}"
            parts = masks.patchy_factor * usual.upper if name in masks.patchy else 0.0
            if parts > limit:
                limit = parts
                against = f"against {masks.patchy_factor:g} x the {usual.upper:.1f} of its hotter parts = {parts:.1f}"
            small = case.measures.volume_ml <= masks.focus_fraction * case.scene.volume_ml(key)
            if case.suv_max > limit and small:
                said = f"focus that stands out of the {_words(key)}: SUVmax {case.suv_max:.1f} {against}"
                return Fired(f"{code}_FOCUS", said, odds=mask.standing_out_odds * _clear(case, name, usual))
            text = f"{text} {against}"
        foreign = heart.not_its_own(case, name, key) if name in masks.invaded else None
        if foreign is not None:
            return foreign
        if name == "kidney" and case.probability_of(Organ.ADRENAL) >= case.scene.options.bowel.adrenal_from:
            said = f"{text}; but at the front of its top, where the adrenal lies: the map of the kidney may hold it"
            return Fired("ORGAN_KIDNEY_OR_ADRENAL", said, odds=masks.adrenal_odds)
        if name in masks.beside and _has_its_own_peak(case, mask.keys):
            said = f"{text}; but its hottest voxel lies outside that map, apart from its own uptake: a node at the wall?"
            return Fired(f"{code}_OR_NODE", said, odds=masks.beside_odds)
        return Fired(code, text, odds=mask.odds, klass=LesionClass.PHYSIOLOGIC)
    return None


def _has_its_own_peak(case: Case, keys: tuple[str, ...]) -> bool:
    """Its hottest voxel lies outside the organ, of which a larger and hotter candidate holds the rest."""
    hottest = case.points[[int(np.argmax(case.weights))]]
    if int(case.places.solid(hottest)[0]) in case.places.codes(*keys):
        return False
    share, volume = case.scene.options.masks.share, case.measures.volume_ml
    others = [c for c in case.siblings if c is not case and c.measures.volume_ml > volume and c.suv_max > case.suv_max]
    return any(other.share(*keys) >= share for other in others)


def _clear(case: Case, organ: str, usual: OrganUptake) -> float:
    """Odds for a focus far above the organ's own unevenness, SUVpeak too: neither its tissue nor its noise does that."""
    masks, peak = case.scene.options.masks, case.measures.suv_peak
    far = case.suv_max > usual.median + masks.clear_factor * usual.mad
    clear = far and peak is not None and peak > usual.median + masks.clear_peak_factor * usual.mad
    return masks.clear_odds if clear and organ in masks.clear else 1.0


def spill(case: Case) -> Outcome:
    """Uptake cut from a hotter organ's own and beside it, in no structure of its own: the organ's map is not exact."""
    masks = case.scene.options.masks
    parent = case.finding.located.candidate.parent
    if parent is None or case.share_of_bone() >= 0.3 or _in_even_organ(case) or _is_an_adrenal(case):
        return None
    for other in case.siblings:
        if other is case or other.finding.located.candidate.parent != parent or other.suv_max <= case.suv_max:
            continue
        for name, mask in masks.organs.items():
            if mask.even or other.share(*mask.keys) < masks.share:
                continue
            away = case.distance(*mask.keys)
            if away is not None and away <= masks.spill_mm and case.share(*mask.keys) < masks.share:
                text = (
                    f"joins the uptake of the {_words(name)} (SUVmax {other.suv_max:.1f} against {case.suv_max:.1f}) "
                    f"and lies {away:.0f} mm from it"
                )
                return Fired("ORGAN_SPILL", text, odds=masks.spill_odds, klass=LesionClass.PHYSIOLOGIC)
    return None


def _is_an_adrenal(case: Case) -> bool:
    """At the adrenal's place and clear of what lies round it: it always touches a kidney, and is no piece of one for that."""
    peak, around = case.measures.suv_peak, case.measures.background
    if case.probability_of(Organ.ADRENAL) < 0.5 or not peak or not around:
        return False
    return peak / around >= case.scene.options.masks.spill_contrast


def _in_even_organ(case: Case) -> bool:
    """Most of it lies in an organ of even uptake, whose own rule says whether it stands out."""
    masks = case.scene.options.masks
    return any(mask.even and case.share(*mask.keys) >= masks.share for mask in masks.organs.values())


def bowel(case: Case) -> Outcome:
    """R11: inside bowel, stomach or gallbladder; a focal nodule keeps a floor. Without a map of the bowel: a doubt, no more.

    Where nodes lie the doubt is small; a long or large piece is a segment, and one of several alike is the bowel's pattern.
    """
    return _bowel(case, patterns=True)


def plain_bowel(case: Case) -> Outcome:
    """R11 without its patterns, for tracers whose rule GUT has patterns of its own."""
    return _bowel(case, patterns=False)


def _bowel(case: Case, *, patterns: bool) -> Outcome:
    rule = case.scene.options.bowel
    elsewhere = case.probability_of(Organ.LIVER) >= 0.5 or case.share("kidney") >= case.scene.options.masks.share
    if patterns and case.probability_of(Organ.ADRENAL) >= rule.adrenal_from and not elsewhere:
        text = "where the adrenal lies, which stomach and bowel touch: their uptake cannot be told from its"
        return Fired("R11_BOWEL_OR_ADRENAL", text, odds=rule.station_odds)
    if not case.places.codes(*rule.keys):
        return _unmapped_bowel(case, patterns=patterns)
    share = case.share(*rule.keys)
    if share < rule.share:  # a coarse map misses loops: beside it the doubt of an unmapped bowel stays
        return _unmapped_bowel(case, patterns=patterns) if _beside_bowel(case) else None
    return _mapped_bowel(case, share, patterns=patterns)


def _beside_bowel(case: Case) -> bool:
    rule = case.scene.options.bowel
    away = case.distance(*rule.keys)
    return away is not None and away <= rule.near_mm


def _mapped_bowel(case: Case, share: float, *, patterns: bool) -> Fired:
    rule = case.scene.options.bowel
    held = max(case.places.codes(*rule.keys), key=lambda code: float(case.shares.near[code]))
    structure = case.places.structures[held]
    name = structure.key if structure is not None else "bowel"
    usual = case.scene.references.organs.get(name)
    text = f"{_words(name)}: {100 * share:.0f} % inside"
    small = case.measures.volume_ml <= rule.focal_ml and case.elongation < 2.0
    if patterns and _where_nodes_lie(case):
        text += (
            ", but beside the great vessels or at the wall of the pelvis, where nodes lie and the map of the bowel is coarse"
        )
        return Fired("R11_BOWEL_OR_NODE", text, odds=rule.station_odds)
    if usual is not None and small and case.suv_max > rule.focal_ratio * usual.median:
        alike = [c.finding.id for c in case.siblings if patterns and c is not case and _as_bright_in_bowel(c, case)]
        text += f", a focal nodule of {case.suv_max / usual.median:.1f} times the segment's median"
        if len(alike) < rule.several:
            return Fired("R11_BOWEL_FOCUS", text, odds=rule.odds, floor=rule.focal_floor)
        text += f"; {len(alike)} further places along the bowel are about as bright ({', '.join(alike[:4])}): its own pattern"
        return Fired("R11_BOWEL_SEVERAL", text, odds=rule.several_odds, klass=LesionClass.PHYSIOLOGIC)
    text += f", SUVmax {case.suv_max:.1f}"
    if patterns and _is_segment(case):
        text += f", {case.measures.volume_ml:.0f} ml and {case.elongation:.1f} times longer than wide: a segment, no focus"
        return Fired("R11_BOWEL_SEGMENT", text, odds=rule.segment_odds, klass=LesionClass.PHYSIOLOGIC)
    return Fired("R11_BOWEL", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def lumen(case: Case) -> Outcome:
    """In or beside the bowel's map, and what the CT shows there is gas or fat: a lesion is soft tissue, a loop has a lumen."""
    bowel_rule, rule = case.scene.options.bowel, case.scene.options.lumen
    if case.site.organ not in _CAVITY or case.probability_of(Organ.BONE) >= 0.3:
        return None
    if case.share(*bowel_rule.keys) < bowel_rule.share and not _beside_bowel(case):
        return None
    steps = np.arange(-rule.radius_mm, rule.radius_mm + 0.1, 2.0)
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    ball = cube[np.linalg.norm(cube, axis=1) <= rule.radius_mm]
    seen = case.scene.hounsfield(case.centre + ball, case.frame)
    if seen is None:
        return NotAsked("R11_BOWEL_LUMEN", "no CT of the place")
    hu = float(seen.mean())
    if hu >= rule.soft_hu:
        return None
    text = f"in the bowel or beside it, {hu:.0f} HU within {rule.radius_mm:g} mm of its centre on CT"
    if hu < rule.gas_hu:
        said = f"{text}: gas of a lumen, where a lesion is soft tissue"
        return Fired("R11_BOWEL_GAS", said, ceiling=rule.gas_ceiling, klass=LesionClass.PHYSIOLOGIC)
    return Fired("R11_BOWEL_LUMEN", f"{text}: less than soft tissue", odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _where_nodes_lie(case: Case) -> bool:
    return at_a_node_station(case) and not in_the_rectum(case) and not off_the_sacrum(case)


def _is_segment(case: Case) -> bool:
    rule = case.scene.options.bowel
    return case.measures.volume_ml >= rule.segment_ml or case.elongation >= rule.segment_elongation


def _as_bright_in_bowel(other: Case, case: Case) -> bool:
    rule = case.scene.options.bowel
    return other.suv_max * rule.alike_ratio >= case.suv_max and other.share(*rule.keys) >= rule.share


def _unmapped_bowel(case: Case, *, patterns: bool) -> Outcome:
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
    away = case.distance("aorta")
    if case.centre[2] > top or (away is not None and away <= rule.retroperitoneum_mm):
        return None
    sacrum = case.scene.sacrum
    pelvic = sacrum is not None and case.centre[2] < sacrum.high[2] and abs(case.centre[0] - sacrum.centre[0]) < 60.0
    # LPS y grows to the back: before the lumbar spine, and in the pelvis before the sacrum's own middle
    front = sacrum.centre[1] if pelvic and sacrum is not None else float(np.mean([c[1] for c in lumbar]))
    if case.centre[1] > front:
        return None
    mapped = "beside the bowel's coarse map" if case.places.codes(*rule.keys) else "where no map names the bowel"
    text = f"in the abdominal cavity, {mapped}: bowel content cannot be told from a lesion"
    if patterns and _where_nodes_lie(case) and not _is_segment(case):
        return Fired("R11_BOWEL_OR_NODE", f"{text}, but nodes lie here too", odds=rule.station_odds)
    return Fired(
        "R11_BOWEL_UNMAPPED",
        text,
        odds=min(rule.unmapped_odds, rule.segment_odds) if patterns and _is_segment(case) else rule.unmapped_odds,
    )
