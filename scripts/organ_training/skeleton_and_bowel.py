"""What lies between the organs and the skin: skeleton, bowel, vessels, muscles. See ``bodies``."""

from __future__ import annotations

from itertools import pairwise

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scripts.organ_training.bodies import (
    AIRWAY,
    AORTA,
    BRAIN,
    CANAL,
    CARTILAGE,
    COLON,
    CORTEX,
    DISC,
    FAT,
    HEART,
    KIDNEY,
    LIVER,
    LUMEN,
    LUNG,
    MARROW,
    MUSCLE,
    RINGS,
    SINUS,
    SOFT,
    SPLEEN,
    STEP,
    STOMACH,
    THIN_BONE,
    VESSEL,
    WALL,
    Canvas,
    Mask,
)


def _field(c: Canvas, sigma: float) -> npt.NDArray[np.float32]:
    f = ndimage.gaussian_filter(c.rng.standard_normal(c.out.shape).astype(np.float32), sigma)
    return np.asarray(f / f.std(), dtype=np.float32)


def chest_contents(c: Canvas, cavity: Mask) -> None:
    """Mediastinum: fat and soft tissue; airway down to the carina."""
    m = c.marks
    chest = cavity & (c.z > m.base)
    soft = chest & (_field(c, 2.0) > c.rng.uniform(-0.3, 0.6))
    c.out[soft] = SOFT
    top = np.broadcast_to(c.z > m.apex - 60 / STEP, soft.shape) & chest
    c.out[top & (_field(c, 1.5) > 0.2)] = VESSEL


def bowel(c: Canvas, cavity: Mask) -> None:
    """Small bowel as blobs of a smooth field, colon as a frame of tubes with haustra; both give way to organs."""
    m, rng = c.marks, c.rng
    organs = np.isin(c.labels, (LIVER, SPLEEN, STOMACH, KIDNEY, HEART, LUNG))
    low = m.bladder[2] - 4
    ahead = c.y < m.spine[None, None, :] - 12 / STEP
    lower = np.broadcast_to((c.z > low) & (c.z < m.base - 8), cavity.shape) & cavity & ahead & ~organs
    f = _field(c, rng.uniform(2.2, 3.2))
    middle = np.abs(c.x - m.cx[None, None, :]) < 0.72 * m.half[None, None, :]
    loops = lower & middle & (f > rng.uniform(-0.5, 0.6))
    c.out[loops] = WALL
    c.out[(edt.edt(loops) > 1.2) & loops] = LUMEN
    organ_low = float(np.quantile(np.nonzero(c.labels == LIVER)[2], 0.05))
    bx, by, bz = m.bladder
    right, left = bx - 0.68 * m.half[int(bz) + 25], bx + 0.68 * m.half[int(bz) + 25]
    front = m.front[int(bz) + 30] + 10 + rng.normal(0, 2)
    flank = float(m.spine[int(bz) + 40]) - 2
    z0 = bz + rng.uniform(60, 90) / STEP
    spleen_low = float(np.quantile(np.nonzero(c.labels == SPLEEN)[2], 0.15))
    path = [
        (right + 3, flank - 12, z0), (right, flank - 6, z0 + 15), (right + 2, flank - 12, organ_low - 2),
        (right + 12, front + 4, organ_low - 8), (bx, front, organ_low - rng.uniform(4, 22)),
        (left - 12, front + 4, (organ_low + spleen_low) / 2), (left - 1, flank - 8, spleen_low - 2),
        (left + 1, flank - 2, z0 + 12), (left - 3, flank - 10, z0), (bx + 10, by - 4, bz + 18), (bx + 2, by + 12, bz + 22),
        (bx, m.spine[int(bz) + 8] - 9, bz + 8), (bx, m.spine[int(bz)] - 8, bz - 8),
    ]  # fmt: skip
    radius = rng.uniform(15, 26)
    before = c.out.copy()
    for a, b in pairwise(path):
        pieces = 5
        for t in range(pieces):
            p = tuple(np.array(a) + (np.array(b) - np.array(a)) * t / pieces + rng.normal(0, 1.0, 3))
            q = tuple(np.array(a) + (np.array(b) - np.array(a)) * (t + 1) / pieces)
            c.capsule(p, q, radius * rng.uniform(0.7, 1.25), COLON, r1=radius * rng.uniform(0.7, 1.1))
    tube = (c.out == COLON) & (cavity | np.broadcast_to(c.z < low, cavity.shape)) & ~organs
    c.out[:] = before
    c.out[tube] = WALL
    c.out[(edt.edt(tube) > 1.2) & tube] = COLON
    free = lower & (c.out == FAT)
    c.out[free & (np.abs(_field(c, 1.0)) > 2.1)] = VESSEL
    pancreas = float(np.median(np.nonzero(c.labels == KIDNEY)[2])) + rng.uniform(2, 10)
    y = float(m.spine[int(pancreas)]) - 45 / STEP
    for head, tail in ((-8, 2), (2, 12), (12, 20)):
        start = (bx + head, y + rng.normal(0, 1), pancreas + head / 4)
        c.capsule(start, (bx + tail, y + rng.normal(0, 1.5), pancreas + tail / 4), 11, SOFT, r1=9)
    pelvic = cavity & np.broadcast_to(c.z < bz + 12, cavity.shape) & (c.out == FAT)
    c.out[pelvic & (_field(c, 2.5) > 0.7)] = SOFT


