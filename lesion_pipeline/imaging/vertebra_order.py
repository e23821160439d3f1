"""Vertebrae of a label map that somebody else named: numbered from the head down, and doubted where their names do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lesion_pipeline.domain.anatomy import Segmentation, Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.volume import LabelMap

_STAGE = "delineate"


def with_vertebrae_in_order(label_map: LabelMap, confidence: float, source: str) -> Segmentation:
    """Vertebrae of a label map numbered from the head down, with doubts where their names do not run in order.

    confidence: what a name is worth; source: who gave the names, for the sentences of the doubts.
    """
    found: list[tuple[float, int, Structure, tuple[float, float, float]]] = []
    for value, structure in label_map.names.items():
        if structure.kind is not StructureKind.VERTEBRA:
            continue
        where = np.argwhere(label_map.values == value)
        if len(where):
            x, y, z = (float(c) for c in label_map.grid.world(where.mean(axis=0)))
            found.append((-z, value, structure, (x, y, z)))
    found.sort(key=lambda f: f[0])
    names = dict(label_map.names)
    vertebrae: list[VertebraInstance] = []
    for instance, (_, value, structure, centre) in enumerate(found, start=1):
        names[value] = replace(structure, instance=instance)
        level = structure.level
        sure = confidence if level is not None else 0.0
        vertebrae.append(VertebraInstance(instance, level, sure, centre, anchors=("given",), ambiguous=level is None))
    for value, structure in label_map.names.items():  # named in the table, absent in the map
        if structure.kind is StructureKind.VERTEBRA and not any(value == f[1] for f in found):
            del names[value]
    caveats = _order_doubts([v.level for v in vertebrae if v.level is not None], source)
    return Segmentation(LabelMap(label_map.values, label_map.grid, names), tuple(vertebrae), caveats)


def _order_doubts(levels: Sequence[VertebralLevel], source: str) -> tuple[Caveat, ...]:
    out: list[Caveat] = []
    if any(a >= b for a, b in pairwise(levels)):
        sentence = f"the vertebrae of {source} are not in order from head to tail: their names cannot be trusted"
        out.append(Caveat("VERTEBRAE_OUT_OF_ORDER", _STAGE, sentence))
    optional = {VertebralLevel.T13, VertebralLevel.L6}
    expected = [v for v in VertebralLevel if v <= VertebralLevel.L5 and v not in optional]
    inner = [v for v in expected if levels and min(levels) < v < max(levels) and v not in levels]
    if inner:
        sentence = f"{source} has no {', '.join(v.name for v in inner[:6])} between vertebrae that it has"
        out.append(Caveat("VERTEBRA_MISSING", _STAGE, sentence))
    return tuple(out)
