"""Doubts about vertebrae that another tool named, from what its known failures leave behind in the label map.

A vertebra in pieces, pieces of one inside another (two neighbours mixed), one left out (tools without T13 and L6 jump over it),
distances that do not change smoothly from neck to pelvis. A doubted name keeps half its confidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.anatomy import Segmentation, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.imaging.components import label

_STAGE = "delineate"
_SHAPED_OTHERWISE = frozenset({VertebralLevel.C1, VertebralLevel.C2})


@dataclass(frozen=True, slots=True)
class Limits:
    """stray_share: share of a vertebra in pieces apart from its largest. spacing_low, spacing_high: distance to the next over
    the median of those nearby. small_share: voxels over the median of the two neighbours.
    """

    stray_share: float
    spacing_low: float
    spacing_high: float
    small_share: float


@dataclass(frozen=True, slots=True)
class Cleaned:
    """values: the label map with every vertebra as its largest piece. stray: levels that lost more than the limit; mixed:
    (level, level of the vertebra its pieces lay in).
    """

    values: npt.NDArray[np.uint16]
    stray: tuple[str, ...]
    mixed: tuple[tuple[str, str], ...]


def one_piece_each(label_map: LabelMap, stray_share: float) -> Cleaned:
    """Every vertebra reduced to its largest component (26-connected)."""
    values = np.array(label_map.values)
    bones = {value: _name(label_map, value) for value, s in label_map.names.items() if s.kind is StructureKind.VERTEBRA}
    boxes = ndimage.find_objects(values)
    stray: list[str] = []
    mixed: list[tuple[str, str]] = []
    for value, name in bones.items():
        box = boxes[value - 1] if value <= len(boxes) else None
        if box is None:
            continue
        wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        part = values[wide]
        mask = part == value
        pieces, _ = label(mask, 26)
        sizes = np.bincount(pieces.reshape(-1))[1:]
        if len(sizes) < 2:
            continue
        lost = mask & (pieces != int(sizes.argmax()) + 1)
        if 1 - sizes.max() / sizes.sum() > stray_share:
            stray.append(name)
            beside = part[ndimage.binary_dilation(lost, np.ones((3, 3, 3))) & ~mask]
            mixed += [(name, bones[int(v)]) for v in np.unique(beside) if int(v) in bones]
        part[lost] = 0
    return Cleaned(values, tuple(stray), tuple(mixed))


def gated(answer: Segmentation, cleaned: Cleaned, limits: Limits, source: str) -> Segmentation:
    """The answer with its doubts; a vertebra that any of them concerns keeps half its confidence.

    answer: vertebrae numbered from the head down, label map of one voxel size.
    """
    doubted: set[str] = set()
    caveats: list[Caveat] = []

    def doubt(code: str, names: set[str], sentence: str) -> None:
        if names:
            doubted.update(names)
            caveats.append(Caveat(code, _STAGE, sentence))

    inner = {name for pair in cleaned.mixed for name in pair}
    apart = ", ".join(cleaned.stray[:6])
    doubt("VERTEBRA_IN_PIECES", set(cleaned.stray), f"{source} left pieces of {apart} apart from the rest; they were removed")
    pairs = ", ".join(f"{a} in {b}" for a, b in cleaned.mixed[:6])
    doubt("VERTEBRAE_MIXED", inner, f"{source} mixed neighbours: pieces of {pairs}")
    chain = [v for v in answer.vertebrae if v.level is not None and v.level <= VertebralLevel.L6]
    far, near = _uneven(chain, limits)
    far += _above_sacrum(answer, chain, limits)
    told = ", ".join(f"{a} and {b}" for a, b in far[:6])
    sentence = (
        f"{source} leaves too wide a gap between {told}, as if a vertebra (T13, L6) were left out: names beyond are unsure"
    )
    doubt("VERTEBRA_LEFT_OUT", {name for pair in far for name in pair}, sentence)
    told = ", ".join(f"{a} and {b}" for a, b in near[:6])
    doubt("VERTEBRAE_TOO_NEAR", {n for pair in near for n in pair}, f"{source} puts {told} nearer than their neighbours lie")
    small = set(_small(answer.label_map, chain, limits.small_share))
    told = ", ".join(sorted(small)[:6])
    doubt(
        "VERTEBRA_TOO_SMALL", small, f"{source} makes {told} much smaller than the neighbours, as if a neighbour held the rest"
    )
    vertebrae = tuple(
        replace(v, confidence=v.confidence / 2) if v.level is not None and v.level.name in doubted else v
        for v in answer.vertebrae
    )
    return Segmentation(answer.label_map, vertebrae, (*answer.caveats, *caveats))


def _uneven(chain: list[VertebraInstance], limits: Limits) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(pairs too far apart, pairs too near), each distance against the mean of up to two on either side."""
    chain = [v for v in chain if v.level not in _SHAPED_OTHERWISE]
    steps = _steps(chain)
    far, near = [], []
    for n, step in enumerate(steps):
        others = [steps[m] for m in range(max(n - 2, 0), min(n + 3, len(steps))) if m != n]
        if len(others) < 2:
            continue
        usual = float(np.median(others))
        pair = (str(getattr(chain[n].level, "name", "")), str(getattr(chain[n + 1].level, "name", "")))
        if step > limits.spacing_high * usual:
            far.append(pair)
        elif step < limits.spacing_low * usual:
            near.append(pair)
    return far, near


