"""Where the elements of a DICOM file lie: a bounds-checked walk over bytes that allocates nothing by declared length.

Every declared length is held against the bytes that are there before anything else looks at the file, nesting is bounded, and
a deflated file is inflated under a cap. A file that breaks the rules keeps what was read up to the fault, so that the series
it belongs to can be named.

Encoding: DICOM PS3.5 section 7 (data elements), 7.5 (nesting), annex A (transfer syntaxes); file meta: PS3.10 section 7.1.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from dataclasses import dataclass, field

Buffer = bytes | mmap.mmap
#: (VR or b"" when implicit, first byte of the value, byte after the value)
Element = tuple[bytes, int, int]

MAX_DEPTH = 48
MAX_ELEMENTS = 100_000
MAX_INFLATED = 1 << 30
MAX_INFLATE_RATIO = 200
ABSURD_LENGTH = 1 << 30

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_TAGS = (0x7FE00010, 0x7FE00008, 0x7FE00009)

IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
NATIVE = frozenset({IMPLICIT_LE, EXPLICIT_LE, DEFLATED, EXPLICIT_BE})

LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_VRS = LONG_VRS | _SHORT_VRS
_GROUP_OF_PIXELS = 0x7FE00000


class DicomFaultError(Exception):
    """A file that breaks the encoding rules; code TRUNCATED or PARSE_ERROR."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class NotDicomError(Exception):
    """The bytes are no DICOM file at all."""


@dataclass(slots=True)
class Encoding:
    """How the elements of a data set are written."""

    explicit: bool
    little: bool
    header: struct.Struct = field(init=False)
    long: struct.Struct = field(init=False)

    def __post_init__(self) -> None:
        order = "<" if self.little else ">"
        self.header = struct.Struct(order + ("HH2sH" if self.explicit else "HHI"))
        self.long = struct.Struct(order + "I")


@dataclass(slots=True)
class RawHeader:
    """The elements of one file: tag -> place of its value in ``data``; pixel data is a place, never a copy."""

    data: Buffer
    syntax: str
    encoding: Encoding
    preamble: bool
    elements: dict[int, Element] = field(default_factory=dict)
    meta: dict[int, Element] = field(default_factory=dict)
    pixels: tuple[int, int] | None = None
    encapsulated: bool = False
    fault: DicomFaultError | None = None

    def value(self, tag: int) -> bytes | None:
        """The bytes of a top-level element, None when absent."""
        place = self.elements.get(tag)
        return None if place is None else bytes(self.data[place[1] : place[2]])


def _check(length: int, left: int, tag: int) -> None:
    if length > left:
        if length >= ABSURD_LENGTH:
            raise DicomFaultError("PARSE_ERROR", f"element {tag:08x} claims {length} bytes where {left} are left")
        raise DicomFaultError("TRUNCATED", f"the file ends inside element {tag:08x}")


