"""Tables that people write: what is read, and one sentence naming row and key for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io import clinical_table, lesion_table


def write(tmp_path: Path, text: str, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as error:
        lesion_table.read(path)
    return error.value


def test_a_full_row(tmp_path: Path) -> None:
    header = (
        "id,probability,organ,spinal,vertebrae,class,sources,volume_ml,suv_max,saddle_ratio,regional,treated,doubts,ct,mri,"
        "mri_enhanced"
    )
    row = "A,0.8,lung:0.6 liver:0.4,no,,metastasis,pet ct,1.5,6.2,0.7,no,no,anatomy_doubtful,lytic,positive,yes"
    table = lesion_table.read(write(tmp_path, f"{header}\n{row}\n"))
    lesion = table.lesions[0]
    assert lesion.organs == (("lung", 0.6), ("liver", 0.4))
    assert (lesion.sources, lesion.saddle_ratio, lesion.regional) == (("pet", "ct"), 0.7, False)
    assert lesion.doubts == ("ANATOMY_DOUBTFUL",)
    assert lesion.evidence is not None
    assert (lesion.evidence.mri, lesion.evidence.mri_enhanced) == ("positive", True)
    assert (table.table_format, table.caveats, len(table.sha256)) == ("csv", (), 64)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,organ,vertebrae\nA,bone,Th11 L1\n"),
        ("a.tsv", "id\torgan\tvertebrae\nA\tbone\tT11, L1\n"),
        ("excel.csv", "\ufeffID;Organ;Vertebrae\r\nA;Bone;T11 L1\r\n;;\r\n"),
        ("a.json", '[{"id": "A", "organ": "bone", "vertebrae": ["T11", "L1"]}]'),
        ("b.json", '{"lesions": [{"id": "A", "organ": {"bone": 1}, "vertebrae": "T11;L1"}]}'),
    ],
)
def test_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    table = lesion_table.read(write(tmp_path, text, name))
    assert [(x.id, x.organ, x.vertebrae, x.spinal) for x in table.lesions] == [("A", "bone", ("T11", "L1"), True)]
    assert [caveat.code for caveat in table.caveats] == ["NO_PROBABILITIES"]


def test_decimal_comma_where_semicolons_part_the_cells(tmp_path: Path) -> None:
    assert lesion_table.read(write(tmp_path, "id;organ;probability\nA;liver;0,75\n")).lesions[0].probability == 0.75


def test_whether_it_is_spinal_is_not_guessed(tmp_path: Path) -> None:
    text = "id,organ,spinal,vertebrae\nA,bone,,\nB,liver,,\nC,unknown,,\nD,bone,yes,\nE,bone,unknown,\nF,bone,,S1\n"
    said = {x.id: x.spinal for x in lesion_table.read(write(tmp_path, text)).lesions}
    assert said == {"A": None, "B": False, "C": None, "D": True, "E": None, "F": True}


def test_ranges_and_instances(tmp_path: Path) -> None:
    text = "id,organ,vertebrae\nA,bone,T11-L2\nB,bone,V7 V08\n"
    assert [x.vertebrae for x in lesion_table.read(write(tmp_path, text)).lesions] == [
        ("T11", "T12", "L1", "L2"),
        ("V07", "V08"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("id,organ\nA,livr\n", "BAD_TABLE", "row 1 (A), organ: 'livr' is not known. Did you mean 'liver'?"),
        ("id,organ,probability\nA,liver,1\nB,lung,1.2\n", "BAD_TABLE", "row 2 (B), probability: 1.2 is not between 0 and 1"),
        ("id,organ,probability\nA,liver,\n", "BAD_TABLE", "row 1 (A), probability: the cell is empty"),
        ("id,organ,probability\nA,liver,high\n", "BAD_TABLE", "row 1 (A), probability: 'high' is not a number"),
        ("id,organ,probability\nA,liver,nan\n", "BAD_TABLE", "row 1 (A), probability: nan"),
        ("id,organ,probabilty\nA,liver,1\n", "UNKNOWN_COLUMN", "'probabilty' is not known. Did you mean 'probability'?"),
        ("id,vertebrae\nA,T7\n", "MISSING_COLUMN", "'organ' is missing"),
        ("id,organ,vertebrae\nA,bone,T14\n", "BAD_TABLE", "row 1 (A), vertebrae: 'T14' is no vertebral level"),
        ("id,organ,vertebrae\nA,bone,L2-T11\n", "BAD_TABLE", "runs upward"),
        ("id,organ,vertebrae,spinal\nA,bone,T7,no\n", "BAD_TABLE", "row 1 (A), spinal: it says no, but vertebrae are named"),
        ("id,organ,spinal\nA,bone,perhaps\n", "BAD_TABLE", "'perhaps' is neither yes nor no"),
        ("id,organ\nA,lung:0.6 liver:0.3\n", "BAD_TABLE", "row 1 (A), organ: the probabilities sum to 0.9"),
        ("id,organ\nA,liver\nA,lung\n", "DUPLICATE_LESION", "row 1, id: 'A' stands there twice"),
        ("id,organ\nA,liver,extra\n", "BAD_TABLE", "row 1 has more cells than the header"),
        ("id,organ,organ\nA,liver,lung\n", "NOT_A_TABLE", "'organ' stands there twice"),
        ("", "EMPTY_TABLE", "is empty"),
        ("[1, 2]", "NOT_A_TABLE", "a list of objects is needed"),
        ('{"lesions": [', "NOT_A_TABLE", "is not JSON"),
    ],
)
def test_one_sentence_names_row_and_key(tmp_path: Path, text: str, code: str, said: str) -> None:
    error = refused(write(tmp_path, text))
    assert error.code == code
    assert said in str(error)
    assert str(error).count("\n") == 0


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.csv"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff\xfe")
    assert refused(path).code == "NOT_A_TABLE"
    assert refused(tmp_path / "nowhere.csv").code == "NO_TABLE"


def test_clinical_answers(tmp_path: Path) -> None:
    text = (
        "study,item,answer,comment,by\n,INC6,yes,,oncologist\ns1,EXC2,no,no operation,surgeon\ns2,EXC2,yes,,\n,age_years,63,,\n"
    )
    facts = clinical_table.read(write(tmp_path, text))
    assert (facts.rows, facts.table_format, len(facts.sha256)) == (4, "csv", 64)
    one = facts.for_study("s1")
    assert one.age_years == 63
    assert [(item.criterion, item.answer, item.by) for item in one.items] == [
        ("EXC2", "does_not_meet", "surgeon"),
        ("INC6", "meets", "oncologist"),
    ]
    assert facts.for_study("s3").item("EXC2") is None


def test_clinical_answers_as_json(tmp_path: Path) -> None:
    rows = {"items": [{"item": "INC1", "answer": "meets"}, {"item": "age_years", "answer": 70}]}
    facts = clinical_table.read(write(tmp_path, json.dumps(rows), "facts.json"))
    assert (facts.age_years, facts.items[0].answer) == (70, "meets")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,answer\nINC6,maybe\n", "row 1 (INC6), answer: 'maybe' is not known"),
        ("item,answer\nage_years,63.5\n", "row 1 (age_years), answer: the age must be a whole number"),
        ("item,answer\nINC6,yes\nINC6,no\n", "row 2 (INC6), item: it is answered twice"),
        ("item,answer\n,yes\n", "row 1, item: the cell is empty"),
        ("item,answr\nINC6,yes\n", "Did you mean 'answer'?"),
        ("patient_name,item,answer\nX,INC6,yes\n", "'patient_name' is not known"),
        ("item\nINC6\n", "'answer' is missing"),
    ],
)
def test_a_bad_clinical_table_gets_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        clinical_table.read(write(tmp_path, text))
    assert said in str(error.value)
