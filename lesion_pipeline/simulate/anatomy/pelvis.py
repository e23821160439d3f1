"""Sacrum, hip bones, femora and the organs of the small pelvis."""

from __future__ import annotations

import numpy as np

from lesion_pipeline.simulate.anatomy.abdomen import tilt
from lesion_pipeline.simulate.anatomy.parts import Layer, Part, part
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Ellipsoid, Field, Implicit, Plate, Tube, Vector, spline
from lesion_pipeline.simulate.anatomy.trunk import Frame


def hip_centre(f: Frame, side: int) -> Vector:
    wide = 1.0 if f.params.sex == "M" else 1.05
    return np.array([side * 90 * f.g * wide, -26 * f.g, -92 * f.s])


def sacral_axis(f: Frame) -> Vector:
    """Centres of S1..S5 and the coccyx, from the lumbosacral disc down."""
    return np.array([[0, 2, -5], [0, 16, -22], [0, 33, -48], [0, 45, -72], [0, 50, -94], [0, 46, -114], [0, 34, -130]]) * [
        f.g,
        f.g,
        f.s,
    ]


def sacrum(f: Frame) -> list[Part]:
    """A wedge that narrows downward and bends, with foramina; the coccyx below it."""
    axis = sacral_axis(f)
    zs, ys = axis[::-1, 2], axis[::-1, 1]
    low = np.array([-66 * f.g, -30.0, axis[-2, 2] - 4])
    high = np.array([66 * f.g, 90 * f.g, 4.0])
    half_width = np.interp(zs, axis[::-1, 2], np.array([6, 10, 19, 27, 38, 52, 57])[: len(zs)]) * f.g

    def distance(at: Coordinates) -> Field:
        x, y, z = at
        # sections across the tilted axis: height measured along it, so that the promontory leans forward
        tilted = z - 0.62 * (y - np.interp(z, zs, ys).astype(np.float32)) * np.interp(z, [-90, -20], [0.1, 1.0]).astype(
            np.float32
        )
        middle = np.interp(tilted, zs, ys).astype(np.float32)
        wide = np.interp(tilted, zs, half_width).astype(np.float32)
        thick = np.interp(tilted, [-114, -72, -22, -5], np.array([6, 10, 17, 17]) * f.g).astype(np.float32)
        bend = np.float32(0.16) * np.abs(x)  # wings lie further back
        u, v = np.abs(x) / wide, np.abs(y - middle - bend) / thick
        top = tilted - np.float32(2.0) + np.abs(x) * 0.28 * (np.abs(x) > 24 * f.g)
        return np.asarray(
            np.maximum((np.maximum(u, v) * 0.5 + 0.5 * np.sqrt(u * u + v * v) - 1.0) * thick, top), dtype=np.float32
        )

    out = [part(Implicit(low, high, distance), "cortex", "vertebra_S", Layer("spongiosa", "vertebra_S", 1.4))]
    for n in range(2, 5):
        for side in (1, -1):
            hole = axis[n] + np.array([side * (25 - 3 * n) * f.g, 0, 12 * f.s * (1 - 0.1 * n)])
            out.append(
                part(Tube([hole + np.array([0, -16, 0]), hole + np.array([0, 18, 0])], 4.2), "visceral_fat", "vertebra_S")
            )
    out.append(part(Tube(axis[4:], [10, 6, 4]), "cortex", "coccyx", Layer("spongiosa", "coccyx", 1.5)))
    crest = spline(axis[1:5] + np.array([0, 27, 0]) * f.g * np.array([[1.0], [0.95], [0.75], [0.5]]), 8)
    out.append(part(Tube(crest, 5.0), "cortex", "vertebra_S", Layer("spongiosa", "vertebra_S", 1.8)))
    return out


