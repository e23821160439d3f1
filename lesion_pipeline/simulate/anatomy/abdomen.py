"""Organs between diaphragm and pelvis."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.domain.geometry import Matrix
from lesion_pipeline.simulate.anatomy.parts import Layer, Part, part
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Ellipsoid, Field, Implicit, Ripple, Tube, Vector, spline
from lesion_pipeline.simulate.anatomy.thorax import dome
from lesion_pipeline.simulate.anatomy.trunk import Frame


def tilt(x_deg: float = 0.0, y_deg: float = 0.0, z_deg: float = 0.0) -> Matrix:
    """Rotation about x, then y, then z; columns are the turned axes."""
    a, b, c = np.radians([x_deg, y_deg, z_deg])
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(rz @ ry @ rx)


def _smooth_max(a: Field, b: Field, round_mm: float) -> Field:
    h = np.clip(0.5 + 0.5 * (a - b) / np.float32(round_mm), 0, 1)
    return np.asarray(b + h * (a - b) + np.float32(round_mm) * h * (1 - h), dtype=np.float32)


def liver(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Under the right dome, inside the cage, above a plane that rises to the left; a left lobe that thins out."""
    ripple = Ripple.drawn(rng, 2.0, 60)
    low = np.array([f.cage.low[0], f.cage.low[1], f.z("L3") - 10])
    high = np.array([f.x(f.z("T11")) + 95 * f.g, f.cage.high[1], f.z("T7")])
    tip, rise = f.z("L2") - rng.uniform(8, 30) * f.s, (f.z("T10") - f.z("L2")) / (250 * f.g)
    column_y, column_x = f.y(f.z("T11")), f.x(f.z("T11"))

    def distance(at: Coordinates) -> Field:
        x, y, z = at
        u = x - np.float32(column_x)
        cage = f.cage.distance(at) + np.float32(8.0)
        top = (z - dome(f, x, y) + 4) * np.float32(0.7)
        under = (
            np.float32(tip) + np.float32(rise) * (u + np.float32(120 * f.g)) + 0.22 * (y - np.float32(column_y - 30)) * -1.0 - z
        )
        # the visceral surface: free of the spine behind, of the stomach to the left
        behind = (y - np.float32(column_y - 12)) * 0.86 + (u + np.float32(34 * f.g)) * 0.48
        left = u - np.float32(78 * f.g) + (z - np.float32(f.z("T10"))) * -0.35
        out = _smooth_max(cage, top, 10.0)
        out = _smooth_max(out, under * np.float32(0.85), 16.0)
        out = _smooth_max(out, behind, 14.0)
        return np.asarray(_smooth_max(out, left, 14.0) + ripple.at(at), dtype=np.float32)

    out = [part(Implicit(low, high, distance), "liver", "liver")]
    hilum = f.point(-28, -56, "T12", 2)
    for end in (
        (-95, -40, "T11"),
        (-80, -80, "T11"),
        (-70, -25, "T10"),
        (10, -95, "T10"),
        (-50, -90, "T10"),
        (-100, -30, "T12"),
    ):
        out.append(
            part(
                Tube(spline([hilum, (hilum + f.point(*end)) / 2 + np.array([0, 0, 6]), f.point(*end)], 5), [5.5, 4, 3, 2, 1.5]),
                "liver_vessel",
            )
        )
    bladder = Ellipsoid(f.point(-62, -86, "L1", 6), np.array([15, 24, 17]) * f.g, tilt(30, 0, 15))
    return [*out, part(bladder, "wall", "gallbladder", Layer("bile", "gallbladder", 2.0))]


def kidney_pose(f: Frame, side: int) -> tuple[Vector, Matrix]:
    """Centre and axes of a kidney: upper pole nearer to the spine and further back; the right one lower."""
    centre = f.point(side * 61, 2, "L1", -10 if side > 0 else -24)
    return centre, tilt(10, -side * 12, side * 35)


