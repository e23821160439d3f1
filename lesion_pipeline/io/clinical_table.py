"""A clinical table, as answers to criteria. Its columns are described in docs/clinical_table.md."""

from __future__ import annotations

from pathlib import Path

from lesion_pipeline.domain.clinical import ClinicalFacts, ClinicalItem
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io.records import Row, read_records

COLUMNS = ("study", "item", "answer", "comment", "by")
AGE = "age_years"
_ANSWERS = {
    "meets": "meets",
    "yes": "meets",
    "does_not_meet": "does_not_meet",
    "no": "does_not_meet",
    "unknown": "unknown",
}
_OLDEST = 130


def read(path: Path) -> ClinicalFacts:
    """Answers of a CSV, TSV or JSON table, for any number of studies.

    Raises InputError with one sentence that names row and key: NO_TABLE, TABLE_TOO_LARGE, NOT_A_TABLE, EMPTY_TABLE,
    UNKNOWN_COLUMN, MISSING_COLUMN, BAD_TABLE.
    """
    records = read_records(path, COLUMNS, "items", "item")
    for needed in ("item", "answer"):
        if records.rows and needed not in records.columns:
            raise InputError("MISSING_COLUMN", f"{path.name}: the column {needed!r} is missing")
    items: list[ClinicalItem] = []
    ages: list[tuple[str, int]] = []
    seen: set[tuple[str, str]] = set()
    for row in records.rows:
        if not row.name:
            raise row.refuse("item", "the cell is empty")
        key = (row.text("study"), row.name)
        if key in seen:
            raise row.refuse("item", "it is answered twice for one study")
        seen.add(key)
        if row.name == AGE:
            ages.append((row.text("study"), _age(row)))
        else:
            items.append(_item(row))
    return ClinicalFacts(
        items=tuple(items),
        ages=tuple(ages),
        table_format=records.table_format,
        sha256=records.sha256,
        rows=len(records.rows),
    )


def _item(row: Row) -> ClinicalItem:
    answer = row.one_of("answer", row.text("answer") or "unknown", _ANSWERS)
    return ClinicalItem(row.name, _ANSWERS[answer], row.text("comment"), row.text("by"), row.text("study"))


def _age(row: Row) -> int:
    value = row.number_in("answer", 0, _OLDEST)
    if value is None or value != int(value):
        raise row.refuse("answer", "the age must be a whole number of completed years")
    return int(value)
