"""Headers of one series repeat each other: walk one, and tell the next by what differs.

A header that was walked once is kept as spans of bytes with the elements between them that vary from slice to slice. A file
whose spans are byte for byte the same, each followed by an element of the same tag and VR whose length stays within the file,
is what a walk would find: nothing is taken for granted that is not compared. Anything else is walked, and teaches what else may
vary. Of a series of 267 files about ten are walked.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lesion_pipeline.io.dicom.elements import (
    DEFLATED,
    LONG_VRS,
    UNDEFINED,
    Buffer,
    DicomFaultError,
    Encoding,
    RawHeader,
    Walker,
    read_header,
)
from lesion_pipeline.io.dicom.extract import PER_SLICE, SCANNED, fewest_pixel_bytes, is_uid, record_of
from lesion_pipeline.io.dicom.record import IMAGE_CLASSES, MULTI_FRAME_CLASSES
from lesion_pipeline.io.pet_facts import decides_facts

#: Headers that are remembered, and how large one may be.
MAX_REMEMBERED = 32
MAX_HEADER_BYTES = 1 << 20

_META = Encoding(explicit=True, little=True)
#: Elements that a record hangs on in more than one way: where they differ, headers are not siblings.
_DECISIVE = (SCANNED - {tag for tag, _, _ in PER_SLICE.values()}) | {0x00020002, 0x00020010}

Answer = dict[str, Any]


def facts_digest(raw_values: dict[int, bytes], of: str = "") -> str:
    """A name for the bytes of all elements that PET facts are read from: files with one digest have one set of facts."""
    told = hashlib.sha256(of.encode("ascii"))
    for tag, raw in raw_values.items():
        told.update(tag.to_bytes(4, "big") + len(raw).to_bytes(4, "big") + raw)
    return told.hexdigest()[:24]


@dataclass(slots=True)
class _Span:
    """One element: its first byte, the first byte of its value, the byte after it (delimiters included)."""

    tag: int
    vr: bytes
    first: int
    value: int
    after: int


def _spans(header: RawHeader) -> list[_Span]:
    """The elements before the pixel data in file order; [] when they are not in ascending order without a gap."""
    out: list[_Span] = []
    if header.pixels is None:
        return out
    for tag, (vr, value, _) in [*header.meta.items(), *header.elements.items()]:
        explicit = header.encoding.explicit or tag >> 16 == 2
        first = value - (12 if explicit and vr in LONG_VRS else 8)
        if out:
            if tag <= out[-1].tag:
                return []
            out[-1].after = first
        out.append(_Span(tag, vr, first, value, value))
    return out[:-1]  # the last one is the pixel data


@dataclass(slots=True)
class _Part:
    """Bytes that must be the same, then the length of an element that varies. vr: of a sequence of undefined length."""

    same: bytes
    tag: int
    length: Callable[[bytes, int], tuple[Any, ...]]
    width: int
    vr: bytes | None


@dataclass(slots=True)
class _Remembered:
    """One walked header and what of it varies. index: its file. likeness: bytes that siblings must share besides the spans."""

    index: int
    data: bytes
    spans: list[_Span]
    encoding: Encoding
    record: Answer
    likeness: tuple[Any, ...]
    parts: list[_Part] = field(default_factory=list)
    tail: bytes = b""
    varying: set[int] = field(default_factory=set)

    def raw(self, span: _Span) -> bytes:
        return self.data[span.first : span.after]

    def vary(self, tags: set[int]) -> None:
        """Learn that some elements vary."""
        self.varying |= tags
        self.parts, start = [], 0
        for span in self.spans:
            if span.tag not in self.varying:
                continue
            encoding = _META if span.tag >> 16 == 2 else self.encoding
            wide = not encoding.explicit or span.value - span.first == 12
            width = 4 if wide else 2
            form = struct.Struct(("<" if encoding.little else ">") + ("I" if wide else "H"))
            undefined = wide and form.unpack_from(self.data, span.value - 4)[0] == UNDEFINED
            same = self.data[start : span.value if undefined else span.value - width]
            self.parts.append(_Part(same, span.tag, form.unpack_from, width, span.vr if undefined else None))
            start = span.after
        self.tail = self.data[start:]

    def places(self, data: bytes) -> tuple[dict[int, tuple[int, int]], int] | None:
        """(values of the elements that vary, first byte of the pixels); None when ``data`` is no sibling."""
        pos, found = 0, {}
        for part in self.parts:
            if not data.startswith(part.same, pos):
                return None
            pos += len(part.same)
            if part.vr is None:
                if pos + part.width > len(data):
                    return None
                start = pos + part.width
                stop = pos = start + part.length(data, pos)[0]
            else:
                start = pos
                try:
                    stop, pos = Walker(data, self.encoding).skip_sequence(start, len(data), part.vr, 0)
                except DicomFaultError:
                    return None
            found[part.tag] = (start, stop)
        return (found, pos + len(self.tail)) if data.startswith(self.tail, pos) else None


class Siblings:
    """The headers seen so far. One for each request: ``like`` in an answer names a file of the same request."""

    def __init__(self) -> None:
        self._seen: list[_Remembered] = []  # latest used first

    def record(self, data: Buffer, index: int) -> Answer:
        """What the scan tells of file ``index``: all of it, or ``like`` another file with what differs.

        Raises NotDicomError.
        """
        if isinstance(data, bytes):
            for place, one in enumerate(self._seen):
                answer = _as_sibling(one, data)
                if answer is not None:
                    if place:
                        self._seen.insert(0, self._seen.pop(place))
                    return answer
        header = read_header(data)
        record = record_of(header)
        sop_class = record.get("sop_class", "")
        if sop_class in IMAGE_CLASSES and sop_class not in MULTI_FRAME_CLASSES and not record.get("fault"):
            if IMAGE_CLASSES[sop_class] == "PT":
                record["facts"] = facts_digest({t: header.value(t) or b"" for t in header.elements if decides_facts(t)})
            if isinstance(data, bytes) and header.syntax != DEFLATED:
                self._learn(header, record, index)
        return record

    def _learn(self, header: RawHeader, record: Answer, index: int) -> None:
        spans = _spans(header)
        if not spans or header.pixels is None or header.pixels[0] > MAX_HEADER_BYTES:
            return
        data = bytes(header.data[: header.pixels[0]])
        shape = [(span.tag, span.vr) for span in spans]
        told = [(s.tag, data[s.first : s.after]) for s in spans if s.tag in _DECISIVE]
        new = _Remembered(index, data, spans, header.encoding, record, (header.encapsulated, told, shape))
        for place, one in enumerate(self._seen):
            if one.likeness == new.likeness:
                one.vary({a.tag for a, b in zip(one.spans, new.spans, strict=True) if one.raw(a) != new.raw(b)})
                self._seen.insert(0, self._seen.pop(place))
                return
        new.vary(set())
        self._seen.insert(0, new)
        del self._seen[MAX_REMEMBERED:]


def _as_sibling(one: _Remembered, data: bytes) -> Answer | None:
    """The answer for a file whose header differs from ``one`` in elements that vary only; None when it needs a walk."""
    found = one.places(data)
    if found is None:
        return None
    places, start = found
    record = one.record
    end = len(data) if record["encapsulated"] else start + record["pixels_to"] - record["pixels_from"]
    if end > len(data) or end - start < fewest_pixel_bytes(record):
        return None
    answer: Answer = {"like": one.index, "pixels_from": start, "pixels_to": end}
    for name, (tag, read, absent) in PER_SLICE.items():
        if tag in places:
            first, stop = places[tag]
            value = read(data[first:stop])
            answer[name] = absent if value is None or value in ("", []) else value
    if "sop_uid" in answer and not is_uid(answer["sop_uid"]):
        return None
    if "facts" in record:
        differing = {t: data[first:stop] for t, (first, stop) in places.items() if decides_facts(t)}
        answer["facts"] = facts_digest(differing, record["facts"]) if differing else record["facts"]
    return answer
