"""The vertebral column: a chain of frames walked from the sacrum to the head, and the shape of each vertebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.anatomy import VertebralLevel
from lesion_pipeline.domain.geometry import Matrix
from lesion_pipeline.simulate.anatomy.params import BodyParams
from lesion_pipeline.simulate.anatomy.parts import Layer, Part, part
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Ellipsoid, Field, Implicit, Tube, Vector, capsule

#: Adult dimensions in mm at the reference height. Segment = body + disc (mean of tracked CTs, straightened along the bodies);
#: lean = direction of the column in the sagittal plane, degrees, positive toward the back when going up (supine adult).
#: name: segment, lean, body width, body depth, canal width, canal depth, spinous length, spinous slope (deg), process tip |x|,
#: process tip behind its root
_TABLE: dict[str, tuple[float, ...]] = {
    "C1": (17.0, 2, 18, 11, 26, 18, 4, 0, 38, 2),
    "C2": (21.0, 2, 17, 15, 24, 17, 14, 20, 26, 2),
    "C3": (17.5, -2, 17, 15, 23, 15, 12, 20, 25, 2),
    "C4": (17.2, -7, 17.5, 15.5, 23, 15, 12, 20, 26, 2),
    "C5": (17.2, -12, 18, 15.5, 23, 15, 13, 20, 27, 2),
    "C6": (17.7, -17, 20, 16, 23, 15, 20, 18, 29, 3),
    "C7": (19.0, -20, 23, 17, 22, 15, 28, 15, 34, 6),
    "T1": (20.5, -21, 27, 17.5, 20, 15, 30, 22, 37, 11),
    "T2": (21.3, -19, 28, 18.5, 17, 15, 31, 32, 35, 13),
    "T3": (21.3, -15, 27, 20, 16.5, 15, 32, 40, 33, 15),
    "T4": (21.8, -11, 26, 22, 16.5, 15, 32, 45, 32, 16),
    "T5": (22.3, -8, 26, 24, 16.5, 15, 32, 52, 32, 16),
    "T6": (23.3, -4, 27, 26, 16.5, 15, 32, 58, 32, 16),
    "T7": (24.3, 0, 28, 27.5, 16.5, 15, 32, 58, 31, 15),
    "T8": (25.0, 4, 30, 28.5, 16.5, 15, 32, 54, 30, 15),
    "T9": (26.0, 8, 31, 29.5, 16.5, 15, 31, 48, 29, 14),
    "T10": (27.0, 11, 33, 30.5, 17, 15, 30, 38, 27, 13),
    "T11": (28.5, 13, 36, 31, 18, 15.5, 25, 25, 24, 11),
    "T12": (31.5, 14, 39, 31.5, 20, 16, 24, 15, 22, 8),
    "T13": (32.5, 14, 40, 31.5, 21, 16, 25, 12, 26, 6),
    "L1": (34.0, 12, 41, 32, 22, 16, 28, 8, 37, 4),
    "L2": (36.5, 7, 43, 33, 22, 16, 29, 8, 42, 3),
    "L3": (38.0, 1, 45, 34, 23, 16, 30, 8, 47, 2),
    "L4": (38.0, -7, 48, 34.5, 24, 16, 28, 8, 43, 3),
    "L5": (37.5, -17, 51, 35, 26, 17, 22, 10, 45, 3),
    "L6": (37.0, -20, 51, 35, 26, 17, 20, 10, 45, 3),
}


@dataclass(frozen=True, eq=False)
class Vertebra:
    """One vertebra: level, instance (1 = most cranial of the body), frame and dimensions (mm).

    origin: centre of the body. axes: columns left, posterior, up (body coordinates).
    """

    level: VertebralLevel
    instance: int
    origin: Vector
    axes: Matrix
    segment: float
    height: float
    width: float
    depth: float
    canal: tuple[float, float]
    spinous: tuple[float, float]
    transverse: tuple[float, float]

    @property
    def name(self) -> str:
        return self.level.name

    @property
    def key(self) -> str:
        return f"vertebra_{self.name}"

    def at(self, left: float, back: float, up: float) -> Vector:
        """Body coordinates of a point given in the vertebra's own frame."""
        return np.asarray(self.origin + self.axes @ np.array([left, back, up], dtype=np.float64))

    @property
    def canal_centre(self) -> Vector:
        return self.at(0, self.depth / 2 + self.canal[1] / 2 - 0.5, 0)

    def pedicle(self, side: int) -> Vector:
        """Middle of a pedicle; side +1 left, -1 right."""
        return self.at(side * (self.canal[0] / 2 + 3), self.depth / 2 + 3, 0.15 * self.height)


