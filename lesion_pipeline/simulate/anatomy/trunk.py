"""Skin, fat and muscle of trunk, arms and legs; the couch. Knots are heights with half widths, back and front surfaces (mm)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lesion_pipeline.simulate.anatomy.params import BodyParams
from lesion_pipeline.simulate.anatomy.parts import Layer, Part, part
from lesion_pipeline.simulate.anatomy.solids import (
    Coordinates,
    Ellipsoid,
    Field,
    Implicit,
    Loft,
    Ripple,
    Solid,
    Tube,
    Vector,
    spline,
)
from lesion_pipeline.simulate.anatomy.spine import Spine

Knots = list[tuple[float, float, float, float]]
_NAMES = {1: "left", -1: "right"}


@dataclass(frozen=True, eq=False)
class Frame:
    """Heights and widths that the other rooms hang their organs on (body mm).

    s: length scale, g: width scale. z: height of a vertebral body. y: depth of the column at a height.
    """

    params: BodyParams
    spine: Spine
    s: float
    g: float
    cage: Loft
    belly: Loft
    shoulder: Vector  # distance from the column, depth and height of the glenoid

    def z(self, name: str) -> float:
        """Height of a vertebral body; where a variant lacks it, of its neighbour."""
        fallback = {"T12": "T11", "L5": "L4"}
        return float(self.spine[name if self.spine.has(name) else fallback[name]].origin[2])

    def y(self, z: float) -> float:
        return float(self.spine.centre(z)[1])

    def x(self, z: float) -> float:
        return float(self.spine.centre(z)[0])

    def point(self, x: float, y: float, level: str, dz: float = 0.0) -> Vector:
        """A point by widths (mm at reference girth) from the column's axis, at a vertebra's height plus dz."""
        z = self.z(level) + dz * self.s
        return np.array([self.x(z) + x * self.g, self.y(z) + y * self.g, z])

    def glenoid(self, side: int) -> Vector:
        """Shoulder joint; side +1 left, -1 right."""
        _, y, z = self.shoulder
        return np.array([self.x(z) + side * self.shoulder[0], y, z])

    def kept(self, point: Vector, radius: float) -> Vector:
        """The point, drawn back so that a ball of this radius (mm) round it stays behind the wall of the belly."""
        z = float(np.clip(point[2], self.belly.knots[0, 0], self.belly.knots[-1, 0]))
        cx, cy, a, b = (float(v) for v in self.belly.section(z))
        u, v = abs(point[0] - cx) / max(a - radius, 1), abs(point[1] - cy) / max(b - radius, 1)
        over = max((u**2.5 + v**2.5) ** 0.4, 1.0)
        return np.array([cx + (point[0] - cx) / over, cy + (point[1] - cy) / over, point[2]])

    @property
    def bottom(self) -> float:
        return -460.0 * self.s


def _loft(frame_x: Spine, rows: Knots, grow: tuple[float, float, float] = (0, 0, 0), ripple: Ripple | None = None) -> Loft:
    """Knots (z, half width, back y, front y) to a loft; grow: added to the half width, back and front."""
    table = []
    for z, a, back, front in rows:
        b0, f0 = back + grow[1], front - grow[2]
        table.append((z, frame_x.centre(z)[0] if z > 0 else 0.0, (b0 + f0) / 2, a + grow[0], (b0 - f0) / 2))
    return Loft(table, ripple)


def build_frame(params: BodyParams, spine: Spine) -> Frame:
    """Rib cage surface (through the middle of the ribs) and landmarks."""
    s, g = params.scale, params.girth
    rows: Knots = []
    shape = {
        "C7": (30, 16, -42),
        "T1": (56, 28, -52),
        "T2": (82, 38, -66),
        "T3": (99, 44, -84),
        "T4": (110, 48, -104),
        "T5": (118, 51, -118),
        "T6": (124, 52, -127),
        "T8": (131, 49, -134),
        "T10": (132, 46, -130),
        "T11": (129, 43, -124),
        "T12": (124, 41, -116),
        "L1": (119, 38, -98),
        "L2": (117, 36, -90),
    }
    for name, (a, back, front) in shape.items():
        if not spine.has(name):
            continue
        v = spine[name]
        rows.append((float(v.origin[2]), a * g, v.origin[1] + back * g, v.origin[1] + front * g))
    cage = _loft(spine, rows)
    up = params.arms_up
    z = float(spine["T2"].origin[2]) + (22 if up else -8) * s
    shoulder = np.array([(146 if up else 162) * g, spine.centre(z)[1] + (12 if up else 16), z])
    partial = Frame(params, spine, s, g, cage, cage, shoulder)
    return replace(partial, belly=_belly(partial))


def _lean_rows(f: Frame) -> Knots:
    """Surface of the muscles of the trunk."""
    g, belly = f.g, f.params.visceral_mm
    hips = 1.0 if f.params.sex == "M" else 1.07
    broad = 1.0 if f.params.arms_up else 1.22
    fixed = [
        (-196.0, 70 * hips, 50.0, -40.0),
        (-172.0, 150 * hips, 80.0, -70.0),
        (-120.0, 168 * hips, 94.0, -84.0),
        (-70.0, 164 * hips, 100.0, -92.0),
        (-25.0, 156 * hips, 96.0, -104.0),
    ]
    rows: Knots = [(z * f.s, a * g, back * g, front * g - belly * 0.4) for z, a, back, front in fixed]
    by_level = [
        ("L5", 148, 78, -108, 0.8),
        ("L4", 141, 71, -109, 1.0),
        ("L2", 140, 69, -116, 1.0),
        ("L1", 142, 67, -121, 1.0),
        ("T12", 146, 62, -127, 0.9),
        ("T10", 153, 64, -142, 0.5),
        ("T8", 159, 66, -147, 0.2),
        ("T6", 162, 67, -144, 0.0),
        ("T4", 167, 68, -126, 0.0),
        ("T2", 150 * broad, 64, -86, 0.0),
        ("T1", 112 * broad, 58, -66, 0.0),
        ("C7", 74, 50, -52, 0.0),
        ("C6", 61, 46, -42, 0.0),
        ("C4", 57, 44, -37, 0.0),
        ("C2", 58, 46, -42, 0.0),
        ("C1", 60, 52, -40, 0.0),
    ]
    for name, a, back, front, visceral in by_level:
        if not f.spine.has(name):
            continue
        z = f.z(name)
        y = f.y(z)
        rows.append((z, a * g + belly * visceral * 0.5, y + back * g, y + front * g - belly * visceral))
    _, wide, rear, fore = rows[-1]
    rows.append((f.z("C1") + 34 * f.s, wide * 0.9, rear + 4, fore + 8))  # the nape reaches the occiput
    return rows


def _skin_rows(f: Frame, rows: Knots) -> Knots:
    """Fat over the muscles: thick at hips and belly, thin at chest and neck, pressed flat at the back."""
    fat = f.params.fat_mm
    out: Knots = []
    for z, a, back, front in rows:
        t = np.interp(
            z,
            [-170 * f.s, -60 * f.s, f.z("L4"), f.z("T12"), f.z("T8"), f.z("T3"), f.z("C7"), f.z("C3")],
            [1.25, 1.2, 1.0, 0.85, 0.55, 0.45, 0.35, 0.3],
        )
        out.append((z, a + 3 + fat * t, back + 3 + fat * t * 0.55, front - 3 - fat * t * (0.9 if z < f.z("T10") else 1.0)))
    return out


def _legs(f: Frame, side: int, rng: np.random.Generator) -> tuple[Loft, Loft]:
    s, g, fat = f.s, f.g, f.params.fat_mm
    x = side * 90 * g
    muscle = [
        (-470 * s, side * 84 * g, 4, 62 * g, 66 * g),
        (-300 * s, x, 2, 72 * g, 78 * g),
        (-170 * s, x, 0, 78 * g, 86 * g),
        (-110 * s, x, 2, 74 * g, 88 * g),
        (-60 * s, x, 4, 60 * g, 84 * g),
    ]
    skin = [(z, cx, cy, a + 3 + fat * 0.75, b + 3 + fat * 0.75) for z, cx, cy, a, b in muscle]
    return Loft(skin), Loft(muscle, Ripple.drawn(rng, 2.0, 70))


def _arm_path(f: Frame, side: int) -> tuple[Vector, Vector]:
    """Centre line of the upper arm (and forearm, arms down): points and muscle radii."""
    sx, sy, sz = f.glenoid(side)
    if f.params.arms_up:
        ends = [
            (sx, sy, sz),
            (sx + side * 26, sy - 2, sz + 70 * f.s),
            (sx + side * 18, sy - 6, sz + 230 * f.s),
            (sx - side * 10, sy - 10, sz + 310 * f.s),
        ]
        return np.array(ends), np.array([47.0, 46, 38, 34]) * f.g
    ends = [
        (sx, sy, sz),
        (sx + side * 32, sy + 8, sz - 80 * f.s),
        (sx + side * 42, sy + 14, sz - 290 * f.s),
        (sx + side * 30, sy - 8, sz - 420 * f.s),
        (sx + side * 10, sy - 40, sz - 540 * f.s),
    ]
    return np.array(ends), np.array([46.0, 44, 37, 34, 24]) * f.g


def soft_parts(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Skin and fat of everything, then muscle of everything, then the fat and organs' bed inside."""
    lean = _lean_rows(f)
    legs = [_legs(f, side, rng) for side in (1, -1)]
    arms = [_arm_path(f, side) for side in (1, -1)]
    outer = [
        _loft(f.spine, _skin_rows(f, lean), ripple=Ripple.drawn(rng, 1.5, 120)),
        *(skin for skin, _ in legs),
        *(Tube(p, r + 3 + 0.35 * f.params.fat_mm) for p, r in arms),
    ]
    glands: list[Part] = []
    if f.params.sex == "F":
        breasts, glands = _breasts(f)
        outer += breasts
    # all skin before all fat: no skin is left where a limb grows out of the trunk
    out = [Part(solid, (Layer("skin", "body"),)) for solid in outer]
    out += [Part(solid, (Layer("fat", "subcutaneous_fat", 2.5),)) for solid in outer]
    out += glands
    out += [part(inner, "muscle", "muscle") for _, inner in legs]
    out.append(part(_loft(f.spine, lean, ripple=Ripple.drawn(rng, 1.5, 60)), "muscle", "muscle"))
    out += [part(Tube(p, r), "muscle", "muscle") for p, r in arms]
    out.append(part(f.belly, "visceral_fat", "abdominal_cavity"))
    for side, (points, radii) in zip((1, -1), arms, strict=True):
        out += _arm_bones(f, points, radii, side)
    return out


