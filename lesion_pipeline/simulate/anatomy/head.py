"""Head and neck: brain, skull, face, jaw, airway, glands, larynx, thyroid."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lesion_pipeline.simulate.anatomy.abdomen import tilt
from lesion_pipeline.simulate.anatomy.parts import Layer, Part, part
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Ellipsoid, Field, Implicit, Plate, Tube, Vector, spline
from lesion_pipeline.simulate.anatomy.trunk import Frame

#: Offsets from the foramen magnum (mm at reference girth) to body coordinates.
Ruler = Callable[[float, float, float], Vector]


def head_origin(f: Frame) -> Vector:
    """The foramen magnum's middle."""
    c1 = f.spine["C1"]
    return np.asarray(c1.origin + np.array([0.0, c1.canal[1] * 0.5 + 3, 17.0 * f.s]))


def head_parts(f: Frame) -> list[Part]:
    """Everything above the neck's muscles, in painting order."""
    o = head_origin(f)
    k = f.g

    def at(x: float, y: float, z: float) -> Vector:
        return np.asarray(o + np.array([x, y, z]) * k)

    skull = Ellipsoid(at(0, -22, 50), np.array([75, 94, 80]) * k)
    face = Ellipsoid(at(0, -70, -14), np.array([58, 52, 74]) * k)
    brain = Ellipsoid(at(0, -22, 52), np.array([68, 86, 72]) * k)
    base_z = o[2] - 6 * k

    def cranium(at_: Coordinates) -> Field:
        """Above a base that rises to the front."""
        z0 = np.float32(base_z) + np.clip(-(at_[1] - np.float32(o[1])) - 20 * k, 0, None) * np.float32(0.34)
        return np.asarray(np.maximum(skull.distance(at_), z0 - 3 - at_[2]), dtype=np.float32)

    def inside(at_: Coordinates) -> Field:
        z0 = np.float32(base_z) + np.clip(-(at_[1] - np.float32(o[1])) - 20 * k, 0, None) * np.float32(0.34)
        return np.asarray(np.maximum(brain.distance(at_), z0 + 3 - at_[2]), dtype=np.float32)

    out = [
        Part(Ellipsoid(skull.centre, skull.radii + 6), (Layer("skin", "body"), Layer("fat", "subcutaneous_fat", 2.0))),
        Part(face, (Layer("skin", "body"), Layer("fat", "subcutaneous_fat", 2.0), Layer("muscle", "muscle", 8.0))),
        part(Tube([at(0, -112, -6), at(0, -126, -18)], [9, 10]), "skin", "body"),
        part(
            Implicit(skull.low, skull.high, cranium),
            "cortex",
            "skull",
            Layer("diploe", "skull", 2.0),
            Layer("cortex", "skull", 4.8),
        ),
        part(
            Implicit(brain.low, brain.high, inside),
            "csf",
            "skull",
            Layer("brain", "brain", 2.0),
            Layer("white_matter", "brain", 9.0),
        ),
    ]
    out += _brain_core(at) + _face(at, k) + _jaw(at, k)
    out += _airway(f, at) + _glands(f, at, k)
    return out


def _brain_core(at: Ruler) -> list[Part]:
    out = []
    for side in (1, -1):
        out.append(part(Ellipsoid(at(side * 26, 22, 14), [26, 28, 17]), "cerebellum", "cerebellum"))
        out.append(part(Ellipsoid(at(side * 17, -28, 58), [9, 14, 12]), "brain", "brain"))
        out.append(part(Ellipsoid(at(side * 12, -24, 72), [7, 24, 8]), "csf", "brain"))
    out.append(part(Tube([at(0, 2, -6), at(0, -8, 26), at(0, -16, 44)], [8, 13, 11]), "white_matter", "brainstem"))
    out.append(part(Ellipsoid(at(0, -44, 22), [6, 5, 4]), "pituitary", "pituitary"))
    return out