def back_muscles(c: Canvas) -> None:
    """Psoas on either side of the lumbar spine, down to the hip."""
    m = c.marks
    top = float(np.median(np.nonzero(c.labels == KIDNEY)[2]))
    bx, by, bz = m.bladder
    size = c.rng.uniform(0.7, 1.25)
    for side in (1, -1):
        points = [
            (m.mid[int(top)] + side * 26 / STEP, m.spine[int(top)], top),
            (bx + side * 45 / STEP, m.spine[int(bz + 38)] - 4, bz + 38),
            (bx + side * 72 / STEP, by - 4, bz + 14),
            (bx + side * 95 / STEP, by - 2, bz - 6),
        ]
        radii = (9, 19, 18, 14)
        for (p, r), (q, s) in zip(zip(points, radii, strict=True), zip(points[1:], radii[1:], strict=False), strict=False):
            c.capsule(p, q, r * size, MUSCLE, r1=s * size)


def cage(c: Canvas, lean: Mask, distance: npt.NDArray[np.float32]) -> None:
    """Ribs run round the chest and fall to the front; cartilage joins them to the sternum."""
    m, rng = c.marks, c.rng
    dx = (c.x - m.cx[None, None, :]) / np.maximum(m.half[None, None, :], 4)
    cy = (m.front + m.back) / 2
    dy = (c.y - cy[None, None, :]) / np.maximum((m.back - m.front)[None, None, :] / 2, 4)
    angle = np.arctan2(np.abs(dx), dy)  # 0 at the back, pi at the front
    shell = lean & (distance > 0) & (distance <= rng.uniform(7, 9))
    pitch = rng.uniform(23, 28)
    phase = ((c.z - m.apex) * STEP + angle * rng.uniform(22, 34)) / pitch
    rib = shell & ((phase % 1) < rng.uniform(0.36, 0.48))
    lowest = m.base - 95 / STEP + np.maximum(angle - 1.2, 0) * (75 / STEP)
    rib &= (c.z > lowest) & (c.z < m.apex + 1)
    limit = 2.35 - np.clip((m.base + 30 / STEP - c.z) / 60, 0, 0.8)
    c.out[rib & (angle < limit)] = THIN_BONE
    c.out[rib & (angle >= limit) & (angle < 2.95)] = CARTILAGE
    sternum = (
        lean & (distance > 0) & (distance <= 12) & (np.abs(c.x - m.mid[None, None, :]) < rng.uniform(4, 5.5)) & (dy < -0.6)
    )
    sternum &= (c.z < m.apex - 25 / STEP) & (c.z > m.apex - rng.uniform(170, 215) / STEP)
    c.out[sternum] = MARROW
    rim = sternum & (edt.edt(sternum) <= 1.1)
    c.out[rim & (rng.random(rim.shape) < 0.6)] = THIN_BONE


