"""The count JSON: its schema is held, its bytes are the same every time, and everything in it says where it comes from."""

from __future__ import annotations

import copy
import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from lesion_pipeline.domain.result import Result, StageRun
from lesion_pipeline.io import lesion_table
from lesion_pipeline.report import count_json, table
from lesion_pipeline.report.explain import explain
from lesion_pipeline.report.schema import VERSION, LesionCount, schema_json, schema_sha256
from lesion_pipeline.stages import tally, verdict

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs"
GOLDEN = sorted((HERE / "golden").glob("*/*.json"))
#: Hash of every released schema. A released one never changes: a new key means a new minor version, see docs/schema.md.
RELEASED = {"1.0": "619f74d9707d74ee63bf3065b825d9f26e7ece549439df1cd7290c3d899f8efd"}


def document(result: Result) -> dict[str, Any]:
    return dict(count_json.count_json(result))


def shown(doc: dict[str, Any]) -> str:
    """The terminal summary as text."""
    stream = io.StringIO()
    Console(file=stream, width=100).print(table.summary(doc))
    return stream.getvalue()


def from_table(path: Path, criteria: str = "spinal-oligomet", rules: str = "trial-default") -> dict[str, Any]:
    lesions = lesion_table.read(path)
    counts = tally.count(lesions.lesions, tally.load_rules(CONFIGS / "counting" / f"{rules}.toml"))
    answer = verdict.run(counts, None, verdict.load_criteria(CONFIGS / "criteria" / f"{criteria}.toml"), lesions.caveats)
    return dict(count_json.table_json(counts, answer, lesions.sha256, lesions.caveats))


def test_the_released_schema_is_held() -> None:
    assert RELEASED[VERSION] == schema_sha256(), "the schema changed: raise its version (docs/schema.md)"
    jsonschema.Draft202012Validator.check_schema(schema_json())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_golden_files_of_every_version_still_validate(path: Path) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(value, schema_json())
    LesionCount.model_validate(value)
    assert explain(value)


def test_there_is_a_golden_file_of_this_version() -> None:
    assert {path.parent.name for path in GOLDEN} >= {f"lesion-count-{VERSION}"}


@pytest.mark.parametrize("source", sorted((HERE / "golden" / "tables").glob("*.csv")), ids=lambda p: p.stem)
def test_todays_answer_is_the_golden_one(source: Path) -> None:
    """Fails when a change of code changes a result; then the changelog has a line under "Changes results"."""
    golden = json.loads((HERE / "golden" / f"lesion-count-{VERSION}" / f"{source.stem}.json").read_text(encoding="utf-8"))
    today = json.loads(count_json.dumps(from_table(source)))
    for each in (golden, today):
        each["provenance"]["version"] = ""
    assert today == golden


def test_a_study_validates_and_repeats_byte_for_byte(counted_result: Result) -> None:
    first, second = document(counted_result), document(counted_result)
    jsonschema.validate(json.loads(count_json.dumps(first)), schema_json())
    assert count_json.dumps(first) == count_json.dumps(second)
    timed: dict[str, Any] = dict(count_json.count_json(counted_result, [StageRun("tally", 0.1234, 99.99)]))
    assert timed["provenance"]["run"]["stages"] == [{"stage": "tally", "seconds": 0.123, "peak_rss_mb": 100.0}]
    timed["provenance"]["run"] = first["provenance"]["run"]
    assert timed == first


