"""What makes a drawn study more like a hospital's: metal, contrast medium, motion, patches, hard places, dead cores.

Drawn after everything else and from a generator of its own, so that bodies, lesions and scanners of a seed stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.simulate.anatomy.spine import Spine
from lesion_pipeline.simulate.implants import Implant
from lesion_pipeline.simulate.lesions import LesionPlan
from lesion_pipeline.simulate.motion import Motion
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import Preset

#: Structures with physiologic uptake (of one tracer or another) that a lesion of a site can lie close to.
_NEIGHBOURS = {
    "hip_left": ("bladder",),
    "hip_right": ("bladder",),
    "rib_left": ("spleen", "kidney_left", "heart"),
    "rib_right": ("liver", "kidney_right"),
    "lung_left": ("heart", "spleen"),
    "lung_right": ("liver", "heart"),
    "liver": ("kidney_right", "gallbladder", "heart", "duodenum"),
    "psoas_left": ("kidney_left",),
    "psoas_right": ("kidney_right",),
}
#: A tumour of a soft organ from this size on may have a dead core (mm).
_CORE_FROM_MM = 25.0


def with_extras(preset: Preset, plan: StudyPlan, spine: Spine, rng: np.random.Generator) -> StudyPlan:
    """The plan with the preset's further faults of real life."""
    lesions = [_harder(one, preset, rng) for one in plan.lesions]
    lesions += _rib_fractures(preset, plan, rng)
    scanners = preset.scanners
    shift = rng.normal(0, scanners.patient_shift_mm, 3)
    breath = float(np.clip(rng.normal(0.4, 1.0) * scanners.breath_shift_mm, -8, 12))
    return replace(
        plan,
        lesions=tuple(lesions),
        texture=preset.texture,
        ct_contrast=bool(rng.random() < scanners.ct_contrast),
        motion=Motion((round(float(shift[0]), 2), round(float(shift[1]), 2), round(float(shift[2]), 2)), round(breath, 2)),
        implants=tuple(_implants(preset, plan, lesions, spine, rng)),
    )


def _stem(site: str) -> str:
    """rib_left_7 -> rib_left; other sites stay."""
    return "_".join(site.split("_")[:2]) if site.startswith("rib_") else site


def _harder(lesion: LesionPlan, preset: Preset, rng: np.random.Generator) -> LesionPlan:
    laws = preset.lesions
    close, dead = rng.random() < laws.near_physiologic, rng.random() < laws.necrotic
    which = float(rng.random())
    if lesion.kind != "metastasis" or lesion.suv <= 0:
        return lesion
    names = _NEIGHBOURS.get(_stem(lesion.site), ())
    if close and names and lesion.beside is None:
        lesion = replace(lesion, near=names[int(which * len(names))])
    if dead and lesion.ct == "mass" and lesion.diameter_mm >= _CORE_FROM_MM:
        lesion = replace(lesion, necrotic=True)
    return lesion


def _rib_fractures(preset: Preset, plan: StudyPlan, rng: np.random.Generator) -> list[LesionPlan]:
    """One to three neighbouring ribs of a side, healing; ribs with a lesion are left out."""
    if rng.random() >= preset.mimics.rib_fracture:
        return []
    side, first, count = str(rng.choice(["left", "right"])), int(rng.integers(3, 9)), int(rng.integers(1, 4))
    factor = 1.0 if plan.tracer is Tracer.FDG else 0.7  # receptor ligands take part in repair less than FDG does
    taken = {one.site for one in plan.lesions}
    out: list[LesionPlan] = []
    for n in range(first, min(first + count, plan.body.ribs)):
        suv = round(float(rng.uniform(2.0, 4.5)) * factor, 2)
        site = f"rib_{side}_{n}"
        if site not in taken:
            out.append(LesionPlan(f"C{len(out) + 1}", site, 12.0, suv, "rib_fracture", "spur", elongation=1.3))
    return out


def _implants(
    preset: Preset, plan: StudyPlan, lesions: Sequence[LesionPlan], spine: Spine, rng: np.random.Generator
) -> list[Implant]:
    laws = preset.implants
    hip, screws, teeth = (bool(rng.random() < chance) for chance in (laws.hip, laws.screws, laws.teeth))
    side, where, count = str(rng.choice(["left", "right"])), float(rng.random()), int(rng.integers(1, 7))
    scar = round(float(rng.uniform(1.2, 3.6)) if plan.tracer is Tracer.FDG else float(rng.uniform(0.8, 1.8)), 2)
    sites = {one.site for one in lesions}
    levels = {site.partition(":")[2] for site in sites} | {one.bridge_to for one in lesions}
    levels |= {name for name, _ in plan.body.collapsed}
    out: list[Implant] = []
    if hip and not {f"hip_{side}", f"femur_{side}"} & sites:
        out.append(Implant("hip_prosthesis", side, scar))
    if screws:
        names = [v.name for v in spine.vertebrae]
        free = [
            (a, b)
            for a, b in pairwise(names)
            if not {a, b} & levels and a[0] in "TL" and b[0] == "L"  # lumbar and thoracolumbar, where most are
        ]
        if free:
            a, b = free[int(where * len(free))]
            out.append(Implant("spinal_screws", f"{a}-{b}"))
    if teeth:
        out.append(Implant("dental_fillings", str(count)))
    return out
