"""Which organ a lesion counts under, as probabilities: mixtures are kept, never rounded (clinical specification 4.4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.shares import Shares, round_about
from lesion_pipeline.stages.localize.options import Nodes, Options

Probabilities = tuple[tuple[Organ, float], ...]

#: Where shares tie, the earlier organ is named (specification 4.4).
_PRIORITY = (Organ.BONE, Organ.LIVER, Organ.LUNG, Organ.ADRENAL, Organ.KIDNEY)


def organ_probabilities(
    divided: Shares,
    nearby: dict[int, float],
    centre_lps_mm: npt.NDArray[np.float64],
    in_regions: tuple[float, float],
    *,
    volume_ml: float,
    places: Places,
    options: Options,
) -> tuple[Probabilities, tuple[str, ...]]:
    """(organ, probability) best first, sum 1, and doubts.

    An organ that holds ``sure_share`` of the uptake is named; a second one from ``mixture_share`` on stays in the mixture.
    Where no organ holds that much, the largest share, the nearest surface and the node stations divide the place between them.
    in_regions: share of the uptake in the spinal canal and in the mediastinum, which no organ of the maps holds. volume_ml: of
    the lesion, for what lies round it.
    """
    in_canal, in_mediastinum = in_regions
    station = _node_station(nearby, places, centre_lps_mm, options.nodes)
    held = _by_organ(divided.near, places)
    _give_to_nodes(held, in_mediastinum, options.nodes)
    if held.get(Organ.GI, 0.0) > 0 and station > 0:
        bowel = frozenset(n for n, s in enumerate(places.structures) if s is not None and s.organ is Organ.GI)
        if round_about(centre_lps_mm, volume_ml, options.nodes.beyond_mm, places, bowel) < options.nodes.bowel_round:
            _share_bowel(held, station, options.nodes)
    if in_canal > 0 and any(s is not None and s.level is not None for s in places.structures):
        # an epidural mass goes with the vertebra it touches; alone in the canal it is no organ of the vocabulary
        into = Organ.BONE if held.get(Organ.BONE, 0.0) > 0 else Organ.OTHER
        held[into] = held.get(into, 0.0) + min(in_canal, max(0.0, 1.0 - sum(held.values())))
    ranked = sorted(held.items(), key=lambda item: (-round(item[1], 6), _rank(item[0])))
    if ranked and ranked[0][1] >= options.sure_share:
        kept = [ranked[0], *(item for item in ranked[1:] if item[1] >= options.mixture_share)]
        return normal(dict(kept)), ("ORGAN_MIXED",) if len(kept) > 1 else ()
    inside = _by_organ(divided.inside, places)
    weights = {}
    for organ, share in ranked:
        # a lytic lesion is a hole in the map of its bone; what only touches another organ lies outside it
        full = share if organ in (Organ.BONE, Organ.LYMPH_NODE) else min(share, inside.get(organ, 0.0))
        if share >= 0.05:
            weights[organ] = max(share, min(1.0, full / options.sure_share))
    if not weights:
        near = _nearest(nearby, places)
        if near is not None and near[1] <= options.nearest_mm:
            weights[near[0]] = options.nearest_weight * (1.0 - near[1] / options.nearest_mm)
    rest = max(0.0, 1.0 - sum(weights.values()))
    node = max(station, options.nodes.elsewhere)
    for organ, part in ((Organ.LYMPH_NODE, node), (Organ.SOFT_TISSUE, 1.0 - node)):
        weights[organ] = weights.get(organ, 0.0) + rest * part
    return normal(weights), ("OUTSIDE_NAMED_ORGANS",)


def contradicted(
    organs: Probabilities,
    points_lps_mm: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    places: Places,
    options: Options,
) -> tuple[Probabilities, tuple[str, ...]]:
    """The probabilities with a part for every organ that a further layer names instead, and a doubt if one does.

    points, weights: the lesion's voxels (n, 3) and their uptake (n,). A layer speaks from ``sure_share`` of the uptake on; one
    that names nothing there contradicts nobody. The organ of precedence stays the likeliest.
    """
    if not organs:
        return organs, ()
    others: set[Organ] = set()
    for codes in places.opinions(points_lps_mm):
        said = np.asarray(np.bincount(codes, weights / weights.sum(), len(places.structures)), dtype=np.float64)
        for organ, share in _by_organ(said, places).items():
            if share >= options.sure_share and organ not in dict(organs):
                others.add(organ)
    if not others:
        return organs, ()
    given = options.other_layer
    mixed = {organ: p * (1.0 - given) for organ, p in organs} | dict.fromkeys(sorted(others, key=_rank), given / len(others))
    return normal(mixed), ("ORGAN_LAYERS_DISAGREE",)


def main_structure(
    divided: Shares, nearby: dict[int, float], in_canal: float, places: Places, options: Options
) -> tuple[str, float]:
    """Key of the structure that holds most of the lesion and 0, or the nearest one within reach and its distance."""
    best = int(np.argmax(divided.near[1:])) + 1
    structure = places.structures[best]
    if in_canal > float(divided.near[best]):
        return "spinal_canal", 0.0
    if divided.near[best] > 0 and structure is not None:
        return structure.key, 0.0
    close = sorted((distance, code) for code, distance in nearby.items() if distance <= options.nearest_mm)
    if close:
        structure = places.structures[close[0][1]]
        if structure is not None:
            return structure.key, close[0][0]
    return "", 0.0


def _by_organ(share: npt.NDArray[np.float64], places: Places) -> dict[Organ, float]:
    out: dict[Organ, float] = {}
    for code in np.flatnonzero(share[1:] > 0) + 1:
        structure = places.structures[int(code)]
        if structure is not None and structure.organ not in (None, Organ.OTHER):  # vessels are no organ
            out[structure.organ] = out.get(structure.organ, 0.0) + float(share[code])
    return out


def _nearest(nearby: dict[int, float], places: Places) -> tuple[Organ, float] | None:
    found = []
    for code, distance in nearby.items():
        structure = places.structures[code]
        if structure is not None and structure.organ is not None:
            found.append((distance, _rank(structure.organ), structure.organ))
    if not found:
        return None
    distance, _, organ = min(found)
    return organ, distance


def _give_to_nodes(held: dict[Organ, float], in_mediastinum: float, nodes: Nodes) -> None:
    """The mediastinum's uptake to its nodes: maps widened by a voxel take the narrow mediastinum away from them."""
    if in_mediastinum > 0:
        total = sum(held.values())
        fit = min(1.0, (1.0 - in_mediastinum) / total) if total > 0 else 1.0
        for organ in held:
            held[organ] *= fit
        held[Organ.LYMPH_NODE] = held.get(Organ.LYMPH_NODE, 0.0) + in_mediastinum * nodes.mediastinum
        held[Organ.SOFT_TISSUE] = held.get(Organ.SOFT_TISSUE, 0.0) + in_mediastinum * (1.0 - nodes.mediastinum)


