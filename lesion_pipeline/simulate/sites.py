"""Places in a body where lesions can lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from lesion_pipeline.simulate.anatomy.body import Body
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Field, Tube, Vector
from lesion_pipeline.simulate.anatomy.spine import Vertebra

#: Centres of lymph node stations in body coordinates.
STATIONS: Mapping[str, Callable[[Body], Vector]] = {
    "mediastinal_right": lambda b: b.frame.point(-22, -44, "T4"),
    "mediastinal_left": lambda b: b.frame.point(22, -46, "T5", 8),
    "subcarinal": lambda b: b.frame.point(-2, -36, "T6", 2),
    "hilar_right": lambda b: b.frame.point(-40, -46, "T6", -4),
    "hilar_left": lambda b: b.frame.point(40, -40, "T6", -4),
    "supraclavicular_left": lambda b: b.frame.point(40, -40, "T1"),
    "supraclavicular_right": lambda b: b.frame.point(-40, -40, "T1"),
    "axillary_left": lambda b: b.frame.glenoid(1) + np.array([-14.0, -28, -52]),
    "axillary_right": lambda b: b.frame.glenoid(-1) + np.array([14.0, -28, -52]),
    "coeliac": lambda b: b.frame.point(-8, -46, "L1", 8),
    "paraaortic_left": lambda b: b.frame.point(32, -22, "L3", 6),
    "paracaval_right": lambda b: b.frame.point(-34, -24, "L3", -4),
    "iliac_left": lambda b: b.frame.point(64, -50, "L5", -84),
    "iliac_right": lambda b: b.frame.point(-64, -50, "L5", -84),
    "presacral": lambda b: np.array([0.0, 20, -66]) * b.frame.g,
    "inguinal_left": lambda b: np.array([84 * b.frame.g, -72 * b.frame.g, -150 * b.frame.s]),
}


#: What a node or a ganglion lies in; all else (organs, vessels, bones, psoas) has no room for one.
_CONNECTIVE = frozenset({"mediastinum", "abdominal_cavity", "muscle", "intermuscular_fat", "subcutaneous_fat"})
_STATION_REACH_MM, _STATION_STEP_MM = 28.0, 4.0
#: Share of a lesion's ball that must lie where it belongs.
_ROOM = 0.85
_TRIED = 256
#: A lesion of a vertebra has its centre this deep in the bone, looked for this far round its usual place.
_IN_BONE_MM, _BONE_REACH_MM = 3.0, 14.0

#: Ganglia that take up PSMA ligands: beside the coeliac trunk, at the first rib's neck, in the neck, before the sacrum.
GANGLIA: Mapping[str, Callable[[Body], Vector]] = {
    "coeliac_left": lambda b: b.frame.point(16, -32, "L1", 12),
    "coeliac_right": lambda b: b.frame.point(-16, -32, "L1", 10),
    "stellate_left": lambda b: b.frame.point(24, -2, "T1", 4),
    "stellate_right": lambda b: b.frame.point(-24, -2, "T1", 4),
    "cervical_left": lambda b: b.frame.point(24, -16, "C3"),
    "cervical_right": lambda b: b.frame.point(-24, -16, "C3"),
    "sacral_left": lambda b: np.array([22.0 * b.frame.g, 8 * b.frame.g, -36 * b.frame.s]),
    "sacral_right": lambda b: np.array([-22.0 * b.frame.g, 8 * b.frame.g, -36 * b.frame.s]),
}


def host_distance(body: Body, key: str) -> Callable[[Coordinates], Field]:
    """Distance to the union of all solids that carry a structure's key. Raises KeyError when the body has none."""
    solids = [p.solid for p in body.parts if p.layers[0].key == key]
    if not solids:
        raise KeyError(key)

    def distance(at: Coordinates) -> Field:
        out = solids[0].distance(at)
        for solid in solids[1:]:
            out = np.minimum(out, solid.distance(at))
        return out

    return distance


def vertebra_point(v: Vertebra, where: str, diameter: float, rng: np.random.Generator) -> Vector:
    """A point of a vertebra.

    where: ``body``, ``pedicle_left``/``_right``, ``arch``, ``spinous``, ``endplate``, ``band`` (below the upper end-plate), or
    ``facet_left``/``_right``.
    """
    side = 1 if where.endswith("left") else -1 if where.endswith("right") else int(rng.choice([-1, 1]))
    part = where.split("_", maxsplit=1)[0]
    if part == "pedicle":
        return np.asarray(v.pedicle(side) + v.axes @ np.array([side * 1.0, -3.0, 0.0]))
    if part == "body":
        room = np.maximum(np.array([v.width, v.depth, v.height]) / 2 - diameter / 2 - 1, 0)
        return v.at(*(rng.uniform(-1, 1, 3) * room))
    back = v.depth / 2 + v.canal[1]
    places = {
        "spinous": (0.0, back + 6 + v.spinous[0] * 0.4, -0.3 * v.spinous[0] * np.sin(np.radians(v.spinous[1]))),
        "band": (0.0, 0.0, 0.22 * v.height),
        "endplate": (side * v.width * 0.22, -v.depth * 0.2, -v.height / 2),
        "facet": (side * (v.canal[0] / 2 + 5), back + 1, -0.5 * v.segment),
        "arch": (side * v.canal[0] * 0.4, back + 1, -1.0),
    }
    return v.at(*places[part])


def points_at(points: Vector) -> Coordinates:
    """Coordinates of single points (n, 3), to ask a solid's distance there."""
    p = np.asarray(points, dtype=np.float32).reshape(-1, 1, 1, 3)
    return p[..., 0], p[..., 1], p[..., 2]


