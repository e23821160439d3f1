"""The fifteen scenarios of the clinical specification, and what must hold around them. Lesions are written as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.clinical import ClinicalFacts, ClinicalItem
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import CtFacts, Series, SeriesRole, Study
from lesion_pipeline.domain.verdict import CriterionAnswer, CriterionStatus, Tally, Verdict
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.io import lesion_table
from lesion_pipeline.stages import tally, verdict
from lesion_pipeline.stages.tally import CountingRules
from lesion_pipeline.stages.verdict import Criteria

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MEETS, FAILS, OPEN = CriterionStatus.MEETS, CriterionStatus.DOES_NOT_MEET, CriterionStatus.INDETERMINATE
Counted = Callable[..., Tally]


@pytest.fixture(scope="module")
def rules() -> CountingRules:
    return tally.load_rules(CONFIGS / "counting" / "trial-default.toml")


@pytest.fixture(scope="module")
def criteria() -> Criteria:
    return verdict.load_criteria(CONFIGS / "criteria" / "spinal-oligomet.toml")


@pytest.fixture
def count(tmp_path: Path, rules: CountingRules) -> Counted:
    def counted(table: str, with_rules: CountingRules | None = None) -> Tally:
        path = tmp_path / "lesions.csv"
        path.write_text("\n".join(line.strip() for line in table.strip().splitlines()), encoding="utf-8")
        return tally.count(lesion_table.read(path).lesions, with_rules or rules)

    return counted


def inc4(counts: Tally, criteria: Criteria, *codes: str) -> CriterionAnswer:
    caveats = [Caveat(code, "test", "said by the test") for code in codes]
    answer = verdict.run(counts, None, criteria, caveats).answer("INC4")
    assert answer is not None
    return answer


def codes(answer: CriterionAnswer) -> set[str]:
    return {reason.code for reason in answer.reasons}


def of(found: Verdict, item: str) -> CriterionAnswer:
    answer = found.answer(item)
    assert answer is not None
    return answer


def study(age: int | None = 60, *, boundary: bool = False) -> Study:
    patient = PatientFacts(age_years=age, age_source="PatientBirthDate" if age else None, age_boundary=boundary)
    return Study("s1", patient, Tracer.FDG, (), None, None)


SIX_IN_BONE = """id,organ,vertebrae,spinal
    L1,bone,T11,
    L2,bone,,no
    L3,bone,,no
    L4,bone,,no
    L5,bone,,no
    L6,bone,,no"""


def test_01_two_spinal_lesions_meet(count: Counted, criteria: Criteria) -> None:
    answer = inc4(count("id,probability,organ,vertebrae\nL1,0.99,bone,T11\nL2,0.99,bone,L3"), criteria)
    assert answer.status is MEETS
    assert answer.probability is not None
    assert answer.probability > 0.999
    assert answer.flip_set == ("L1", "L2")
    assert ("lesions_max", 2, 5, 3) in answer.margin


def test_02_six_certain_lesions_do_not(count: Counted, criteria: Criteria) -> None:
    answer = inc4(count(SIX_IN_BONE), criteria)
    assert answer.status is FAILS
    assert "INC4_LESIONS" in codes(answer)
    assert len(answer.flip_set) == 1


def test_03_four_organs_do_not_and_the_exclusion_read_as_written_does_not_apply(count: Counted, criteria: Criteria) -> None:
    counts = count("id,organ,vertebrae\nL1,bone,T11\nL2,lung,\nL3,liver,\nL4,adrenal,")
    found = verdict.run(counts, None, criteria, [])
    assert of(found, "INC4").status is FAILS
    assert "INC4_ORGANS" in codes(of(found, "INC4"))
    assert of(found, "EXC1").status is FAILS
    assert "EXC1_READING_AND" in codes(of(found, "EXC1"))


def test_04_no_spinal_lesion(count: Counted, criteria: Criteria) -> None:
    answer = inc4(count("id,organ\nL1,lung\nL2,lung\nL3,lung"), criteria)
    assert answer.status is FAILS
    assert "INC4_NO_SPINE" in codes(answer)


def test_05_one_confluent_lesion_over_six_vertebrae_is_read_both_ways(count: Counted, criteria: Criteria) -> None:
    counts = count("id,organ,vertebrae\nL1,bone,T7-T12")
    assert (counts.lesions.best, counts.involved_vertebrae.best) == (1, 6)
    answer = inc4(counts, criteria)
    assert answer.status is OPEN
    assert {"INC4_SPINE_GT5", "VARIANT_SPINAL_LIMIT_BY_LESION"} <= codes(answer)
    by_name = dict(counts.variants)
    assert by_name["one_lesion_per_vertebra"].lesions.best == 6
    assert by_name["rtog_sites"].lesions.best == 3


def test_06_spine_and_other_bone_may_be_two_organs(count: Counted, criteria: Criteria) -> None:
    counts = count("id,organ,vertebrae,spinal\nL1,bone,T7,\nL2,bone,,no\nL3,lung,,\nL4,liver,,")
    assert counts.organs.best == 3
    answer = inc4(counts, criteria)
    assert answer.status is OPEN
    assert codes(answer) >= {"VARIANT_SPINE_AND_OTHER_BONE_TWO_ORGANS"}
    assert answer.probability_range == pytest.approx((0.0, 1.0))


def test_07_one_lesion_decides(count: Counted, criteria: Criteria) -> None:
    table = "id,probability,organ,vertebrae,spinal\nL1,1,bone,T7,\nL2,1,bone,,no\nL3,1,bone,,no\nL4,1,bone,,no\nL5,1,bone,,no"
    answer = inc4(count(f"{table}\nL6,0.5,bone,,no"), criteria)
    assert answer.status is OPEN
    assert answer.flip_set == ("L6",)
    assert answer.probability == pytest.approx(0.5, abs=1e-6)


NODES = """id,organ,vertebrae,class,structure
    L1,bone,T7,,
    L2,bone,L1,,
    L3,lung,,primary,
    L4,lymph node,,,mediastinum
    L5,lymph node,,,mediastinum
    L6,lymph node,,,mediastinum
    L7,lymph node,,,mediastinum"""


def test_08_regional_nodes_and_primary(count: Counted, criteria: Criteria, rules: CountingRules) -> None:
    unknown = inc4(count(NODES), criteria)
    assert unknown.status is OPEN
    assert "VARIANT_UNKNOWN_NODES_ARE_REGIONAL" in codes(unknown)
    known = rules.model_copy(update={"nodes": rules.nodes.model_copy(update={"regional_basin": ("mediastinum",)})})
    counts = count(NODES, known)
    assert (counts.lesions.best, counts.organs.best) == (2, 1)
    assert inc4(counts, criteria).status is MEETS


def test_09_suv_unknown_vetoes_all_but_certain_excess(count: Counted, criteria: Criteria) -> None:
    few = inc4(count("id,organ,vertebrae\nL1,bone,T11"), criteria, "SUV_REFUSED")
    assert few.status is OPEN
    assert few.reasons[0].code == "SUV_REFUSED"
    assert inc4(count(SIX_IN_BONE), criteria, "SUV_REFUSED").status is FAILS
    none = inc4(count("id,organ\nL1,lung"), criteria, "SUV_REFUSED")
    assert none.status is OPEN  # no spinal lesion seen proves nothing then


def test_10_coverage_vetoes(count: Counted, criteria: Criteria) -> None:
    answer = inc4(count("id,organ,vertebrae\nL1,bone,T11"), criteria, "COVERAGE_INCOMPLETE")
    assert answer.status is OPEN
    assert "COVERAGE_INCOMPLETE" in codes(answer)


def test_11_improbable_rib_foci_are_listed_and_hardly_count(count: Counted, criteria: Criteria) -> None:
    ribs = "\n".join(f"L{i},0.15,bone,,no,rib_left_{i}" for i in range(2, 6))
    answer = inc4(count(f"id,probability,organ,vertebrae,spinal,structure\nL1,0.99,bone,T7,,\n{ribs}"), criteria)
    assert answer.status is MEETS
    listed = next(reason.text for reason in answer.reasons if reason.code == "UNCERTAIN_LESIONS")
    assert all(f"L{i}" in listed for i in range(2, 6))


def test_12_diffuse_marrow_after_stimulation_is_a_question(count: Counted, criteria: Criteria) -> None:
    table = "id,organ,vertebrae,class,doubts\nL1,bone,T7,diffuse,{}\nL2,bone,L1,,"
    question = inc4(count(table.format("MARROW_ACTIVATION")), criteria)
    assert question.status is OPEN
    assert question.probability is None  # not known better than its range
    assert {"DIFFUSE", "UNKNOWN_DIFFUSE_REACTION"} <= codes(question)
    assert inc4(count(table.format("")), criteria).status is FAILS


@pytest.mark.parametrize(("age", "status"), [(17, FAILS), (18, MEETS), (75, MEETS), (76, FAILS)])
def test_13_age_in_completed_years(count: Counted, criteria: Criteria, age: int, status: CriterionStatus) -> None:
    counts = count("id,organ\nL1,lung")
    answer = of(verdict.run(counts, study(age, boundary=age == 76), criteria, []), "INC2")
    assert (answer.status, answer.source) == (status, "header")
    assert ("AGE_BOUNDARY" in codes(answer)) == (age in (17, 75))
    assert ("AGE_BIRTHDAY" in codes(answer)) == (age == 76)


def test_14_sixth_lesion_on_mr_only(count: Counted, criteria: Criteria) -> None:
    counts = count(SIX_IN_BONE.replace("vertebrae,spinal", "vertebrae,spinal,sources").replace("L6,bone,,no", "L6,bone,L1,,mr"))
    assert counts.lesions.best == 5
    answer = inc4(counts, criteria)
    assert answer.status is OPEN
    assert {"VARIANT_MRI_ONLY_COUNT", "NOT_SEEN_ON_PET"} <= codes(answer)
    assert answer.flip_set == ("L6",)


def test_15_level_names_do_not_change_counts(count: Counted, criteria: Criteria) -> None:
    named = count("id,organ,vertebrae,level_alternatives\nL1,bone,L5,L5:0.6 L6:0.4")
    assert named.countable[0].level_alternatives == (("L5", (("L5", 0.6), ("L6", 0.4))),)
    unnamed = count("id,organ,vertebrae\nL1,bone,V24")
    assert named.joint == unnamed.joint
    assert inc4(named, criteria).status is inc4(unnamed, criteria).status is MEETS


def test_unknown_place_is_never_guessed(count: Counted, criteria: Criteria) -> None:
    """Bone without a word on the spine: the only lesion may or may not be spinal."""
    counts = count("id,organ\nL1,bone\nL2,liver")
    assert (counts.spinal_lesions.low, counts.spinal_lesions.high) == (0, 1)
    answer = inc4(counts, criteria)
    assert answer.status is OPEN
    assert answer.probability is None
    assert "SPINAL_UNKNOWN" in codes(answer)


def test_unknown_organ_is_an_interval(count: Counted, criteria: Criteria) -> None:
    table = "id,organ,vertebrae,spinal\nL1,bone,T7,\nL2,lung,,\nL3,liver,,\nL4,unknown,,no"
    counts = count(table)
    assert (counts.organs.low, counts.organs.high) == (3, 4)
    assert inc4(counts, criteria).status is OPEN
    assert inc4(count("id,organ,vertebrae,spinal\nL1,bone,T7,\nL2,unknown,,no"), criteria).status is MEETS


def test_what_is_unknown_is_read_under_every_variant(count: Counted, criteria: Criteria) -> None:
    """Spine and rib are two organs in one reading, the unknown organ a third or fourth in another: together they exceed."""
    counts = count("id,organ,vertebrae,spinal\nL1,bone,T7,\nL2,bone,,no\nL3,lung,,\nL4,unknown,,no")
    answer = inc4(counts, criteria)
    assert answer.status is OPEN
    assert "unknown_spinal_0_own_organs_spine_and_other_bone_two_organs" in dict(counts.variants)


def test_coarse_organs_forbid_an_answer_only_where_it_hangs_on_them(count: Counted, criteria: Criteria) -> None:
    bone_only = count("id,organ,vertebrae\nL1,bone,T7\nL2,bone,L1")
    assert inc4(bone_only, criteria, "ORGANS_COARSE").status is MEETS
    elsewhere = count("id,organ,vertebrae\nL1,bone,T7\nL2,liver,\nL3,liver,\nL4,liver,")
    assert inc4(elsewhere, criteria).status is MEETS
    assert inc4(elsewhere, criteria, "ORGANS_COARSE").status is OPEN


def test_a_study_without_pet_is_vetoed_by_its_state(count: Counted, criteria: Criteria) -> None:
    found = verdict.run(count("id,organ,vertebrae\nL1,bone,T7"), study(), criteria, [])
    assert of(found, "INC4").status is OPEN
    assert {"NO_PET", "NO_CT"} <= {code for code, _ in found.vetoes}


def test_two_lesions_or_one_by_the_saddle_between_them(count: Counted) -> None:
    lesions = count("id,organ,vertebrae,saddle_ratio\nL1,bone,T7,0.725").units
    assert lesions[0].split_probability == pytest.approx(0.5)
    assert count("id,organ,saddle_ratio\nL1,lung,0.5").lesions.best == 2
    assert count("id,organ,saddle_ratio\nL1,lung,0.9").lesions.best == 1


def test_items_that_imaging_cannot_answer_are_asked_or_taken_from_the_table(count: Counted, criteria: Criteria) -> None:
    counts = count("id,organ,vertebrae\nL1,bone,T7")
    alone = verdict.run(counts, None, criteria, [])
    unanswered = {a.id for a in alone.answers if a.status is CriterionStatus.NOT_ASSESSABLE}
    assert unanswered == {"INC1", "INC2", "INC3", "INC6", "INC7", "EXC2", "EXC3", "EXC4", "EXC5", "EXC6", "EXC7", "EXC8"}
    assert {item for item, _ in alone.open_questions} >= unanswered
    facts = ClinicalFacts(
        (ClinicalItem("EXC2", "does_not_meet", by="surgeon"), ClinicalItem("INC6", "unknown")), ages=(("", 70),)
    )
    told = verdict.run(counts, None, criteria, [], facts)
    assert (of(told, "EXC2").status, of(told, "EXC2").source) == (FAILS, "clinical_table")
    assert of(told, "INC6").status is CriterionStatus.NOT_ASSESSABLE
    assert of(told, "INC2").status is MEETS
    beside = ClinicalFacts((ClinicalItem("INC2", "meets"), ClinicalItem("INC4", "does_not_meet")))
    answered = verdict.run(counts, None, criteria, [], beside)
    assert (of(answered, "INC2").status, of(answered, "INC2").source) == (MEETS, "clinical_table")
    assert of(answered, "INC4").status is MEETS
    assert "CLINICAL_TABLE_NOT_USED" in codes(of(answered, "INC4"))
    with pytest.raises(ConfigError, match="Did you mean 'EXC2'"):
        verdict.run(counts, None, criteria, [], replace(facts, items=(ClinicalItem("EXC_2", "meets"),)))


def test_signs_are_flags_and_never_an_answer(count: Counted, criteria: Criteria) -> None:
    counts = count("id,organ,vertebrae\nL1,bone,T7")
    found = verdict.run(counts, None, criteria, [Caveat("METAL_IN_SPINE", "screen", "metal beside L4")])
    assert of(found, "EXC2").status is CriterionStatus.NOT_ASSESSABLE
    assert "FLAG_POSSIBLE" in codes(of(found, "EXC2"))
    assert "NO_IMAGING_SIGN" in codes(of(verdict.run(counts, None, criteria, []), "EXC2"))


@pytest.mark.parametrize(
    ("mri", "enhanced", "status"),
    [
        ("positive", "yes", MEETS),
        ("positive", "no", OPEN),
        ("negative", "yes", FAILS),
        ("negative", "no", OPEN),
        ("", "", OPEN),
    ],
)
def test_spinal_metastasis_on_enhanced_imaging(
    count: Counted, criteria: Criteria, mri: str, enhanced: str, status: CriterionStatus
) -> None:
    counts = count(f"id,organ,vertebrae,mri,mri_enhanced\nL1,bone,T7,{mri},{enhanced}")
    assert of(verdict.run(counts, None, criteria, []), "INC5").status is status


@pytest.mark.parametrize(("contrast", "code"), [(True, "CT_UNDECIDED"), (False, "NO_MR"), (None, "NO_MR")])
def test_without_an_answer_it_says_what_was_looked_at(
    count: Counted, criteria: Criteria, contrast: bool | None, code: str
) -> None:
    counts = count("id,organ,vertebrae\nL1,bone,T7")
    ct = Series("CT-1", SeriesRole.CT, "CT", Modality.CT, "", 100, ct=CtFacts(contrast=contrast), chosen=True)
    study = Study("s", PatientFacts(), Tracer.FDG, (ct,), None, None)
    found = of(verdict.run(counts, study, criteria, []), "INC5")
    assert found.status is OPEN
    assert code in codes(found)


def test_a_limit_beyond_the_table_is_refused(count: Counted, criteria: Criteria, rules: CountingRules) -> None:
    short = rules.model_copy(update={"numerics": rules.numerics.model_copy(update={"cap_lesions": 5})})
    with pytest.raises(ConfigError, match="CAP_BELOW_LIMIT"):
        inc4(count("id,organ\nL1,lung", short), criteria)