@dataclass(frozen=True, eq=False)
class Spine:
    """Vertebrae from head to tail."""

    vertebrae: tuple[Vertebra, ...]

    def __getitem__(self, name: str) -> Vertebra:
        for v in self.vertebrae:
            if v.name == name:
                return v
        raise KeyError(name)

    def has(self, name: str) -> bool:
        return any(v.name == name for v in self.vertebrae)

    def centre(self, z: float) -> Vector:
        """Body axis of the column at a height."""
        points = np.array([v.origin for v in self.vertebrae[::-1]])
        return np.array([*(np.interp(z, points[:, 2], points[:, n]) for n in (0, 1)), z])


def level_names(params: BodyParams) -> list[str]:
    """Names from tail to head."""
    lumbar = [f"L{n}" for n in range(params.lumbar, 0, -1)]
    thoracic = [f"T{n}" for n in range(params.thoracic, 0, -1)]
    return [*lumbar, *thoracic, *(f"C{n}" for n in range(7, 0, -1))]


def build_spine(params: BodyParams) -> Spine:
    """Walk the chain; the middle of the lumbosacral disc is the origin of body coordinates."""
    at = np.zeros(3)
    names = level_names(params)
    lost = dict(params.collapsed)
    out = []
    for n, name in enumerate(names):
        segment, lean, width, depth, *rest = _TABLE[name]
        segment *= params.scale
        curve = params.lordosis if name[0] == "L" or lean > 0 else params.kyphosis
        lean_rad = np.radians(lean * curve)
        side_rad = np.radians(params.scoliosis_deg * np.sin(2.2 * np.pi * n / len(names) - 0.4))
        up = np.array([np.sin(side_rad), np.sin(lean_rad), np.cos(lean_rad) * np.cos(side_rad)])
        up /= np.linalg.norm(up)
        back = np.array([0.0, 1.0, 0.0]) - up[1] * up
        back /= np.linalg.norm(back)
        twist = side_rad * 0.4
        left = np.cross(back, up)
        left, back = left * np.cos(twist) + back * np.sin(twist), back * np.cos(twist) - left * np.sin(twist)
        crushed = segment * 0.75 * lost.get(name, 0.0)
        disc = segment * (0.26 if name[0] == "L" else 0.2 if name[0] == "T" else 0.27)
        segment -= crushed
        broad = params.girth
        out.append(
            Vertebra(
                level=VertebralLevel[name],
                instance=len(names) - n,
                origin=at + up * segment / 2,
                axes=np.stack([left, back, up], axis=1),
                segment=segment,
                height=segment - disc,
                width=width * broad,
                depth=depth * broad,
                canal=(rest[0] * broad, rest[1] * broad),
                spinous=(rest[2] * broad, rest[3]),
                transverse=(rest[4] * broad, rest[5] * broad),
            )
        )
        at = at + up * segment
    return Spine(tuple(out[::-1]))


def _local(v: Vertebra, at: Coordinates) -> Coordinates:
    d = [c - np.float32(o) for c, o in zip(at, v.origin, strict=True)]
    axes = v.axes.astype(np.float32)
    u, w, t = (d[0] * axes[0, n] + d[1] * axes[1, n] + d[2] * axes[2, n] for n in range(3))
    return u, w, t


def _body(v: Vertebra, p: Coordinates) -> Field:
    """A drum with a waist and a hollow back; 1.8 times the true distance, so that one depth gives a thin cortex here."""
    u, w, t = p
    half = v.height / 2
    waist = 1 - 0.10 * np.clip(1 - (t / half) ** 2, 0, 1)
    a, b = v.width / 2 * waist, v.depth / 2 * waist
    q = np.sqrt((u / a) ** 2 + (w / b) ** 2)
    around = (q - 1) * np.sqrt(a * b)
    dish = np.float32(1.2) * np.clip(1 - (u / a) ** 2 - (w / b) ** 2, 0, 1)  # concave end-plates
    return np.asarray(1.8 * np.maximum(around, np.abs(t) + dish - half), dtype=np.float32)


