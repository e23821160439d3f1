"""The answer key's criteria, on hand-made truths."""

from __future__ import annotations

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.simulate.anatomy.solids import Ellipsoid
from lesion_pipeline.simulate.answer import Truth, counts, criteria
from lesion_pipeline.simulate.lesions import CtChange, LesionPlan, PlacedLesion


def _truth(organ: Organ, *levels: str, suv: float = 8.0, kind: str = "metastasis", ct: CtChange = "none") -> Truth:
    plan = LesionPlan("X", "liver", 10.0, suv, kind=kind, ct=ct)  # type: ignore[arg-type]  # one of the kinds
    placed = PlacedLesion(plan, Ellipsoid([0, 0, 0], 5.0), np.zeros(3), organ, "", levels, "")
    return Truth(placed, 1, (0.0, 0.0, 0.0), 1.0, levels, True, suv, kind == "metastasis" and suv > 0, "")


BONE, LIVER, LUNG, NODE = Organ.BONE, Organ.LIVER, Organ.LUNG, Organ.LYMPH_NODE


@pytest.mark.parametrize(
    ("truth", "answer", "over"),
    [
        ([_truth(BONE, "T11"), _truth(BONE, "L3")], "meets", "meets"),
        ([_truth(BONE, "T11"), *[_truth(BONE) for _ in range(5)]], "does_not_meet", "does_not_meet"),
        ([_truth(BONE, "T11"), _truth(LIVER), _truth(LUNG), _truth(Organ.SPLEEN)], "does_not_meet", "does_not_meet"),
        ([_truth(LUNG) for _ in range(3)], "does_not_meet", "does_not_meet"),
        ([_truth(BONE, "T5", "T6", "T7", "T8", "T9", "T10")], "does_not_meet", "indeterminate"),
        ([_truth(BONE, "T11"), _truth(BONE), _truth(LUNG), _truth(LIVER)], "meets", "indeterminate"),
        ([_truth(BONE, "S"), _truth(LIVER)], "meets", "indeterminate"),
        ([_truth(BONE, "T11"), *[_truth(NODE) for _ in range(5)]], "does_not_meet", "indeterminate"),
        ([*[_truth(BONE, f"T{n}") for n in range(5, 10)], _truth(BONE, "L3", suv=0.0)], "meets", "indeterminate"),
        ([*[_truth(BONE, f"T{n}") for n in range(5, 10)], _truth(BONE, "L3", kind="degenerative")], "meets", "meets"),
        ([], "does_not_meet", "does_not_meet"),
    ],
)
def test_inc4(truth: list[Truth], answer: str, over: str) -> None:
    assert criteria(truth, 60, None)["INC4"] == {"answer": answer, "over_readings": over}


@pytest.mark.parametrize(("age", "answer"), [(17, "does_not_meet"), (18, "meets"), (75, "meets"), (76, "does_not_meet")])
def test_age(age: int, answer: str) -> None:
    assert criteria([], age, None)["INC2"] == {"answer": answer}


def test_enhanced_mr_must_show_a_spinal_lesion() -> None:
    spinal = [_truth(BONE, "T11")]
    assert criteria(spinal, 60, ["T10", "T11"])["INC5"] == {"answer": "meets"}
    assert criteria(spinal, 60, ["L3"])["INC5"] == {"answer": "indeterminate"}
    assert criteria([_truth(LUNG)], 60, ["L3"])["INC5"] == {"answer": "does_not_meet"}
    assert criteria(spinal, 60, None)["INC5"] == {"answer": "indeterminate"}


@pytest.mark.parametrize(("ct", "answer"), [("lytic", "meets"), ("sclerotic", "meets"), ("none", "indeterminate")])
def test_enhanced_ct_must_show_it_where_no_mr_does(ct: CtChange, answer: str) -> None:
    spinal = [_truth(BONE, "T11", ct=ct)]
    assert criteria(spinal, 60, None, enhanced_ct=True)["INC5"] == {"answer": answer}
    assert criteria(spinal, 60, None)["INC5"] == {"answer": "indeterminate"}
    assert criteria(spinal, 60, ["T11"], enhanced_ct=True)["INC5"] == {"answer": "meets"}


def test_exclusion_needs_both_limits() -> None:
    four = [_truth(o) for o in (BONE, LIVER, LUNG, Organ.SPLEEN)]
    assert criteria(four, 60, None)["EXC1"] == {"answer": "does_not_meet"}
    assert criteria([*four, _truth(LUNG), _truth(LUNG)], 60, None)["EXC1"] == {"answer": "meets"}


def test_counts_by_organ_and_level() -> None:
    found = counts([_truth(BONE, "L3", "L4"), _truth(BONE, "T11"), _truth(BONE), _truth(LIVER), _truth(LIVER, kind="ureter")])
    assert found == {
        "lesions": 4, "organs": 2, "spinal_lesions": 2, "involved_vertebrae": 3,
        "by_organ": {"bone": 3, "liver": 1}, "by_level": {"T11": 1, "L3": 1, "L4": 1},
    }  # fmt: skip
