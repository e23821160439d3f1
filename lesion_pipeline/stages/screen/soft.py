"""Rules about soft tissue: brown fat, muscle, ganglia, symmetric hilar nodes."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case, Scene
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

_BROWN_FAT_SITES = (
    "clavicle",
    "scapula",
    "humerus",
    "rib",
    "rib_left",
    "rib_right",
    "vertebra",
    "kidney",
    "adrenal",
    "sternum",
)


def _mirror_image(case: Case, within_mm: float) -> Case | None:
    """The finding nearest to this one's reflection in the midline, if there is one within reach; never the finding itself."""
    middle = case.scene.midline_at(float(case.centre[2]))
    if middle is None or abs(case.centre[0] - middle) < within_mm / 2:
        return None
    image = np.array([2 * middle - case.centre[0], case.centre[1], case.centre[2]])
    away = [(float(np.linalg.norm(c.centre - image)), n) for n, c in enumerate(case.siblings) if c is not case]
    nearest = min(away, default=None)
    return case.siblings[nearest[1]] if nearest is not None and nearest[0] <= within_mm else None


def brown_fat(case: Case) -> Outcome:
    """R1: most of it has the density of fat, at a site of brown fat, better with a mirror image."""
    rule = case.scene.options.brown_fat
    if case.share_of_bone() > rule.max_bone_share:
        return None
    hu = case.hounsfield
    if hu is None:
        return NotAsked("R1_BROWN_FAT", "no CT of the place")
    core = hu.reshape(len(case.weights), -1)[case.weights >= rule.core * float(case.weights.max())]
    fat = float(np.mean((core >= rule.hu_low) & (core <= rule.hu_high)))
    near = case.distance(*_BROWN_FAT_SITES)
    if fat < rule.fat_share or near is None or near > rule.near_mm:
        return None
    twin = _mirror_image(case, rule.mirror_mm)
    middle = float(np.median(core))
    pure = middle < rule.pure_hu  # a node in fat has its rim in it, and by chance a mirror image
    odds = rule.odds_mirrored if twin is not None and pure else rule.odds_single
    other = "no mirror image" if twin is None else f"mirror image {twin.finding.id}"
    text = f"brown fat: {100 * fat:.0f} % has {rule.hu_low:g} to {rule.hu_high:g} HU, {other}"
    if twin is not None and not pure:
        text += f"; but its median of {middle:.0f} HU is not that of fat alone"
    return Fired("R1_BROWN_FAT", text, odds=odds, klass=LesionClass.PHYSIOLOGIC)


def _foot_of_neck(scene: Scene, level: str) -> float | None:
    """Height (LPS z, mm) above which the neck begins: the middle of that vertebra, or the top of T1 where it is not named."""
    mark = scene.landmarks.get(f"vertebra_{level}")
    if mark is not None:
        return mark.centre[2]
    below = scene.landmarks.get("vertebra_T1")
    return below.high[2] if below is not None else None


def head_and_neck_pair(case: Case) -> Outcome:
    """Tonsils, salivary and lacrimal glands, vocal cords: a pair of about the same uptake on both sides of the head or neck."""
    rule = case.scene.options.pair
    floor = _foot_of_neck(case.scene, rule.below_level)
    if floor is None:
        return NotAsked("PAIR_HEAD_NECK", f"no {rule.below_level} in the anatomy")
    if case.centre[2] < floor or case.share_of_bone() > rule.max_bone_share:
        return None
    twin = _mirror_image(case, rule.mirror_mm)
    if twin is not None and _alike(case, twin, rule.suv_ratio):
        text = f"pair in the head or neck: mirror image {twin.finding.id}, SUVmax {twin.suv_max:.1f} against {case.suv_max:.1f}"
        return Fired("PAIR_HEAD_NECK", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)
    middle = case.scene.midline_at(float(case.centre[2]))
    if middle is not None and _in_pharynx(case, middle):
        text = (
            f"{abs(case.centre[0] - middle):.0f} mm from the midline of the head or neck, where tonsils, tongue, palate, nose "
            f"and larynx take up the tracer: SUVmax {case.suv_max:.1f}"
        )
        return Fired(
            "MIDLINE_HEAD_NECK", text, odds=rule.midline_odds, ceiling=rule.midline_ceiling, klass=LesionClass.PHYSIOLOGIC
        )
    return None


def _alike(one: Case, other: Case, ratio: float) -> bool:
    return max(one.suv_max, other.suv_max) <= ratio * min(one.suv_max, other.suv_max)


def _in_pharynx(case: Case, middle: float) -> bool:
    """In the midline, or near it before the spine: nodes of the neck lie farther out, along the great vessels."""
    rule = case.scene.options.pair
    aside = abs(case.centre[0] - middle)
    if aside <= rule.midline_mm:
        return True
    marks = case.scene.landmarks.items()
    bodies = [m for key, m in marks if key.startswith("vertebra_") and not key.endswith("_posterior")]
    if aside > rule.pharynx_mm or not bodies:
        return False
    return bool(case.centre[1] < min(bodies, key=lambda m: abs(m.centre[2] - case.centre[2])).low[1])


