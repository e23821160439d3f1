"""Small tables that people write: CSV, TSV or JSON, as rows of text with their place, and cells with one clear refusal each."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io.settings_file import nearest

#: Nobody writes a larger table by hand.
MAX_BYTES = 20_000_000
_TRUE = ("yes", "y", "true", "1")
_FALSE = ("no", "n", "false", "0")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. number: from 1, the header not counted. name: what the row calls itself, "" if it does not."""

    number: int
    cells: Mapping[str, str]
    name: str = ""
    decimal_comma: bool = False

    def refuse(self, key: str, sentence: str, advice: str = "") -> InputError:
        """The refusal of one cell, naming row and key."""
        named = f" ({self.name})" if self.name else ""
        return InputError("BAD_TABLE", f"row {self.number}{named}, {key}: {sentence}", advice=advice)

    def text(self, key: str) -> str:
        return self.cells.get(key, "").strip()

    def words(self, key: str) -> list[str]:
        """A cell that lists several things, parted by spaces, commas, semicolons or bars."""
        text = self.text(key)
        for mark in ",;|":
            text = text.replace(mark, " ")
        return text.split()

    def number_in(self, key: str, low: float, high: float) -> float | None:
        """A number between two ends; None for an empty cell."""
        text = self.text(key)
        if not text:
            return None
        try:
            value = float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            raise self.refuse(key, f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise self.refuse(key, f"{text} is not between {low:g} and {high:g}")
        return value

    def truth(self, key: str) -> bool | None:
        """yes or no; None for an empty cell or ``unknown``."""
        text = self.text(key).lower()
        if text in ("", "unknown", "n/a", "?"):
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise self.refuse(key, f"{text!r} is neither yes nor no", "Write yes, no or unknown.")

    def one_of(self, key: str, text: str, known: Iterable[str]) -> str:
        """A word of a vocabulary; spaces and hyphens count as underscores."""
        choices = list(known)
        word = text.strip().lower().replace(" ", "_").replace("-", "_")
        if word in choices:
            return word
        guess = nearest(word, choices)
        advice = f"Did you mean {guess!r}?" if guess else f"Known: {', '.join(choices)}."
        raise self.refuse(key, f"{text!r} is not known", advice)


@dataclass(frozen=True, slots=True)
class Records:
    """A table's rows, its format and the hash of its bytes."""

    rows: tuple[Row, ...]
    columns: frozenset[str]
    table_format: str
    sha256: str


def read_records(path: Path, columns: Sequence[str], list_key: str, name_key: str) -> Records:
    """Rows of a CSV, TSV or JSON table whose columns are all known.

    JSON: a list of objects, or an object with the list under ``list_key``. name_key: the column that names a row.
    Raises InputError: NO_TABLE, TABLE_TOO_LARGE, NOT_A_TABLE, EMPTY_TABLE, UNKNOWN_COLUMN.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise InputError("NO_TABLE", f"{path.name} cannot be read", advice="Check the path.") from error
    if data is None:
        raise InputError("TABLE_TOO_LARGE", f"{path.name} is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("NOT_A_TABLE", f"{path.name} is not UTF-8 text", advice="Save it as CSV (UTF-8) or JSON.") from error
    if "\0" in text:
        raise InputError("NOT_A_TABLE", f"{path.name} is not a text table", advice="Save it as CSV (UTF-8) or JSON.")
    if not text.strip():
        raise InputError("EMPTY_TABLE", f"{path.name} is empty", advice="A table without lesions still needs its header line.")
    if text.lstrip()[:1] in "[{":
        found, kind, comma = _from_json(text, path.name, list_key), "json", False
    else:
        found, kind, comma = _from_csv(text, path.name)
    known = set(columns)
    for key in dict.fromkeys(key for cells in found for key in cells):
        if key not in known:
            raise _unknown_column(key, columns, path.name)
    numbered = enumerate(((cells, cells.get(name_key, "").strip()) for cells in found if cells is not None), start=1)
    rows = tuple(Row(n, cells, name, comma) for n, (cells, name) in numbered if any(v.strip() for v in cells.values()))
    present = frozenset(key for cells in found for key in cells)
    return Records(rows, present, kind, hashlib.sha256(data).hexdigest())


def _unknown_column(key: str, columns: Sequence[str], source: str) -> InputError:
    guess = nearest(key, columns)
    advice = f"Did you mean {guess!r}?" if guess else f"Known: {', '.join(columns)}."
    return InputError("UNKNOWN_COLUMN", f"{source}: the column {key!r} is not known", advice=advice)


def _from_csv(text: str, source: str) -> tuple[list[dict[str, str]], str, bool]:
    header = next(line for line in text.splitlines() if line.strip())
    delimiter = max("\t;,", key=header.count)
    lines = csv.reader(text.splitlines(), delimiter=delimiter)
    rows = [line for line in lines if any(cell.strip() for cell in line)]
    keys = [cell.strip().lower().replace(" ", "_") for cell in rows[0]]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise InputError("NOT_A_TABLE", f"{source}: the column {twice[0]!r} stands there twice")
    out = []
    for number, row in enumerate(rows[1:], start=1):
        if len(row) > len(keys) and any(cell.strip() for cell in row[len(keys) :]):
            raise InputError("BAD_TABLE", f"{source}: row {number} has more cells than the header", advice="Quote commas.")
        out.append(dict(zip(keys, [*row, *[""] * len(keys)], strict=False)))
    return out or [dict.fromkeys(keys, "")], "tsv" if delimiter == "\t" else "csv", delimiter == ";"


def _from_json(text: str, source: str, list_key: str) -> list[dict[str, str]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("NOT_A_TABLE", f"{source} is not JSON: {str(error).splitlines()[0]}") from error
    rows = value.get(list_key) if isinstance(value, dict) else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError("NOT_A_TABLE", f"{source}: a list of objects is needed, alone or under {list_key!r}")
    return [{str(key): _cell(item) for key, item in row.items()} for row in rows]


def _cell(value: object) -> str:
    """A JSON value as the text that the same cell of a CSV would hold."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(_cell(item) for item in value)
    if isinstance(value, dict):
        return " ".join(f"{key}:{_cell(item)}" for key, item in value.items())
    return str(value)