def hip_bone(f: Frame, side: int, name: str) -> list[Part]:
    """Ilium as a fan from the socket to the crest, ischium and pubis as bars, the socket's shell."""
    key = f"hip_{name}"
    wide = 1.0 if f.params.sex == "M" else 1.04
    scale = np.array([side * f.g * wide, f.g, f.s])
    rim = np.array(
        [
            [44, 66, -22],
            [50, 62, 8],
            [76, 52, 36],
            [104, 24, 50],
            [124, -18, 42],
            [126, -56, 14],
            [116, -64, -10],
            [106, -60, -44],
        ]
    )
    root = np.array([[90, -8, -66], [58, 34, -48]])
    corners = np.concatenate([root, rim]) * scale
    triangles = [(1, 2, 3), (1, 3, 4), (0, 1, 4), (0, 4, 5), (0, 5, 6), (0, 6, 7), (0, 7, 8), (0, 8, 9)]
    half = np.array([9, 8.5, 7, 7.5, 6.5, 5.0, 4.5, 5.5, 5.5, 7.0]) * f.g
    marrow = Layer("spongiosa_pelvis", key, 1.7)
    hip = hip_centre(f, side)
    sit = np.array([64, 26, -152]) * scale
    pubis = np.array([9, -68, -116]) * scale
    bars = [
        Tube(
            spline([hip + np.array([-side * 12, 14, 8]), np.array([80, 20, -118]) * scale, sit], 8),
            np.array([20, 18, 15, 13, 13, 14, 15, 15]) * f.g,
        ),
        Tube(
            spline([hip + np.array([-side * 18, -14, 4]), np.array([50, -68, -96]) * scale, pubis], 8),
            np.array([15, 12, 9, 8.5, 8.5, 9, 10, 11]) * f.g,
        ),
        Tube(
            spline(
                [pubis + np.array([side * 2, 4, -12]), np.array([34, -30, -146]) * scale, sit + np.array([-side * 4, -6, -4])],
                8,
            ),
            7.0 * f.g,
        ),
    ]
    out = [part(Plate(corners, half, triangles), "cortex", key, marrow)]
    out += [part(bar, "cortex", key, marrow) for bar in bars]
    cup = Ellipsoid(hip, 32 * f.g)

    def socket(at: Coordinates) -> Field:
        open_side = (at[0] - np.float32(hip[0])) * np.float32(side * 0.8) + (at[2] - np.float32(hip[2])) * np.float32(-0.6) - 6
        return np.asarray(np.maximum(cup.distance(at), open_side), dtype=np.float32)

    out.append(part(Implicit(cup.low, cup.high, socket), "cortex", key, marrow))
    return out


def femur(f: Frame, side: int, name: str) -> list[Part]:
    key = f"femur_{name}"
    hip = hip_centre(f, side)
    knee = hip + np.array([-side * 14 * f.g, 22, -372 * f.s])
    turn = hip + np.array([side * 44 * f.g, 18, -34 * f.s])
    shaft = spline(
        [turn, turn + (knee - turn) * 0.25 + np.array([0, -10, 0]), turn + (knee - turn) * 0.6 + np.array([0, -10, 0]), knee],
        12,
    )
    marrow = Layer("spongiosa_limb", key, 1.5)
    joint = part(Ellipsoid(hip, 27.0 * f.g), "cartilage", "hip_joint")
    return [
        joint,
        part(Ellipsoid(hip, 24.0 * f.g), "cortex", key, marrow),
        part(Tube([hip, turn], np.array([15, 17]) * f.g), "cortex", key, Layer("spongiosa_limb", key, 2.6)),
        part(Ellipsoid(turn + np.array([side * 8, 8, 6]), np.array([15, 18, 24]) * f.g), "cortex", key, marrow),
        part(Tube(shaft, np.array([19, 17, 15.5, *[14.5] * 9]) * f.g), "cortex", key, Layer("fatty_marrow", key, 5.5)),
    ]


def bladder_centre(f: Frame) -> Vector:
    return np.array([0, -30 * f.g, -88 * f.s])


def pelvic_organs(f: Frame, rng: np.random.Generator) -> list[Part]:
    """Bladder, prostate and vesicles or uterus and ovaries; testes lie outside the usual field of view."""
    full = rng.uniform(0.75, 1.25)
    bladder = Ellipsoid(bladder_centre(f), np.array([44, 33, 32]) * f.g * full ** (1 / 3))
    out = []
    if f.params.sex == "M":
        size = 0.9 + 0.006 * max(f.params.age - 40, 0)
        out.append(
            part(Ellipsoid(np.array([0, -24 * f.g, -124 * f.s]), np.array([24, 18, 18]) * f.g * size), "prostate", "prostate")
        )
        for side in (1, -1):
            vesicle = [np.array([side * 4, -2, -108 * f.s]), np.array([side * 26, 6, -100 * f.s])]
            out.append(part(Tube(vesicle, [6, 5]), "prostate", "seminal_vesicles"))
    else:
        womb = 1.0 if f.params.age < 52 else 0.75
        centre = np.array([rng.uniform(-8, 8), -4 * f.g, -66 * f.s])
        out.append(
            part(
                Ellipsoid(centre, np.array([26, 22, 36]) * womb, tilt(42)),
                "uterus",
                "uterus",
                Layer("endometrium", "uterus", 14 * womb),
            )
        )
        for side, name in ((1, "left"), (-1, "right")):
            out.append(part(Ellipsoid(np.array([side * 42, 0, -56 * f.s]), [14, 10, 12]), "ovary", f"ovary_{name}"))
    out.append(part(bladder, "wall", "bladder", Layer("urine", "bladder", 3.5)))
    return out


def pelvis_parts(f: Frame) -> list[Part]:
    """Bones of the pelvis and the legs in painting order."""
    out = []
    for side, name in ((1, "left"), (-1, "right")):
        out += hip_bone(f, side, name)
        out += femur(f, side, name)
    disc = part(Tube(np.array([[0, -66 * f.g, -104 * f.s], [0, -72 * f.g, -126 * f.s]]), 8.0), "cartilage", "pubic_symphysis")
    return [*out, disc, *sacrum(f)]
