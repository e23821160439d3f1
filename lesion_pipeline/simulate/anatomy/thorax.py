"""Ribs, sternum, shoulder girdle, lungs, heart and great vessels."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.simulate.anatomy.parts import Layer, Part, part
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Ellipsoid, Field, Implicit, Plate, Ripple, Tube, Vector, spline
from lesion_pipeline.simulate.anatomy.trunk import Frame

#: Per rib 1..13: angle round the cage where bone ends (degrees from the back), drop from head to that end (mm).
_RIB_END = (128, 138, 142, 143, 141, 138, 133, 122, 112, 103, 80, 56, 44)
_RIB_DROP = (26, 40, 52, 62, 72, 82, 92, 96, 98, 98, 66, 38, 26)


def _on_cage(f: Frame, angle_deg: float, z: float, side: int, inset: float = 0.0) -> Vector:
    """Point of the cage surface; angle from the back over the side to the front."""
    cx, cy, a, b = (float(v) for v in f.cage.section(z))
    t = np.radians(angle_deg)
    sine, cosine = np.sin(t), np.cos(t)
    shape = (abs(sine) ** 2.5 + abs(cosine) ** 2.5) ** (-1 / 2.5)
    return np.array([cx + side * (a - inset) * sine * shape, cy + (b - inset) * cosine * shape, z])


def rib_path(f: Frame, number: int, side: int, count: int = 22) -> Vector:
    """(count, 3) points of a rib's middle line from its head to the end of its bone."""
    v = f.spine[f"T{number}"]
    head = v.at(side * (v.width / 2 + 2), v.depth * 0.22, v.height * (0.42 if 1 < number < 11 else 0.1))
    tip_back = v.depth / 2 + v.canal[1] * 0.6 + v.transverse[1]
    neck = v.at(side * (v.transverse[0] - 1), tip_back - 9, v.height * 0.18)
    end, drop = _RIB_END[number - 1], _RIB_DROP[number - 1] * f.s
    first = 24.0 if number > 1 else 40.0
    round_ = []
    for t in np.linspace(0, 1, 9):
        angle = first + 6 + (end - first - 6) * t
        z = neck[2] - 6 - (drop - 6) * t ** (1.15 if number < 11 else 1.0)
        round_.append(_on_cage(f, angle, z, side))
    return spline(np.array([head, neck, *round_]), count)


def ribs(f: Frame) -> list[Part]:
    """Rib pairs with cortex and marrow, and the costal cartilages of ribs 1 to 10."""
    out, cartilage = [], []
    sternum = sternum_points(f)
    for number in range(1, f.params.ribs + 1):
        for side, name in ((1, "left"), (-1, "right")):
            path = rib_path(f, number, side)
            key = f"rib_{name}_{number}"
            radii = np.full(len(path), 5.4 if 2 < number < 11 else 4.6) * f.g
            radii[0] += 1.0
            out.append(part(Tube(path, radii), "rib_cortex", key, Layer("spongiosa_rib", key, 1.7)))
            if number <= 10:
                heights = np.interp(min(number, 7.6), np.arange(1, 9), np.linspace(0.10, 0.92, 8))
                where = sternum[0] + (sternum[-1] - sternum[0]) * heights
                target = where + np.array([side * 17 * f.g, 0, 0])
                if number > 7:  # joins the cartilage above
                    above = rib_path(f, 7, side)[-1]
                    target = above + (target - above) * (0.75 - 0.22 * (number - 7))
                middle = (path[-1] + target) / 2 + np.array([side * 4, -5, -14 if number > 4 else -2])
                cartilage.append(part(Tube(spline([path[-1], middle, target], 8), 5.5 * f.g), "cartilage", "costal_cartilages"))
    return cartilage + out


def sternum_points(f: Frame) -> Vector:
    """Middle line of the sternum from the jugular notch to the xiphoid."""
    top, bottom = f.z("T3") + 6, f.z("T9")
    heights = np.linspace(top, bottom, 7)
    out = []
    for z in heights:
        _, cy, _, b = (float(v) for v in f.cage.section(z))
        out.append([f.x(z) * 0.5, cy - b + 1, z])
    return np.array(out)


