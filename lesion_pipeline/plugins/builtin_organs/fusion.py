"""What the network says, made into masks on the fine lattice: borders by density, one organ in one piece, sides by the spine.

Where a rule knows better (bone, lungs, the water of a bladder, hot urine) the rule speaks after the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.chest import SMALLEST_LUNG_ML, Chest
from lesion_pipeline.plugins.builtin_organs.frame import BodyFrame
from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, distance_to, grown, shrunk
from lesion_pipeline.plugins.builtin_organs.network import CLASSES, OrganProbabilities


@dataclass(frozen=True, slots=True)
class _Shape:
    """ml: believable volume of what is kept; pieces: how many; sharp: even inside, so that density may move its border."""

    ml: tuple[float, float]
    pieces: int
    sharp: bool


_SHAPES = {
    "brain": _Shape((100.0, 2200.0), 1, False),
    "heart": _Shape((60.0, 2000.0), 1, False),
    "aorta": _Shape((5.0, 900.0), 3, False),
    "liver": _Shape((60.0, 6000.0), 1, True),
    "spleen": _Shape((20.0, 3000.0), 1, True),
    "kidney": _Shape((20.0, 500.0), 1, True),
    "stomach": _Shape((10.0, 3000.0), 1, False),
    "bowel": _Shape((10.0, 9000.0), 30, False),
    "urinary_bladder": _Shape((10.0, 2500.0), 1, True),
    "head_glands": _Shape((3.0, 160.0), 4, False),
    "prostate": _Shape((8.0, 250.0), 1, False),
}
_SMALLEST_PIECE = 0.15  # of the largest piece of its organ
_DEEP_MM = 4.0
_REACH_MM = 7.0
_FEWEST = 60
_MOST_EVIDENCE = 1.5
#: Log odds in favour of the organ: on held-out bodies the border without it held 94 % organ but missed 17 % of it.
_IN_DOUBT_INSIDE = 0.5
_SHORTEST_SPINE_MM = 60.0
_BESIDE_SPINE_MM = 45.0
_TRUNK_FROM_LUNG_BASE_MM = 450.0
_NECK_CM2 = 330.0
_LUNG_END_MM = 9.0
_SHELL = 0.33
#: Highest place of an organ above the level where the lungs end.
_HIGHEST_ABOVE_LUNG_BASE_MM = {"liver": 130.0, "spleen": 110.0, "stomach": 110.0, "bowel": 90.0, "kidney": 70.0}
_HALF_AIR_HU = -200.0
_SURELY_SOFT, _NO_BONE = 0.6, 0.15
_LUNG_SEEN, _NO_LUNG, _SURELY_LUNG = 0.5, 0.05, 0.7
_NOTHING_LIKE_LUNG, _TIP_SEEN = 0.1, 0.3
_LUNG_REACH_MM = 40.0


def network_organs(
    found: OrganProbabilities, hu: Floats, tissue: tuple[Mask, Mask], chest: Chest, frame: BodyFrame
) -> dict[str, Mask]:
    """Masks by structure key on the fine lattice. tissue: the body, and its bones.

    A piece counts only where landmarks put its organ (``places``): the network has never seen a thigh, and would find
    a brain in one.
    """
    body, bone = tissue
    free = body & ~bone & ~chest.lungs & ~chest.airway
    label = _most_probable(found)
    out: dict[str, Mask] = {}
    for key, allowed in places(chest, frame, body).items():
        mask = (label == CLASSES.index(key)) & free & allowed[None, None, :]
        if not mask.any():
            continue
        if _SHAPES[key].sharp:
            mask = _sharpened(mask, found.fine(key), hu, free, frame.step_mm)
        if key == "kidney":
            out.update(_kidneys(mask, frame))
            continue
        kept = _pieces(mask, _SHAPES[key], frame.step_mm)
        if kept is not None and (key != "brain" or _in_a_shell(kept, bone, frame.step_mm)):
            out[key] = kept
    claimed = np.zeros(hu.shape, dtype=bool)
    for key, mask in out.items():
        out[key] = mask & ~claimed
        claimed |= mask
    return {key: mask for key, mask in out.items() if mask.any()}


def places(chest: Chest, frame: BodyFrame, body: Mask) -> dict[str, Mask]:
    """Slices (nk,) in which each class may lie; a class whose landmarks are out of view is not in the answer.

    Landmarks: the spine for everything in the trunk, the lungs' base and apex, the hip bones, the closed skull.
    """
    slices = body.shape[2]
    k = np.arange(slices)
    step = frame.step_mm
    out: dict[str, Mask] = {"brain": np.ones(slices, dtype=bool)}
    seen = np.flatnonzero(np.isfinite(frame.spine[:, 0]))
    if len(seen) * step >= _SHORTEST_SPINE_MM:
        reach = round(_BESIDE_SPINE_MM / step)
        trunk = (k >= seen[0] - reach) & (k <= seen[-1] + reach)
    elif frame.base is not None:  # a spine that was not recognised: the lungs tell where the trunk is
        trunk = np.abs(k - frame.base) * step < _TRUNK_FROM_LUNG_BASE_MM
    else:
        return out
    if chest.lungs.any() and frame.base is not None:
        ends_in_view = frame.base * step > _LUNG_END_MM  # where the lungs run out of the field of view, so does what lies below
        above_base = (k - frame.base) * step if ends_in_view else np.full(slices, np.inf)
    else:  # no lung in view: the field of view begins below it, or lies in the neck, which is thin
        area_cm2 = float(np.median(body.sum(axis=(0, 1)))) * step**2 / 100
        below = frame.hip_top is not None or (frame.skull_base is None and area_cm2 > _NECK_CM2)
        above_base = np.full(slices, -np.inf if below else np.inf)
    for key, highest in _HIGHEST_ABOVE_LUNG_BASE_MM.items():
        out[key] = trunk & (above_base < highest)
    pelvis = trunk & (k <= frame.hip_top) if frame.hip_top is not None else np.zeros(slices, dtype=bool)
    out["urinary_bladder"] = out["prostate"] = pelvis
    if chest.lungs.any():
        top = frame.apex if frame.apex is not None else slices
        out["heart"] = trunk & (k < top)
        out["aorta"] = trunk & (k < top)
        out["head_glands"] = k > top
    else:
        out["aorta"] = out["bowel"]
        out["head_glands"] = np.asarray(above_base > 0)
    return {key: np.asarray(allowed) for key, allowed in out.items() if allowed.any()}


def _in_a_shell(mask: Mask, bone: Mask, step_mm: float) -> bool:
    """Is at least a third of the mask's surface, within 12 mm, bone? Only a skull does that to a brain."""
    surface = grown(mask, step_mm, step_mm) & ~mask
    if not surface.any():
        return False
    return float(grown(bone, 12.0, step_mm)[surface].mean()) > _SHELL