def _steps(chain: list[VertebraInstance]) -> list[float]:
    centres = np.array([v.centroid_lps_mm for v in chain]).reshape(-1, 3)
    return [float(x) for x in np.linalg.norm(np.diff(centres, axis=0), axis=1)]


def _above_sacrum(answer: Segmentation, chain: list[VertebraInstance], limits: Limits) -> list[tuple[str, str]]:
    """L5 and S where the nearest voxel of the sacrum is farther from L5's centre than the next body's centre would be."""
    sacrum = [v for v, s in answer.label_map.names.items() if s.level in (VertebralLevel.S, VertebralLevel.S1)]
    if len(chain) < 3 or not sacrum:
        return []
    last = chain[-1]
    voxels = np.argwhere(np.isin(answer.label_map.values, sacrum))
    if not len(voxels) or last.level is not VertebralLevel.L5:
        return []
    points = answer.label_map.grid.world(voxels[:: max(1, len(voxels) // 20_000)])
    gap = float(np.linalg.norm(points - np.array(last.centroid_lps_mm), axis=1).min())
    return [("L5", "S")] if gap > float(np.mean(_steps(chain)[-3:])) else []


def _small(label_map: LabelMap, chain: list[VertebraInstance], share: float) -> Iterator[str]:
    """Levels with fewer voxels than ``share`` of the mean of both neighbours; not the ends of the chain, which may be cut."""
    sizes = np.bincount(np.asarray(label_map.values).reshape(-1))
    of_level = _sizes(label_map, sizes)
    for above, here, below in zip(chain, chain[1:], chain[2:], strict=False):
        counts = [of_level.get(v.level, 0) if v.level is not None else 0 for v in (above, here, below)]
        if here.level not in _SHAPED_OTHERWISE and counts[1] < share * (counts[0] + counts[2]) / 2:
            yield str(getattr(here.level, "name", ""))


def _sizes(label_map: LabelMap, sizes: npt.NDArray[np.int64]) -> Mapping[VertebralLevel, int]:
    out: dict[VertebralLevel, int] = {}
    for value, structure in label_map.names.items():
        if structure.level is not None and value < len(sizes):
            out[structure.level] = out.get(structure.level, 0) + int(sizes[value])
    return out


def _name(label_map: LabelMap, value: int) -> str:
    structure = label_map.names[value]
    return structure.level.name if structure.level is not None else structure.key