def _breasts(f: Frame) -> tuple[list[Solid], list[Part]]:
    """Outlines, and glandular tissue inside them."""
    outlines: list[Solid] = []
    glands = []
    big = min(0.7 + f.params.fat_mm / 60, 1.3)
    for side in (1, -1):
        front = f.cage.section(f.z("T6"))
        y = float(front[1] - front[3]) - 14
        centre = np.array([f.x(f.z("T6")) + side * 86 * f.g, y, f.z("T6") - 12])
        outlines.append(Ellipsoid(centre, np.array([62, 30, 62]) * big))
        glands.append(
            part(Ellipsoid(centre + np.array([0, 2, 0]), np.array([32, 14, 32]) * big), "breast", f"breast_{_NAMES[side]}")
        )
    return outlines, glands


def _belly(f: Frame) -> Loft:
    """The hollow of belly and pelvis, inside the muscular wall."""
    rows: Knots = []
    for z, a, back, front in sorted(_lean_rows(f)):
        if f.z("T10") - 1 <= z or z < -30 * f.s:
            continue
        inner = f.y(z) + 26 * f.g if z > 0 else back * 0.3
        rows.append((z, a - 20, min(back - 30, inner), front + 12))
    # under the domes the hollow is bounded by the cage
    _, cy, a, b = (float(v) for v in f.cage.section(f.z("T9")))
    rows.append((f.z("T9"), a - 7, cy + b - 7, cy - b + 7))
    pelvis = [
        (-128 * f.s, 30 * f.g, 24 * f.g, -46 * f.g),
        (-95 * f.s, 54 * f.g, 46 * f.g, -66 * f.g),
        (-55 * f.s, 62 * f.g, 46 * f.g, -84 * f.g),
    ]
    return _loft(f.spine, pelvis + rows)


