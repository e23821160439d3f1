"""One study from a plan: body, tracer, scanners, lesions and faults composed into DICOM files and an answer key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom.uid import UID

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.io.nifti import write_label_map
from lesion_pipeline.simulate import answer, dicom_files, faults, implants, scanner, tracer
from lesion_pipeline.simulate.anatomy import Body, build_body
from lesion_pipeline.simulate.anatomy.abdomen import ureter_path
from lesion_pipeline.simulate.anatomy.parts import Layer, Part
from lesion_pipeline.simulate.anatomy.solids import Field, Tube
from lesion_pipeline.simulate.lesions import PlacedLesion, place
from lesion_pipeline.simulate.motion import Pose, pose
from lesion_pipeline.simulate.plan import StudyPlan

#: The day of every simulated study: fixed, so that the same plan gives the same bytes.
STUDY_START = datetime(2024, 3, 14, 9, 12, 5)
FULL_CORRECTION = ("NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN")


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that exists before images are made."""

    plan: StudyPlan
    body: Body
    lesions: tuple[PlacedLesion, ...]
    uptake: dict[str, float]
    urine: tuple[Part, ...]

    @property
    def in_pet(self) -> Pose:
        """The body as PET sees it, moved since the CT."""
        return pose(self.body, self.plan.motion)


def stage_scene(plan: StudyPlan) -> Scene:
    """Body, uptake and placed lesions of a plan. Raises ValueError when a lesion finds no room."""
    rng = np.random.default_rng([plan.seed, 1])
    body = build_body(plan.body, (3.4, 22.0, -860.0))
    uptake = {**tracer.draw_uptake(plan.tracer, rng, plan.variation), **plan.uptake}
    placed: list[PlacedLesion] = []
    for n, lesion in enumerate(plan.lesions):
        placed.append(place(lesion, body, np.random.default_rng([plan.seed, 2, n]), placed))
    urine = []
    for side, where in plan.hot_ureter:
        path = ureter_path(body.frame, side)
        first = int(where * (len(path) - 6))
        urine.append(Part(Tube(path[first : first + 5], 3.2), (Layer("ureter_hot"),)))
    return Scene(plan, body, tuple(placed), uptake, tuple(urine))


def image_ct(scene: Scene) -> tuple[Field, Grid]:
    """HU (ni, nj, nk) of the CT, and its grid in the frame "ct"."""
    plan = scene.plan
    grid = scanner.ct_grid(scene.body, plan.scanner, "ct")
    hu = scanner.acquire_ct(
        scene.body,
        grid,
        scene.lesions,
        plan.scanner,
        rng=np.random.default_rng([plan.seed, 3]),
        contrast=plan.ct_contrast,
        metal=plan.implants,
    )
    return hu, grid


def image_pet(scene: Scene) -> tuple[Field, Grid]:
    """SUVbw (ni, nj, nk) of the PET with patches, motion, metal and urine as planned, and its grid in the frame "ct"."""
    plan = scene.plan
    grid = scanner.pet_grid(scene.body, plan.scanner, "ct")
    suv = scanner.acquire_pet(
        scene.in_pet,
        grid,
        scene.uptake,
        scene.lesions,
        plan.scanner,
        rng=np.random.default_rng([plan.seed, 4]),
        more=scene.urine,
        mottled=np.random.default_rng([plan.seed, 8]) if plan.texture else None,
        metal=plan.implants,
    )
    return suv, grid


def _visits(plan: StudyPlan) -> tuple[dicom_files.Visit, dicom_files.Visit]:
    who = plan.body
    number = f"{plan.seed % 10**8:08d}"
    born = date(STUDY_START.year - who.age, 1, 20)
    patient = dicom_files.Patient(
        f"SYNTHETIC^{number}", f"SYN{number}", born, who.sex, who.weight_kg, round(who.height_cm / 100, 3)
    )
    seed = f"{plan.name}/{plan.seed}"
    pet_ct = dicom_files.Visit(f"{seed}/petct", patient, STUDY_START, "PET-CT SKULL BASE TO MID-THIGH", f"PC{number}")
    mr = dicom_files.Visit(
        f"{seed}/mr", patient, STUDY_START - timedelta(days=6, hours=-3), "MR SPINE WITH CONTRAST", f"MR{number}"
    )
    return pet_ct, mr


