"""A cohort of made-up runs and references, judged through the door."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.domain.errors import ConfigError, InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.evaluate import evaluate
from lesion_pipeline.io.nifti import read_label_map, write_label_map
from lesion_pipeline.report import layout

GRID = Grid((50, 40, 60), np.diag([4.0, 4.0, 4.0, 1.0]), "f")
Row = dict[str, Any]


def _lesion(key: str, at: tuple[float, float, float], **more: object) -> Row:
    row = {"id": key, "decision": "counted", "probability": 0.95, "organ": "bone", "spinal": True, "spinal_level": "L3"}
    return {**row, "centroid_lps_mm": list(at), "volume_ml": 4.0, "suv_max": 9.0, "reasons": [], **more}


def _run(folder: Path, lesions: list[Row], inc4: str = "meets", p: float = 0.97) -> None:
    """A study folder as the pipeline leaves it; every lesion is a cube of 12 mm."""
    folder.mkdir(parents=True)
    counted = [row for row in lesions if row["decision"] == "counted"]
    reported = [row for row in lesions if row["decision"] != "excluded"]

    def count(rows: list[Row], more: list[Row]) -> Row:
        return {"low": len(rows), "best": len(rows), "high": len(more)}

    spinal = [row for row in counted if row["spinal"]]
    organs = [{"organ": o} for o in {row["organ"] for row in counted}]
    document = {
        "study": {"key": folder.name, "tracer": "FDG"},
        "counts": {
            "lesions": count(counted, reported),
            "organs": count(organs, organs),
            "spinal_lesions": count(spinal, spinal),
        },
        "criteria": [{"id": "INC4", "status": inc4, "probability": p}],
        "lesions": lesions,
        "headline": "INC4",
        "caveats": [{"code": "X", "stage": "s", "message": "m"}],
        "provenance": {"preset": "fdg-petct", "inputs": []},
    }
    layout.count_json(folder).write_text(json.dumps(document), encoding="utf-8")
    values = np.zeros(GRID.shape, dtype=np.uint16)
    for n, row in enumerate(lesions, start=1):
        i, j, k = np.rint(GRID.index(row["centroid_lps_mm"])).astype(int)
        values[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = n
    names = {n: Structure(row["id"], StructureKind.REGION) for n, row in enumerate(lesions, start=1)}
    path = layout.label_map(folder, "lesions")
    path.parent.mkdir()
    write_label_map(LabelMap(values, GRID, names), path)


def _answer(folder: Path, lesions: list[Row], inc4: str = "meets") -> None:
    folder.mkdir(parents=True)
    rows = []
    values = np.zeros(GRID.shape, dtype=np.uint16)
    for n, row in enumerate(lesions, start=1):
        spinal = bool(row.get("spinal"))
        levels = [row["spinal_level"]] if spinal else []
        rows.append(
            {
                "id": row["id"],
                "label": n,
                "kind": row.get("kind", "metastasis"),
                "organ": row["organ"],
                "structure": "x",
                "levels": levels,
                "part": "body",
                "spinal": spinal,
                "centroid_lps_mm": row["centroid_lps_mm"],
                "volume_ml": row["volume_ml"],
                "suv_max_image": row["suv_max"],
                "ct": "lytic",
                "counts": row.get("kind", "metastasis") == "metastasis",
            }
        )
        i, j, k = np.rint(GRID.index(row["centroid_lps_mm"])).astype(int)
        values[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = n
    counted = [row for row in rows if row["counts"]]
    counts = {
        "lesions": len(counted),
        "organs": len({row["organ"] for row in counted}),
        "spinal_lesions": sum(bool(row["spinal"]) for row in counted),
        "involved_vertebrae": len({level for row in counted for level in row["levels"]}),
    }
    document = {
        "name": folder.name,
        "tracer": "FDG",
        "counts": counts,
        "criteria": {"INC4": {"answer": inc4, "over_readings": inc4}},
        "lesions": rows,
    }
    (folder / "answer.json").write_text(json.dumps(document), encoding="utf-8")
    _mask(values, folder / "lesions.nii.gz")


def _mask(values: npt.NDArray[np.uint16], path: Path) -> None:
    """A label map without a names table."""
    names = {int(n): Structure(f"X{n}", StructureKind.REGION) for n in np.unique(values) if n}
    write_label_map(LabelMap(values, GRID, names), path)
    path.with_name("lesions.names.json").unlink()


SPINE = _lesion("L1", (40.0, 80.0, 40.0))
RIB = _lesion("L2", (160.0, 80.0, 120.0), spinal=False, spinal_level=None)
LIVER = _lesion("L3", (60.0, 40.0, 160.0), organ="liver", spinal=False, spinal_level=None, volume_ml=0.4)
URETER = _lesion("L4", (120.0, 120.0, 60.0), organ="other", spinal=False, spinal_level=None)


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Four studies: a perfect one; one with a miss, an exclusion, a mimic and a wrong level; an empty one; one never run."""
    truth, runs = tmp_path / "truth", tmp_path / "runs"
    _answer(truth / "good", [SPINE, RIB])
    _run(runs / "good" / "abc1", [SPINE, RIB])
    _answer(truth / "bad", [SPINE, RIB, LIVER, {**URETER, "kind": "ureter"}], "does_not_meet")
    wrong_level = {**SPINE, "spinal_level": "L4", "organ": "lymph_node"}
    excluded = {**LIVER, "decision": "excluded", "probability": 0.2, "reasons": [{"code": "R1_LIVER", "text": "t"}]}
    _run(runs / "bad", [wrong_level, excluded, {**URETER, "decision": "uncertain", "probability": 0.6}])
    _answer(truth / "empty", [], "does_not_meet")
    _run(runs / "empty", [], "indeterminate", 0.4)
    _answer(truth / "lost", [SPINE])
    _run(runs / "stranger", [])
    return tmp_path