def kidneys(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Kidneys with sinus fat and pelvis, ureters down to the bladder, adrenals above."""
    out = []
    for side, name in ((1, "left"), (-1, "right")):
        centre, turn = kidney_pose(f, side)
        size = np.array([27, 24, 54]) * f.g * rng.uniform(0.94, 1.07)
        inner = -side  # toward the spine
        out.append(
            part(
                Ellipsoid(centre, size, turn, Ripple.drawn(rng, 1.2, 28)),
                "kidney_cortex",
                f"kidney_{name}",
                Layer("kidney_medulla", f"kidney_{name}", 9.0),
            )
        )
        hilum = centre + turn @ np.array([inner * 15.0, -3, 0]) * f.g
        out.append(part(Ellipsoid(hilum, np.array([13, 9, 24]) * f.g, turn), "visceral_fat"))
        out.append(
            part(
                Ellipsoid(hilum + turn @ np.array([inner * 3.0, 0, -2]), np.array([9, 6, 13]) * f.g, turn),
                "urine",
                f"kidney_{name}",
            )
        )
        out.append(part(Tube(ureter_path(f, side), 2.4), "ureter", f"ureter_{name}"))
        out += _adrenal(f, side, name)
    return out


def ureter_path(f: Frame, side: int, count: int = 40) -> Vector:
    """Middle line of a ureter: along the psoas, over the iliac vessels, to the back of the bladder."""
    centre, turn = kidney_pose(f, side)
    start = centre + turn @ np.array([-side * 20.0, -4, -8]) * f.g
    knots = [
        start,
        f.point(side * 38, -22, "L3"),
        f.point(side * 34, -30, "L4", -6),
        f.point(side * 36, -24, "L5", -20),
        np.array([side * 52 * f.g, 4, -60 * f.s]),
        np.array([side * 40 * f.g, 8, -92 * f.s]),
        np.array([side * 14 * f.g, -12 * f.g, -104 * f.s]),
    ]
    return spline(np.array(knots), count)


def adrenal_centre(f: Frame, side: int) -> Vector:
    centre, turn = kidney_pose(f, side)
    return np.asarray(centre + turn @ np.array([-side * 8.0, -16, 52]) * f.g)


def _adrenal(f: Frame, side: int, name: str) -> list[Part]:
    top = adrenal_centre(f, side)
    limbs = [np.array([side * 13.0, 9, -15]), np.array([-side * 3.0, 13, -17])]
    return [part(Tube(np.array([top, top + d * f.g]), [4.6, 3.4]), "adrenal", f"adrenal_{name}") for d in limbs]


def spleen(f: Frame, rng: np.random.Generator) -> Part:
    big = f.g * rng.uniform(0.85, 1.12)
    body = Ellipsoid(f.point(98, -2, "T11", -4), np.array([24, 42, 54]) * big, tilt(-38, 10, -28), Ripple.drawn(rng, 2.5, 55))

    def distance(at: Coordinates) -> Field:
        inside = f.cage.distance(at) + np.float32(9.0)
        return np.asarray(np.maximum(body.distance(at), inside), dtype=np.float32)

    return part(Implicit(body.low, body.high, distance), "spleen", "spleen")


def stomach(f: Frame) -> list[Part]:
    """From the gullet under the left dome down to the pylorus; gas in front (supine), contents behind."""
    path = spline(
        [
            f.point(52, -40, "T10", 6),
            f.point(64, -58, "T11"),
            f.point(58, -84, "T12"),
            f.point(38, -98, "L1", 2),
            f.point(8, -94, "L1", -8),
            f.point(-18, -80, "L1", -2),
        ],
        16,
    )
    radii = np.interp(np.linspace(0, 1, 16), [0, 0.25, 0.6, 1], [30, 33, 25, 13]) * f.g
    path = np.array([f.kept(p, r + 3) for p, r in zip(path, radii, strict=True)])
    gas = path[:8] + np.array([[0, -0.42, 0]]) * radii[:8, None]
    bow = [
        f.point(-20, -80, "L1", -2),
        f.point(-44, -62, "L1"),
        f.point(-50, -48, "L2", 4),
        f.point(-46, -44, "L3", 6),
        f.point(-18, -44, "L3", 4),
    ]
    bow += [f.point(14, -46, "L3", 10), f.point(30, -60, "L2", 0)]
    return [
        part(Tube(path, radii), "stomach", "stomach", Layer("chyme", "stomach", 4.0)),
        part(Tube(gas, radii[:8] * np.array([0.3, 0.42, 0.46, 0.46, 0.44, 0.4, 0.34, 0.2])), "gas", "stomach"),
        part(Tube(spline(np.array(bow), 24), 11.5 * f.g), "duodenum_wall", "duodenum", Layer("chyme", "duodenum", 2.5)),
    ]


def pancreas(f: Frame) -> Part:
    path = spline(
        [
            f.point(-34, -50, "L2", 8),
            f.point(-22, -58, "L1", -4),
            f.point(8, -56, "L1", 8),
            f.point(40, -42, "L1", 18),
            f.point(72, -22, "T12", 4),
        ],
        16,
    )
    radii = np.interp(np.linspace(0, 1, 16), [0, 0.2, 0.5, 1], [17, 14, 11, 10]) * f.g
    return part(Tube(path, radii), "pancreas", "pancreas")


def colon_path(f: Frame) -> Vector:
    """Caecum, ascending, transverse, descending, sigmoid, rectum."""
    p, s, g = f.point, f.s, f.g
    knots = [
        p(-88, -58, "L5", -8),
        p(-94, -44, "L4"),
        p(-98, -36, "L2", -6),
        p(-84, -60, "L2", 4),
        p(-50, -104, "L3", 4),
        p(0, -112, "L3", 8),
        p(52, -106, "L2", 0),
        p(88, -60, "T12", -4),
        p(104, -30, "T12", -14),
        p(104, -22, "L2"),
        p(102, -28, "L4"),
        p(88, -50, "L5", -20),
        np.array([58 * g, -58 * g, -52 * s]),
        np.array([10 * g, -52 * g, -42 * s]),
        np.array([-22 * g, -20 * g, -60 * s]),
        np.array([-4, 22 * g, -70 * s]),
        np.array([0, 30 * g, -100 * s]),
        np.array([0, 26 * g, -138 * s]),
    ]
    return spline(np.array(knots), 120)


def bowel(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Colon with haustra, stool and gas; small bowel as a random walk of loops in the middle of the belly."""
    out = []
    path = colon_path(f)
    n = len(path)
    along = np.linspace(0, 1, n)
    radii = np.interp(along, [0, 0.1, 0.4, 0.6, 0.8, 0.9, 1], [25, 22, 19, 15, 14, 17, 15]) * f.g
    radii = radii * (1 + 0.10 * np.sin(np.arange(n) * 1.5))
    path = np.array([f.kept(p, r + 4) if p[2] > -60 * f.s else p for p, r in zip(path, radii, strict=True)])
    for first in range(0, n - 1, 4):
        piece = slice(first, min(first + 5, n))
        hot = "bowel_hot" if rng.random() < 0.22 else "bowel_wall"
        content = Layer("stool", "colon", 2.8)
        out.append(part(Tube(path[piece], radii[piece]), hot, "colon", content))
    for first in range(0, n - 1, 4):
        if rng.random() < 0.42:
            piece = slice(first, min(first + 4, n))
            lift = path[piece] + np.array([0, -0.35, 0]) * radii[piece][:, None]
            out.append(part(Tube(lift, radii[piece] * 0.55), "gas", "colon"))
    return _small_bowel(f, rng) + out


def _small_bowel(f: Frame, rng: np.random.Generator) -> list[Part]:
    out = []
    low, high = np.array([-72 * f.g, 0.0, -48 * f.s]), np.array([78 * f.g, 0.0, f.z("L2")])
    at = f.point(34, -62, "L2", -4)
    way = rng.normal(0, 1, 3)
    for loop in range(30):
        points = [at]
        for _ in range(4):
            way = way * 0.55 + rng.normal(0, 1, 3) * [1.0, 0.6, 0.9]
            way /= np.linalg.norm(way)
            step = points[-1] + way * 17 * f.g
            front = -(112 + f.params.visceral_mm) * f.g + f.y(float(np.clip(step[2], 0, None)))
            low[1], high[1] = front + 10, f.y(float(np.clip(step[2], 0, None))) - 44 * f.g
            bounced = f.kept(np.clip(step, low, high), 17.0)
            way = np.where(bounced != step, -way, way)
            points.append(bounced)
        path = np.array([f.kept(p, 17.0) for p in spline(np.array(points), 9)])
        wall = "bowel_hot" if rng.random() < 0.15 else "bowel_wall"
        radius = rng.uniform(9.5, 13.0) * f.g
        filling = "gas" if rng.random() < 0.12 else "chyme"
        layers = (Layer(wall, "small_bowel"), Layer(filling, "small_bowel", 2.6 if filling == "chyme" else 4.0))
        out.append(Part(Tube(path, radius), layers))
        at = points[-1] if loop % 6 else np.asarray(rng.uniform(low, high))
    return out


def muscles(f: Frame) -> list[Part]:
    """Psoas and iliacus, crura of the diaphragm, and the fat planes that part the muscles of the back."""
    out = []
    for side in (1, -1):
        psoas = [
            f.point(side * 22, 4, "T12", -8),
            f.point(side * 30, 2, "L2"),
            f.point(side * 40, 0, "L4"),
            f.point(side * 48, -10, "L5", -10),
            np.array([side * 66 * f.g, -50 * f.g, -52 * f.s]),
            np.array([side * 88 * f.g, -58 * f.g, -92 * f.s]),
            np.array([side * 96 * f.g, -18 * f.g, -142 * f.s]),
        ]
        radii = np.interp(np.linspace(0, 1, 24), [0, 0.25, 0.5, 0.75, 1], [8, 15, 20, 17, 9]) * f.g
        out.append(part(Tube(spline(np.array(psoas), 24), radii), "muscle", f"psoas_{'left' if side > 0 else 'right'}"))
        crus = [f.point(side * 12, -24, "T11"), f.point(side * 16, -24, "T12"), f.point(side * 18, -18, "L2")]
        out.append(part(Tube(spline(np.array(crus), 8), [4.0, 4, 4, 4, 4, 4, 3, 2]), "muscle", "muscle"))
        for x, y, radius in ((17, 50, 2.6), (44, 46, 2.4), (58, 40, 2.6)):
            plane = [f.point(side * x, y, n) for n in ("T10", "T12", "L2", "L4", "L5")]
            out.append(part(Tube(spline(np.array(plane), 16), radius * (1 + f.params.age / 120)), "fat", "intermuscular_fat"))
    return out


def abdomen_parts(f: Frame, rng: np.random.Generator) -> list[Part]:
    """All organs of this room in painting order."""
    return [*muscles(f), *bowel(f, rng), *stomach(f), *liver(f, rng), spleen(f, rng), pancreas(f), *kidneys(f, rng)]
