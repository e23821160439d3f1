"""What a trained network is given: PET and CT on one grid, stored the way round its training images were.

A network knows voxels, not the world. The names of the channels, the grid both images are asked on and the storage
orientation of the training images are therefore the user's to say; nothing here guesses them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.sitk import resample_volume

Channel = Literal["CT", "SUV"]

#: HU where the CT does not reach.
AIR_HU = -1024.0
#: Letter -> (LPS axis, sign): toward which side of the patient the index of a storage axis grows.
_SIDES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True, slots=True, eq=False)
class ModelInput:
    """values: float32 (channels, ni, nj, nk) on ``grid``; SUVbw in g/ml, CT in HU."""

    values: npt.NDArray[np.float32]
    grid: Grid


def needed(channels: Sequence[Channel]) -> frozenset[Modality]:
    """Modalities that these channels are made of."""
    return frozenset({"CT": Modality.CT, "SUV": Modality.PT}[channel] for channel in channels)


def check_orientation(letters: str) -> str:
    """``letters`` when it names one side of each of the three axes, e.g. ``LPS``. Raises ValueError."""
    if len(letters) != 3 or {_SIDES[c][0] for c in letters if c in _SIDES} != {0, 1, 2}:
        raise ValueError("an orientation is three letters, one of L/R, one of P/A and one of S/I, e.g. LPS or LAS")
    return letters


def turned(volume: Volume, letters: str) -> Volume:
    """The same voxels stored so that index axis n grows toward side ``letters[n]``; oblique axes go to the nearest side.

    No value is interpolated: axes are swapped and reversed only, and the affine says the same of every voxel as before.
    """
    wanted = [_SIDES[c] for c in check_orientation(letters)]
    affine = volume.grid.affine
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    # axis order[n] of the source becomes axis n: the assignment under which the axes lie nearest to the wanted sides
    order = max(permutations(range(3)), key=lambda p: sum(abs(unit[w[0], s]) for s, w in zip(p, wanted, strict=True)))
    values = volume.values.transpose(order)
    turned_affine = affine.copy()
    turned_affine[:3, :3] = affine[:3, list(order)]
    for axis, (world, sign) in enumerate(wanted):
        if np.sign(turned_affine[world, axis]) != sign:
            turned_affine[:3, 3] += turned_affine[:3, axis] * (values.shape[axis] - 1)
            turned_affine[:3, axis] *= -1.0
            values = np.flip(values, axis)
    ni, nj, nk = values.shape
    grid = Grid((ni, nj, nk), turned_affine, volume.grid.frame)
    return Volume(np.ascontiguousarray(values), grid, volume.unit, volume.modality, volume.series)


def spaced(grid: Grid, spacing_mm: Sequence[float]) -> Grid:
    """A grid over the same extent (outer voxel faces) with another spacing; the first outer corner stays where it is."""
    old = np.array(grid.spacing_mm)
    new = np.asarray(spacing_mm, dtype=np.float64)
    size = np.maximum(1, np.ceil(np.array(grid.shape) * old / new - 1e-6)).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] / old * new
    affine[:3, 3] = grid.affine[:3, 3] + (affine[:3, :3] - grid.affine[:3, :3]) @ np.full(3, 0.5)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine, grid.frame)


def model_input(
    study: Study,
    channels: Sequence[Channel],
    on: Literal["pet", "ct"],
    orientation: str,
    spacing_mm: Sequence[float] | None = None,
) -> ModelInput:
    """The channels of a network, in order, on the PET's or the CT's grid (linear interpolation of the other image).

    spacing_mm: along the axes of the turned grid; None keeps the image's own. Where the CT does not reach, it is air.
    Raises InputError (NO_PET, NO_CT), FrameMismatchError (FRAME_OF_REFERENCE_MISMATCH) and ConfigError (GRID_WITHOUT_IMAGE)
    when the grid asked for is that of an image which no channel needs.
    """
    ground = {"pet": Modality.PT, "ct": Modality.CT}[on]
    if ground not in needed(channels):
        raise ConfigError("GRID_WITHOUT_IMAGE", f"the grid of the {on.upper()} was asked for, but no channel is made of it")
    base = turned(study.need(ground), orientation)
    grid = base.grid if spacing_mm is None else spaced(base.grid, spacing_mm)
    stack = []
    for channel in channels:
        volume = study.need(Modality.CT if channel == "CT" else Modality.PT)
        outside = AIR_HU if volume.unit is Unit.HU else 0.0
        if spacing_mm is None and volume.modality is ground:
            stack.append(base.values)
            continue
        link = None if volume.grid.frame == grid.frame else study.frames.between(grid.frame, volume.grid.frame)
        stack.append(resample_volume(volume, grid, "linear", outside=outside, link=link).values)
    return ModelInput(np.stack(stack), grid)