def _report(tmp_path: Path, **more: Any) -> Any:
    page = evaluate(tmp_path / "runs", tmp_path / "truth", tmp_path / "report", repetitions=200, **more)
    assert page == tmp_path / "report" / "evaluation.html"
    return json.loads((tmp_path / "report" / "evaluation.json").read_text(encoding="utf-8"))


def test_figures_of_a_cohort_counted_by_hand(cohort: Path) -> None:
    report = _report(cohort)
    assert report["cohort"] == {
        "studies": 4,
        "with_result": 3,
        "without_result": ["lost"],
        "runs_without_reference": ["stranger"],
        "tracers": {"FDG": 4},
        "headline": "INC4",
        "presets": ["fdg-petct"],
    }
    found = report["figures"]["detection"]
    assert found["outcomes"] == {"counted": 3, "uncertain": 0, "excluded": 1, "not_detected": 2}
    assert found["sensitivity"]["reported"]["value"] == pytest.approx(3 / 6)
    assert found["sensitivity"]["candidate"]["value"] == pytest.approx(4 / 6, abs=1e-5)
    assert found["sensitivity_by"]["organ"]["liver"]["reported"]["value"] == 0.0
    assert found["sensitivity_by"]["volume_ml"]["0 to < 0.5"]["counted"]["n"] == 1
    assert found["false_positives_per_patient"]["reported"]["value"] == pytest.approx(1 / 4)
    assert found["false_positives_per_patient"]["counted"]["value"] == 0.0
    assert found["false_positives_on"] == {"ureter": 1}
    assert found["precision_reported"]["value"] == pytest.approx(3 / 4)

    where = report["figures"]["location"]
    assert where["organ_right"]["value"] == pytest.approx(3 / 4)
    assert where["organ_confusion"]["bone -> lymph_node"] == 1
    assert where["level_exact"]["value"] == pytest.approx(1 / 2)
    assert where["level_within_one"]["value"] == 1.0
    assert report["figures"]["delineation"]["dice_mean"]["value"] == 1.0

    lesions = report["figures"]["counts"]["lesions"]
    assert lesions["studies"] == 3
    assert lesions["error_mean"]["value"] == pytest.approx(-2 / 3, abs=1e-5)
    assert lesions["exact"]["value"] == pytest.approx(2 / 3, abs=1e-5)
    assert lesions["bland_altman"]["sd"] == pytest.approx(np.std([0, -2, 0], ddof=1), abs=1e-5)
    limits = lesions["bland_altman"]["intervals"]
    assert limits["bias"]["value"] == lesions["bland_altman"]["bias"]
    assert limits["loa_low"]["low"] <= limits["loa_low"]["value"] == lesions["bland_altman"]["loa_low"]


