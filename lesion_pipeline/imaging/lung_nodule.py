"""A nodule that a CT shows in the lung: dense, with lung all round it, and no vessel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.imaging.components import label


class NoduleRules(BaseModel):
    """above_hu: denser than lung, the blurred rim of a nodule included. reach_mm: from the focus to the nodule's nearest voxel,
    for a patient breathes between CT and PET. least_ml, most_ml: its size. longest: length over width, beyond which it is a
    vessel. window_mm: half the cube that is looked at; what leaves it is the chest wall, the mediastinum or a vessel's tree.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    above_hu: float
    reach_mm: float = Field(gt=0)
    least_ml: float = Field(gt=0)
    most_ml: float = Field(gt=0)
    longest: float = Field(gt=1)
    window_mm: float = Field(gt=0)


@dataclass(frozen=True, slots=True)
class Nodule:
    """Volume (ml) and distance (mm) from the focus to its nearest voxel."""

    volume_ml: float
    away_mm: float


def lung_nodule(ct: Volume, point_lps_mm: npt.ArrayLike, rules: NoduleRules) -> Nodule | None:
    """The nodule nearest to a point in the CT's frame; None if there is none, or if the place lies beyond the CT.

    A nodule that touches the pleura is one piece with the chest wall, and none to this measure: it says nothing then.
    """
    spacing = np.array(ct.grid.spacing_mm)
    at = ct.grid.index(np.atleast_2d(np.asarray(point_lps_mm, dtype=np.float64)))[0]
    reach = np.ceil(rules.window_mm / spacing).astype(int)
    low = np.maximum(np.rint(at).astype(int) - reach, 0)
    high = np.minimum(np.rint(at).astype(int) + reach + 1, ct.grid.shape)
    if (high - low < 3).any():
        return None
    window = ct.values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    # face to face: what only touches a rib at a corner stays apart
    labels, _ = label(window > rules.above_hu, 6)
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(low - at, high - at, strict=True))]
    away = np.sqrt(sum((axis * step) ** 2 for axis, step in zip(axes, spacing, strict=True)))
    near = np.unique(labels[(away <= rules.reach_mm) & (labels > 0)])
    found = []
    for number in near:
        mine = labels == number
        volume = float(np.count_nonzero(mine)) * ct.grid.voxel_ml
        if rules.least_ml <= volume <= rules.most_ml and not _on_the_face(mine) and _length(mine, spacing) <= rules.longest:
            found.append(Nodule(volume, float(away[mine].min())))
    return min(found, key=lambda nodule: nodule.away_mm, default=None)


def _on_the_face(mask: npt.NDArray[np.bool_]) -> bool:
    """Does it leave the window?"""
    return any(bool(np.take(mask, (0, -1), axis=axis).any()) for axis in range(3))


def _length(mask: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64]) -> float:
    """Longest over shortest principal axis, of the voxels as boxes: one voxel has the shape of its box."""
    points = np.argwhere(mask) * spacing
    spread = np.cov(points.T, bias=True).reshape(3, 3) if len(points) > 1 else np.zeros((3, 3))
    sizes = np.linalg.eigvalsh(spread + np.diag(spacing**2) / 12.0)
    return float(np.sqrt(sizes[-1] / sizes[0]))
