"""Lesions and their mimics: what is planned, where it comes to lie, and what it is to each modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lesion_pipeline.domain.anatomy import Organ, StructureKind
from lesion_pipeline.simulate.anatomy.body import Body
from lesion_pipeline.simulate.anatomy.parts import Layer, Part
from lesion_pipeline.simulate.anatomy.solids import Coordinates, Ellipsoid, Field, Implicit, Ripple, Solid, Vector
from lesion_pipeline.simulate.anatomy.spine import Vertebra
from lesion_pipeline.simulate.anatomy.structures import structure_of
from lesion_pipeline.simulate.sites import (
    GANGLIA,
    STATIONS,
    beside_organs,
    host_distance,
    into_bone,
    place_in,
    points_at,
    roomy,
    vertebra_point,
)

Kind = Literal[
    "metastasis",
    "degenerative",
    "fracture",
    "rib_fracture",
    "ganglion",
    "unspecific_bone",
    "haemangioma",
    "treated",
    "ureter",
    "brown_fat",
    "reactive_node",
]
CtChange = Literal["none", "lytic", "sclerotic", "mass", "fat", "spur"]

#: Hounsfield units of a change on CT (sclerotic: mean of published osteoblastic metastases).
CT_CHANGE = {"lytic": 42.0, "sclerotic": 640.0, "fat": -95.0, "spur": 420.0}
#: HU of tumour in soft organs without contrast.
CT_MASS_PORTAL = {Organ.LIVER: 66.0, Organ.LUNG: 74.0, Organ.LYMPH_NODE: 82.0, Organ.ADRENAL: 74.0}
CT_MASS = {Organ.LIVER: 38.0, Organ.LUNG: 36.0, Organ.LYMPH_NODE: 42.0, Organ.ADRENAL: 32.0}
#: (T1, STIR, T1 after contrast) on the scale of ``materials``: metastasis darker than marrow on T1 by 42 %, bright on STIR,
#: enhancing by 70 %; haemangioma bright on T1; degenerative (oedematous end-plate) in between.
MR_CHANGE: dict[str, tuple[float, float, float]] = {
    "metastasis": (240, 370, 410),
    "sclerotic": (160, 150, 230),
    "degenerative": (310, 210, 390),
    "fracture": (270, 300, 400),
    "rib_fracture": (270, 300, 400),
    "haemangioma": (690, 190, 760),
    "treated": (170, 70, 185),
}


@dataclass(frozen=True)
class LesionPlan:
    """A lesion before it has a place.

    site: ``body:T11``, ``pedicle_left:L3``, ``arch:L4``, ``endplate:L5``, a structure key (``liver``, ``rib_left_7``;
    ``lung_right@T5`` at the height of a vertebra), a node station (``node:mediastinal_right``), or ``point:x,y,z`` in body
    coordinates. suv: true uptake before any blur, 0 = not seen on PET. shift: body-frame mm added to the place. bridge_to: a
    second vertebra that the same tumour fills, confluent. beside: id of an earlier lesion that this one nearly touches.
    near: a structure whose surface the place is as close to as the site allows. necrotic: a core without uptake.
    """

    id: str
    site: str
    diameter_mm: float
    suv: float
    kind: Kind = "metastasis"
    ct: CtChange = "none"
    mr: bool = True
    elongation: float = 1.2
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
    bridge_to: str | None = None
    beside: str | None = None
    near: str | None = None
    necrotic: bool = False

    @property
    def core_suv(self) -> float:
        """True uptake of a necrotic core: that of blood or less."""
        return min(1.0, self.suv / 3)


@dataclass(frozen=True, eq=False)
class PlacedLesion:
    """A lesion in a body. centre: body coordinates; structure: key of its host; levels: vertebrae it fills, most first."""

    plan: LesionPlan
    solid: Solid
    centre: Vector
    organ: Organ
    structure: str
    levels: tuple[str, ...]
    part: str

    @property
    def material(self) -> str:
        return f"lesion:{self.plan.id}"

    @property
    def core(self) -> str:
        """Material of a necrotic core; CT and MR see none of it."""
        return f"core:{self.plan.id}"

    @property
    def painted(self) -> Part:
        core = (Layer(self.core, None, 0.22 * self.plan.diameter_mm),) if self.plan.necrotic else ()
        return Part(self.solid, (Layer(self.material), *core))

    @property
    def hu(self) -> float | None:
        """CT value without contrast medium, None where CT shows nothing."""
        return self.hu_in(contrast=False)

    def hu_in(self, *, contrast: bool) -> float | None:
        """CT value without contrast medium or in its portal venous phase, None where CT shows nothing."""
        if self.plan.ct in CT_CHANGE:
            return CT_CHANGE[self.plan.ct]
        if self.plan.ct == "mass":
            return CT_MASS_PORTAL.get(self.organ, 75.0) if contrast else CT_MASS.get(self.organ, 40.0)
        return None

    @property
    def mr_signal(self) -> tuple[float, float, float] | None:
        if not self.plan.mr:
            return None
        if self.plan.kind == "metastasis" and self.plan.ct == "sclerotic":
            return MR_CHANGE["sclerotic"]
        return MR_CHANGE.get(self.plan.kind, MR_CHANGE["metastasis"])


class _Union(Solid):
    def __init__(self, members: Sequence[Solid]) -> None:
        self.members = members
        self.low = np.min([m.low for m in members], axis=0)
        self.high = np.max([m.high for m in members], axis=0)

    def distance(self, at: Coordinates) -> Field:
        out = self.members[0].distance(at)
        for member in self.members[1:]:
            out = np.minimum(out, member.distance(at))
        return out


def _confined(solid: Solid, body: Body, keys: Sequence[str], spare: float) -> Solid:
    """The part of a solid that lies in the host structures, or at most ``spare`` mm outside them."""

    def distance(at: Coordinates) -> Field:
        hosts = host_distance(body, keys[0])(at)
        for key in keys[1:]:
            hosts = np.minimum(hosts, host_distance(body, key)(at))
        return np.asarray(np.maximum(solid.distance(at), hosts - np.float32(spare)), dtype=np.float32)

    return Implicit(solid.low, solid.high, distance)


def _blob(plan: LesionPlan, centre: Vector, rng: np.random.Generator, axis: Vector | None = None) -> Ellipsoid:
    long = plan.elongation ** (2 / 3)
    radii = plan.diameter_mm / 2 * np.array([long**-0.5, long**-0.5, long])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    if axis is not None:
        first = axis / np.linalg.norm(axis)
        other = np.cross(first, [0.3, 0.5, 0.81])
        other /= np.linalg.norm(other)
        turn = np.stack([other, np.cross(first, other), first], axis=1)
    ripple = Ripple.drawn(rng, 0.06 * plan.diameter_mm, max(plan.diameter_mm, 12.0))
    return Ellipsoid(centre, radii, turn, ripple)


def _in_vertebra(plan: LesionPlan, body: Body, rng: np.random.Generator) -> PlacedLesion:
    where, _, level = plan.site.partition(":")
    v: Vertebra = body.spine[level]
    centre = vertebra_point(v, where, plan.diameter_mm, rng) + v.axes @ np.array(plan.shift)
    if plan.kind == "metastasis" and not any(plan.shift):
        centre = into_bone(body, v.key, centre)
    solid: Solid = _blob(plan, centre, rng, v.axes[:, 2] if where == "band" else None)
    keys, levels = [v.key], [level]
    if plan.bridge_to is not None:
        w = body.spine[plan.bridge_to]
        other = _blob(plan, vertebra_point(w, where, plan.diameter_mm, rng), rng)
        thin = plan.diameter_mm * 0.35
        neck = Ellipsoid(
            (centre + other.centre) / 2, np.array([thin, thin, float(np.linalg.norm(centre - other.centre)) * 0.6])
        )
        solid, keys, levels = _Union([solid, other, neck]), [v.key, w.key], [level, plan.bridge_to]
        return PlacedLesion(plan, solid, (centre + other.centre) / 2, Organ.BONE, v.key, tuple(levels), where)
    spare = 2.0 if plan.ct == "lytic" else 0.5
    return PlacedLesion(plan, _confined(solid, body, keys, spare), centre, Organ.BONE, v.key, tuple(levels), where)


def _beside(plan: LesionPlan, body: Body, rng: np.random.Generator, other: PlacedLesion) -> PlacedLesion:
    """In the same structure as another lesion, a little more than both radii away."""
    away = (plan.diameter_mm + other.plan.diameter_mm) / 2 * 1.2 + 3
    inside = host_distance(body, other.structure)
    ways = rng.standard_normal((200, 3))
    points = other.centre + away * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    deepest = np.argsort(inside(points_at(points)).reshape(-1), kind="stable")
    centre = points[deepest[roomy(body, points[deepest], plan.diameter_mm, frozenset({other.structure}))]]
    return PlacedLesion(plan, _blob(plan, centre, rng), centre, other.organ, other.structure, other.levels, other.part)


def place(plan: LesionPlan, body: Body, rng: np.random.Generator, taken: Sequence[PlacedLesion] = ()) -> PlacedLesion:
    """A place for a plan, clear of the lesions already there. Raises ValueError when the site has no room."""
    where, _, rest = plan.site.partition(":")
    if where in ("node", "ganglion", "point"):
        return _at_point(plan, where, rest, body, rng)
    if rest:
        return _in_vertebra(plan, body, rng)
    if plan.beside is not None:
        return _beside(plan, body, rng, next(t for t in taken if t.plan.id == plan.beside))
    return _in_structure(plan, body, rng, taken)


def _at_point(plan: LesionPlan, where: str, rest: str, body: Body, rng: np.random.Generator) -> PlacedLesion:
    """A node station, a ganglion, or a point in body coordinates."""
    shift = np.array(plan.shift)
    if where == "node":
        centre = beside_organs(body, STATIONS[rest](body) + shift, plan.diameter_mm)
        return PlacedLesion(plan, _blob(plan, centre, rng), centre, Organ.LYMPH_NODE, f"node_{rest}", (), "node")
    if where == "ganglion":
        centre = beside_organs(body, GANGLIA[rest](body) + shift, plan.diameter_mm)
        solid = _blob(plan, centre, rng, np.array([0.3, 0.2, 1.0]))
        return PlacedLesion(plan, solid, centre, Organ.OTHER, "ganglion", (), "ganglion")
    centre = np.array([float(n) for n in rest.split(",")])
    return PlacedLesion(plan, _blob(plan, centre, rng), centre, Organ.SOFT_TISSUE, "", (), "point")


def _in_structure(plan: LesionPlan, body: Body, rng: np.random.Generator, taken: Sequence[PlacedLesion]) -> PlacedLesion:
    key, _, near = plan.site.partition("@")
    height = body.frame.z(near) if near else None
    busy = [(t.centre, t.plan.diameter_mm) for t in taken]
    centre, axis = place_in(body, key, plan.diameter_mm, rng, taken=busy, height=height, near=plan.near)
    centre = centre + np.array(plan.shift)
    structure = structure_of(key)
    solid = _blob(plan, centre, rng, axis)
    if structure.kind in (StructureKind.BONE, StructureKind.VERTEBRA):
        levels = (key.removeprefix("vertebra_"),) if structure.kind is StructureKind.VERTEBRA else ()
        return PlacedLesion(plan, _confined(solid, body, [key], 1.0), centre, Organ.BONE, key, levels, "bone")
    return PlacedLesion(plan, solid, centre, structure.organ or Organ.SOFT_TISSUE, key, (), "organ")
