"""Rules about the spine: cord, degeneration, fracture, haemangioma."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.anatomy import StructureKind
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.imaging.places import Landmark
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome
from lesion_pipeline.stages.screen.rule_tables import Degeneration


def spinal_cord(case: Case) -> Outcome:
    """R4: most of it inside the spinal canal at an enlargement of the cord, faint, longitudinal."""
    rule = case.scene.options.cord
    canal = case.places.region("spinal_canal", case.points)
    if canal is None:
        return NotAsked("R4_SPINAL_CORD", "no spinal canal in the anatomy")
    inside = float(np.average(canal, weights=case.weights))
    if inside < rule.canal_share or case.suv_max >= rule.below_suv:
        return None
    vertebra = case.scene.nearest_vertebra(case)
    if vertebra is None or vertebra.level is None:
        return NotAsked("R4_SPINAL_CORD", "the level is not known")
    if vertebra.level.name not in rule.levels or case.elongation < rule.elongation or case.along_body < 0.7:
        return None
    text = (
        f"spinal cord: {100 * inside:.0f} % inside the canal at {vertebra.level.name}, SUVmax {case.suv_max:.1f}, "
        f"{case.elongation:.1f} times longer than wide"
    )
    return Fired("R4_SPINAL_CORD", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)


def _vertebra(case: Case) -> tuple[str, Landmark] | None:
    """Key and landmark of the vertebral body that holds most of the lesion; None if the lesion is not in a vertebra."""
    best: tuple[float, str] | None = None
    for code in case.places.codes_of_kind(StructureKind.VERTEBRA):
        structure = case.places.structures[code]
        share = float(case.shares.near[code])
        if structure is not None and share >= 0.1 and (best is None or share > best[0]):
            best = (share, structure.key.removesuffix("_posterior"))
    if best is None:
        return None
    mark = case.scene.landmarks.get(best[1])
    return (best[1], mark) if mark is not None else None


def degeneration(case: Case) -> Outcome:
    """R5: beside an endplate or in the posterior joints, with sclerosis on CT and little more uptake than marrow."""
    rule = case.scene.options.degeneration
    held = _vertebra(case)
    if held is None:
        return None
    marrow = case.scene.references.marrow
    if marrow is None:
        return NotAsked("R5_DEGENERATIVE", "no marrow reference")
    ratio = case.suv_max / max(marrow.median, 1e-6)
    if ratio >= rule.marrow_ratio and case.suv_max >= rule.facet_suv:
        return None
    hu = case.hounsfield
    if hu is None:
        return NotAsked("R5_DEGENERATIVE", "no CT of the place")
    plain = _worn(case, held, float(np.percentile(hu, 90)), ratio) if ratio < rule.marrow_ratio else None
    return plain or _facet(case, float(hu.mean()), rule)


def _worn(case: Case, held: tuple[str, Landmark], dense_hu: float, ratio: float) -> Fired | None:
    """Little more uptake than marrow where CT shows sclerosis: a tenth of it above dense_hu."""
    rule, (key, mark) = case.scene.options.degeneration, held
    to_endplate = float(min(abs(case.centre[2] - mark.low[2]), abs(case.centre[2] - mark.high[2])))
    posterior = case.share(f"{key}_posterior") > case.share_of(key)
    if dense_hu < rule.sclerosis_hu or not (posterior or to_endplate <= rule.endplate_mm):
        return None
    where = "posterior joints" if posterior else f"{to_endplate:.0f} mm from an endplate"
    text = f"degenerative: {where}, a tenth of it above {dense_hu:.0f} HU, {ratio:.1f} times marrow"
    return Fired("R5_DEGENERATIVE", text, odds=rule.odds, klass=LesionClass.BENIGN)


def _facet(case: Case, mean_hu: float, rule: Degeneration) -> Fired | None:
    """A joint of the arches is dense all through, and inflamed it is as bright as a faint lesion but no brighter."""
    if mean_hu < rule.facet_hu:
        return None
    arches = [
        code
        for code in case.places.codes_of_kind(StructureKind.VERTEBRA)
        if (structure := case.places.structures[code]) is not None and structure.key.endswith("_posterior")
    ]
    if float(sum(case.shares.near[code] for code in arches)) < rule.facet_share:
        return None
    text = f"facet joint: all in the arches of vertebrae, {mean_hu:.0f} HU on average, SUVmax {case.suv_max:.1f}"
    return Fired("R5_FACET", text, odds=rule.facet_odds, ceiling=rule.facet_ceiling, klass=LesionClass.BENIGN)


def fracture(case: Case) -> Outcome:
    """R6: a band parallel to the endplates in a vertebra that has lost height, posterior elements quiet."""
    rule = case.scene.options.fracture
    held = _vertebra(case)
    if held is None:
        return None
    key, mark = held
    heights = {
        k: m.high[2] - m.low[2]
        for k, m in case.scene.landmarks.items()
        if k.startswith("vertebra_") and not k.endswith("_posterior") and 0 < abs(m.centre[2] - mark.centre[2]) < 60
    }
    if len(heights) < 2:
        return NotAsked("R6_FRACTURE", "no neighbouring vertebrae")
    loss = 1.0 - (mark.high[2] - mark.low[2]) / float(np.mean(list(heights.values())))
    lengths, axes = case.axes
    band = lengths[2] / lengths[1] <= rule.flatness and abs(axes[2][2]) >= 0.8
    if loss < rule.height_loss or not band or case.share(f"{key}_posterior") >= 0.1:
        return None
    text = f"fracture: {100 * loss:.0f} % of the height lost, uptake in a band parallel to the endplate"
    return Fired("R6_FRACTURE", text, odds=rule.odds, klass=LesionClass.BENIGN)


def haemangioma(case: Case) -> Outcome:
    """R16: coarse trabeculae in fat on CT, faint uptake."""
    rule = case.scene.options.haemangioma
    if _vertebra(case) is None or case.suv_max >= rule.below_suv:
        return None
    hu = case.hounsfield
    if hu is None:
        return NotAsked("R16_HAEMANGIOMA", "no CT of the place")
    mean, sd = float(hu.mean()), float(hu.std())
    if mean >= rule.mean_hu_below or sd <= rule.sd_hu_above:
        return None
    text = f"haemangioma: {mean:.0f} HU on average with a spread of {sd:.0f} HU, SUVmax {case.suv_max:.1f}"
    return Fired("R16_HAEMANGIOMA", text, odds=rule.odds, klass=LesionClass.BENIGN)