class Walker:
    """Walks the elements between two offsets of a buffer."""

    def __init__(self, data: Buffer, encoding: Encoding) -> None:
        self.data = data
        self.encoding = encoding
        self.seen = 0

    def next(self, pos: int, end: int) -> tuple[int, bytes, int, int]:
        """(tag, VR, first byte of the value, declared length) of the element at ``pos``."""
        self.seen += 1
        if self.seen > MAX_ELEMENTS:
            raise DicomFaultError("PARSE_ERROR", f"more than {MAX_ELEMENTS} elements")
        if pos + 8 > end:
            raise DicomFaultError("TRUNCATED", "the file ends inside an element header")
        if not self.encoding.explicit:
            group, number, length = self.encoding.header.unpack_from(self.data, pos)
            return group << 16 | number, b"", pos + 8, length
        group, number, vr, length = self.encoding.header.unpack_from(self.data, pos)
        tag = group << 16 | number
        if group == 0xFFFE:
            return tag, b"", pos + 8, self.encoding.long.unpack_from(self.data, pos + 4)[0]
        if vr in LONG_VRS:
            if pos + 12 > end:
                raise DicomFaultError("TRUNCATED", "the file ends inside an element header")
            return tag, vr, pos + 12, self.encoding.long.unpack_from(self.data, pos + 8)[0]
        if vr not in _VRS and not (vr.isalpha() and vr.isupper()) and vr not in {b"  ", b"\0\0", b"??"}:
            raise DicomFaultError("PARSE_ERROR", f"element {tag:08x} has no valid value representation")
        return tag, vr, pos + 8, length

    def walk(self, pos: int, end: int, depth: int, into: dict[int, Element]) -> int:
        """Elements until ``end`` or an item delimiter; returns the offset behind. Same tag twice: PARSE_ERROR unless equal."""
        while pos < end:
            tag, vr, start, length = self.next(pos, end)
            if tag in {ITEM_END, SEQUENCE_END}:
                return start
            if length == UNDEFINED:
                stop, after = self.skip_sequence(start, end, vr, depth)
            else:
                _check(length, end - start, tag)
                stop = after = start + length
            if tag in into and self.data[into[tag][1] : into[tag][2]] != self.data[start:stop]:
                raise DicomFaultError("PARSE_ERROR", f"element {tag:08x} stands twice with different values")
            into[tag] = (vr, start, stop)
            pos = after
        return pos

    def skip_sequence(self, pos: int, end: int, vr: bytes, depth: int) -> tuple[int, int]:
        """(end of the items, offset behind the delimiter) of a sequence of undefined length."""
        if depth >= MAX_DEPTH:
            raise DicomFaultError("PARSE_ERROR", f"sequences nested deeper than {MAX_DEPTH}")
        inner = self
        if vr == b"UN" and self.encoding.explicit:  # PS3.5 6.2.2: an undefined-length UN holds implicit little endian
            inner = Walker(self.data, Encoding(explicit=False, little=True))
        while True:
            tag, _, start, length = inner.next(pos, end)
            if tag == SEQUENCE_END:
                return pos, start
            if tag != ITEM:
                raise DicomFaultError("PARSE_ERROR", f"element {tag:08x} stands where a sequence item must be")
            if length == UNDEFINED:
                pos = inner.walk(start, end, depth + 1, {})
            else:
                _check(length, end - start, tag)
                pos = start + length

    def items(self, place: Element, depth: int = 1) -> list[dict[int, Element]]:
        """The items of a sequence, each as tag -> place. Raises DicomFaultError."""
        vr, pos, end = place
        if depth >= MAX_DEPTH:
            raise DicomFaultError("PARSE_ERROR", f"sequences nested deeper than {MAX_DEPTH}")
        walker = Walker(self.data, Encoding(explicit=False, little=True)) if vr == b"UN" and self.encoding.explicit else self
        found: list[dict[int, Element]] = []
        while pos < end:
            tag, _, start, length = walker.next(pos, end)
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise DicomFaultError("PARSE_ERROR", f"element {tag:08x} stands where a sequence item must be")
            into: dict[int, Element] = {}
            if length == UNDEFINED:
                pos = walker.walk(start, end, depth + 1, into)
            else:
                _check(length, end - start, tag)
                pos = start + length
                walker.walk(start, pos, depth + 1, into)
            found.append(into)
        return found


def _read_meta(header: RawHeader, pos: int) -> int:
    """File meta information (explicit little endian); returns the offset of the data set."""
    walker = Walker(header.data, Encoding(explicit=True, little=True))
    end = len(header.data)
    while pos + 8 <= end and header.data[pos : pos + 2] == b"\x02\x00":
        tag, vr, start, length = walker.next(pos, end)
        _check(length, end - start, tag)
        header.meta[tag] = (vr, start, start + length)
        pos = start + length
    return pos


def _inflated(data: Buffer, start: int) -> bytes:
    packed = bytes(data[start:])
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    limit = min(MAX_INFLATED, MAX_INFLATE_RATIO * len(packed) + (1 << 20))
    try:
        out = engine.decompress(packed, limit)
    except zlib.error as error:
        raise DicomFaultError("PARSE_ERROR", "the deflated data set is damaged") from error
    if engine.unconsumed_tail:
        raise DicomFaultError("PARSE_ERROR", "the deflated data set unpacks to an absurd size")
    return out


def _guess(data: Buffer, pos: int) -> Encoding:
    """Encoding of a data set without file meta: the first element tells (group 0008 first, VR in capitals or not)."""
    little = data[pos : pos + 2] != b"\x00\x08"
    return Encoding(explicit=bytes(data[pos + 4 : pos + 6]) in _VRS, little=little)


def _text(header: RawHeader, place: Element | None) -> str:
    return "" if place is None else bytes(header.data[place[1] : place[2]]).decode("latin-1").strip(" \0")


def _start(data: Buffer) -> tuple[int, bool]:
    """(offset of the first element, has the DICM preamble). Raises NotDicomError."""
    if data[128:132] == b"DICM":
        return 132, True
    head = bytes(data[:8])
    if len(head) == 8 and head[:2] in {b"\x02\x00", b"\x08\x00", b"\x00\x08"}:
        if head[4:6] in _VRS:
            return 0, False
        if head[:2] == b"\x08\x00" and head[3] == 0 and int.from_bytes(head[4:8], "little") < 1024:
            return 0, False
    raise NotDicomError