def _ct(scene: Scene, visit: dicom_files.Visit, frame: UID) -> list[dicom_files.File]:
    plan = scene.plan
    ct, ct_grid = image_ct(scene)
    ct_head = dicom_files.SeriesHead(
        visit,
        2,
        "CT",
        dicom_files.SOP_CLASSES["CT"],
        "CT WB 3.0 B31s",
        visit.started + timedelta(seconds=70),
        frame,
        ("ORIGINAL", "PRIMARY", "AXIAL"),
    )
    scout_head = dicom_files.SeriesHead(
        visit,
        1,
        "CT",
        dicom_files.SOP_CLASSES["CT"],
        "TOPOGRAM",
        visit.started + timedelta(seconds=20),
        frame,
        ("ORIGINAL", "PRIMARY", "LOCALIZER"),
    )
    files = dicom_files.scout(scout_head, ct, ct_grid)
    files += dicom_files.ct_series(ct_head, ct, ct_grid, contrast=plan.ct_contrast)
    return files


def _pet(scene: Scene, visit: dicom_files.Visit, frame: UID) -> tuple[list[dicom_files.File], Field, Grid]:
    plan, settings = scene.plan, scene.plan.scanner
    suv, grid = image_pet(scene)
    facts = tracer.FACTS[plan.tracer]
    started = visit.started + timedelta(seconds=180)
    beds = scanner.bed_of_slices(grid.shape[2], grid.spacing_mm[2], settings)
    timing = dicom_files.PetTiming(
        started - timedelta(seconds=facts.uptake_s),
        settings.bed_seconds,
        beds,
        round(facts.dose_mbq_per_kg * plan.body.weight_kg, 1) * 1e6,
        facts,
    )
    per_suv = np.float32(timing.bq_per_suv(plan.body.weight_kg, started))
    kind = ("ORIGINAL", "PRIMARY")
    pt = dicom_files.SOP_CLASSES["PT"]
    ac = dicom_files.SeriesHead(visit, 3, "PT", pt, "PET WB AC", started, frame, kind)
    nac = dicom_files.SeriesHead(visit, 4, "PT", pt, "PET WB NAC", started, frame, kind)
    files = dicom_files.pet_series(ac, suv * per_suv, grid, timing, FULL_CORRECTION)
    bare = scanner.without_attenuation_correction(suv, grid)
    files += dicom_files.pet_series(nac, bare * per_suv, grid, timing, ("NORM", "DTIM", "DECY", "RAN"))
    return files, suv, grid


def _mr(scene: Scene, visit: dicom_files.Visit, pet_frame: UID) -> tuple[list[dicom_files.File], list[str]]:
    plan, settings = scene.plan, scene.plan.mr
    if settings is None:
        return [], []
    frame = pet_frame if settings.shared_frame else visit.uid("frame")
    grid = scanner.mr_grid(scene.body, settings, "mr")
    rng = np.random.default_rng([plan.seed, 5])
    images = scanner.acquire_mr(scene.body, grid, scene.lesions, settings, rng=rng, metal=plan.implants)
    files: list[dicom_files.File] = []
    for n, image in enumerate(images if settings.contrast else images[:2]):
        head = dicom_files.SeriesHead(
            visit,
            n + 2,
            "MR",
            dicom_files.SOP_CLASSES["MR"],
            dicom_files.MR_PROTOCOLS[n][0],
            visit.started + timedelta(minutes=5 * n + (6 if n == 2 else 0)),
            frame,
            ("ORIGINAL", "PRIMARY", "M", "NORM"),
        )
        for file in dicom_files.mr_series(head, image, grid, n, settings.slice_mm):
            files.append(dicom_files.File(f"MR/{file.path}", file.dataset))
    there = scanner.mr_transform(settings)
    low, high = grid.bounds()
    seen = []
    for v in scene.body.spine.vertebrae:
        x, y, z = (there @ [*scene.body.world(v.origin), 1.0])[:3]
        if all(a <= q <= b for a, q, b in zip(low, (x, y, z), high, strict=True)):
            seen.append(v.name)
    return files, seen


