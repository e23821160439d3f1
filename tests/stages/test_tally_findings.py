"""Screened findings as countable lesions, and a patient with very many of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, Organ, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import (
    Candidate,
    Decision,
    Evidence,
    Finding,
    LesionClass,
    Located,
    Measures,
    Reason,
    Screened,
    Site,
    VertebraShare,
)
from lesion_pipeline.domain.verdict import CountableLesion
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.stages import tally, verdict

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GRID = Grid((4, 4, 4), np.diag([4.0, 4.0, 4.0, 1.0]), "pet")


def screened(
    name: str,
    site: Site,
    *,
    decision: Decision = Decision.COUNTED,
    lesion_class: LesionClass = LesionClass.METASTASIS,
    modality: Modality = Modality.PT,
) -> Screened:
    voxels = np.array([[1, 1, 1]], dtype=np.int32)
    candidate = Candidate(name, voxels, GRID, modality, "test", Measures(2.0, suv_max=8.0, suv_peak=6.0, background=2.0), 0.9)
    finding = Finding(name, (Located(candidate, site),), Evidence(pet="positive"))
    return Screened(finding, decision, 0.9, lesion_class, (Reason("R3_MARROW_ACTIVATION", "homogeneous marrow"),))


def share(instance: int, level: VertebralLevel | None, *, involved: bool = True) -> VertebraShare:
    return VertebraShare(instance, level, 0.9, 0.5, 1.0, involved)


def in_spine(*shares: VertebraShare) -> Site:
    return Site(((Organ.BONE, 1.0),), "vertebra", True, shares)


def test_only_what_a_rule_may_count_is_countable() -> None:
    site = Site(((Organ.LIVER, 1.0),), "liver", False)
    found = tally.countable(
        [
            screened("kept", site),
            screened("physiologic", site, decision=Decision.EXCLUDED, lesion_class=LesionClass.PHYSIOLOGIC),
            screened("treated", site, decision=Decision.EXCLUDED, lesion_class=LesionClass.TREATED),
            screened("mr", site, lesion_class=LesionClass.ADDITIONAL, modality=Modality.MR),
        ],
        Anatomy(),
    )
    assert [lesion.id for lesion in found] == ["kept", "treated", "mr"]
    assert (found[0].contrast, found[0].sources, found[0].doubts) == (3.0, ("pet",), ())
    assert found[1].treated
    assert found[2].sources == ("mr",)


def test_only_involved_vertebrae_count() -> None:
    site = in_spine(share(7, VertebralLevel.T7), share(8, VertebralLevel.T8, involved=False))
    assert tally.countable([screened("a", site)], Anatomy())[0].vertebrae == ("T7",)


def test_two_instances_of_one_name_stay_two() -> None:
    """A wrong name must not change how many vertebrae are involved."""
    items = [screened("a", in_spine(share(7, VertebralLevel.T7))), screened("b", in_spine(share(8, VertebralLevel.T7)))]
    found = tally.countable(items, Anatomy())
    assert [lesion.vertebrae for lesion in found] == [("V07",), ("V08",)]
    rules = tally.load_rules(CONFIGS / "counting" / "trial-default.toml")
    assert tally.count(found, rules).involved_vertebrae.high == 2


def test_unnamed_vertebrae_and_alternatives() -> None:
    other = ((VertebralLevel.L5, 0.6), (VertebralLevel.L6, 0.4))
    anatomy = Anatomy(vertebrae=(VertebraInstance(20, VertebralLevel.L5, 0.6, (0.0, 0.0, 0.0), alternatives=other),))
    items = [screened("a", in_spine(share(20, VertebralLevel.L5))), screened("b", in_spine(share(3, None)))]
    found = tally.countable(items, anatomy)
    assert found[0].level_alternatives == (("L5", (("L5", 0.6), ("L6", 0.4))),)
    assert found[1].vertebrae == ("V03",)


def test_what_is_missing_of_the_organ_goes_to_other_and_nothing_stays_unknown() -> None:
    part = tally.countable([screened("a", Site(((Organ.LUNG, 0.7),), "", False))], Anatomy())[0]
    assert dict(part.organs) == pytest.approx({"lung": 0.7, "other": 0.3})
    nowhere = tally.countable([screened("b", Site((), "", None))], Anatomy())[0]
    assert (nowhere.organs, nowhere.spinal) == ((), None)


def test_the_reason_makes_diffuse_disease_a_question() -> None:
    item = screened("a", in_spine(share(7, VertebralLevel.T7)), lesion_class=LesionClass.DIFFUSE)
    found = tally.countable([item], Anatomy())
    assert "R3_MARROW_ACTIVATION" in found[0].doubts
    counts = tally.count(found, tally.load_rules(CONFIGS / "counting" / "trial-default.toml"))
    assert "unknown_diffuse_reaction" in dict(counts.variants)


def test_two_hundred_candidates_with_organ_mixtures_are_sampled_and_answered() -> None:
    rng = np.random.default_rng(200)
    organs = ("bone", "liver", "lung", "lymph_node", "adrenal", "kidney", "spleen", "pleura")
    levels = [level.name for level in VertebralLevel if level <= VertebralLevel.L5]
    lesions = []
    for index in range(200):
        first, second = rng.choice(organs, 2, replace=False)
        share_ = float(rng.uniform(0.5, 0.95))
        hit = tuple(str(v) for v in rng.choice(levels, 2, replace=False)) if first == "bone" else ()
        split = float(rng.choice([0.0, 0.0, 0.3]))
        both = ((str(first), share_), (str(second), 1.0 - share_))
        lesions.append(
            CountableLesion(f"L{index}", float(rng.uniform(0.01, 0.6)), both, bool(hit), hit, split_probability=split)
        )
    rules = tally.load_rules(CONFIGS / "counting" / "trial-default.toml")
    criteria = verdict.load_criteria(CONFIGS / "criteria" / "spinal-oligomet.toml")
    counts = tally.count(lesions, rules)
    answer = verdict.run(counts, None, criteria, []).answer("INC4")
    assert answer is not None
    assert answer.status.value == "does_not_meet"
    assert not counts.exact
    assert sum(p for _, p in counts.joint) == pytest.approx(1.0)


def test_a_name_twice_or_a_number_out_of_range_is_refused() -> None:
    rules = tally.load_rules(CONFIGS / "counting" / "trial-default.toml")
    lesion = CountableLesion("L1", 1.0, (("liver", 1.0),), False)
    with pytest.raises(InputError, match="DUPLICATE_LESION: two lesions are called L1"):
        tally.count([lesion, lesion], rules)
    with pytest.raises(InputError, match="BAD_LESION: lesion L2"):
        CountableLesion("L2", 1.2, (("liver", 1.0),), False)
    with pytest.raises(InputError, match="organ probabilities sum to 0"):
        CountableLesion("L3", 1.0, (("liver", 0.5),), False)
