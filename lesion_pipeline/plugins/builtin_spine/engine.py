"""CT -> spine, step by step: canal, straight spine, features, ribs, reading, label map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.plugins.builtin_spine import orientation
from lesion_pipeline.plugins.builtin_spine.canal import CanalPath, track_canal
from lesion_pipeline.plugins.builtin_spine.chain import infer
from lesion_pipeline.plugins.builtin_spine.evidence import gather, visible_range
from lesion_pipeline.plugins.builtin_spine.features import Features, denoise, measure
from lesion_pipeline.plugins.builtin_spine.labels import Parts, paint, unpainted
from lesion_pipeline.plugins.builtin_spine.readings import Reading, read
from lesion_pipeline.plugins.builtin_spine.resample import Box, box_of
from lesion_pipeline.plugins.builtin_spine.ribs import Ribs, find_ribs
from lesion_pipeline.plugins.builtin_spine.straighten import Straight, straighten
from lesion_pipeline.plugins.builtin_spine.tips import with_tips

CANAL_STEP_MM = 3.0
FINE_STEP_MM = 1.5
#: What the fine box holds around the canal: aside, in front and behind (mm), below and above its ends (mm).
MARGIN_MM = (100.0, 95.0, 95.0, 75.0, 70.0)
SHORTEST_MM = 40.0  # less canal than this is no evidence of a spine
LOWEST_EVIDENCE = -10.0  # nats for a chain of vertebrae against no spine; four real CTs: 9 to 45
LOWEST_SCORE = 0.30  # mean canal score of a real spine: 0.4 (osteopenic, 3 mm) to 0.95 in four CTs


@dataclass(frozen=True, slots=True, eq=False)
class Spine:
    """Everything that was found. parts is on the lattice of ``box``. doubts: what contradicts the header's orientation."""

    path: CanalPath
    box: Box
    straight: Straight
    features: Features
    ribs: Ribs
    reading: Reading
    parts: Parts
    noise_hu: float
    doubts: tuple[str, ...]


def fine_box(ct: Volume, path: CanalPath) -> Box:
    """The part of the CT around the canal, at 1.5 mm."""
    aside, front, behind, below, above = MARGIN_MM
    low = path.points.min(axis=0) - np.array([aside, front, below])
    high = path.points.max(axis=0) + np.array([aside, behind, above])
    return box_of(ct, FINE_STEP_MM, low, high)


def find_canal(coarse: Box) -> CanalPath | None:
    """The canal, or None where what was found is too short or too poor to be one. ``coarse``: the CT at CANAL_STEP_MM."""
    path = track_canal(coarse)
    if path is None or np.ptp(path.points[:, 2]) < SHORTEST_MM or float(path.score.mean()) < LOWEST_SCORE:
        return None
    return path


def analyse(ct: Volume, painted: bool = True) -> Spine | None:
    """The spine in a CT (HU), or None. painted: False leaves the label map out (one voxel of nothing) and takes centres from
    the axis, for those who want names only."""
    coarse = box_of(ct, CANAL_STEP_MM)
    path = find_canal(coarse)
    if path is None:
        return None
    box = fine_box(ct, path)
    straight = straighten(box, path)
    hu, noise = denoise(straight.hu)
    features = measure(straight, hu)
    low, high = visible_range(features)
    if high - low < SHORTEST_MM:
        return None
    ribs = with_tips(coarse, straight, find_ribs(straight, hu))
    reading = read(infer(gather(features, ribs)), features, ribs, low, high - low)
    if not reading.vertebrae or reading.log_evidence < LOWEST_EVIDENCE:
        return None
    parts = paint(box, straight, features, reading) if painted else unpainted(straight, reading)
    doubts = orientation.doubts(straight, hu, ribs, orientation.canal_depth(coarse, path))
    return Spine(path, box, straight, features, ribs, reading, parts, noise, doubts)