def sternum(f: Frame) -> Part:
    p = sternum_points(f)
    half = np.array([24, 20, 15, 16, 18, 16, 6]) * f.g
    corners = np.concatenate([p + np.stack([h * s for h in half])[:, None] * [1, 0, 0] for s in (1, -1)])
    n = len(p)
    triangles = [t for m in range(n - 1) for t in ((m, m + 1, m + n), (m + 1, m + n, m + n + 1))]
    return part(Plate(corners, 5.0, triangles), "cortex", "sternum", Layer("spongiosa", "sternum", 1.3))


def girdle(f: Frame) -> list[Part]:
    """Clavicles and scapulae."""
    out = []
    top = sternum_points(f)[0]
    for side, name in ((1, "left"), (-1, "right")):
        glenoid = f.glenoid(side)
        acromion = glenoid + np.array([side * 2, 8, 26])
        start = top + np.array([side * 18, -2, 4])
        bend = [start + (acromion - start) * t + np.array([0, d, 0]) for t, d in ((0.3, -9), (0.7, 7))]
        key = f"clavicle_{name}"
        marrow = Layer("spongiosa_limb", key, 2.2)
        out.append(part(Tube(spline([start, *bend, acromion], 14), 6.2 * f.g), "cortex", key, marrow))
        out.append(_scapula(f, side, name, glenoid, acromion))
    return out


def _scapula(f: Frame, side: int, name: str, glenoid: Vector, acromion: Vector) -> Part:
    swing = 26 if f.params.arms_up else 0  # arms up: the lower tip swings outward
    upper = _on_cage(f, 33 + swing * 0.2, f.z("T2"), side, -16)
    lower = _on_cage(f, 44 + swing, f.z("T7"), side, -15)
    middle = _on_cage(f, 36 + swing * 0.6, f.z("T4"), side, -16)
    neck = glenoid + np.array([-side * 22, 6, -4])
    spine_root = middle + np.array([0, 2, 8])
    ridge = (middle + acromion) / 2 + np.array([0, 24, 4])
    corners = np.array([upper, middle, lower, neck, glenoid + np.array([-side * 18, 0, 0]), spine_root, ridge, acromion])
    triangles = [(0, 1, 3), (1, 2, 3), (0, 3, 4), (5, 6, 3), (6, 7, 3)]
    half = np.array([2.2, 2.0, 3.5, 6.0, 11.0, 2.5, 3.5, 6.0]) * f.g
    key = f"scapula_{name}"
    return part(Plate(corners, half, triangles), "cortex", key, Layer("spongiosa_limb", key, 2.0))


def dome(f: Frame, x: Field, y: Field) -> Field:
    """Height of the diaphragm: two domes, deep behind and at the sides."""
    zc = f.z("T12")
    cx, cy, a, b = (float(v) for v in f.cage.section(zc))
    right, left = f.z("T9") + 18 * f.s, f.z("T9") + 2 * f.s
    u, w = (x - cx) / a, (y - cy) / b
    peaks = [(-0.50, right), (0.52, left)]
    domes = [
        np.float32(p) - np.float32(118 * f.s) * np.clip(((u - m) ** 2) * 1.25 + (w + 0.1) ** 2 * 1.05, 0, 3) for m, p in peaks
    ]
    return np.asarray(np.maximum(domes[0], domes[1]), dtype=np.float32)