def _face(at: Ruler, k: float) -> list[Part]:
    """Skull base, petrous bones, mastoids, upper jaw, cheek bones, orbits, sinuses, nose."""
    out = [part(Tube([at(0, -10, -2), at(0, -46, 12)], [11, 10]), "cortex", "skull", Layer("diploe", "skull", 2.5))]
    for side in (1, -1):
        out.append(part(Tube([at(side * 16, -26, 4), at(side * 60, 4, 4)], [8, 13]), "petrous", "skull"))
        out.append(part(Ellipsoid(at(side * 60, 8, -14), [10, 13, 18]), "cortex", "skull", Layer("mastoid", "skull", 2.5)))
        out.append(
            part(Tube([at(side * 14, 8, -8), at(side * 22, 4, -13)], 8.0), "cortex", "skull", Layer("diploe", "skull", 2.0))
        )
        cheek = [at(side * 44, -88, -2), at(side * 60, -72, 0), at(side * 66, -36, 2)]
        out.append(part(Tube(spline(cheek, 8), [9, 7, 5, 4.5, 4, 4, 4, 4]), "cortex", "skull", Layer("diploe", "skull", 2.4)))
        out.append(part(Ellipsoid(at(side * 31, -82, 20), [21, 28, 19]), "cortex", "skull", Layer("fat", "skull", 2.2)))
        out.append(part(Ellipsoid(at(side * 31, -96, 20), 12.5), "cord", "eye", Layer("csf", "eye", 1.5)))
        out.append(
            part(Ellipsoid(at(side * 43, -92, 32), [6, 8, 6]), "lacrimal", f"lacrimal_{'left' if side > 0 else 'right'}")
        )
        out.append(part(Ellipsoid(at(side * 30, -80, -16), [17, 18, 18]), "cortex", "skull", Layer("gas", None, 2.0)))
        out.append(
            part(
                Tube([at(side * 12, -100, -34), at(side * 26, -78, -34)], [8, 8]),
                "tooth",
                "skull",
                Layer("diploe", "skull", 3.5),
            )
        )
    palate = [at(0, -108, -33), at(20, -84, -31), at(-20, -84, -31), at(20, -62, -30), at(-20, -62, -30)]
    out.append(part(Plate(palate, 3.0, [(0, 1, 2), (1, 2, 3), (2, 3, 4)]), "cortex", "skull"))
    out.append(part(Ellipsoid(at(0, -82, -8), [13, 34, 22]), "gas"))
    out.append(
        part(
            Plate([at(0, -112, 8), at(0, -60, 6), at(0, -108, -28), at(0, -60, -26)], 1.2, [(0, 1, 2), (1, 2, 3)]), "cartilage"
        )
    )
    for side in (1, -1):
        out.append(part(Tube([at(side * 9, -100, -12), at(side * 9, -66, -12)], 4.5), "mucosa"))
    out.append(part(Ellipsoid(at(0, -52, 16), [10, 10, 8]), "gas"))
    return out


def _jaw(at: Ruler, k: float) -> list[Part]:
    out = []
    half = [at(0, -112, -72), at(22, -104, -72), at(40, -76, -66), at(49, -46, -58), at(51, -34, -28), at(52, -30, -6)]
    for side in (1, -1):
        path = np.array([(p - at(0, 0, 0)) * [side, 1, 1] + at(0, 0, 0) for p in half])
        curve = spline(path, 18)
        out.append(part(Tube(curve, np.linspace(8.5, 6.0, 18) * k), "cortex", "mandible", Layer("diploe", "mandible", 2.6)))
        out.append(part(Tube(curve[1:9] + np.array([0, 1, 13]) * k, 4.5), "tooth", "mandible"))
        masseter = [at(side * 56, -40, -50), at(side * 60, -46, -14)]
        out.append(part(Tube(np.array(masseter), 8.5), "muscle", "muscle"))
    tongue = Ellipsoid(at(0, -74, -52), np.array([24, 32, 18]) * k)
    return [part(tongue, "tongue", "tongue"), *out]


def _airway(f: Frame, at: Ruler) -> list[Part]:
    """Pharynx, larynx with cartilage and cords, hyoid."""
    larynx = f.point(0, -44, "C5")
    path = [at(0, -46, -6), at(0, -42, -36), at(0, -40, -62), f.point(0, -32, "C4"), larynx, f.point(0, -46, "C6")]
    out = [
        part(
            Tube(spline(np.array(path), 16), np.interp(np.arange(16), [0, 4, 10, 15], [10, 9, 8, 8])),
            "mucosa",
            "pharynx",
            Layer("gas", "airway", 3.0),
        )
    ]
    for side in (1, -1):
        ala = larynx + np.array([[0, -18, 14], [side * 17, 2, 12], [0, -15, -10], [side * 14, 2, -14]])
        out.append(part(Plate(ala, 2.2, [(0, 1, 2), (1, 2, 3)]), "calcified_cartilage", "larynx"))
        out.append(part(Tube(larynx + np.array([[0, -12, -2], [side * 7, 4, -2]]), 3.0), "vocal_cord", "larynx"))
        hyoid = [f.point(0, -54, "C4", 6), f.point(side * 18, -36, "C4", 10)]
        out.append(part(Tube(np.array(hyoid), [4, 3]), "cortex", "hyoid", Layer("diploe", "hyoid", 1.6)))
        out.append(part(Ellipsoid(at(side * 15, -46, -44), [7, 8, 12]), "tonsil", "tonsils"))
        strap = [at(side * 60, 6, -20), f.point(side * 44, -8, "C4"), f.point(side * 22, -52, "T2", 6)]
        out.append(part(Tube(spline(np.array(strap), 8), 9.0), "fat", None, Layer("muscle", "muscle", 1.6)))
    return out


def _glands(f: Frame, at: Ruler, k: float) -> list[Part]:
    out = []
    for side, name in ((1, "left"), (-1, "right")):
        out.append(
            part(
                Ellipsoid(at(side * 60, -22, -34), np.array([13, 17, 26]) * k, tilt(0, 0, side * 20)),
                "parotid",
                f"parotid_{name}",
            )
        )
        out.append(
            part(Ellipsoid(at(side * 32, -62, -78), np.array([11, 16, 12]) * k), "submandibular", f"submandibular_{name}")
        )
        out.append(part(Tube([at(side * 9, -98, -64), at(side * 22, -76, -66)], 4.0), "sublingual", "sublingual_glands"))
        lobe = f.point(side * 19, -40, "C7", 4)
        out.append(part(Ellipsoid(lobe, np.array([9, 11, 22]) * k), "thyroid", "thyroid"))
    out.append(part(Tube([f.point(-12, -56, "C7"), f.point(12, -56, "C7")], 4.5), "thyroid", "thyroid"))
    return out