def shoulders(c: Canvas, lean: Mask, distance: npt.NDArray[np.float32]) -> None:
    """Clavicles, scapulae, humeri; arms up, down or out of the field of view."""
    m, rng = c.marks, c.rng
    apex = m.apex
    a = int(apex) - 4
    back = c.y > m.spine[None, None, :] - 4
    side_mm = np.abs(c.x - m.mid[None, None, :]) * STEP
    blade = (distance > 15) & (distance < 22) & back & (side_mm > 62) & (side_mm < 62 + (c.z - apex + 40) * 2.2 + 30)
    blade &= (c.z < apex) & (c.z > apex - 150 / STEP)
    c.out[blade & lean] = THIN_BONE
    arms = rng.choice(["up", "down", "none"], p=[0.45, 0.3, 0.25])
    for s in (1, -1):
        x0, y0 = float(m.mid[a]), float(m.spine[a])
        shoulder = (x0 + s * 160 / STEP, y0 + rng.normal(0, 2), apex + rng.normal(0, 3))
        c.bone((x0 + s * 15 / STEP, m.front[a] + 8, apex - 6), (x0 + s * 130 / STEP, y0 - 2, apex + 4), 6.5)
        c.bone((x0 + s * 125 / STEP, y0 + 6, apex - 4), (shoulder[0] - s * 6, shoulder[1], shoulder[2]), 8)
        if arms != "none":
            end = (x0 + s * rng.uniform(120, 190) / STEP, y0 - rng.uniform(0, 25), apex + 65)
            if arms == "down":
                end = (x0 + s * rng.uniform(215, 240) / STEP, y0 + rng.normal(0, 5), apex - 75)
            before = c.out.copy()
            c.capsule(shoulder, end, 46, MUSCLE, r1=34)
            arm = (c.out == MUSCLE) & (before <= RINGS)
            c.out[:] = before
            c.out[arm] = MUSCLE
            c.bone(shoulder, end, 11)
        c.bone(shoulder, shoulder, 23)


def pelvis(c: Canvas) -> None:
    """Hip bones and femora hung on the bladder."""
    m, rng = c.marks, c.rng
    bx, by, bz = m.bladder + np.array([0, rng.normal(0, 10), rng.normal(-8, 12)]) / STEP
    wide = rng.uniform(0.93, 1.07)
    for s in (1, -1):

        def at(x: float, y: float, z: float, s: int = s) -> tuple[float, float, float]:
            return (bx + s * x * wide / STEP, by + y / STEP, bz + z / STEP)

        for t in np.linspace(0, 1, 14):  # the wing, from above the joint to the crest
            z = 28 + 112 * t
            back = at(50 + 10 * t, 78 - 18 * t, z)
            mid = at(90 + 30 * t, 30 - 6 * t, z)
            front = at(96 + 34 * t, -14 + 4 * t - 25 * np.sin(np.pi * t) * 0.4, z)
            r = 8.5 - 3.5 * np.sin(np.pi * min(t * 1.1, 1))
            if t > 0.25:
                c.capsule(back, mid, r + 1.5, THIN_BONE if r < 7 else MARROW, r1=r)
            c.capsule(mid, front, r, THIN_BONE if r < 7 else MARROW, r1=r)
        joint = at(89, 10, 8)
        c.capsule(joint, at(86, 14, 22), 32, CORTEX)
        c.capsule(joint, at(84, 14, 24), 27, MARROW)
        c.capsule(joint, joint, 26, SOFT)
        c.bone(at(78, 40, 0), at(62, 42, -48), 14)
        c.bone(at(74, -12, 2), at(10, -42, -14), 9.5, 10)
        c.bone(at(14, -38, -28), at(56, 28, -50), 7)
        c.bone(joint, joint, 23.5)
        c.bone(joint, at(122, 24, -28), 16)
        c.bone(at(124, 26, -20), at(126, 24, -55), 19, 16)
        c.bone(at(122, 24, -50), at(96, 12, -320), 15, 13)
        c.capsule(at(120, 24, -70), at(96, 12, -320), 8, FAT, r1=7)
    c.capsule((bx, by - 43 / STEP, bz - 20 / STEP), (bx, by - 40 / STEP, bz - 28 / STEP), 6, CARTILAGE)


