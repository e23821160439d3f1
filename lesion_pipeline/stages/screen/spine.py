"""Rules about the spine: cord, degeneration, fracture, haemangioma."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome


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