def read_header(data: Buffer, wanted: frozenset[int] | None = None) -> RawHeader:
    """The places of the elements of a file up to its pixel data.

    wanted: elements that are enough (a few others may come along), None for all; every length is checked all the same.
    Raises NotDicomError. Faults inside the file are kept in ``fault`` with everything that was read before.
    """
    start, preamble = _start(data)
    header = RawHeader(data, "", Encoding(explicit=True, little=True), preamble)
    try:
        pos = _read_meta(header, start)
        header.syntax = _text(header, header.meta.get(0x00020010))
        if header.syntax == DEFLATED:
            # file meta places refer to the packed file; keep what is needed of them before the buffer changes
            header.data = bytes(data[:pos]) + _inflated(data, pos)
        if not header.syntax:
            header.encoding = _guess(header.data, pos)
            header.syntax = (
                IMPLICIT_LE if not header.encoding.explicit else EXPLICIT_LE if header.encoding.little else EXPLICIT_BE
            )
        else:
            header.encoding = Encoding(explicit=header.syntax != IMPLICIT_LE, little=header.syntax != EXPLICIT_BE)
        _read_data_set(header, pos, wanted)
    except DicomFaultError as fault:
        header.fault = fault
    return header


def _plain_run(header: RawHeader, pos: int, end: int, wanted: frozenset[int] | None) -> int:
    """Take ordinary elements (ascending tags, known VR, length within the file) as fast as Python can.

    Stops before the first element that needs a careful look: most headers are one run up to the pixel data.
    """
    data, elements = header.data, header.elements
    unpack, long_length = header.encoding.header.unpack_from, header.encoding.long.unpack_from
    last, last_start = next(reversed(elements), 0), end - 12
    if header.encoding.explicit:
        while pos < last_start:
            group, number, vr, length = unpack(data, pos)
            start = pos + 8
            if vr not in _SHORT_VRS:
                if vr not in LONG_VRS:
                    break
                length = long_length(data, start)[0]
                start += 4
            tag, after = group << 16 | number, start + length
            if after > end or tag <= last or tag >= _GROUP_OF_PIXELS:
                break
            if wanted is None or tag in wanted:
                elements[tag] = (vr, start, after)
            last, pos = tag, after
    else:
        while pos < last_start:
            group, number, length = unpack(data, pos)
            start = pos + 8
            tag, after = group << 16 | number, start + length
            if after > end or tag <= last or tag >= _GROUP_OF_PIXELS:
                break
            if wanted is None or tag in wanted:
                elements[tag] = (b"", start, after)
            last, pos = tag, after
    return pos


def _read_data_set(header: RawHeader, pos: int, wanted: frozenset[int] | None) -> None:
    walker = Walker(header.data, header.encoding)
    end = len(header.data)
    while (pos := _plain_run(header, pos, end, wanted)) < end:
        if end - pos < 8 and not any(header.data[pos:end]):
            return  # zero padding at the end of the file
        tag, vr, start, length = walker.next(pos, end)
        if tag in PIXEL_TAGS:
            header.elements[tag] = (vr, start, start)
            header.encapsulated = length == UNDEFINED
            if header.encapsulated:
                header.pixels = (start, end)
                return
            header.pixels = (start, min(end, start + length))
            if length > end - start:
                raise DicomFaultError("TRUNCATED", "the file ends inside its pixel data")
            return
        if length == UNDEFINED:
            stop, after = walker.skip_sequence(start, end, vr, 0)
        else:
            _check(length, end - start, tag)
            stop = after = start + length
        known = header.elements.get(tag)
        if known is not None and header.data[known[1] : known[2]] != header.data[start:stop]:
            raise DicomFaultError("PARSE_ERROR", f"element {tag:08x} stands twice with different values")
        header.elements[tag] = (vr, start, stop)
        pos = after


def fragments(data: Buffer) -> list[tuple[int, int]]:
    """Places of the fragments of encapsulated pixel data, without the offset table (PS3.5 A.4).

    data: everything behind the header of the pixel data element. Raises DicomFaultError (TRUNCATED, PARSE_ERROR).
    """
    pos, end = 0, len(data)
    walker = Walker(data, Encoding(explicit=True, little=True))
    found: list[tuple[int, int]] = []
    while True:
        tag, _, start, length = walker.next(pos, end)
        if tag == SEQUENCE_END:
            return found[1:]
        if tag != ITEM or length == UNDEFINED:
            raise DicomFaultError("PARSE_ERROR", "the compressed pixel data is not a list of fragments")
        _check(length, end - start, tag)
        found.append((start, start + length))
        pos = start + length
