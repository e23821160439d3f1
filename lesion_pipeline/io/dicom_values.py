"""Single header values out of a pydicom dataset, as recorded, None where they are absent or make no sense.

Nothing here raises for a bad value: a header value that cannot be read is an absent one, and the stage that needs it refuses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date, datetime, time

from pydicom.dataset import Dataset

_YEARS = (1000, 9000)  # whatever a de-identification made of a date; beyond, differences of times would overflow
_OFFSET = re.compile(r"[+-]\d{4}$")


def raw(dataset: Dataset, keyword: str) -> object | None:
    """The element's value, None when absent, empty or unreadable."""
    try:
        value: object = dataset.get(keyword)
    except (ValueError, TypeError, AttributeError, NotImplementedError, IndexError, KeyError, OverflowError, LookupError):
        return None
    return None if value is None or value == "" else value


def text(dataset: Dataset, keyword: str) -> str:
    """First value as stripped text, control characters removed, at most 200 characters; "" when absent."""
    parts = texts(dataset, keyword)
    return parts[0] if parts else ""


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as stripped text."""
    value = raw(dataset, keyword)
    if value is None:
        return ()
    many = value if isinstance(value, (list, tuple)) or hasattr(value, "insert") else [value]
    return tuple(_clean(v) for v in many)  # type: ignore[attr-defined]  # MultiValue is a list in all but its type


def _clean(value: object) -> str:
    word = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return "".join(c for c in word if c.isprintable()).strip()[:200]


def as_number(value: object | None) -> float | None:
    """A finite float of one value; a multi-valued or unreadable one is None."""
    if isinstance(value, bytes):
        value = value.decode("latin-1").strip("\x00 ")
    if not isinstance(value, (str, int, float)):
        return None
    try:
        out = float(value)
    except ValueError:
        return None
    return out if math.isfinite(out) else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """A finite float; None when absent, multi-valued or no number."""
    return as_number(raw(dataset, keyword))


def as_time(word: str) -> time | None:
    """DICOM TM (HHMMSS.FFFFFF, HHMM, HH:MM:SS of ACR-NEMA days) as a time; a second of 60 becomes 59."""
    digits, _, fraction = word.strip().replace(":", "").partition(".")
    if not digits.isdigit() or len(digits) not in (2, 4, 6) or not (fraction.isdigit() or not fraction):
        return None
    hour, minute, second = (int(digits[n : n + 2] or 0) for n in (0, 2, 4))
    try:
        return time(hour, minute, min(second, 59), int(fraction[:6].ljust(6, "0")) if fraction else 0)
    except ValueError:
        return None


def as_date(word: str) -> date | None:
    """DICOM DA (YYYYMMDD, YYYY.MM.DD of ACR-NEMA days) as a date."""
    digits = word.strip().replace(".", "").replace("-", "")
    if len(digits) != 8 or not digits.isdigit():
        return None
    if not _YEARS[0] <= int(digits[:4]) <= _YEARS[1]:
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def as_datetime(word: str) -> tuple[datetime | None, int | None]:
    """DICOM DT as (naive datetime, minutes east of UTC if the value says so). A bare date is no instant: None."""
    word = word.strip()
    suffix = _OFFSET.search(word)
    offset = None
    if suffix and len(word) - 5 >= 10:
        sign = -1 if suffix.group().startswith("-") else 1
        offset = sign * (int(suffix.group()[1:3]) * 60 + int(suffix.group()[3:]))
        word = word[: suffix.start()]
    day, clock = as_date(word[:8]), as_time(word[8:])
    return (datetime.combine(day, clock) if day and clock else None), offset


def date_of(dataset: Dataset, *keywords: str) -> date | None:
    """The first of several DA elements that holds a date."""
    return next((d for d in (as_date(text(dataset, k)) for k in keywords) if d), None)


def time_of(dataset: Dataset, keyword: str) -> time | None:
    return as_time(text(dataset, keyword))


def datetime_of(dataset: Dataset, keyword: str) -> datetime | None:
    """A DT element, its own offset from UTC ignored."""
    return as_datetime(text(dataset, keyword))[0]


def items(dataset: Dataset | None, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence, () when absent or no sequence."""
    if dataset is None:
        return ()
    value = raw(dataset, keyword)
    if value is None or isinstance(value, (str, bytes, int, float)):
        return ()
    return tuple(_datasets(value))


def _datasets(value: object) -> Iterator[Dataset]:
    try:
        for item in value:  # type: ignore[attr-defined]  # a pydicom Sequence iterates; anything else is caught
            if isinstance(item, Dataset):
                yield item
    except TypeError:
        return


def first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    found = items(dataset, keyword)
    return found[0] if found else None


def private(dataset: Dataset, group: int, element: int, creator: str, maker: str) -> tuple[object | None, bool]:
    """A private value by its creator, else at block 0x10 when no creator is there and the manufacturer's name starts right.

    Returns (value or None, True when it was found without its creator).
    """
    try:
        block = dataset.private_block(group, creator)
    except KeyError:
        block = None
    if block is not None:
        return (block[element].value, False) if element in block else (None, False)
    tag = (group, 0x1000 + element)
    reserved = (group, 0x0010) in dataset
    if not reserved and tag in dataset and text(dataset, "Manufacturer").casefold().startswith(maker):
        return dataset[tag].value, True
    return None, False