def believed_lungs(chest: Chest, found: OrganProbabilities, hu: Floats, body: Mask) -> Chest:
    """Lungs without bowel gas that touches them, with soft masses inside them and their blurred edge, as the network sees it.

    Where the network is in doubt the rules are believed: it may fail on a field of view that it has not met. Where it sees
    nothing like a lung (foam round a leg, gas in an abdomen) there is none: in narrow crops of real lungs it saw 0.64 and more.
    """
    if not chest.lungs.any():
        return chest
    p = found.fine("lung")
    chest = _without_doubtful_tips(chest, p, found.step_mm)
    lungs = chest.lungs
    seen = float(p[lungs].mean()) if lungs.any() else 0.0
    if seen < _NOTHING_LIKE_LUNG:
        nothing = np.zeros(lungs.shape, dtype=bool)
        return Chest(nothing, nothing, nothing, None)
    if seen < _LUNG_SEEN:
        return chest
    drop = lungs & (p < _NO_LUNG)
    gain = body & ~lungs & ~chest.airway & ((p > _SURELY_LUNG) | ((p > _LUNG_SEEN) & (hu < _HALF_AIR_HU)))
    levels = np.flatnonzero(lungs.any(axis=(0, 1)))
    reach = round(_LUNG_REACH_MM / found.step_mm)
    gain[:, :, levels[-1] + reach + 1 :] = False  # air cells of the temporal bone look like lung too
    gain[:, :, : max(levels[0] - reach, 0)] = False
    to_left, to_right = (distance_to(side, found.step_mm) for side in (chest.left, chest.right))
    left = (chest.left & ~drop) | (gain & (to_left < to_right))
    right = (chest.right & ~drop) | (gain & (to_left >= to_right))
    return Chest(left, right, chest.airway, chest.mid)


def _without_doubtful_tips(chest: Chest, p: Floats, step_mm: float) -> Chest:
    """Lungs without small pieces that the network does not bear out: stool in a cut bowel is as dense as a lung's tip."""
    labels, _ = ndimage.label(chest.lungs)
    size = np.bincount(labels.reshape(-1))
    mean = np.bincount(labels.reshape(-1), weights=p.reshape(-1)) / np.maximum(size, 1)
    doubtful = (size * step_mm**3 / 1000 < SMALLEST_LUNG_ML) & (mean < _TIP_SEEN)
    doubtful[0] = False
    drop = doubtful[labels]
    return Chest(chest.left & ~drop, chest.right & ~drop, chest.airway, chest.mid)