def _share_bowel(held: dict[Organ, float], station: float, nodes: Nodes) -> None:
    """A part of the bowel's uptake to nodes: its map is coarse, and its metastases are rare beside those of nodes."""
    bowel = held[Organ.GI]
    held[Organ.GI] = bowel * (1.0 - nodes.inside_bowel * station)
    held[Organ.LYMPH_NODE] = held.get(Organ.LYMPH_NODE, 0.0) + bowel * nodes.inside_bowel * station


def _node_station(nearby: dict[int, float], places: Places, centre_lps_mm: npt.NDArray[np.float64], nodes: Nodes) -> float:
    """How likely a focus here that no organ holds is a node: the strongest word of the landmarks within reach, or 0."""
    said = [0.0]
    inside = places.region("mediastinum", centre_lps_mm[None, :])
    if inside is not None and inside[0]:
        said.append(nodes.mediastinum)
    vessels = places.codes("aorta", "inferior_vena_cava", "iliac_artery", "iliac_vein")
    if not places.codes("inferior_vena_cava"):
        vessels |= _spine_behind(nearby, places, float(centre_lps_mm[1]))  # the great vessels run along the front of the spine
    for codes, limit, value in (
        (vessels, nodes.near_aorta_mm, nodes.near_aorta),
        (places.codes("hip", "sacrum", "femur"), nodes.near_hip_mm, nodes.near_hip),
        (places.codes("clavicle", "scapula", "humerus"), nodes.near_shoulder_mm, nodes.near_shoulder),
    ):
        distances = [nearby[code] for code in codes if code in nearby]
        if distances and min(distances) <= limit:
            said.append(value)
    return max(said)


def _spine_behind(nearby: dict[int, float], places: Places, y: float) -> frozenset[int]:
    """Codes of the vertebrae within reach whose middle lies behind a place (LPS y grows to the back)."""
    marks = places.landmarks()
    vertebrae = [code for code in places.codes("vertebra") if code in nearby]
    keys = {code: structure.key for code in vertebrae if (structure := places.structures[code]) is not None}
    return frozenset(code for code, key in keys.items() if key in marks and marks[key].centre[1] > y)


def _rank(organ: Organ) -> int:
    return _PRIORITY.index(organ) if organ in _PRIORITY else len(_PRIORITY) + list(Organ).index(organ)


def normal(weights: dict[Organ, float]) -> Probabilities:
    total = sum(weights.values())
    ranked = sorted(weights.items(), key=lambda item: (-round(item[1], 9), _rank(item[0])))
    return tuple((organ, weight / total) for organ, weight in ranked if weight > 0)
