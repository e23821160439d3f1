"""What the maps do not know: nodes and lung beside the heart, lesions that the map of the lung leaves out, and the adrenals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.imaging.places import Landmark, Places
from lesion_pipeline.imaging.shares import round_about
from lesion_pipeline.stages.localize.options import Adrenal, Options
from lesion_pipeline.stages.localize.organs import Probabilities, normal

_GIVE_WAY = (Organ.GI, Organ.PERITONEUM, Organ.LYMPH_NODE, Organ.SOFT_TISSUE)


def beside_the_heart(
    organs: Probabilities,
    volume_ml: float,
    centre_lps_mm: npt.NDArray[np.float64],
    nearby: dict[int, float],
    *,
    places: Places,
    options: Options,
) -> Probabilities:
    """The probabilities of a small focus in the heart's map, shared with the nodes or the lung that the map reaches over."""
    rule, mark = options.heart, places.landmarks().get("heart")
    if not organs or organs[0][0] is not Organ.HEART or mark is None or volume_ml > rule.small_ml:
        return organs
    lung = [nearby[code] for code in places.codes("lung") if code in nearby]
    mixed = dict(organs)
    for other, share, near in (
        (Organ.LYMPH_NODE, rule.node, mark.height_of(float(centre_lps_mm[2])) >= rule.upper_from),
        (Organ.LUNG, rule.lung, bool(lung) and min(lung) <= options.nearest_mm),
    ):
        if near:
            mixed = {organ: p * (1.0 - share) for organ, p in mixed.items()}
            mixed[other] = mixed.get(other, 0.0) + share
    return normal(mixed)


def in_the_lung(
    organs: Probabilities, volume_ml: float, centre_lps_mm: npt.NDArray[np.float64], *, places: Places, options: Options
) -> Probabilities:
    """The probabilities of a small focus of the chest by how much lung lies round it.

    A soft lesion of the lung is a hole in the map of the lung and, beside the mediastinum, taken for it; it has lung on most of
    its sides. A node that the map of the lung takes in has not. Unchanged where a map names nodes.
    """
    rule = options.lung
    named = any(s is not None and s.organ is Organ.LYMPH_NODE for s in places.structures)
    lung = places.codes("lung")
    if not organs or not lung or named or volume_ml > rule.small_ml:
        return organs
    first, mixed = organs[0][0], dict(organs)
    share = round_about(centre_lps_mm, volume_ml, rule.beyond_mm, places, lung)
    if share >= rule.round_from and first in (Organ.LYMPH_NODE, Organ.SOFT_TISSUE, Organ.HEART):
        mixed = {organ: p * (1.0 - rule.round_share) for organ, p in organs}
        mixed[Organ.LUNG] = mixed.get(Organ.LUNG, 0.0) + rule.round_share
    elif share < rule.beside_below and first is Organ.LUNG and Organ.LYMPH_NODE in mixed:
        moved = rule.beside_share * mixed[Organ.LUNG]
        mixed[Organ.LUNG] -= moved
        mixed[Organ.LYMPH_NODE] += moved
    return normal(mixed) if mixed != dict(organs) else organs


def at_the_adrenal(
    organs: Probabilities, volume_ml: float, centre_lps_mm: npt.NDArray[np.float64], *, places: Places, options: Options
) -> Probabilities:
    """The probabilities of a small focus where an adrenal lies; unchanged where a map names adrenals."""
    rule = options.adrenal
    if not organs or volume_ml > rule.small_ml or places.codes("adrenal"):
        return organs
    held = organs[0][0]
    share = rule.share if held in _GIVE_WAY else {Organ.LIVER: rule.in_liver, Organ.KIDNEY: rule.in_kidney}.get(held, 0.0)
    if share <= 0 or not _beside_a_kidneys_top(centre_lps_mm, places.landmarks(), rule):
        return organs
    mixed = {organ: p * (1.0 - share) for organ, p in organs}
    mixed[Organ.ADRENAL] = mixed.get(Organ.ADRENAL, 0.0) + share
    return normal(mixed)


def _beside_a_kidneys_top(centre: npt.NDArray[np.float64], marks: dict[str, Landmark], rule: Adrenal) -> bool:
    """LPS: x grows to the left, y to the back, z to the head."""
    bodies = [m for key, m in marks.items() if key.startswith("vertebra_") and not key.endswith("_posterior")]
    if not bodies:
        return False
    body = min(bodies, key=lambda m: abs(m.centre[2] - centre[2]))
    aside, before = float(centre[0] - body.centre[0]), float(body.low[1] - centre[1])
    kidney = marks.get("kidney_left" if aside > 0 else "kidney_right")
    if kidney is None:
        return False
    high = -rule.below_mm <= centre[2] - kidney.high[2] <= rule.above_mm
    return bool(
        high and rule.aside_low_mm <= abs(aside) <= rule.aside_high_mm and rule.front_low_mm <= before <= rule.front_high_mm
    )
