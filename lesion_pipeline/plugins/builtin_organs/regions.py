"""Names for the parts of the skeleton, by where they lie to the spine, the lungs, the skull and the hips.

Coarse by design: a boundary between two bones may be off by a centimetre. That a place is bone, and on which side, is solid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.plugins.builtin_organs.chest import Chest
from lesion_pipeline.plugins.builtin_organs.frame import BodyFrame
from lesion_pipeline.plugins.builtin_organs.lattice import Mask, grown
from lesion_pipeline.plugins.builtin_organs.vocabulary import VALUE

Labels = npt.NDArray[np.uint16]

_SPINE_HALF_WIDTH_MM = 36.0
_SPINE_FRONT_MM, _SPINE_BACK_MM = 45.0, 60.0


def name_bones(bone: Mask, chest: Chest, frame: BodyFrame) -> Labels:
    """uint16 (ni, nj, nk): value of the bone's structure, 0 where no bone. Without landmarks all of it is ``bone_other``."""
    out = np.where(bone, VALUE["bone_other"], 0).astype(np.uint16)
    lateral = np.broadcast_to(frame.lateral_mm(bone.shape), bone.shape)
    behind = np.broadcast_to(frame.behind_mm(bone.shape), bone.shape)
    seen = np.isfinite(frame.spine[:, 1])[None, None, :]
    column = np.abs(lateral) < _SPINE_HALF_WIDTH_MM
    spine = bone & seen & column & (behind > -_SPINE_FRONT_MM) & (behind < _SPINE_BACK_MM)
    if frame.base is not None and frame.apex is None:
        floor = frame.base - int(110.0 / frame.step_mm) if frame.hip_top is None else frame.hip_top + 2
        _sided(out, bone & ~spine & (np.arange(bone.shape[2]) > floor)[None, None, :], lateral, "rib")
    if frame.apex is not None and frame.base is not None:
        _name_chest(out, bone & ~spine, chest, frame)
    if frame.skull_base is not None:
        _name_skull(out, bone & ~spine, frame, frame.skull_base)
    out[spine] = VALUE["spine"]
    if frame.hip_top is not None:
        _name_pelvis(out, bone, spine, frame, frame.hip_top)
    return out


def _sided(out: Labels, mask: Mask, lateral: npt.NDArray[np.float32], key: str) -> None:
    out[mask & (lateral >= 0)] = VALUE[f"{key}_left"]
    out[mask & (lateral < 0)] = VALUE[f"{key}_right"]


def _name_chest(out: Labels, bone: Mask, chest: Chest, frame: BodyFrame) -> None:
    step, apex, base = frame.step_mm, frame.apex or 0, frame.base or 0
    lateral = np.broadcast_to(frame.lateral_mm(bone.shape), bone.shape)
    behind = np.broadcast_to(frame.behind_mm(bone.shape), bone.shape)
    height = (np.arange(bone.shape[2]) - apex)[None, None, :] * step
    near_lung = grown(chest.lungs, 16.0, step)
    lowest = (base - apex) * step - 110.0
    if frame.hip_top is not None:
        lowest = max(lowest, (frame.hip_top - apex) * step + 6.0)
    cage = bone & (height > lowest) & (height < 15.0)
    inner = near_lung | (height < (base - apex) * step)
    _sided(out, cage & inner, lateral, "rib")
    front = _lung_front(chest, frame)
    lung_reach = float(np.quantile(np.abs(lateral[chest.lungs]), 0.99))
    shoulder = bone & (height > -190.0) & (height < 70.0) & ~(cage & inner)
    girdle_front = behind < -15.0
    _sided(out, shoulder & ~girdle_front & (np.abs(lateral) > 45.0), lateral, "scapula")
    _sided(out, shoulder & (np.abs(lateral) > lung_reach + 25.0), lateral, "humerus")
    clavicle = shoulder & girdle_front & (height > -45.0) & (np.abs(lateral) < lung_reach + 25.0)
    _sided(out, clavicle & (np.abs(lateral) > 12.0), lateral, "clavicle")
    ahead = np.arange(bone.shape[1])[None, :, None] < front[None, None, :] + 12.0 / step
    breastbone = bone & ahead & (np.abs(lateral) < 32.0) & (height < -25.0) & (height > (base - apex) * step - 60.0)
    out[breastbone] = VALUE["sternum"]


def _lung_front(chest: Chest, frame: BodyFrame) -> npt.NDArray[np.float64]:
    """y index of the lungs' front in each slice, carried on above and below them."""
    lungs = chest.lungs
    front = np.full(lungs.shape[2], np.nan)
    for k in range(lungs.shape[2]):
        rows = np.flatnonzero(lungs[:, :, k].any(axis=0))
        if len(rows):
            front[k] = rows[0]
    seen = np.flatnonzero(np.isfinite(front))
    return np.asarray(np.interp(np.arange(len(front)), seen, front[seen]))


def _name_skull(out: Labels, bone: Mask, frame: BodyFrame, skull_base: int) -> None:
    behind = frame.behind_mm(bone.shape)
    above = (np.arange(bone.shape[2]) - skull_base)[None, None, :] * frame.step_mm
    face = (above > -110.0) & (behind < -25.0)
    if frame.apex is not None:
        face = face & ((np.arange(bone.shape[2]) - frame.apex)[None, None, :] * frame.step_mm > 40.0)
    out[bone & (face | (above >= 0))] = VALUE["skull"]


def _name_pelvis(out: Labels, bone: Mask, spine: Mask, frame: BodyFrame, hip_top: int) -> None:
    """Hips below the iliac crest, femora from the heads down, the sacrum between the hips."""
    step = frame.step_mm
    lateral = np.broadcast_to(frame.lateral_mm(bone.shape), bone.shape)
    below = (np.arange(bone.shape[2]) - hip_top)[None, None, :] * step
    pelvic = bone & (below <= 0)
    _sided(out, pelvic & ~spine, lateral, "hip")
    left, right = frame.heads
    if left is None or right is None:
        return
    heads_level = (left[2] + right[2]) / 2
    crest_mm = (hip_top - heads_level) * step
    # the promontory lies at about six tenths of the way from the hip joints to the iliac crest
    level = (np.arange(bone.shape[2]) - heads_level)[None, None, :] * step
    out[spine & (level < 0.62 * crest_mm)] = VALUE["sacrum"]
    i, j, k = np.ogrid[: bone.shape[0], : bone.shape[1], : bone.shape[2]]
    for head, side in ((left, 1.0), (right, -1.0)):
        ball = ((i - head[0]) ** 2 + (j - head[1]) ** 2 + (k - head[2]) ** 2) * step**2 <= 25.0**2
        outward = side * (i - head[0]) * step
        shaft = (outward > 6.0) & ((k - head[2]) * step < 20.0) & (outward - (head[2] - k) * step * 0.25 > -10.0)
        low = (k - head[2]) * step < -75.0
        same_side = side * lateral > 0
        key = "femur_left" if side > 0 else "femur_right"
        out[bone & same_side & (ball | shaft | (low & (outward > -40.0)))] = VALUE[key]
