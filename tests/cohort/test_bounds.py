"""Six small studies through the whole pipeline against stored bounds: a change that loses lesions must not land unseen.

The studies are coarse and short (shoulders to hips, CT of 4 x 4 x 5 mm, no MR) so that they take seconds. Raise a bound in
bounds.json when the pipeline became better; lower one only with a reason in CHANGELOG.md under "Changes results".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lesion_pipeline import config, pipeline
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.evaluate import evaluate
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.report import run_folder
from lesion_pipeline.simulate import StudyPlan, make_study
from lesion_pipeline.simulate.anatomy.params import BodyParams
from lesion_pipeline.simulate.lesions import LesionPlan
from lesion_pipeline.simulate.scanner import ScannerSettings

BOUNDS = json.loads(Path(__file__).with_name("bounds.json").read_text(encoding="utf-8"))
PRESETS = {Tracer.FDG: "fdg-petct", Tracer.PSMA_11: "psma-petct"}
SMALL = ScannerSettings(
    pet_spacing=(4.07283, 4.07283, 5.0),
    pet_matrix=128,
    ct_spacing=(4.0, 4.0, 5.0),
    ct_matrix=125,
    ct_noise=10.0,
    top=-130.0,
    bottom=-40.0,
)


def _plan(name: str, seed: int, lesions: tuple[LesionPlan, ...], **more: Any) -> StudyPlan:
    return StudyPlan(name, seed, scanner=SMALL, mr=None, lesions=lesions, **more)


PLANS = (
    _plan(
        "three-organs",
        11,
        (
            LesionPlan("M1", "body:T11", 22.0, 10.0, ct="lytic"),
            LesionPlan("M2", "body:L3", 20.0, 9.0),
            LesionPlan("M3", "liver", 24.0, 10.0, ct="mass"),
            LesionPlan("M4", "lung_right", 18.0, 8.0, ct="mass"),
        ),
    ),
    _plan(
        "no-metastasis",
        12,
        (LesionPlan("B1", "endplate:L4", 11.0, 3.0, kind="degenerative", elongation=1.0),),
        body=BodyParams(sex="F", height_cm=163, weight_kg=64, seed=3),
        hot_ureter=((1, 0.45),),
    ),
    _plan(
        "seven-lesions",
        13,
        (
            *(LesionPlan(f"M{n}", f"body:{level}", 20.0, 9.0) for n, level in enumerate(("T6", "T9", "L1", "L5"), start=1)),
            LesionPlan("M5", "rib_left_6", 20.0, 9.0, ct="lytic"),
            LesionPlan("M6", "rib_right_9", 20.0, 9.0),
            LesionPlan("M7", "liver", 26.0, 11.0, ct="mass"),
        ),
        body=BodyParams(height_cm=181, weight_kg=92, seed=4),
    ),
    _plan(
        "bridging",
        14,
        (
            LesionPlan("M1", "body:T8", 22.0, 10.0, ct="lytic", bridge_to="T9"),
            LesionPlan("M2", "node:mediastinal_right", 20.0, 9.0),
        ),
    ),
    _plan(
        "psma",
        15,
        (
            LesionPlan("M1", "body:L2", 20.0, 18.0, ct="sclerotic"),
            LesionPlan("M2", "body:T7", 20.0, 16.0, ct="sclerotic"),
            LesionPlan("M3", "rib_right_7", 20.0, 15.0),
        ),
        tracer=Tracer.PSMA_11,
        body=BodyParams(age=70, height_cm=176, weight_kg=84, seed=5),
    ),
    _plan(
        "posterior",
        16,
        (LesionPlan("M1", "pedicle_left:T12", 18.0, 10.0), LesionPlan("M2", "arch:L4", 18.0, 10.0, ct="lytic")),
        body=BodyParams(scoliosis_deg=6.0, height_cm=170, weight_kg=70, seed=6),
    ),
)


def _run(plan: StudyPlan, root: Path) -> None:
    make_study(plan, root / "dicom" / plan.name, root / "truth" / plan.name)
    conf = config.load(PRESETS[plan.tracer])
    recorder = Recorder("study", ())
    result = pipeline.run(root / "dicom" / plan.name, conf, pipeline.load_plugins(conf), recorder)
    run_folder.write(result, lambda: recorder.runs, [], root / "runs" / plan.name)


def _figure(figures: Any, path: str) -> float:
    for key in path.split("."):
        figures = figures[key]
    assert isinstance(figures, int | float), f"{path} is undefined"
    return float(figures)


@pytest.mark.slow
def test_the_small_cohort_stays_within_its_bounds(tmp_path: Path) -> None:
    for plan in PLANS:
        _run(plan, tmp_path)
    evaluate(tmp_path / "runs", tmp_path / "truth", tmp_path / "report", repetitions=100)
    report = json.loads((tmp_path / "report" / "evaluation.json").read_text(encoding="utf-8"))
    assert report["cohort"]["with_result"] == len(PLANS)
    figures = {path: _figure(report["figures"], path) for path in BOUNDS}
    outside = {
        path: figures[path]
        for path, bound in BOUNDS.items()
        if not bound.get("min", -1e9) <= figures[path] <= bound.get("max", 1e9)
    }
    assert not outside, json.dumps({"outside": outside, "studies": report["studies"]}, indent=1)
