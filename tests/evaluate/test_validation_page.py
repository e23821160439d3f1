"""The script behind docs/validation.md: why a study went wrong, and whether a goal was reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lesion_pipeline.report import layout
from scripts.validate import planned
from scripts.validation_page import GOALS, Cohort, write_page
from scripts.validation_why import story

KEY: dict[str, Any] = {
    "body": {"thoracic": 12, "lumbar": 6},
    "liver_suv": 2.0,
    "implants": [{"kind": "hip_prosthesis", "site": "left", "centroid_lps_mm": [90, 0, -100]}],
    "ct_contrast": True,
    "pet_from_ct": {"shift_mm": [0, 0, 0], "breath_mm": 9.0},
    "lesions": [
        {"id": "M1", "kind": "metastasis", "centroid_lps_mm": [0, 0, 0], "near": "bladder"},
        {"id": "M2", "kind": "metastasis", "centroid_lps_mm": [0, 0, 200], "near": None},
    ],
    "physiologic_foci": [],
}
REASON = {"code": "ORGAN_LIVER", "text": "ordinary uptake of the liver"}
MEASURED = {"code": "UPTAKE", "text": "SUVmax 3"}


def _given(key: str, at: list[float], decision: str, p: float = 0.6) -> dict[str, Any]:
    return {
        "id": key, "decision": decision, "probability": p, "organ": "bone", "centroid_lps_mm": at, "reasons": [MEASURED, REASON]
    }  # fmt: skip


def _study(**more: Any) -> dict[str, Any]:
    lost = {"organ": "bone", "level": "L3", "volume_ml": 0.4, "suv_max": 3.0, "reasons": [], "run_lesion": None}
    return {
        "counts": {"lesions": {"reference": 2, "run": 1, "run_interval": [1, 3]}},
        "criteria": {"INC4": {"reference": "meets", "run": "indeterminate"}},
        "missed": [
            {**lost, "id": "M1", "outcome": "not_detected"},
            {**lost, "id": "M2", "outcome": "excluded", "run_lesion": "L2", "reasons": ["ORGAN_LIVER"]},
        ],
        "false_positives": [
            {"id": "L3", "decision": "counted", "organ": "bone", "level": None, "probability": 0.6, "lies_on": None}
        ],
        **more,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [
        _given("L1", [0, 10, 0], "uncertain"),
        _given("L2", [0, 0, 200], "excluded", 0.1),
        _given("L3", [85, 0, -100], "counted"),
    ]
    layout.count_json(tmp_path).write_text(json.dumps({"lesions": rows}), encoding="utf-8")
    return tmp_path


def test_the_story_says_where_each_lesion_went_and_why(folder: Path) -> None:
    text = "\n".join(story(_study(), "INC4", KEY, folder))
    assert "Lesions 2, the run says 1 (1 to 3). INC4: meets, the run says indeterminate." in text
    assert "Planted: hip prosthesis, contrast medium, diaphragm +9 mm in PET, 12 thoracic and 6 lumbar vertebrae." in text
    assert "Error of the count -1: -2 lost, +1 false and counted." in text
    assert "lost M1 (bone L3, 0.4 ml, SUVmax 3.0): no candidate: small, hardly brighter" in text
    assert "put beside the bladder, 10 mm from the middle of L1" in text
    assert "lost M2 (bone L3, 0.4 ml, SUVmax 3.0): excluded (p 0.10): ordinary uptake of the liver" in text
    assert "false L3 (counted, bone, p 0.60): 5 mm from hip prosthesis. The run: ordinary uptake of the liver" in text


def test_many_false_lesions_are_told_by_kind(folder: Path) -> None:
    false = [
        {"id": f"L{n}", "decision": "uncertain", "organ": "bone", "level": None, "probability": 0.3, "lies_on": None}
        for n in range(9)
    ]
    text = "\n".join(story(_study(false_positives=false, missed=[]), "INC4", KEY, folder))
    assert "9 false lesions: 9 bone (uncertain)" in text
    assert "false L1" not in text


def test_a_refused_study_says_so() -> None:
    none = {"lesions": {"reference": 2, "run": None, "run_interval": None}}
    assert "refused" in story(_study(counts=none), "INC4", KEY, None)[-1]


def _report(sensitivity: float | None) -> dict[str, Any]:
    figure = {"value": sensitivity, "low": None, "high": None, "n": 5}
    detection = {
        "sensitivity": {"reported": figure, "counted": figure, "candidate": figure},
        "sensitivity_by": {},
        "reference_lesions": 5,
        "false_positives_on": {},
    }
    return {
        "cohort": {"studies": 1, "tracers": {"FDG": 1}, "presets": ["fdg-petct"], "without_result": [], "headline": "INC4"},
        "rules": {"match_distance_mm": 10.0},
        "figures": {"detection": detection, "criteria": {}},
        "studies": [],
    }


def test_the_page_states_the_seed_and_what_was_missed(tmp_path: Path) -> None:
    doc = tmp_path / "docs" / "validation.md"
    doc.parent.mkdir()
    (doc.parent / "validation_spine.md").write_text("x", encoding="utf-8")
    at = Cohort(seed=4711, studies=1, full=False, work=tmp_path)
    write_page(at, doc, {"all": _report(0.5), "fdg": _report(0.95), "psma": _report(0.5)})
    text = doc.read_text(encoding="utf-8")
    assert "--seed 4711 --studies 1\n" in text
    assert "| lesion sensitivity, counted or uncertain | >= 90 % | 95 % reached | 50 % **missed** |" in text
    assert "| expected calibration error of lesions | <= 0.07 | – | – |" in text  # undefined is neither
    assert "Not measured on this machine" in text
    assert "[validation_spine.md](validation_spine.md)" in text
    assert "organs_model.md" not in text
    (tmp_path / "real.md").write_text("## Real answers\n\nmeasured", encoding="utf-8")
    write_page(at, doc, {"all": _report(0.5)})
    assert "measured" in doc.read_text(encoding="utf-8")
    assert len({goal.path for goal in GOALS}) == len(GOALS)


def test_the_light_scanner_keeps_the_rest_of_a_plan() -> None:
    light, whole = (planned("fdg", 5, 2, full=full) for full in (False, True))
    assert (light.body, light.lesions, light.implants, light.motion) == (
        whole.body,
        whole.lesions,
        whole.implants,
        whole.motion,
    )
    assert light.mr is None
    assert light.scanner.ct_spacing == (3.0, 3.0, 5.0)
    assert planned("fdg", 6, 2, full=False).body != light.body