def spine(c: Canvas) -> None:
    """Vertebrae with discs, canal, arch and processes; the sacrum below."""
    m, rng = c.marks, c.rng
    bx, _, bz = m.bladder
    sacrum_top = bz + 112 / STEP
    top = c.out.shape[2] - 1 if m.brain is None else int(m.brain[2]) + 1
    z = sacrum_top
    count = 0
    while z < top:
        lumbar = np.clip(1 - count / 8, 0, 1)
        cervical = np.clip((z - m.apex - 4) / 12, 0, 1)
        height = (22 + 13 * lumbar - 6 * cervical) / STEP * rng.uniform(0.95, 1.05)
        disc = (4 + 5 * lumbar) / STEP
        rx, ry = 16 + 8 * lumbar - 5 * cervical, 13 + 5 * lumbar - 4 * cervical
        _vertebra(c, z, (height, disc), (rx, ry), float(lumbar))
        z += height
        count += 1
    dz = (c.z - bz) * STEP
    t = np.clip((dz - 5) / 107, 0, 1)
    y = m.spine[None, None, :]
    block = (
        (dz > 5)
        & (dz <= 112)
        & (np.abs(c.x - m.mid[None, None, :]) * STEP < 14 + 44 * t)
        & (np.abs(c.y - y - 2) * STEP < 9 + 11 * t)
    )
    c.out[block] = MARROW
    c.out[block & (edt.edt(block) <= 1)] = THIN_BONE
    c.out[block & (np.abs(c.x - m.mid[None, None, :]) * STEP < 8) & ((c.y - y) * STEP > 8) & (dz > 40)] = CANAL
    del bx


def _vertebra(c: Canvas, z: float, size: tuple[float, float], radii: tuple[float, float], lumbar: float) -> None:
    height, disc = size
    lo, hi = int(max(z, 0)), int(min(z + height + 1, c.out.shape[2]))
    rx, ry = radii
    for k in range(lo, hi):
        mx, my = c.marks.mid[k], c.marks.spine[k]
        plane = c.out[:, :, k]
        ex, ey = (c.x[:, :, 0] - mx) * STEP, (c.y[:, :, 0] - my) * STEP
        inside = (ex / rx) ** 2 + (ey / ry) ** 2
        rel = (k - z) / height
        canal_y = ry + 9
        r = np.hypot(ex, ey - canal_y)
        if 0.15 < rel < 0.85 or disc * STEP < 6:
            plane[(r < 16) & (r >= 9) & (ey > ry - 6)] = CORTEX
            plane[(np.abs(ex) < 5) & (ey > canal_y + 9) & (ey < canal_y + 26 + 8 * lumbar)] = THIN_BONE
            if 0.25 < rel < 0.7:
                plane[(np.abs(ey - canal_y + 3) < 5.5) & (np.abs(ex) < 28 + 10 * lumbar) & (np.abs(ex) > 11)] = THIN_BONE
        plane[inside <= 1] = DISC if rel > 1 - disc / height else MARROW
        if rel <= 1 - disc / height:
            plane[(inside <= 1) & (inside > 0.72)] = THIN_BONE
        plane[r < 9] = CANAL