def believed_bone(bone: Mask, found: OrganProbabilities) -> Mask:
    """Bone without the organs that contrast medium makes as dense as bone (kidneys, heart, aorta, bladder, bowel).

    A hot kidney taken for a rib would be counted as a metastasis of it.
    """
    soft = np.zeros(bone.shape, dtype=np.float32)
    for key in _SHAPES:
        if float(found.values[CLASSES.index(key)].max()) > _SURELY_SOFT:
            np.maximum(soft, found.fine(key), out=soft)
    return np.asarray(bone & ~((soft > _SURELY_SOFT) & (found.fine("bone") < _NO_BONE)))


def _most_probable(found: OrganProbabilities) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    best = found.fine(CLASSES[0])
    label = np.zeros(found.shape, dtype=np.uint8)
    for n, key in enumerate(CLASSES[1:], start=1):
        if float(found.values[n].max()) < 0.3:
            continue
        p = found.fine(key)
        better = p > best
        label[better] = n
        np.maximum(best, p, out=best)
    return label


def _sharpened(mask: Mask, p: Floats, hu: Floats, free: Mask, step_mm: float) -> Mask:
    """The border moved, by at most some millimetres, to where the density turns from the organ's own to its surroundings'.

    Log odds of the network plus a bounded log likelihood ratio of the density: the organ's by its deep voxels, the
    surroundings' by a histogram of the ring beyond reach.
    """
    seen = ndimage.find_objects(mask.astype(np.uint8))[0]
    margin = int(np.ceil(2 * _REACH_MM / step_mm)) + 1
    box = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in seen)
    inner, q, density, room = mask[box], p[box], hu[box], free[box]
    deep = shrunk(inner, _DEEP_MM, step_mm)
    zone = grown(inner, _REACH_MM, step_mm) & room & (q > 0.08)
    ring = grown(inner, 2 * _REACH_MM, step_mm) & ~grown(inner, _REACH_MM / 2, step_mm) & room
    if deep.sum() < _FEWEST or ring.sum() < _FEWEST:
        return mask
    middle = float(np.median(density[deep]))
    spread = float(np.clip(1.4826 * np.median(np.abs(density[deep] - middle)), 10.0, 45.0))
    edges = np.arange(-200.0, 401.0, 20.0)
    counts = np.histogram(np.clip(density[ring], -199, 399), edges)[0] + 2.0
    around = ndimage.gaussian_filter1d(counts / counts.sum(), 1.0) / 20.0
    values = density[zone]
    inside = np.exp(-0.5 * ((values - middle) / spread) ** 2) / (spread * np.sqrt(2 * np.pi)) + 1e-5
    outside = around[np.clip(((values + 200) / 20).astype(int), 0, len(around) - 1)]
    evidence = np.clip(np.log(inside / outside), -_MOST_EVIDENCE, _MOST_EVIDENCE)
    odds = np.log(np.clip(q[zone], 1e-3, 1 - 1e-3) / (1 - np.clip(q[zone], 1e-3, 1 - 1e-3)))
    moved = np.zeros(inner.shape, dtype=bool)
    moved[zone] = odds + evidence + _IN_DOUBT_INSIDE > 0
    smooth = ndimage.binary_opening(moved, iterations=1) | (moved & deep)
    out = np.zeros(mask.shape, dtype=bool)
    out[box] = ndimage.binary_fill_holes(smooth)
    return out


def _pieces(mask: Mask, shape: _Shape, step_mm: float) -> Mask | None:
    """The largest pieces, as many as the organ has; None where their volume is not believable."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    ml = np.bincount(labels.reshape(-1)).astype(float) * step_mm**3 / 1000
    ml[0] = 0.0
    order = np.argsort(ml)[::-1][: shape.pieces]
    kept = [int(n) for n in order if ml[n] >= max(_SMALLEST_PIECE * ml[order[0]], 1.0) or shape.pieces > 4]
    kept = [n for n in kept if ml[n] >= 1.0]
    if not shape.ml[0] <= float(ml[kept].sum()) <= shape.ml[1]:
        return None
    return np.asarray(np.isin(labels, kept))


def _kidneys(both: Mask, frame: BodyFrame) -> dict[str, Mask]:
    """The largest piece on either side of the spine (of the midline where no spine is seen)."""
    lateral = np.broadcast_to(frame.lateral_mm(both.shape), both.shape)
    out = {}
    for key, sign in (("kidney_left", 1.0), ("kidney_right", -1.0)):
        kept = _pieces(both & (sign * lateral > 0), _SHAPES["kidney"], frame.step_mm)
        if kept is not None:
            out[key] = kept
    return out