def make_study(plan: StudyPlan, dicom_dir: Path, truth_dir: Path, *, labels: bool = False) -> dict[str, object]:
    """Write a study's DICOM files and its answer key (answer.json, lesions.nii.gz on the PET grid; anatomy.nii.gz if asked).

    The answer is returned too. Same plan, same bytes. Raises ValueError for a plan that cannot be carried out.
    """
    scene = stage_scene(plan)
    visit, mr_visit = _visits(plan)
    frame = visit.uid("frame")
    ct_files = _ct(scene, visit, frame)
    pet_files, suv, grid = _pet(scene, visit, frame)
    mr_files, mr_levels = _mr(scene, mr_visit, frame)
    files, planted = faults.plant([*ct_files, *pet_files, *mr_files], plan.faults, np.random.default_rng([plan.seed, 6]))
    dicom_files.write(files, dicom_dir)
    label_map = answer.lesion_labels(scene.lesions, scene.in_pet, grid)
    truth = answer.truths(scene.lesions, scene.in_pet, label_map, grid, suv)
    key = _key(scene, truth, mr_levels, planted)
    truth_dir.mkdir(parents=True, exist_ok=True)
    names = {n: answer.structure(one) for n, one in enumerate(scene.lesions, start=1)}
    write_label_map(LabelMap(label_map, grid, names), truth_dir / "lesions.nii.gz")
    if labels:
        anatomy = scene.body.labels(scanner.ct_grid(scene.body, plan.scanner, "ct"))
        write_label_map(anatomy, truth_dir / "anatomy.nii.gz")
    (truth_dir / "answer.json").write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")
    return key


def _key(scene: Scene, truth: Sequence[answer.Truth], mr_levels: Sequence[str], planted: object) -> dict[str, object]:
    """The answer key. mr_levels: vertebrae that the MR shows; planted: what ``faults.plant`` says."""
    plan = scene.plan
    enhanced = plan.mr is not None and plan.mr.contrast
    return {
        "schema": answer.SCHEMA,
        "name": plan.name,
        "seed": plan.seed,
        "story": plan.story,
        "tracer": str(plan.tracer),
        "patient": {
            "sex": plan.body.sex,
            "age": plan.body.age,
            "weight_kg": plan.body.weight_kg,
            "height_cm": plan.body.height_cm,
        },
        "body": asdict(plan.body),
        "suv_bw_per_bqml": 1.0 / _bq_per_suv(plan),
        "liver_suv": round(scene.uptake["liver"], 3),
        "physiologic_foci": [
            {"kind": "ureter", "side": "left" if s > 0 else "right", "centroid_lps_mm": _middle(scene, n)}
            for n, (s, _) in enumerate(plan.hot_ureter)
        ],
        "ct_contrast": plan.ct_contrast,
        "pet_from_ct": asdict(plan.motion),
        "implants": [
            {
                "kind": one.kind,
                "site": one.site,
                "centroid_lps_mm": np.round(scene.body.world(implants.centroid(one, scene.body)), 2).tolist(),
            }
            for one in plan.implants
        ],
        "counts": answer.counts(truth),
        "criteria": answer.criteria(truth, plan.body.age, mr_levels if enhanced else None, enhanced_ct=plan.ct_contrast),
        "lesions": [t.as_json() for t in truth],
        "vertebrae": [
            {"level": v.name, "instance": v.instance, "centroid_lps_mm": np.round(scene.body.world(v.origin), 2).tolist()}
            for v in scene.body.spine.vertebrae
        ],
        "mr": None
        if plan.mr is None
        else {
            "mr_from_petct": np.round(scanner.mr_transform(plan.mr), 6).tolist(),
            "shared_frame": plan.mr.shared_frame,
            "levels_in_view": mr_levels,
            "enhanced": plan.mr.contrast,
        },
        "planted_faults": planted,
    }


def _bq_per_suv(plan: StudyPlan) -> float:
    facts = tracer.FACTS[plan.tracer]
    dose = round(facts.dose_mbq_per_kg * plan.body.weight_kg, 1) * 1e6
    return float(dose * np.exp(-np.log(2) * facts.uptake_s / facts.half_life_s) / (plan.body.weight_kg * 1000))


def _middle(scene: Scene, n: int) -> list[float]:
    tube = scene.urine[n].solid
    middle = scene.in_pet.world((tube.low + tube.high) / 2)
    return [round(float(v), 2) for v in middle]