def _share_in(body: Body, centres: Vector, diameter: float, keys: frozenset[str]) -> Field:
    """(n,): share of a ball round each centre (n, 3) that shows one of the structures: at its centre and on two shells."""
    ways = np.array([w for w in np.ndindex(3, 3, 3) if w != (1, 1, 1)], dtype=float) - 1
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    ball = np.concatenate([np.zeros((1, 3)), ways * diameter * 0.25, ways * diameter * 0.45])
    owners = body.owners((centres[:, None, :] + ball).reshape(-1, 3)).reshape(len(centres), -1)
    return np.asarray(np.isin(owners, sorted(keys)).mean(axis=1), dtype=np.float32)


def roomy(body: Body, centres: Vector, diameter: float, keys: frozenset[str]) -> int:
    """Index of the first centre with room for a ball in the structures that the finished body shows; else the roomiest."""
    best, most = 0, -1.0
    for start in range(0, len(centres), 32):
        share = _share_in(body, centres[start : start + 32], diameter, keys)
        if share.max() >= _ROOM:
            return start + int(np.argmax(share >= _ROOM))
        if share.max() > most:
            best, most = start + int(share.argmax()), float(share.max())
    return best


def beside_organs(body: Body, point: Vector, diameter: float) -> Vector:
    """The place nearest to a node station's or ganglion's usual one where bodies differ: beside organs and vessels, in none."""
    count = int(_STATION_REACH_MM // _STATION_STEP_MM)
    axis = np.arange(-count, count + 1) * _STATION_STEP_MM
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    away = np.linalg.norm(offsets, axis=1)
    order = np.argsort(away, kind="stable")
    centres = point + offsets[order[away[order] <= _STATION_REACH_MM]]
    return np.asarray(centres[roomy(body, centres, diameter, _CONNECTIVE)])


def place_in(
    body: Body,
    key: str,
    diameter: float,
    rng: np.random.Generator,
    *,
    taken: Sequence[tuple[Vector, float]],
    height: float | None = None,
    near: str | None = None,
) -> tuple[Vector, Vector | None]:
    """A random point inside a structure with room for a ball, and the structure's direction there (tubes only).

    height (body z): look only within 12 mm of it. near: of all places one of the dozen nearest to that structure. In thin
    structures the deepest of many random points is taken. Of the points the first is taken where the finished body shows the
    structure: another organ may have been laid over it. Raises ValueError when all of it is taken.
    """
    solids = [p.solid for p in body.parts if p.layers[0].key == key]
    if not solids:
        raise KeyError(key)
    if len(solids) == 1 and isinstance(solids[0], Tube):
        return _along(body, key, solids[0], diameter, rng if near is None else near)
    low, high = np.min([s.low for s in solids], axis=0), np.max([s.high for s in solids], axis=0)
    points = rng.uniform(low, high, (4000, 3))
    if height is not None:
        points[:, 2] = height + rng.uniform(-12, 12, len(points))
    depth = -host_distance(body, key)(points_at(points)).reshape(-1)
    deep = depth > diameter / 2 + 3
    if deep.sum() < 5:
        deep = depth >= np.sort(depth)[-12]
    order = rng.permutation(np.flatnonzero(deep))
    if near is not None:
        away = host_distance(body, near)(points_at(points[order])).reshape(-1)
        order = np.concatenate([rng.permutation(order[np.argsort(away)[:12]]), order[np.argsort(away)[12:]]])
    order = np.concatenate(
        [order[:_TRIED], np.flatnonzero((depth > 0) & ~deep)[:_TRIED]]
    )  # thin parts, if all deep ones are covered
    free = [n for n in order if all(np.linalg.norm(points[n] - c) > (diameter + other) / 2 + 14 for c, other in taken)]
    if not free:
        raise ValueError(f"no room for another lesion in {key}")
    return points[free[roomy(body, points[free], diameter, frozenset({key}))]], None


def _along(body: Body, key: str, tube: Tube, diameter: float, choice: np.random.Generator | str) -> tuple[Vector, Vector]:
    """A point of a tube's middle line, random or the nearest to a structure, and the tube's direction there.

    Of the points one is taken where the finished body shows nearly as much of the tube as anywhere along it: a thin tube has no
    room for a whole ball.
    """
    near = choice if isinstance(choice, str) else None
    first, last = int(len(tube.points) * (0.25 if near is None else 0.15)), int(len(tube.points) * 0.85)
    points = tube.points[first:last]
    if isinstance(choice, str):
        order = np.argsort(host_distance(body, choice)(points_at(points)).reshape(-1), kind="stable")
    else:
        order = choice.permutation(len(points))
    share = _share_in(body, points[order], diameter, frozenset({key}))
    n = first + int(order[np.argmax(share >= min(_ROOM, 0.9 * float(share.max())))])
    return tube.points[n], tube.points[min(n + 1, len(tube.points) - 1)] - tube.points[n - 1]


def into_bone(body: Body, key: str, point: Vector) -> Vector:
    """The place in a bone nearest to a point that was meant to lie in it: processes differ in slope and length by level."""
    inside = host_distance(body, key)
    axis = np.arange(-_BONE_REACH_MM, _BONE_REACH_MM + 1.0, 2.0)
    offsets = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = offsets[np.argsort(np.linalg.norm(offsets, axis=1), kind="stable")]
    depth = -inside(points_at(point + offsets)).reshape(-1)
    return np.asarray(point + offsets[int(np.argmax(depth >= min(_IN_BONE_MM, float(depth.max()))))])
