"""What the PET adds to organs found on CT: kidneys and bladder of a tracer that is excreted, the lower end of the brain.

Uptake alone never makes an organ: the place, the size and the density must be those of the organ, so that a hot node is not
taken for a kidney.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.frame import BodyFrame
from lesion_pipeline.plugins.builtin_organs.lattice import Floats, Mask, distance_to, grown, largest, shrunk, window_box

_TOUCHING = np.ones((3, 3, 3), dtype=bool)
_LIVER_SUV = 2.0  # FDG; only where no liver was found


def sharpen(organs: dict[str, Mask], suv: Floats, boneless: Mask, frame: BodyFrame) -> None:
    """Add to ``organs`` (masks by key, changed in place) what uptake shows of bladder and brain. suv: on the lattice."""
    _bladder(organs, suv, boneless, frame, _liver_suv(organs, suv))
    if "brain" in organs:
        _brain(organs, suv, boneless, frame)


def find_kidneys(organs: dict[str, Mask], smooth: Floats, suv: Floats, boneless: Mask, frame: BodyFrame) -> None:
    """Add excreting kidneys to ``organs``, where they are seen. smooth: HU over 4 mm on the lattice."""
    liver = _liver_suv(organs, suv)
    soft = boneless & (smooth > -10.0) & (smooth < 320.0) & (suv > 0.6 * liver)  # muscle takes up less
    taken = np.zeros(boneless.shape, dtype=bool)
    for mask in organs.values():
        taken |= mask
    if "liver" in organs:  # a native right kidney that touches the liver may have been drawn with it: its uptake tells
        edge = organs["liver"] & ~shrunk(organs["liver"], 20.0, frame.step_mm)
        taken &= ~(edge & (suv > 1.5 * liver))
    found = _kidneys(soft & ~taken, boneless & ~taken & (suv > max(2.0 * liver, 4.0)), frame)
    for mask in found.values():
        for key, other in organs.items():
            organs[key] = np.asarray(other & ~mask)
    organs.update(found)


def _liver_suv(organs: dict[str, Mask], suv: Floats) -> float:
    return float(np.median(suv[organs["liver"]])) if "liver" in organs else _LIVER_SUV


def _brain(organs: dict[str, Mask], suv: Floats, boneless: Mask, frame: BodyFrame) -> None:
    """Below the closed skull the brain goes on to the foramen magnum: grown by uptake, at most 30 mm."""
    brain = organs["brain"]
    level = 0.5 * float(np.median(suv[brain]))
    if level < 1.5:
        return
    reach = grown(brain, 30.0, frame.step_mm) & boneless & (suv > level)
    labels, _ = ndimage.label(reach | brain)
    organs["brain"] = np.asarray(np.isin(labels, np.unique(labels[brain])) & (labels > 0))


def _bladder(organs: dict[str, Mask], suv: Floats, boneless: Mask, frame: BodyFrame, liver: float) -> None:
    """Urine: the hot blob in the middle of the small pelvis, joined with the bladder of the CT where that was found."""
    left, right = frame.heads
    if left is None or right is None:
        return
    step = frame.step_mm
    i, j, k = np.ogrid[: suv.shape[0], : suv.shape[1], : suv.shape[2]]
    middle = (left + right) / 2
    window = (np.abs(i - middle[0]) * step < 60.0) & ((j - middle[1]) * step < 30.0)
    window = window & ((k - middle[2]) * step > -40.0) & ((k - middle[2]) * step < 110.0)
    hot = largest(np.asarray(window & boneless & (suv > max(3.0 * liver, 6.0))), _TOUCHING)
    if float(hot.sum()) * step**3 / 1000 < 8.0:
        return
    centre = np.argwhere(hot).mean(axis=0)
    known = organs.get("urinary_bladder")
    if known is None and (abs(centre[0] - middle[0]) * step > 25.0 or (centre[1] - middle[1]) * step > 20.0):
        return
    if known is not None and not (grown(hot, 10.0, step) & known).any():
        return
    organs["urinary_bladder"] = hot if known is None else np.asarray(hot | known)


def _kidneys(soft: Mask, hot: Mask, frame: BodyFrame) -> dict[str, Mask]:
    """Soft tissue beside the spine round the hottest uptake there (twice the liver, at least SUV 4)."""
    step = frame.step_mm
    out: dict[str, Mask] = {}
    if frame.base is None or np.isnan(frame.spine).all():
        return out
    below = (frame.base - np.arange(soft.shape[2]))[None, None, :] * step
    lateral, behind = frame.lateral_mm(soft.shape), frame.behind_mm(soft.shape)
    for side, key in ((1.0, "kidney_left"), (-1.0, "kidney_right")):
        window = (side * lateral > 18.0) & (side * lateral < 115.0) & (behind > -80.0) & (behind < 40.0) & (below > -20.0)
        window = np.asarray(window & (below < 260.0))
        box = window_box(window, 1)
        if box is None:
            continue
        near = window[box]
        kidney = _kidney(soft[box] & near, np.asarray(hot[box] & near & (behind > -60.0)[:, box[1], box[2]]), step)
        if kidney is not None:
            out[key] = np.zeros(soft.shape, dtype=bool)
            out[key][box] = kidney
    return out


def _kidney(soft: Mask, hot: Mask, step_mm: float) -> Mask | None:
    """The blob of soft tissue round the largest hot spot, if it has the size and length of a kidney."""
    hot = largest(hot, _TOUCHING)
    if hot.sum() * step_mm**3 < 1000.0:
        return None
    centre = np.argwhere(hot).mean(axis=0)
    i, j, k = np.ogrid[: soft.shape[0], : soft.shape[1], : soft.shape[2]]
    far = ((i - centre[0]) / 42.0) ** 2 + ((j - centre[1]) / 42.0) ** 2 + ((k - centre[2]) / 75.0) ** 2
    tissue = (soft | hot) & (far * step_mm**2 < 1.0)
    core = largest(tissue & (distance_to(~tissue, step_mm) > 6.0))
    mask = grown(core, 6.0 + step_mm, step_mm) & tissue
    length = float(np.ptp(np.nonzero(mask)[2])) * step_mm if mask.any() else 0.0
    ml = float(mask.sum()) * step_mm**3 / 1000
    if not 50.0 <= ml <= 420.0 or length < 55.0 or not (mask & grown(hot, 2 * step_mm, step_mm)).any():
        return None
    return np.asarray(mask | hot)