def _arm_bones(f: Frame, points: Vector, radii: Vector, side: int) -> list[Part]:
    name = _NAMES[side]
    key = f"humerus_{name}"
    marrow = Layer("fatty_marrow", key, 4.5)
    bones = [part(Tube(spline(points[:3], 8), np.array([16.0, *[11.5] * 7]) * f.g), "cortex", key, marrow)]
    head = points[0] + np.array([-side * 4, 0, 0])
    bones.insert(0, part(Ellipsoid(head, 24 * f.g), "cortex", key, Layer("spongiosa_limb", key, 1.5)))
    if len(points) > 4:
        bones.append(part(Tube(points[2:], 8.0), "cortex", f"forearm_{name}", Layer("fatty_marrow", None, 3.0)))
    return bones


def couch(f: Frame) -> Part:
    """A thin curved shell under the back, and the mattress on it: no part of the body."""
    back = max(y for z, _, y, _ in _skin_rows(f, _lean_rows(f)) if z < f.z("T2"))
    high = np.array([220.0, back + 60, f.z("C1") + 400])
    low = np.array([-220.0, back - 10, f.bottom - 400])

    def shell(at: Coordinates) -> Field:
        x, y, _ = at
        top = np.float32(back + 4) - (x / 200) ** 2 * 16
        return np.asarray(np.maximum(np.maximum(top - y, y - top - 26), np.abs(x) - 205) + 0 * at[2], dtype=np.float32)

    return Part(Implicit(low, high, shell), (Layer("couch_shell", "couch"), Layer("couch_foam", "couch", 2.2)))