def _lung(f: Frame, side: int) -> Implicit:
    low, high = f.cage.low.copy(), f.cage.high.copy()
    low[2], high[2] = f.z("L1"), f.z("T1") + 14 * f.s
    if side > 0:
        low[0] = f.x(f.z("T6")) + 8
    else:
        high[0] = f.x(f.z("T6")) - 8
    middle = f.z("T6")

    def distance(at: Coordinates) -> Field:
        x, y, z = at
        pleura = f.cage.distance(at) + np.float32(6.5)
        below = (dome(f, x, y) - z) * np.float32(0.6)
        cx, cy, _, b = f.cage.section(z)
        front = (cy - y) / b  # 1 at the sternum, -1 at the back
        half = (
            13
            + 19 * np.clip(1 - np.abs(front + 0.05) * 1.5, 0, 1)
            + 12 * np.clip(front, 0, 1) * np.clip((middle - z) / 60, 0, 1)
        )
        medial = half * np.float32(f.g) - side * (x - cx)
        return np.asarray(np.maximum(np.maximum(pleura, below), medial), dtype=np.float32)

    return Implicit(low, high, distance)


def lungs(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Muscle between the ribs, then lungs with vessels and airways; the mediastinum is what lies between."""
    inner = Implicit(
        f.cage.low,
        f.cage.high,
        lambda at: np.asarray(
            np.maximum(f.cage.distance(at) + np.float32(6.0), (dome(f, at[0], at[1]) - at[2]) * np.float32(0.6)),
            dtype=np.float32,
        ),
    )
    out = [part(inner, "mediastinal_fat", "mediastinum")]
    for side, name in ((1, "left"), (-1, "right")):
        out.append(part(_lung(f, side), "lung", f"lung_{name}"))
        hilum = f.point(side * 34, -44, "T6")
        out += _vessels(f, side, hilum, rng)
        out.append(
            part(
                Tube(spline([f.point(0, -34, "T5"), f.point(side * 20, -40, "T5", -14), hilum], 6), 6.5),
                "wall",
                "trachea",
                Layer("gas", "trachea", 1.3),
            )
        )
    top, fork = f.point(0, -48, "C6"), f.point(0, -34, "T5")
    path = spline([top, f.point(0, -36, "T2"), fork], 8)
    out.append(part(Tube(path, 9.5 * f.g), "wall", "trachea", Layer("gas", "trachea", 1.5)))
    return out


def _vessels(f: Frame, side: int, hilum: Vector, rng: np.random.Generator) -> list[Part]:
    """Two generations of branches that fan out from the hilum."""
    out = []
    for _ in range(15):
        way = rng.normal(0, 1, 3) * [0.9, 1.0, 1.25] + np.array([side * 0.75, 0.15, 0.0])
        way /= np.linalg.norm(way)
        reach = rng.uniform(45, 70) * f.g
        fork = hilum + way * reach
        out.append(
            part(
                Tube(spline([hilum, (hilum + fork) / 2 + rng.normal(0, 4, 3), fork], 4), np.linspace(4.6, 2.4, 4)),
                "lung_vessel",
            )
        )
        for _ in range(3):
            tip = fork + (way + rng.normal(0, 0.6, 3)) * rng.uniform(22, 42)
            out.append(part(Tube([fork, (fork + tip) / 2 + rng.normal(0, 3, 3), tip], [2.2, 1.5, 0.7]), "lung_vessel"))
    inside = _lung(f, side)
    kept = []
    for one in out:  # a branch that would leave the lung is no branch
        tip = one.solid.points[-1].astype(np.float32).reshape(3, 1, 1, 1)  # type: ignore[attr-defined]  # all of them are tubes
        if float(np.asarray(inside.distance((tip[0], tip[1], tip[2]))).item()) < -4:
            kept.append(one)
    return kept


def heart(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Pericardial fat, right side and atria (blood), left ventricle (myocardium round blood)."""
    c = f.point(18, -68, "T8", 10)
    axis = np.array([0.62, -0.55, -0.56])
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    turn = np.stack([side, np.cross(axis, side), axis], axis=1)
    g = f.g
    lv = c + turn @ np.array([-4.0, 6.0, 10.0]) * g
    sac = Ellipsoid(c, np.array([58, 52, 70]) * g, turn, Ripple.drawn(rng, 3.0, 50))
    return [
        part(sac, "mediastinal_fat", "heart"),
        part(Ellipsoid(c + np.array([-24, -6, 4]) * g, np.array([30, 30, 44]) * g, turn), "blood_chamber", "heart"),
        part(Ellipsoid(c + np.array([-22, 14, 30]) * g, np.array([28, 24, 28]) * g), "blood_chamber", "heart"),
        part(Ellipsoid(c + np.array([6, 30, 26]) * g, np.array([33, 20, 24]) * g), "blood_chamber", "heart"),
        part(Ellipsoid(lv, np.array([34, 33, 48]) * g, turn), "myocardium", "heart", Layer("blood_chamber", "heart", 11 * g)),
    ]


def great_vessels(f: Frame) -> list[Part]:
    """Aorta with arch and iliac arteries, caval veins, pulmonary trunk, neck vessels, oesophagus."""
    p = f.point
    chest, belly = ("T5", "T6", "T8", "T10"), ("T12", "L1", "L3")
    down = [*(p(24, -14, n) for n in chest), *(p(14, -26, n) for n in belly), p(6, -27, "L4", 8)]
    arch = [p(-8, -66, "T7", 14), p(-16, -66, "T5"), p(-4, -56, "T4", 4), p(16, -32, "T4", 4)]
    aorta = spline(np.array([*arch, *down]), 40)
    out = [part(Tube(aorta, np.interp(np.arange(40), [0, 12, 24, 39], [15, 13.5, 11, 9]) * f.g), "blood", "aorta")]
    cava = spline(
        [
            p(-34, -58, "T3", 10),
            p(-34, -50, "T6"),
            p(-32, -46, "T9", 8),
            p(-26, -30, "T11"),
            p(-22, -27, "L2"),
            p(-14, -27, "L4"),
        ],
        24,
    )
    out.append(part(Tube(cava, 10.5 * f.g), "blood", "vena_cava"))
    out.append(
        part(
            Tube(spline([p(8, -74, "T7", 8), p(10, -62, "T6", 8), p(22, -44, "T6", 4)], 6), 12.5 * f.g),
            "blood",
            "pulmonary_artery",
        )
    )
    out.append(
        part(Tube([p(10, -60, "T6", 4), p(-14, -54, "T6"), p(-34, -46, "T6", -6)], 10.5 * f.g), "blood", "pulmonary_artery")
    )
    for side in (1, -1):
        iliac = [
            p(4 * side, -27, "L4", 6),
            p(30 * side, -14, "L5", -12),
            p(54 * side, -32, "L5", -52),
            p(70 * side, -58, "L5", -96),
        ]
        iliac.append(np.array([76 * side * f.g, -52 * f.g, -190 * f.s]))
        iliac.append(np.array([72 * side * f.g, -30 * f.g, -420 * f.s]))
        for shift, radius in ((0.0, 5.5), (9.0, 6.0)):
            path = spline(np.array(iliac) + np.array([-side * shift, shift * 0.5, 0]), 20)
            out.append(part(Tube(path, radius), "blood", "iliac_vessels"))
        for x, y, radius in ((24, -38, 3.8), (31, -34, 5.5)):
            neck = [p(side * 16, -50, "T3", 8), p(side * x, y, "C6"), p(side * x, y + 8, "C3"), p(side * (x - 2), y + 14, "C1")]
            out.append(part(Tube(spline(neck, 10), radius), "blood", "neck_vessels"))
        arm = [
            p(side * 16, -50, "T3", 8),
            p(side * 70, -42, "T2", 6),
            f.glenoid(side) + np.array([-side * 20, -34, -16]),
        ]
        out.append(part(Tube(spline(arm, 8), 5.5), "blood", "subclavian_vessels"))
    gullet = spline(
        [p(3, -26, "C6"), p(4, -22, "T2"), p(4, -24, "T5"), p(4, -28, "T8"), p(20, -36, "T10", 4), p(34, -46, "T11", 10)], 20
    )
    out.append(part(Tube(gullet, 7.5), "wall", "oesophagus"))
    return out