def vessels(c: Canvas) -> None:
    """Aorta with its arch and bifurcation, caval vein, iliac vessels, oesophagus, trachea."""
    m, rng = c.marks, c.rng
    bx, by, bz = m.bladder
    split = bz + 150 / STEP
    arch = m.apex - rng.uniform(55, 75) / STEP
    r = rng.uniform(9.5, 14)
    free = ~np.isin(c.labels, (LUNG, LIVER, KIDNEY, SPLEEN, STOMACH))
    not_organ = c.labels == 0

    def by_spine(z: float, dx: float, dy: float) -> tuple[float, float, float]:
        k = int(np.clip(z, 0, len(m.mid) - 1))
        return (float(m.mid[k]) + dx / STEP, float(m.spine[k]) + dy / STEP, z)

    zs = np.linspace(split, arch, 9)
    chest = (zs - m.base) / (m.apex - m.base)
    points = [
        by_spine(z, 6 + 16 * np.clip(t * 2, 0, 1), -30 + 6 * np.clip(t * 2, 0, 1)) for z, t in zip(zs, chest, strict=True)
    ]
    for p, q in pairwise(points):
        c.capsule(p, q, r, AORTA, only=not_organ)
    peak = by_spine(arch + 6, 8, -48)
    rise = by_spine(arch, -12, -72)
    heart = np.argwhere(c.labels == HEART)
    root = tuple(np.quantile(heart, 0.5, axis=0) + np.array([-3, -2, 0]))
    for p, q in ((points[-1], peak), (peak, rise), (rise, (root[0], root[1], float(np.quantile(heart[:, 2], 0.9))))):
        c.capsule(p, q, r * 1.15, AORTA, only=free & not_organ)
    for s in (1, -1):
        c.capsule(points[0], (bx + s * 42 / STEP, m.spine[int(bz + 26)] - 8, bz + 28), 5.5, VESSEL, only=not_organ)
        c.capsule(
            (bx + s * 42 / STEP, m.spine[int(bz + 26)] - 8, bz + 28),
            (bx + s * 62 / STEP, by - 12, bz - 2),
            6,
            VESSEL,
            only=not_organ,
        )
        c.capsule((bx + s * 62 / STEP, by - 12, bz - 2), (bx + s * 70 / STEP, by - 12, 0), 5.5, VESSEL, only=not_organ)
    vein = [by_spine(z, -16, -28) for z in np.linspace(split - 4, m.base + 8, 6)]
    for p, q in pairwise(vein):
        c.capsule(p, q, rng.uniform(8, 12), VESSEL, only=not_organ)
    gullet = [by_spine(z, 2, -32) for z in np.linspace(m.base, m.apex + 20, 6)]
    for p, q in pairwise(gullet):
        c.capsule(p, q, 6, SOFT, only=not_organ)
    carina = by_spine(m.apex - 95 / STEP, 0, -48)
    top = by_spine(min(m.apex + 70 / STEP, c.out.shape[2] - 1.0), 0, -38)
    mid = by_spine(m.apex - 10 / STEP, 0, -42)
    for p, q in ((carina, mid), (mid, top)):
        c.capsule(p, q, 11.5, SOFT, only=not_organ)
        c.capsule(p, q, 8.5, AIRWAY)
    for s in (1, -1):
        c.capsule(carina, (carina[0] + s * 30 / STEP, carina[1] - 1, carina[2] - 7), 6.5, AIRWAY)
        c.capsule(by_spine(m.apex, s * 14, -44), by_spine(m.apex + 30, s * 26, -26), 6, VESSEL, only=not_organ)


def head(c: Canvas, lean: Mask) -> None:
    """Skull as a shell round the brain; below it a face of bone, air and soft tissue."""
    m = c.marks
    if m.brain is None:
        return
    d = edt.edt(c.labels != BRAIN) * STEP
    above = np.broadcast_to(c.z > m.brain[2] - 1, lean.shape)
    c.out[above & lean & (d > 0) & (d <= 3.5)] = CANAL
    c.out[above & lean & (d > 3.5) & (d <= c.rng.uniform(9, 11.5))] = CORTEX
    face = lean & np.broadcast_to((c.z <= m.brain[2]) & (c.z > m.brain[2] - 105 / STEP), lean.shape)
    face &= (c.y < m.spine[None, None, :] - 6) & (np.abs(c.x - m.mid[None, None, :]) < 14)
    f = _field(c, 1.2)
    upper = face & np.broadcast_to(c.z > m.brain[2] - 55 / STEP, lean.shape)
    c.out[face & (f > 1.2)] = THIN_BONE
    c.out[upper & (f < -0.9)] = SINUS
    jaw = m.brain[2] - 75 / STEP
    for s in (1, -1):
        c.bone((m.brain[0], m.brain[1] - 92 / STEP, jaw - 3), (m.brain[0] + s * 46 / STEP, m.brain[1] - 28 / STEP, jaw), 7.5)
        c.bone(
            (m.brain[0] + s * 46 / STEP, m.brain[1] - 28 / STEP, jaw),
            (m.brain[0] + s * 50 / STEP, m.brain[1] - 18 / STEP, m.brain[2] - 4),
            6,
        )
