"""What looks like a metastasis and is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.simulate.lesions import LesionPlan
from lesion_pipeline.simulate.presets import Mimics
from lesion_pipeline.simulate.sites import GANGLIA

#: True uptake of ganglia by place; measured SUVs are lower (published means: coeliac 2.9, cervical 2.4, sacral 1.7).
_GANGLION_SUV = {"coeliac": 4.2, "stellate": 3.4, "cervical": 3.4, "sacral": 2.6}


@dataclass(frozen=True)
class DrawnMimics:
    """Plans, vertebrae that lost height, ureters where urine stands."""

    lesions: tuple[LesionPlan, ...]
    collapsed: tuple[tuple[str, float], ...]
    hot_ureter: tuple[tuple[int, float], ...]


def draw_mimics(laws: Mimics, tracer: Tracer, free: list[str], rng: np.random.Generator) -> DrawnMimics:
    """free: names of vertebrae without a metastasis; used names are taken from it."""
    out = [*_degenerative(laws, tracer, free, rng), *_haemangiomas(laws, tracer, free, rng)]
    fractures, collapsed = _fractures(laws, tracer, free, rng)
    out += fractures
    out += _ganglia(laws, tracer, rng) + _bones(laws, tracer, rng) + _nodes(laws, tracer, rng)
    ureters = tuple(
        (int(side), round(float(rng.uniform(0.15, 0.85)), 3)) for side in rng.permutation([1, -1])[: rng.poisson(laws.ureter)]
    )
    return DrawnMimics(tuple(out), collapsed, ureters)


def _take(free: list[str], wanted: tuple[str, ...], rng: np.random.Generator) -> str | None:
    names = [n for n in free if n in wanted]
    if not names:
        return None
    name = str(rng.choice(names))
    free.remove(name)
    return name


def _mild(tracer: Tracer, low: float, high: float, rng: np.random.Generator) -> float:
    """FDG takes part in inflammation more than the receptor ligands do."""
    factor = 1.0 if tracer is Tracer.FDG else 0.7
    return round(float(rng.uniform(low, high)) * factor, 2)


def _degenerative(laws: Mimics, tracer: Tracer, free: list[str], rng: np.random.Generator) -> list[LesionPlan]:
    out = []
    for n in range(int(rng.poisson(laws.degenerative))):
        level = _take(free, ("L5", "L4", "L3", "L2", "T12", "T11", "T10", "T9", "T8"), rng)
        if level is not None:
            where = str(rng.choice(["endplate", "facet_left", "facet_right"]))
            size = round(float(rng.uniform(8, 14)), 1)
            out.append(
                LesionPlan(
                    f"D{n + 1}", f"{where}:{level}", size, _mild(tracer, 2.2, 4.2, rng), "degenerative", "spur", elongation=1.0
                )
            )
    return out


def _haemangiomas(laws: Mimics, tracer: Tracer, free: list[str], rng: np.random.Generator) -> list[LesionPlan]:
    out = []
    for n in range(int(rng.poisson(laws.haemangioma))):
        level = _take(free, tuple(free), rng)
        if level is not None:
            suv = 2.6 if tracer is Tracer.DOTATATE else 0.0
            out.append(LesionPlan(f"H{n + 1}", f"body:{level}", round(float(rng.uniform(9, 17)), 1), suv, "haemangioma"))
    return out


def _fractures(
    laws: Mimics, tracer: Tracer, free: list[str], rng: np.random.Generator
) -> tuple[list[LesionPlan], tuple[tuple[str, float], ...]]:
    out, collapsed = [], []
    for n in range(int(rng.poisson(laws.fracture))):
        level = _take(free, ("T7", "T8", "T11", "T12", "L1", "L2", "L3"), rng)
        if level is not None:
            out.append(
                LesionPlan(
                    f"F{n + 1}", f"band:{level}", 30.0, _mild(tracer, 2.2, 4.0, rng), "fracture", "spur", elongation=0.22
                )
            )
            collapsed.append((level, round(float(rng.uniform(0.15, 0.4)), 2)))
    return out, tuple(collapsed)


def _ganglia(laws: Mimics, tracer: Tracer, rng: np.random.Generator) -> list[LesionPlan]:
    count = min(int(rng.poisson(laws.ganglion)), len(GANGLIA))
    out = []
    for n, name in enumerate(rng.permutation(sorted(GANGLIA))[:count]):
        suv = _GANGLION_SUV[str(name).split("_", maxsplit=1)[0]] * float(np.exp(0.25 * rng.standard_normal()))
        out.append(LesionPlan(f"G{n + 1}", f"ganglion:{name}", 8.0, round(suv, 2), "ganglion", mr=False, elongation=2.6))
    return out


def _bones(laws: Mimics, tracer: Tracer, rng: np.random.Generator) -> list[LesionPlan]:
    """Unspecific foci without a correlate: common with PSMA-1007, rare otherwise."""
    rate = laws.unspecific_bone * (1.0 if tracer is Tracer.PSMA_1007 else 0.25)
    out = []
    for n in range(int(rng.poisson(rate))):
        side = str(rng.choice(["left", "right"]))
        site = f"rib_{side}_{int(rng.integers(3, 11))}" if rng.random() < 0.6 else f"hip_{side}"
        size = round(float(rng.uniform(7, 11)), 1)
        out.append(
            LesionPlan(
                f"N{n + 1}", site, size, round(float(rng.uniform(4.0, 9.0)), 2), "unspecific_bone", mr=False, elongation=1.5
            )
        )
    return out


def _nodes(laws: Mimics, tracer: Tracer, rng: np.random.Generator) -> list[LesionPlan]:
    """Reactive nodes of both hila, brown fat above both clavicles."""
    out = []
    if rng.random() < laws.reactive_node:
        for side in ("left", "right"):
            size = round(float(rng.uniform(8, 12)), 1)
            out.append(
                LesionPlan(
                    f"R{side[0]}", f"node:hilar_{side}", size, _mild(tracer, 2.4, 4.0, rng), "reactive_node", "mass", mr=False
                )
            )
    if rng.random() < laws.brown_fat:
        suv = float(rng.uniform(4, 9))
        for side in ("left", "right"):
            site = f"node:supraclavicular_{side}"
            out.append(
                LesionPlan(
                    f"A{side[0]}", site, 15.0, round(suv * float(rng.uniform(0.8, 1.2)), 2), "brown_fat", "fat", False, 2.0
                )
            )
    return out