def ovaries(case: Case) -> Outcome:
    """3.1: ovaries take up FDG before the menopause: a pair of about the same uptake in the cavity of the pelvis."""
    rule = case.scene.options.ovaries
    if case.scene.study.patient.sex == "M" or case.share_of_bone() > rule.max_bone_share:
        return None
    sacrum = case.scene.sacrum
    if sacrum is None:
        return NotAsked("OVARIES", "no sacrum in the anatomy")
    aside = abs(case.centre[0] - sacrum.centre[0])
    if not sacrum.low[2] <= case.centre[2] <= sacrum.high[2] or not rule.aside_low_mm <= aside <= rule.aside_high_mm:
        return None
    wall = case.distance("hip", "sacrum", "vertebra_S")
    if case.centre[1] >= sacrum.centre[1] or (wall is not None and wall <= rule.wall_mm):
        return None
    twin = _mirror_image(case, rule.mirror_mm)
    if twin is None or not _alike(case, twin, rule.suv_ratio):
        return None
    text = (
        f"ovaries: {aside:.0f} mm beside the midline in the cavity of the pelvis, mirror image {twin.finding.id} with SUVmax "
        f"{twin.suv_max:.1f} against {case.suv_max:.1f}"
    )
    return Fired("OVARIES", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def muscle(case: Case) -> Outcome:
    """R2: long, inside muscle, with a mirror image."""
    rule = case.scene.options.muscle
    if not case.places.codes(*rule.keys):
        return NotAsked("R2_MUSCLE", "no muscle in the anatomy")
    share = case.share(*rule.keys)
    if share < rule.share or case.elongation <= rule.elongation:
        return None
    twin = _mirror_image(case, rule.mirror_mm)
    if twin is None:
        return None
    text = f"muscle: {100 * share:.0f} % inside, {case.elongation:.1f} times longer than wide, mirror image {twin.finding.id}"
    return Fired("R2_MUSCLE", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def ganglion(case: Case) -> Outcome:
    """R9: a faint band or teardrop beside the spine where sympathetic ganglia lie (PSMA)."""
    rule = case.scene.options.ganglia
    if case.suv_max >= rule.below_suv or case.measures.volume_ml > rule.max_ml:
        return None
    vertebra = case.scene.nearest_vertebra(case)
    if vertebra is None or vertebra.level is None:
        return NotAsked("R9_GANGLION", "the level is not known")
    if vertebra.level.name not in rule.levels or case.share_of_bone() > rule.max_bone_share:
        return None
    spine = [case.nearby[code] for code in case.places.codes_of_kind(StructureKind.VERTEBRA) if code in case.nearby]
    spine += [d for d in (case.distance("sacrum"),) if d is not None]
    if not spine or min(spine) > rule.reach_mm or case.elongation < rule.elongation:
        return None
    text = (
        f"ganglion: {min(spine):.0f} mm from the spine at {vertebra.level.name}, SUVmax {case.suv_max:.1f}, "
        f"{case.elongation:.1f} times longer than wide"
    )
    return Fired("R9_GANGLION", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def blood_pool(case: Case) -> Outcome:
    """No brighter than the blood: a vessel beside which no map knows better, or a lesion that the tracer does not show."""
    rule = case.scene.options.blood_pool
    blood = case.scene.references.blood
    if blood is None:
        return NotAsked("BLOOD_POOL", "no blood reference")
    ratio = case.suv_max / max(blood.mean, 1e-6)
    even = float(case.weights.mean()) / max(blood.mean, 1e-6)
    like_blood = even <= rule.vessel_ratio and ratio <= rule.vessel_top
    if case.measures.volume_ml >= rule.vessel_ml and like_blood and case.share_of_bone() < 0.3:
        text = f"a vessel: {case.measures.volume_ml:.0f} ml with a mean SUV of {even:.1f} times the mean of the aorta"
        return Fired("BLOOD_POOL_VESSEL", text, odds=rule.vessel_odds, klass=LesionClass.PHYSIOLOGIC)
    if ratio > rule.ratio:
        return None
    text = f"no brighter than blood: SUVmax {case.suv_max:.1f}, {ratio:.1f} times the mean of the aorta, as vessels are"
    return Fired("BLOOD_POOL", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def hilar_nodes(case: Case) -> Outcome:
    """R18: symmetric hilar or mediastinal nodes that are little brighter than the liver."""
    rule = case.scene.options.hilar
    inside = case.places.region("mediastinum", case.centre[None, :])
    near_lungs = case.distance("lung_left") is not None and case.distance("lung_right") is not None
    if inside is None and not near_lungs:
        return NotAsked("R18_HILAR", "no mediastinum in the anatomy")
    liver = case.scene.references.liver
    if liver is None:
        return NotAsked("R18_HILAR", "no liver reference")
    if not (near_lungs if inside is None else bool(inside[0])) or case.suv_max > rule.liver_ratio * liver.mean:
        return None
    twin = _mirror_image(case, rule.mirror_mm)
    if twin is None or not _alike(case, twin, rule.suv_ratio):
        return None
    text = (
        f"symmetric mediastinal node: SUVmax {case.suv_max:.1f}, {case.suv_max / liver.mean:.1f} times the liver, "
        f"mirror image {twin.finding.id}"
    )
    return Fired("R18_HILAR", text, odds=rule.odds, klass=LesionClass.BENIGN)