def test_figures_for_few_lesions_for_clear_ones_and_for_patients_without_any(cohort: Path) -> None:
    nine = [_lesion(f"N{n}", (24.0 + 16 * n, 60.0, 200.0), suv_max=4.0) for n in range(9)]
    _answer(cohort / "truth" / "many", [*nine[:8], {**nine[8], "suv_max": 6.0}])
    _run(cohort / "runs" / "many", nine[:3])
    _answer(cohort / "truth" / "calm", [])
    _run(cohort / "runs" / "calm", [SPINE, {**RIB, "decision": "uncertain", "probability": 0.5}])
    figures = _report(cohort)["figures"]
    few = figures["few_lesions"]
    assert (few["lesions_at_most"], few["studies"]) == (8, 5)  # good, bad, empty, lost, calm
    assert few["lesions"]["exact"] | {"low": 0, "high": 0} == {"value": 0.5, "low": 0, "high": 0, "n": 4}  # lost has no count
    assert few["lesions"]["within_one"]["value"] == 0.75
    alone = figures["physiologic_only"]
    assert alone["studies"] == 2
    assert alone["none_counted"]["value"] == alone["none_reported"]["value"] == 0.5
    clear = figures["detection"]["sensitivity_clear"]
    assert clear["suv_8"]["reported"] == figures["detection"]["sensitivity_clear"]["suv_8"]["counted"]
    # SUV 9 and 4 ml: two of good, two of bad, one of lost; the rib of bad and lost's were not found, liver's is too small
    assert clear["suv_8"]["reported"]["n"] == 5
    assert clear["suv_8"]["reported"]["value"] == pytest.approx(3 / 5)
    assert clear["suv_5"]["reported"]["n"] == 6  # and the brighter of the many
    found = figures["detection"]
    assert found["uncertain_per_patient"]["n"] == 5  # patients with a result
    assert found["uncertain_per_patient"]["value"] == pytest.approx(2 / 5)
    assert found["false_positives_per_patient"]["uncertain"]["value"] == pytest.approx(2 / 6, abs=1e-5)


def test_the_criterion_table_is_whole_and_wrong_meets_stands_out(cohort: Path) -> None:
    inc4 = _report(cohort)["figures"]["criteria"]["INC4"]
    assert inc4["table"]["meets"] == {"meets": 1, "does_not_meet": 0, "indeterminate": 0, "not_assessable": 0, "no_result": 1}
    assert inc4["table"]["does_not_meet"]["meets"] == 1
    assert inc4["table"]["does_not_meet"]["indeterminate"] == 1
    assert sum(n for row in inc4["table"].values() for n in row.values()) == 4
    assert inc4["wrong_meets"]["value"] == pytest.approx(1 / 4)
    assert inc4["wrong_meets_among_meets"]["value"] == pytest.approx(1 / 2)
    page = (cohort / "report" / "evaluation.html").read_text(encoding="utf-8")
    assert "class=harm" in page


def test_calibration_speaks_of_every_lesion_and_of_the_criterion(cohort: Path) -> None:
    figures = _report(cohort)["figures"]["calibration"]
    everything = figures["lesion"]["all"]
    assert (everything["n"], everything["events"]) == (5, 4)  # the excluded liver lesion is a metastasis
    assert everything["brier"]["value"] == pytest.approx((3 * 0.05**2 + 0.8**2 + 0.6**2) / 5, rel=1e-4)
    assert figures["criterion"]["INC4"]["n"] == 3
    assert figures["criterion"]["INC4"]["brier"]["value"] == pytest.approx((0.03**2 + 0.97**2 + 0.4**2) / 3, rel=1e-4)


def test_worst_study_first_and_it_says_why(cohort: Path) -> None:
    rows = _report(cohort)["studies"]
    assert [row["name"] for row in rows][:2] == ["lost", "bad"]
    missed = {m["id"]: m for m in rows[1]["missed"]}
    assert missed["L3"]["outcome"] == "excluded"
    assert missed["L3"]["reasons"] == ["R1_LIVER"]
    assert missed["L2"]["outcome"] == "not_detected"
    assert rows[1]["false_positives"][0]["lies_on"] == "ureter"


def test_same_input_same_bytes_and_the_seed_moves_only_intervals(cohort: Path) -> None:
    first, again = _report(cohort), _report(cohort)
    assert first == again
    other = _report(cohort, seed=9)
    key = ("figures", "detection", "sensitivity", "reported")
    a, b = first, other
    for k in key:
        a, b = a[k], b[k]
    assert a["value"] == b["value"]


def test_tables_are_rectangular_and_the_page_stands_alone(cohort: Path) -> None:
    _report(cohort)
    folder = cohort / "report"
    sizes = {}
    for name in ("studies.tsv", "reference_lesions.tsv", "run_lesions.tsv"):
        rows = [line.split("\t") for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        assert len({len(row) for row in rows}) == 1, name
        sizes[name] = len(rows) - 1
    assert sizes == {"studies.tsv": 4, "reference_lesions.tsv": 6, "run_lesions.tsv": 5}
    page = (folder / "evaluation.html").read_text(encoding="utf-8")
    assert "Research use only - not a medical device" in page
    assert not re.search(r"(src|href)=", page)
    assert "eligible" not in page
    assert "nan" not in re.sub(r"<[^>]*>", "", page).lower().split()
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)  # noqa: S314  our own text
    assert page.count("<svg") >= 8