def test_counts_lesions_and_criteria_are_in_it(counted_result: Result) -> None:
    doc = document(counted_result)
    assert doc["schema"] == {"name": "lesion-count", "version": "1.0"}
    assert doc["research_use_only"] is True
    assert [lesion["decision"] for lesion in doc["lesions"]] == ["counted", "uncertain", "excluded"]
    first, second, last = doc["lesions"]
    assert (first["spinal_level"], first["level_confidence"], first["suv_max"]) == ("T11", 0.8, 9.1235)
    assert first["vertebrae"][0]["alternatives"] == {"T11": 0.8, "T12": 0.2}
    assert first["centroid_lps_mm"] == [4.0, 8.0, 14.0]
    assert second["organ_probabilities"] == {"liver": 0.8, "lung": 0.2}
    assert last["reasons"] == [{"code": "TEST", "text": "a reason for L003"}]
    counts = doc["counts"]
    assert (counts["lesions"]["low"], counts["lesions"]["best"], counts["lesions"]["high"]) == (1, 1, 2)
    assert sum(counts["lesions"]["pmf"]) == pytest.approx(1.0, abs=1e-5)
    assert sum(entry["probability"] for entry in counts["joint"]) == pytest.approx(1.0, abs=1e-5)
    assert counts["by_level"]["T11"]["lesions"] == ["L001"]
    head = next(c for c in doc["criteria"] if c["id"] == doc["headline"])
    assert head["status"] == "meets"
    assert {m["limit"] for m in head["margin"]} == {"lesions_max", "organs_max", "spine_min", "spine_max"}
    assert len(head["variants"]) == 9
    assert doc["rules"]["counting"]["bone"] == {"organ_mode": "single"}


def test_no_path_leaves_this_machine(counted_result: Result) -> None:
    assert "someone" not in count_json.dumps(document(counted_result))


def test_a_number_that_is_none_is_refused(counted_result: Result) -> None:
    doc = copy.deepcopy(document(counted_result))
    doc["lesions"][0]["suv_max"] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        LesionCount.model_validate(doc)
    with pytest.raises(ValueError, match="JSON compliant"):
        count_json.dumps(doc)


def test_the_lesion_table_has_a_row_for_every_finding(counted_result: Result) -> None:
    rows = list(csv.DictReader(io.StringIO(table.lesion_tsv(counted_result)), delimiter="\t"))
    assert [row["id"] for row in rows] == ["L001", "L002", "L003"]
    assert rows[0]["involved_vertebrae"] == "T11"
    assert rows[1]["spinal_level"] == "n/a"
    assert rows[2]["reasons"] == "TEST: a reason for L003"
    assert table.document_tsv(document(counted_result)) == table.lesion_tsv(counted_result)


def test_the_summary_says_doubts_before_the_answer(counted_result: Result) -> None:
    text = shown(document(counted_result))
    assert "Research use only" in text
    assert text.index("Before you rely on it") < text.index("Counts") < text.index("Answer")
    assert "compatible with INC4" in text
    assert "L002 0.40" in text
    assert "A person has to answer: INC1" in text


def test_the_explanation_gives_numbers_and_reasons(counted_result: Result) -> None:
    whole = explain(document(counted_result))
    assert max(len(line) for line in whole.splitlines()) <= 100
    text = " ".join(whole.split())
    assert "PET and CT, tracer FDG (SUV known, 61 min after injection)" in text
    assert "L001, vertebra T11: probability 0.99, SUVmax 9.1" in text
    assert "T11 may be named otherwise (T12 0.20)" in text
    assert "Organ not sure: liver 0.80, lung 0.20" in text
    assert "L003, urinary bladder (bladder), SUVmax 9.1: a reason for L003." in text
    assert "61 completed years at imaging" in text


def test_trial_entry_is_never_said(counted_result: Result) -> None:
    docs = [document(counted_result), *(json.loads(path.read_text(encoding="utf-8")) for path in GOLDEN)]
    for doc in docs:
        for text in (count_json.dumps(doc), explain(doc), shown(doc), table.document_tsv(doc)):
            assert "eligible" not in text.lower()


def test_an_empty_table_of_lesions_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "none.csv"
    path.write_text("id,organ\n", encoding="utf-8")
    doc = from_table(path)
    assert doc["counts"]["lesions"]["best"] == 0
    assert "No lesion was counted." in explain(doc)
    assert shown(doc)
