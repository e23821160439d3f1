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
    middle = case.scene.midline_x
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
    fat = float(np.mean((hu >= rule.hu_low) & (hu <= rule.hu_high)))
    near = case.distance(*_BROWN_FAT_SITES)
    if fat < rule.fat_share or near is None or near > rule.near_mm:
        return None
    twin = _mirror_image(case, rule.mirror_mm)
    odds = rule.odds_single if twin is None else rule.odds_mirrored
    other = "no mirror image" if twin is None else f"mirror image {twin.finding.id}"
    text = f"brown fat: {100 * fat:.0f} % has {rule.hu_low:g} to {rule.hu_high:g} HU, {other}"
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
    middle = case.scene.midline_x
    if middle is not None and abs(case.centre[0] - middle) <= rule.midline_mm:
        text = (
            f"in the midline of the head or neck, where larynx, tongue and palate take up the tracer: SUVmax {case.suv_max:.1f}"
        )
        return Fired("MIDLINE_HEAD_NECK", text, odds=rule.midline_odds, klass=LesionClass.PHYSIOLOGIC)
    twin = _mirror_image(case, rule.mirror_mm)
    if twin is None or max(case.suv_max, twin.suv_max) > rule.suv_ratio * min(case.suv_max, twin.suv_max):
        return None
    text = f"pair in the head or neck: mirror image {twin.finding.id} with SUVmax {twin.suv_max:.1f} against {case.suv_max:.1f}"
    return Fired("PAIR_HEAD_NECK", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


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
    if twin is None:
        return None
    text = (
        f"symmetric mediastinal node: SUVmax {case.suv_max:.1f}, {case.suv_max / liver.mean:.1f} times the liver, "
        f"mirror image {twin.finding.id}"
    )
    return Fired("R18_HILAR", text, odds=rule.odds, klass=LesionClass.BENIGN)