def test_points_and_masks_of_a_user_give_the_same_matches(cohort: Path) -> None:
    rows = [SPINE, RIB, LIVER]
    table = ["study,id,x_mm,y_mm,z_mm,organ,level"]
    table += [f"bad,{r['id']},{','.join(map(str, r['centroid_lps_mm']))},{r['organ']},{r['spinal_level'] or ''}" for r in rows]
    reads = cohort / "reads"
    reads.mkdir()
    (reads / "reads.csv").write_text("\n".join([*table, "empty,,,,,,"]) + "\n", encoding="utf-8")
    evaluate(cohort / "runs", reads, cohort / "points", repetitions=10)
    points = json.loads((cohort / "points" / "evaluation.json").read_text(encoding="utf-8"))

    masks = cohort / "masks"
    for name in ("bad", "empty"):
        (masks / name).mkdir(parents=True)
        names = {n: Structure(f"X{n}", StructureKind.REGION) for n in range(1, 5)}
        labels = read_label_map(cohort / "truth" / name / "lesions.nii.gz", names, "f").values
        _mask(((labels > 0) & (labels < 4)).astype(np.uint16), masks / name / "lesions.nii.gz")
    (masks / "bad" / "reference.json").write_text(json.dumps({"criteria": {"INC4": "does_not_meet"}, "tracer": "FDG"}))
    evaluate(cohort / "runs", masks, cohort / "masked", repetitions=10)
    masked = json.loads((cohort / "masked" / "evaluation.json").read_text(encoding="utf-8"))

    for report in (points, masked):
        found = report["figures"]["detection"]
        assert found["outcomes"] == {"counted": 1, "uncertain": 0, "excluded": 1, "not_detected": 1}
        assert report["cohort"]["with_result"] == 2
        assert report["figures"]["counts"]["lesions"]["studies"] == 2
    assert masked["figures"]["criteria"]["INC4"]["wrong_meets"]["value"] == 1.0
    assert masked["figures"]["delineation"]["dice_mean"]["value"] == 1.0
    assert points["figures"]["delineation"]["dice_mean"]["value"] is None


def test_a_table_of_pairs_decides_alone(cohort: Path) -> None:
    pairs = cohort / "pairs.tsv"
    pairs.write_text("reference\trun\nempty\tstranger\ngood\tgood\n", encoding="utf-8")
    report = _report(cohort, pairs=pairs)
    assert report["cohort"]["without_result"] == ["bad", "lost"]
    assert report["cohort"]["runs_without_reference"] == ["bad", "empty"]
    pairs.write_text("reference\trun\nempty\tnowhere\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="BAD_PAIRS"):
        _report(cohort, pairs=pairs)


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("a,b\n1,2\n", "BAD_POINTS", "x_mm"),
        ("x_mm,y_mm,z_mm\n1,2\n", "BAD_POINTS", "line 2"),
        ("x_mm,y_mm,z_mm\n1,2,here\n", "BAD_POINTS", "line 2"),
        ("x_mm;y_mm;z_mm;organ\n1;2;3;knee\n", "BAD_POINTS", "knee"),
        ("x_mm\ty_mm\tz_mm\tlevel\n1\t2\t3\tL9\n", "BAD_POINTS", "L9"),
        ("x_mm,y_mm,z_mm,spinal\n1,2,3,perhaps\n", "BAD_POINTS", "perhaps"),
    ],
)
def test_points_that_cannot_be_used_are_refused_by_line(cohort: Path, text: str, code: str, words: str) -> None:
    (cohort / "reads").mkdir()
    (cohort / "reads" / "good.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        evaluate(cohort / "runs", cohort / "reads", cohort / "report")
    assert caught.value.code == code
    assert not (cohort / "report").exists()


def test_refusals(cohort: Path) -> None:
    def code(runs: str, truth: str, out: str = "report") -> str:
        with pytest.raises((InputError, ConfigError)) as caught:
            evaluate(cohort / runs, cohort / truth, cohort / out, repetitions=5)
        return caught.value.code

    (cohort / "nothing").mkdir()
    (cohort / "mine").mkdir()
    (cohort / "mine" / "thesis.txt").write_text("x", encoding="utf-8")
    assert code("runs", "nothing") == "NO_TRUTH"
    assert code("nothing", "truth") == "NO_RUNS"
    assert code("runs/stranger", "truth") == "NOTHING_PAIRED"
    assert code("runs", "truth", "mine") == "OUTPUT_EXISTS"
    _run(cohort / "runs" / "more" / "good", [])
    assert code("runs", "truth") == "AMBIGUOUS_RUN"
    (cohort / "runs" / "good" / "abc1" / "lesioncount.json").write_text("{}", encoding="utf-8")
    (cohort / "runs" / "more" / "good" / "lesioncount.json").unlink()
    assert code("runs", "truth") == "BAD_RUN"
    (cohort / "truth" / "bad" / "answer.json").write_text('{"name": "bad", "lesions": []}', encoding="utf-8")
    assert code("runs", "truth") == "BAD_ANSWER"
