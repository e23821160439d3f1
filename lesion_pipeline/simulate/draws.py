"""From a preset's distributions to the plan of one study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.simulate.anatomy.params import BodyParams, draw_params
from lesion_pipeline.simulate.anatomy.spine import Spine, build_spine, level_names
from lesion_pipeline.simulate.extras import with_extras
from lesion_pipeline.simulate.lesions import CtChange, LesionPlan
from lesion_pipeline.simulate.mimics import draw_mimics
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import LogNormal, Preset
from lesion_pipeline.simulate.scanner import MrSettings, ScannerSettings
from lesion_pipeline.simulate.sites import STATIONS

#: Largest and smallest diameter (mm) that a kind of site has room for.
_ROOM = {
    "rib": (7, 16), "femur": (9, 30), "sternum": (8, 18), "scapula": (8, 16), "hip": (9, 32), "sacrum": (9, 34),
    "adrenal": (12, 34), "node": (7, 34), "liver": (10, 60), "lung": (7, 45), "muscle": (9, 30), "vertebra_arch": (8, 22),
}  # fmt: skip


def pick(weights: Mapping[str, float], rng: np.random.Generator) -> str:
    """One key, with probability in proportion to its weight."""
    keys = list(weights)
    share = np.array([weights[k] for k in keys], dtype=np.float64)
    return keys[int(rng.choice(len(keys), p=share / share.sum()))]


def draw(law: LogNormal, rng: np.random.Generator) -> float:
    return round(float(np.clip(law.median * np.exp(law.spread * rng.standard_normal()), law.low, law.high)), 2)


class _Sites:
    """Hands out sites so that no two lesions share a vertebra, a node station or a rib."""

    def __init__(self, preset: Preset, spine: Spine, ribs: int, rng: np.random.Generator) -> None:
        self.preset, self.spine, self.ribs, self.rng = preset, spine, ribs, rng
        self.used: set[str] = set()

    def level(self) -> str:
        for _ in range(60):
            region = pick(self.preset.lesions.levels, self.rng)
            names = [v.name for v in self.spine.vertebrae if v.name[0] == region and v.name != "C1"]
            name = str(self.rng.choice(names))
            if name not in self.used:
                break
        self.used.add(name)
        return name

    def site(self, kind: str) -> str:
        rng = self.rng
        side = str(rng.choice(["left", "right"]))
        if kind == "vertebra_body":
            return f"body:{self.level()}"
        if kind == "vertebra_arch":
            part = pick({"pedicle_left": 2, "pedicle_right": 2, "arch": 1, "spinous": 1}, rng)
            return f"{part}:{self.level()}"
        if kind == "node":
            names = [n for n in STATIONS if n not in self.used] or list(STATIONS)
            name = str(rng.choice(names))
            self.used.add(name)
            return f"node:{name}"
        if kind == "rib":
            names = [
                f"rib_{s}_{n}" for s in ("left", "right") for n in range(2, self.ribs + 1) if f"rib_{s}_{n}" not in self.used
            ]
            name = str(rng.choice(names))
            self.used.add(name)
            return name
        single = {"sacrum": "vertebra_S", "sternum": "sternum", "liver": "liver", "muscle": f"psoas_{side}"}
        return single.get(kind, f"{kind}_{side}")


def _metastases(preset: Preset, spine: Spine, ribs: int, rng: np.random.Generator) -> tuple[list[LesionPlan], set[str]]:
    laws = preset.lesions
    count = int(pick({str(n): w for n, w in enumerate(laws.count)}, rng))
    sites = _Sites(preset, spine, ribs, rng)
    out: list[LesionPlan] = []
    while len(out) < count:
        kind = pick(laws.sites, rng)
        low, high = _ROOM.get(kind, (8.0, 40.0))
        size = float(np.clip(draw(laws.diameter_mm, rng), low, high))
        site = sites.site(kind)
        bony = kind in ("vertebra_body", "vertebra_arch", "sacrum", "hip", "rib", "femur", "sternum", "scapula")
        change: CtChange = pick(laws.ct, rng) if bony else "mass"  # type: ignore[assignment]  # the preset's keys are checked on use
        bridge = None
        if kind == "vertebra_body":
            level = site.partition(":")[2]
            v = spine[level]
            size = min(size, 0.9 * v.width)
            bridge = _below(spine, level, sites.used) if rng.random() < laws.bridging else None
        lesion = LesionPlan(
            id=f"M{len(out) + 1}",
            site=site,
            diameter_mm=round(size, 1),
            suv=draw(laws.suv, rng),
            ct=change,
            mr=bony and rng.random() < 0.95,
            elongation=2.0 if kind == "rib" else float(rng.uniform(1.0, 1.6)),
            bridge_to=bridge,
        )
        out.append(lesion)
        if kind in ("liver", "lung") and len(out) < count and rng.random() < laws.beside:
            small = float(np.clip(size * 0.8, low, high))
            out.append(
                replace(lesion, id=f"M{len(out) + 1}", diameter_mm=round(small, 1), suv=draw(laws.suv, rng), beside=lesion.id)
            )
    return out, sites.used


def _below(spine: Spine, level: str, used: set[str]) -> str | None:
    names = [v.name for v in spine.vertebrae]
    n = names.index(level) + 1
    if n >= len(names) or names[n] in used:
        return None
    used.add(names[n])
    return names[n]


def _unseen(preset: Preset, free: list[str], rng: np.random.Generator) -> list[LesionPlan]:
    """Lesions that PET does not show: on MR only, or treated."""
    out = []
    if free and rng.random() < preset.lesions.mr_only:
        level = free.pop(int(rng.integers(len(free))))
        out.append(LesionPlan("U1", f"body:{level}", round(float(rng.uniform(9, 15)), 1), 0.0, ct="none"))
    if free and rng.random() < preset.lesions.treated:
        level = free.pop(int(rng.integers(len(free))))
        out.append(LesionPlan("U2", f"body:{level}", round(float(rng.uniform(10, 18)), 1), 0.0, kind="treated", ct="sclerotic"))
    return out


def _scanner(preset: Preset, rng: np.random.Generator) -> ScannerSettings:
    laws = preset.scanners
    n = int(rng.integers(len(laws.pet_voxel_mm)))
    base = ScannerSettings()
    slice_mm = float(rng.choice(laws.ct_slice_mm))
    return replace(
        base,
        pet_spacing=laws.pet_voxel_mm[n],
        pet_matrix=laws.pet_matrix[n],
        pet_fwhm=laws.pet_fwhm_mm[n],
        pet_noise=float(rng.uniform(*laws.pet_noise)),
        breath_mm=float(rng.uniform(*laws.breath_mm)),
        ct_spacing=(500.0 / laws.ct_matrix, 500.0 / laws.ct_matrix, slice_mm),
        ct_matrix=laws.ct_matrix,
        ct_noise=float(rng.uniform(*laws.ct_noise_hu)),
        top=float(rng.uniform(-150, -60)) if rng.random() < laws.truncated_top else base.top,
        bottom=float(rng.uniform(-30, 60)) if rng.random() < laws.truncated_bottom else base.bottom,
    )


def _mr(preset: Preset, lesions: list[LesionPlan], spine: Spine, rng: np.random.Generator) -> MrSettings | None:
    laws = preset.mr
    if rng.random() >= laws.chance:
        return None
    names = [v.name for v in spine.vertebrae]
    spinal = [level for p in lesions if (level := p.site.partition(":")[2]) in names]
    centre = str(rng.choice(spinal)) if spinal and rng.random() < 0.7 else str(rng.choice(["T8", "L1", "L2"]))
    shift = tuple(round(float(v), 2) for v in rng.normal(0, laws.shift_mm, 3))
    return MrSettings(
        centre=centre,
        shift=(shift[0], shift[1], shift[2]),
        turn_deg=round(float(rng.normal(0, laws.turn_deg)), 2),
        shared_frame=bool(rng.random() < laws.shared_frame),
        contrast=bool(rng.random() < laws.contrast),
        noise=float(rng.uniform(6, 14)),
    )


def _aligned(mr: MrSettings | None) -> MrSettings | None:
    """A shared frame is only honest when the patient lies where the headers say."""
    return replace(mr, shift=(0.0, 0.0, 0.0), turn_deg=0.0) if mr is not None and mr.shared_frame else mr


def draw_study(preset: Preset, name: str, seed: int, attempt: int = 0) -> StudyPlan:
    """The plan of one study; the same arguments give the same plan."""
    rng = np.random.default_rng([seed, 100 + attempt])
    tracer = Tracer(pick({str(t): w for t, w in preset.tracers.items()}, rng))
    body: BodyParams = draw_params(rng, pick(preset.sexes, rng))  # type: ignore[arg-type]  # M or F
    spine = build_spine(body)
    lesions, used = _metastases(preset, spine, body.ribs, rng)
    free = [n for n in level_names(body) if n not in used and n[0] != "C"]
    lesions += _unseen(preset, free, rng)
    mimics = draw_mimics(preset.mimics, tracer, free, rng)
    uptake = {}
    if rng.random() < preset.mimics.marrow_activation:
        hot = float(rng.uniform(2.8, 4.2))
        uptake = {
            "spongiosa": hot,
            "spongiosa_rib": hot * 0.8,
            "spongiosa_limb": hot * 0.6,
            "spongiosa_pelvis": hot * 0.9,
            "spleen": hot * 0.9,
        }
    fault = (str(rng.choice(preset.faults.kinds)),) if preset.faults.kinds and rng.random() < preset.faults.chance else ()
    plan = StudyPlan(
        name=name,
        seed=seed,
        body=replace(body, collapsed=mimics.collapsed),
        tracer=tracer,
        scanner=_scanner(preset, rng),
        mr=_aligned(_mr(preset, lesions, spine, rng)),
        lesions=(*lesions, *mimics.lesions),
        uptake=uptake,
        variation=preset.variation,
        hot_ureter=mimics.hot_ureter,
        faults=fault,
        story=preset.description,
    )
    return with_extras(preset, plan, spine, np.random.default_rng([seed, 300 + attempt]))
