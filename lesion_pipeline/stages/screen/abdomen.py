"""Organs of the abdomen that take up receptor ligands and that no map may name: gallbladder, kidneys, bowel (3.1, R11)."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import Organ, StructureKind
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.imaging.places import Landmark
from lesion_pipeline.imaging.shares import round_about
from lesion_pipeline.stages.screen import organs
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.node_stations import at_a_node_station, lumbar_bodies, on_the_pelvic_floor
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome
from lesion_pipeline.stages.screen.receptor_tables import Kidneys

_LIVER_PROBE_MM = 9.0


def bile(case: Case) -> Outcome:
    """Gallbladder and ducts: beside or under the liver, with the density of fluid; a metastasis is denser."""
    rule = case.scene.options.bile
    liver = case.scene.landmarks.get("liver")
    if liver is None:
        return NotAsked("BILE", "no liver in the anatomy")
    away = case.distance("liver")
    if away is None or away > rule.near_mm or case.share_of_bone() > rule.max_bone_share:
        return None
    middle = case.scene.midline_x  # LPS: x falls to the right, where the gallbladder lies; nodes at the coeliac axis do not
    if middle is not None and middle - case.centre[0] < rule.aside_mm:
        return None
    hu = _core_hounsfield(case, rule.core)
    if hu is None:
        return NotAsked("BILE", "no CT of the place")
    tissue = _liver_hounsfield(case)
    if hu > rule.fluid_hu or (tissue is not None and tissue - hu < rule.below_liver_hu):
        return None
    at_its_place = case.centre[2] <= liver.centre[2] + rule.low_mm and case.centre[1] <= liver.centre[1] + rule.front_mm
    against = f" against {tissue:.0f} HU of the liver" if tissue is not None else ""
    where = "under the front of the liver, where the gallbladder lies" if at_its_place else "beside the liver"
    text = f"bile: {hu:.0f} HU{against}, fluid {where}"
    odds = rule.odds if at_its_place else rule.elsewhere_odds
    return Fired("BILE", text, odds=odds, klass=LesionClass.PHYSIOLOGIC)


def _core_hounsfield(case: Case, core: float) -> float | None:
    """Mean HU where the uptake is at least ``core`` of the highest: the rim is mixed with its neighbours."""
    hu = case.hounsfield
    if hu is None:
        return None
    hot = case.weights >= core * float(case.weights.max())
    return float(hu.reshape(len(case.weights), -1)[hot].mean())


def _liver_hounsfield(case: Case) -> float | None:
    """Median HU round the centre of the liver's reference sphere; None without one."""
    reference = case.scene.references.liver
    if reference is None:
        return None
    axis = np.arange(-_LIVER_PROBE_MM, _LIVER_PROBE_MM + 0.1, 3.0)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    hu = case.scene.hounsfield(np.array(reference.centre_lps_mm) + offsets, case.frame)
    return float(np.median(hu)) if hu is not None else None


def kidneys(case: Case) -> Outcome:
    """A body as large and as bright as a kidney, where the kidneys lie, or a piece of one against the map of the rest."""
    rule = case.scene.options.kidneys
    return _whole_kidney(case, rule) or _piece_of_kidney(case, rule)


