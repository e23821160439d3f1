"""Two segmenters' vertebrae made into one list: the first is believed, the second adds what the first does not have.

An instance counts, so one vertebra must have one number in every label map, whoever drew it and whatever they call it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import VertebraInstance, VertebralLevel
from lesion_pipeline.domain.volume import LabelMap

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Merged:
    """vertebrae: numbered from the head down. first, second: old number -> new number. disagreeing: (believed, other) names."""

    vertebrae: tuple[VertebraInstance, ...]
    first: Mapping[int, int]
    second: Mapping[int, int]
    disagreeing: tuple[tuple[VertebralLevel, VertebralLevel], ...]


def merge(first: Sequence[VertebraInstance], second: Sequence[VertebraInstance], along_mm: float, across_mm: float) -> Merged:
    """Centres of both in one frame, LPS mm. along_mm, across_mm: how far the centres of one vertebra may lie apart along the
    spine and across it (one tool gives the body's centre, another that of body and arch).

    Where the second names a vertebra of the first otherwise, the confidence is halved and both names are kept.
    """
    ordered = sorted(first, key=lambda v: v.instance)
    pairs = _pairs(ordered, second, along_mm, across_mm)
    disagreeing: list[tuple[VertebralLevel, VertebralLevel]] = []
    units: list[tuple[VertebraInstance, int | None, tuple[int, ...]]] = []
    for vertebra in ordered:
        same = [v for v in second if pairs.get(v.instance) == vertebra.instance]
        other = next((v.level for v in same if v.level not in (None, vertebra.level)), None)
        kept = vertebra
        if other is not None and vertebra.level is not None:
            disagreeing.append((vertebra.level, other))
            kept = _doubted(vertebra, other)
        units.append((kept, vertebra.instance, tuple(v.instance for v in same)))
    taken = {v.level for v in ordered if v.level is not None}
    for vertebra in second:
        if vertebra.instance not in pairs:  # a name that the first has given elsewhere is not believed as it stands
            doubted = replace(vertebra, confidence=vertebra.confidence / 2) if vertebra.level in taken else vertebra
            units.append((doubted, None, (vertebra.instance,)))
    units.sort(key=lambda u: -u[0].centroid_lps_mm[2])
    numbers = {old: n for n, (_, old, _) in enumerate(units, start=1) if old is not None}
    others = {old: n for n, (_, _, same) in enumerate(units, start=1) for old in same}
    vertebrae = tuple(replace(v, instance=n) for n, (v, _, _) in enumerate(units, start=1))
    return Merged(vertebrae, numbers, others, tuple(disagreeing))


def merge_by_name(first: Sequence[VertebraInstance], second: Sequence[VertebraInstance]) -> Merged:
    """As ``merge`` where nothing links the two frames: one name is one vertebra, and what has no partner is added below."""
    named = {v.level: v.instance for v in first if v.level is not None}
    last = max((v.instance for v in first), default=0)
    table: dict[int, int] = {}
    added: list[VertebraInstance] = []
    for vertebra in sorted(second, key=lambda v: v.instance):
        known = named.get(vertebra.level) if vertebra.level is not None else None
        table[vertebra.instance] = known if known is not None else last + len(added) + 1
        if known is None:
            added.append(replace(vertebra, instance=table[vertebra.instance]))
    return Merged((*first, *added), {v.instance: v.instance for v in first}, table, ())


def renumbered(label_map: LabelMap, numbers: Mapping[int, int]) -> LabelMap:
    """The map with the instances of its structures changed; those without an entry stay."""
    if all(old == new for old, new in numbers.items()):
        return label_map
    names = {
        value: s if s.instance is None else replace(s, instance=numbers.get(s.instance, s.instance))
        for value, s in label_map.names.items()
    }
    return LabelMap(label_map.values, label_map.grid, names)


def _pairs(
    first: Sequence[VertebraInstance], second: Sequence[VertebraInstance], along_mm: float, across_mm: float
) -> dict[int, int]:
    """Second's instance -> first's; the nearest along the spine, each vertebra of the first at most once."""
    centres = np.array([v.centroid_lps_mm for v in first])
    down = _down(centres)
    found: list[tuple[float, int, int]] = []
    for vertebra in second:
        away = np.array(vertebra.centroid_lps_mm) - centres
        along = np.abs((away * down).sum(axis=1))
        across = np.linalg.norm(away - (away * down).sum(axis=1, keepdims=True) * down, axis=1)
        for n in np.flatnonzero((along <= along_mm) & (across <= across_mm)):
            found.append((float(along[n]), vertebra.instance, first[int(n)].instance))
    pairs: dict[int, int] = {}
    for _, mine, theirs in sorted(found):
        if mine not in pairs and theirs not in pairs.values():
            pairs[mine] = theirs
    return pairs


def _down(centres: Array) -> Array:
    """Unit vector along the spine at every centre; straight down for a single one."""
    if len(centres) < 2:
        return np.array([[0.0, 0.0, -1.0]])
    steps = np.gradient(centres, axis=0)
    return np.asarray(steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-9))


def _doubted(vertebra: VertebraInstance, other: VertebralLevel) -> VertebraInstance:
    halved = vertebra.confidence / 2
    names = ((vertebra.level, halved), (other, halved)) if vertebra.level is not None else ()
    return replace(vertebra, confidence=halved, alternatives=vertebra.alternatives or names)