def _arch(v: Vertebra, p: Coordinates) -> Field:
    """Pedicles, articular pillars, laminae, transverse and spinous processes."""
    px = v.canal[0] / 2 + (4.5 if v.name[0] == "L" else 3.0)
    front, rear = v.depth / 2 - 2, v.depth / 2 + v.canal[1]
    h, seg = v.height, v.segment
    thick = {"C": 0.75, "T": 0.9, "L": 1.15}[v.name[0]]
    lean = np.radians(v.spinous[1])
    root, length = rear + 2.5, v.spinous[0]
    u, w, t = p
    mirrored = (np.abs(u), w, t)
    flat = (np.abs(u), w, t * np.float32(0.5))  # pieces that are twice as tall as thick
    pillar = v.depth / 2 + v.canal[1] * 0.6
    tip = v.transverse
    pieces = [
        capsule(mirrored, (px, front, 0.16 * h), (px, pillar, 0.16 * h), 4.2 * thick, 4.2 * thick),
        capsule(mirrored, (px + 3, pillar - 1, 0.5 * seg), (px + 2, pillar + 1, 0.1 * h), 3.6 * thick, 5.0 * thick),
        capsule(mirrored, (px + 2, pillar + 2, 0.1 * h), (px - 1.5, rear + 2.5, -0.55 * seg), 5.0 * thick, 3.6 * thick),
        capsule(flat, (px, rear - 1, 0.0), (0, root + 1, -0.08 * h), 2.8 * thick, 2.8 * thick),
        capsule(mirrored, (px + 2, pillar, 0.12 * h), (tip[0], pillar + tip[1], 0.16 * h), 4.2 * thick, 3.2 * thick),
        capsule(
            (u, w, t * np.float32(0.5)),
            (0, root, -0.04 * h),
            (0, root + length * np.cos(lean), -0.04 * h - 0.5 * length * np.sin(lean)),
            2.4 * thick,
            3.2 * thick,
        ),
    ]
    out = pieces[0]
    for piece in pieces[1:]:
        out = np.minimum(out, piece)
    return out


def _atlas(v: Vertebra, p: Coordinates) -> Field:
    u, w, t = p
    a, b = v.canal[0] / 2 + 4, (v.canal[1] + v.depth) / 2 + 3
    q = np.sqrt((u / a) ** 2 + ((w - np.float32(v.canal[1] / 2 - 1)) / b) ** 2)
    ring = np.sqrt(((q - 1) * np.float32(np.sqrt(a * b))) ** 2 + (t * np.float32(0.7)) ** 2) - np.float32(4.0)
    masses = capsule((np.abs(u), w, t), (a + 2, 2, -6), (a + 3, 2, 6), 7.5, 8.0)
    process = capsule((np.abs(u), w, t), (a + 4, 3, 0), (v.transverse[0], 5, 0), 4, 3)
    return np.minimum(ring, np.minimum(masses, process))


def vertebra_distance(v: Vertebra, at: Coordinates) -> Field:
    """Signed distance (mm; 1.8 times as steep in the body) of a whole vertebra."""
    p = _local(v, at)
    if v.name == "C1":
        return _atlas(v, p)
    out = np.minimum(_body(v, p), _arch(v, p))
    if v.name == "C2":  # the dens
        out = np.minimum(out, capsule(p, (0, -1, 0), (0, -2, v.height / 2 + 17), 6.5, 4.5))
    return np.asarray(out, dtype=np.float32)


def vertebra_parts(v: Vertebra) -> Part:
    """Cortex around spongiosa: 1 mm thick round the body, 1.8 mm in the arch."""
    reach = np.array([max(v.transverse[0], v.width / 2) + 6, v.depth / 2 + v.canal[1] + v.spinous[0] + 12, v.segment * 1.4 + 8])
    solid = Implicit(v.origin - reach, v.origin + reach, lambda at: vertebra_distance(v, at))
    return part(solid, "cortex", v.key, Layer("spongiosa", v.key, 1.8))


def disc_parts(spine: Spine) -> list[Part]:
    """A disc below every vertebra from C2 down, as wide as the bodies beside it."""
    out = []
    for v in spine.vertebrae:
        if v.name == "C1":
            continue
        centre = v.at(0, 0, -v.segment / 2)
        radii = (v.width * 0.53, v.depth * 0.53, (v.segment - v.height) * 0.95)
        out.append(part(Ellipsoid(centre, radii, v.axes), "disc", "intervertebral_discs", Layer("nucleus", None, 4.0)))
    return out


def canal_parts(spine: Spine) -> list[Part]:
    """Fat, cerebrospinal fluid and cord, cut through the arches; the cord ends at L1, the sac in the sacrum."""
    points = [v.canal_centre for v in spine.vertebrae[::-1]]
    sacral = [np.array([0.0, 44.0, -42.0]), np.array([0.0, 26.0, -14.0])]
    head = points[-1] + spine.vertebrae[0].axes @ np.array([0.0, 0.0, 26.0])
    path = np.array([*sacral, *points, head])
    radius = np.array([6.0, 8.0, *[0.5 * min(v.canal) for v in spine.vertebrae[::-1]], 8.5])
    cone = next(v for v in spine.vertebrae if v.name == "L1").canal_centre
    keep = path[:, 2] >= cone[2] - 1
    cord = np.where(path[:, 2] > spine["T2"].origin[2], 5.6, 4.4)
    return [
        part(Tube(path, radius), "epidural_fat", "spinal_canal", Layer("csf", "spinal_canal", 1.0)),
        part(Tube(path[keep], cord[keep]), "cord", "spinal_cord"),
    ]