def _whole_kidney(case: Case, rule: Kidneys) -> Outcome:
    vertebra = case.scene.nearest_vertebra(case)
    if vertebra is None or vertebra.level is None:
        return NotAsked("KIDNEYS", "the level is not known")
    mark = case.scene.landmarks.get(f"vertebra_{vertebra.level.name}")
    if mark is None or vertebra.level.name not in rule.levels or case.share_of_bone() > rule.max_bone_share:
        return None
    aside, behind = abs(case.centre[0] - mark.centre[0]), case.centre[1] - mark.centre[1]
    if not (rule.aside_low_mm <= aside <= rule.aside_high_mm and -rule.front_mm <= behind <= rule.back_mm):
        return None
    volume = case.measures.volume_ml
    if volume < rule.volume_ml or case.suv_max < rule.hot_suv:
        return None
    text = (
        f"kidney: {volume:.0f} ml with SUVmax {case.suv_max:.0f}, {aside:.0f} mm beside the spine at {vertebra.level.name}, "
        "the size, the place and the uptake of a kidney"
    )
    return Fired("KIDNEYS", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _piece_of_kidney(case: Case, rule: Kidneys) -> Fired | None:
    """Kidneys rise and fall between CT and PET: what lies against the map of one and is as bright as it is a piece of it.

    An adrenal metastasis may look the same; it stays a doubt.
    """
    kidney = case.places.codes("kidney")
    within = float(sum(case.shares.inside[code] for code in kidney))
    if case.share("kidney") >= case.scene.options.masks.share and case.share_of_bone() <= rule.max_bone_share:
        return None  # inside the map, where ORGAN_KIDNEY speaks
    if case.share_of_bone() > rule.max_bone_share and within < rule.piece_share:
        return None
    for code in kidney:
        structure = case.places.structures[code]
        own = case.scene.references.organs.get(structure.key) if structure is not None else None
        away = case.nearby.get(code)
        if own is None or structure is None or away is None or away > rule.piece_mm:
            continue
        if case.suv_max < rule.piece_ratio * own.median or case.suv_max < rule.hot_suv:
            continue
        text = (
            f"piece of the {structure.key.replace('_', ' ')}: {away:.0f} mm from its map, SUVmax {case.suv_max:.0f} against "
            f"{own.median:.0f} of the kidney, which breathing moves between CT and PET; or a lesion of the adrenal or a node"
        )
        return Fired("KIDNEY_PIECE", text, odds=rule.piece_odds, floor=rule.piece_floor, klass=LesionClass.PHYSIOLOGIC)
    return None


def gut(case: Case) -> Outcome:
    """R11 for tracers of which duodenum and small bowel are always bright: mapped bowel, or the cavity where none is mapped."""
    if case.places.codes(*case.scene.options.bowel.keys):
        said = organs.plain_bowel(case)
        if isinstance(said, Fired):
            other = _like_a_node(case, said) or _like_an_adrenal(case, said) or _at_the_edge(case, said)
            return other or _one_of_many(case, said) or said
    lumbar, top = lumbar_bodies(case), _top_of_cavity(case)
    if not lumbar or top is None:
        return NotAsked("R11_BOWEL", "no lumbar spine or liver in the anatomy")
    bone = _inside(case, StructureKind.BONE, StructureKind.VERTEBRA)
    named = bone > case.scene.options.gut.max_bone_share or _inside(case, StructureKind.ORGAN) >= 0.5
    if named or case.centre[2] > top or not _in_cavity(case, lumbar):
        return None
    return _station(case) if at_a_node_station(case) else _loop(case)


def _in_bowel(case: Case) -> bool:
    rule = case.scene.options.bowel
    return case.share(*rule.keys) >= rule.share


def _like_a_node(case: Case, said: Fired) -> Fired | None:
    """Bowel lies against the vessels and the pelvic wall, and its map is not exact: a hot round focus there may be a node."""
    rule = case.scene.options.gut
    if not lumbar_bodies(case) or not at_a_node_station(case):
        return None
    if case.suv_max < rule.faint_suv or case.elongation >= rule.elongation:
        return None
    text = f"{said.text}; but round and hot where nodes lie, beside the great vessels or the pelvic wall: bowel or node?"
    return Fired("R11_BOWEL_OR_NODE", text, odds=rule.node_odds, floor=rule.node_floor)


def _like_an_adrenal(case: Case, said: Fired) -> Fired | None:
    """Stomach and bowel lie against the adrenals: a hot round focus of their map above the front of a kidney may be one."""
    rule = case.scene.options.gut
    if case.suv_max < rule.faint_suv or case.elongation >= rule.elongation:
        return None
    for key in ("kidney_left", "kidney_right"):
        kidney = case.scene.landmarks.get(key)
        if kidney is None:
            continue
        aside, behind, above = (float(case.centre[n] - kidney.centre[n]) for n in range(3))
        top = kidney.high[2] - kidney.centre[2]
        if abs(aside) <= rule.adrenal_mm and -rule.adrenal_mm <= behind <= 0.0 and abs(above - top) <= rule.adrenal_mm:
            text = f"{said.text}; but round and hot above the front of the {key.replace('_', ' ')}: bowel or adrenal?"
            return Fired("R11_BOWEL_OR_ADRENAL", text, odds=rule.adrenal_odds)
    return None


def _at_the_edge(case: Case, said: Fired) -> Fired | None:
    """The map of the bowel takes in what lies against it: partly outside it, with little of it round about and far brighter."""
    rule, bowel = case.scene.options.gut, case.scene.options.bowel
    peak, background = case.measures.suv_peak, case.measures.background
    if not lumbar_bodies(case) or not peak or not background or peak < rule.edge_contrast * background:
        return None
    if case.share(*bowel.keys) > rule.edge_share or _bone_or_below(case):
        return None
    codes = case.places.codes(*bowel.keys)
    if round_about(case.centre, case.measures.volume_ml, bowel.round_mm, case.places, codes) > rule.edge_round:
        return None
    bright = f"{peak / background:.0f} times as bright as what lies round it"
    text = f"{said.text}; but at the edge of its map and {bright}: bowel or node?"
    return Fired("R11_BOWEL_OR_NODE", text, odds=rule.edge_odds, floor=rule.node_floor)


def _bone_or_below(case: Case) -> bool:
    """In bone, or where bladder, rectum and anal canal fill the pelvis."""
    bone = _inside(case, StructureKind.BONE, StructureKind.VERTEBRA)
    return bone > case.scene.options.gut.max_bone_share or on_the_pelvic_floor(case)


def _one_of_many(case: Case, said: Fired) -> Fired | None:
    """Bowel takes up the tracer in stretches: where several foci along it are alike, none of them is a lesion of its own.

    Beside the map it is less sure, and what lies in bone is left to what else is known of it.
    """
    rule = case.scene.options.gut
    if _inside(case, StructureKind.BONE, StructureKind.VERTEBRA) > rule.max_bone_share:
        return None
    least = rule.alike * case.suv_max
    alike = [other for other in case.siblings if other is not case and other.suv_max >= least and _in_bowel(other)]
    if len(alike) < rule.many:
        return None
    text = (
        f"{said.text}; {len(alike)} places in the bowel have at least {100 * rule.alike:.0f} % of its uptake: "
        "bowel takes up this tracer in stretches"
    )
    odds = rule.many_odds if _in_bowel(case) else rule.beside_odds
    if case.site.organ is Organ.LYMPH_NODE and at_a_node_station(case):
        odds = rule.station_odds
        text += "; but the place is one of nodes"
    return Fired("R11_BOWEL_STRETCHES", text, odds=odds, klass=LesionClass.PHYSIOLOGIC)


def _station(case: Case) -> Fired | None:
    """Where nodes lie: large but faint is bowel, for a node of that size is brighter."""
    rule, volume = case.scene.options.gut, case.measures.volume_ml
    faint_and_large = volume >= rule.station_ml and case.suv_max < rule.faint_suv
    if case.site.structure.startswith(case.scene.options.bowel.keys) and not faint_and_large:
        text = f"{volume:.1f} ml against the bowel's map, beside the great vessels or the pelvic wall: bowel or node?"
        return Fired("R11_BOWEL_OR_NODE", text, odds=rule.node_odds, floor=rule.node_floor)
    if not faint_and_large:
        return None
    text = f"bowel rather than a node: {volume:.0f} ml but SUVmax only {case.suv_max:.1f}; bowel takes up this tracer"
    return Fired("R11_BOWEL_FAINT", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _loop(case: Case) -> Fired:
    rule, volume = case.scene.options.gut, case.measures.volume_ml
    if volume >= rule.large_ml or case.elongation >= rule.elongation:
        text = (
            f"bowel: in the abdominal cavity, {volume:.0f} ml and {case.elongation:.1f} times longer than wide, the form of a "
            "loop; duodenum and small bowel take up this tracer"
        )
        return Fired("R11_BOWEL_FORM", text, odds=rule.form_odds, klass=LesionClass.PHYSIOLOGIC)
    text = "in the abdominal cavity, where duodenum and small bowel take up this tracer and no map names this loop"
    return Fired("R11_BOWEL_UNMAPPED", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _inside(case: Case, *kinds: StructureKind) -> float:
    """Share of the uptake inside structures of these kinds, without the margin: the rectum touches the sacrum."""
    return float(sum(case.shares.inside[code] for code in case.places.codes_of_kind(*kinds)))


def _top_of_cavity(case: Case) -> float | None:
    marks = case.scene.landmarks
    if "liver" in marks:
        return marks["liver"].centre[2]
    kidney = marks.get("kidney_left") or marks.get("kidney_right")
    return kidney.high[2] if kidney is not None else None


def _in_cavity(case: Case, lumbar: list[Landmark]) -> bool:
    """Before the lumbar bodies; in the pelvis before the back of the sacrum, between its walls and above the hip joints."""
    marks, rule = case.scene.landmarks, case.scene.options.gut
    sacrum = case.scene.sacrum
    if sacrum is None or case.centre[2] >= sacrum.high[2]:
        nearest = min(lumbar, key=lambda m: abs(m.centre[2] - case.centre[2]))
        return bool(case.centre[1] <= nearest.centre[1])
    joints = [marks[k].high[2] for k in ("femur_left", "femur_right") if k in marks]
    floor = min(joints) if joints else sacrum.low[2]
    aside = abs(case.centre[0] - sacrum.centre[0])
    return bool(case.centre[2] >= floor and aside <= rule.pelvis_mm and case.centre[1] <= sacrum.high[1])
