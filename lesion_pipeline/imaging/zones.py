"""Zones of physiologic uptake: how surely a point lies in an organ whose border is known to some millimetres only.

A mask is turned into its signed distance d (negative inside); with a border uncertain by sigma the probability of being inside
is Phi(-d / sigma). Sigma joins the coarseness of the segmentation and the resolution of the PET.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.geometry import Frames, RigidTransform, inverse_affine
from lesion_pipeline.domain.volume import LabelMap

Values = npt.NDArray[np.float64]

#: Beyond this many sigmas the probability is 0 or 1 for every purpose; distances are not computed further out.
_REACH_SIGMAS = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """The signed distance to one organ's border, on a window of its label map.

    distance_mm: float32 (ni, nj, nk), negative inside. index: (4, 4) LPS mm of the zone's frame to fractional window index.
    far_mm: distance reported for points outside the window (at least this far).
    """

    key: str
    distance_mm: npt.NDArray[np.float32]
    index: npt.NDArray[np.float64]
    link: RigidTransform
    sigma_mm: float
    far_mm: float

    def distance(self, points_lps_mm: npt.ArrayLike) -> Values:
        """Signed distance (mm) at (n, 3) points of the frame the zone was made for; linear between voxels."""
        points = self.link.apply(np.atleast_2d(np.asarray(points_lps_mm, dtype=np.float64)))
        where = (points @ self.index[:3, :3].T + self.index[:3, 3]).T
        return np.asarray(
            ndimage.map_coordinates(self.distance_mm, where, order=1, mode="constant", cval=self.far_mm), np.float64
        )

    def probability(self, points_lps_mm: npt.ArrayLike) -> Values:
        """Probability (n,) that a point lies inside the organ."""
        return np.asarray(special.ndtr(-self.distance(points_lps_mm) / self.sigma_mm), dtype=np.float64)


def organ_zone(anatomy: Anatomy, frames: Frames, frame: str, keys: Sequence[str], sigma_mm: float) -> Zone | None:
    """The zone of the structures ``keys`` (their union, in the first map that holds one of them); None where none is known.

    frame: frame of the points that will be asked. Raises FrameMismatchError when nothing links it to the map.
    """
    for named in anatomy.maps:
        values = [v for v, s in named.label_map.names.items() if s.key in keys]
        mask = np.isin(named.label_map.values, values) if values else np.zeros(0, dtype=bool)
        if mask.any():
            return _zone(named.label_map, mask, frames.between(frame, named.label_map.grid.frame), keys[0], sigma_mm)
    return None


def _zone(label_map: LabelMap, mask: npt.NDArray[np.bool_], link: RigidTransform, key: str, sigma_mm: float) -> Zone:
    spacing = label_map.grid.spacing_mm
    far = _REACH_SIGMAS * sigma_mm
    margin = [int(np.ceil(far / s)) + 1 for s in spacing]
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    padded = np.pad(mask[box], [(m, m) for m in margin])
    outside = edt.edt(~padded, anisotropy=spacing) - edt.edt(padded, anisotropy=spacing)
    # distances run between voxel centres; the border lies half a voxel before the first centre beyond it
    signed = outside - np.sign(outside) * np.float32(np.mean(spacing) / 2)
    start = np.array([b.start - m for b, m in zip(box, margin, strict=True)], dtype=np.float64)
    index = inverse_affine(label_map.grid.affine)
    index[:3, 3] -= start
    return Zone(key, signed.astype(np.float32), index, link, sigma_mm, float(far))
