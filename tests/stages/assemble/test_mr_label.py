"""MR series are named from timing first, text last."""

from __future__ import annotations

import numpy as np
import pytest

from lesion_pipeline.io.dicom.record import FileRecord
from lesion_pipeline.stages.assemble.mr import mr_facts, plane_of

SAGITTAL = np.array([[0, 0, 4.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def record(**values: object) -> FileRecord:
    return FileRecord(modality="MR", **values)  # type: ignore[arg-type]  # a table of keyword values


@pytest.mark.parametrize(
    ("values", "label", "suppressed"),
    [
        ({"scanning_sequence": ("SE",), "repetition_time": 620.0, "echo_time": 11.0}, "T1", False),
        ({"scanning_sequence": ("SE",), "repetition_time": 4000.0, "echo_time": 102.0}, "T2", False),
        ({"scanning_sequence": ("SE",), "repetition_time": 3500.0, "echo_time": 90.0, "scan_options": ("FS",)}, "T2", True),
        (
            {"scanning_sequence": ("SE", "IR"), "repetition_time": 4500.0, "echo_time": 60.0, "inversion_time": 150.0},
            "STIR",
            True,
        ),
        (
            {"scanning_sequence": ("IR",), "repetition_time": 9000.0, "echo_time": 110.0, "inversion_time": 2500.0},
            "FLAIR",
            False,
        ),
        ({"scanning_sequence": ("EP",), "b_value": 800.0, "repetition_time": 5000.0, "echo_time": 70.0}, "DWI", False),
        ({"image_type": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC"), "scanning_sequence": ("EP",)}, "ADC", False),
        (
            {"scanning_sequence": ("GR",), "image_type": ("DERIVED", "PRIMARY", "DIXON", "WATER"), "echo_time": 1.2},
            "DIXON_W",
            True,
        ),
        ({"scanning_sequence": ("GR",), "sequence_variant": ("SP",), "repetition_time": 8.0, "echo_time": 3.0}, "T1", False),
        ({"scanning_sequence": ("GR",), "repetition_time": 600.0, "echo_time": 18.0, "flip_angle": 20.0}, "T2*", False),
        ({"scanning_sequence": ("SE",), "repetition_time": 2500.0, "echo_time": 25.0}, "PD", False),
        ({}, "unknown", False),
    ],
)
def test_labels(values: dict[str, object], label: str, suppressed: bool) -> None:
    facts = mr_facts(record(**values), SAGITTAL)
    assert (facts.label, facts.fat_suppressed, facts.plane) == (label, suppressed, "sagittal")


def test_text_alone_is_weak_and_a_contradiction_costs() -> None:
    alone = mr_facts(record(description="t1_tse_sag"), SAGITTAL)
    assert (alone.label, alone.confidence) == ("T1", 0.6)
    against = mr_facts(record(description="t2_tse", scanning_sequence=("SE",), repetition_time=600.0, echo_time=10.0), SAGITTAL)
    assert against.label == "T1"
    assert against.confidence <= 0.7
    assert len(against.evidence) == 2


@pytest.mark.parametrize(
    ("values", "contrast"),
    [
        ({"contrast_agent": "Gadovist"}, True),
        ({"contrast_agent": "NONE"}, None),
        ({"contrast_volume": 7.5}, True),
        ({"description": "T1 TSE SAG +C"}, True),
        ({"description": "T1 POST"}, True),
        ({"description": "T1 posterior"}, None),
        ({}, None),
    ],
)
def test_contrast_is_told_or_unknown_never_denied(values: dict[str, object], contrast: bool | None) -> None:
    facts = mr_facts(record(scanning_sequence=("SE",), repetition_time=600.0, echo_time=10.0, **values), SAGITTAL)
    assert facts.contrast is contrast


def test_planes() -> None:
    assert plane_of(np.eye(4)) == "axial"
    coronal = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    assert plane_of(coronal) == "coronal"
    turned = np.eye(4)
    turned[:3, :3] = np.array([[1, 0, 0], [0, 0.7071, -0.7071], [0, 0.7071, 0.7071]])
    assert plane_of(turned) == "oblique"
