"""The walk over elements: every declared length is held against what is there."""

from __future__ import annotations

import struct
from io import BytesIO
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lesion_pipeline.io.dicom import elements
from lesion_pipeline.io.dicom.elements import DEFLATED, NotDicomError, RawHeader, read_header
from lesion_pipeline.io.dicom.extract import record_of


def file_bytes(phantom: ModuleType, syntax: str = ExplicitVRLittleEndian, **values: object) -> bytes:
    (ds,) = phantom.series(count=1, **values)
    out = BytesIO()
    phantom.as_file(ds, syntax).save_as(out, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_facts_are_the_same_in_every_encoding(syntax: str, phantom: ModuleType) -> None:
    record = record_of(read_header(file_bytes(phantom, syntax)))
    assert record["rows"], record["columns"] == phantom.SHAPE
    assert record["units"] == "BQML"
    assert record["position"] == list(phantom.ORIGIN)
    assert record["corrected_image"] == ["ATTN", "DECY", "SCAT"]
    assert "fault" not in record


def test_no_preamble_and_no_file_meta(phantom: ModuleType) -> None:
    raw = file_bytes(phantom, ImplicitVRLittleEndian)
    header = read_header(raw)
    first = min(place[1] for place in header.elements.values()) - 8
    bare = read_header(raw[first:])
    assert not bare.preamble
    assert bare.syntax == ImplicitVRLittleEndian
    assert record_of(bare)["rows"] == phantom.SHAPE[0]


def test_deflated_is_read_and_a_bomb_is_not(phantom: ModuleType) -> None:
    raw = file_bytes(phantom)
    header = read_header(raw)
    data_set = min(place[1] for place in header.elements.values()) - 8
    meta = bytearray(raw[:data_set])
    uid = DEFLATED.encode() + b"\0" * (len(DEFLATED) % 2)
    at = meta.index(b"\x02\x00\x10\x00UI")
    old = struct.unpack_from("<H", meta, at + 6)[0]
    meta[at + 6 : at + 8 + old] = struct.pack("<H", len(uid)) + uid
    good = read_header(bytes(meta) + phantom.deflated(raw[data_set:]))
    assert good.fault is None
    assert record_of(good)["rows"] == phantom.SHAPE[0]
    bomb = read_header(bytes(meta) + phantom.deflated(raw[data_set:] + b"\0" * (64 << 20)))
    assert bomb.fault is not None
    assert bomb.fault.code == "PARSE_ERROR"


def test_every_cut_is_noticed(phantom: ModuleType) -> None:
    raw = file_bytes(phantom)
    for end in range(0, len(raw) - 1, 7):
        try:
            record = record_of(read_header(raw[:end]))
        except NotDicomError:
            assert end < 140
            continue
        assert record.get("fault") in {"TRUNCATED", "NO_PIXELS", "PARSE_ERROR"} or "sop_class" not in record, end


@pytest.mark.parametrize("declared", [0xFFFFFFF0, 0x7FFFFFFF, 1 << 30])
def test_an_element_that_claims_gigabytes(declared: int, phantom: ModuleType) -> None:
    raw = file_bytes(phantom)
    at = raw.index(b"\x08\x00\x20\x00DA")
    element = b"\x08\x00\x19\x00UN\0\0" + struct.pack("<I", declared)
    header = read_header(raw[:at] + element + raw[at:])
    assert header.fault is not None
    assert header.fault.code == "PARSE_ERROR"
    assert record_of(header)["sop_class"] == phantom.CLASSES["PT"]


def nested(levels: int, defined: bool) -> bytes:
    """Sequences in sequences; of undefined or of defined length."""
    if not defined:
        open_one = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
        close_one = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
        return open_one * levels + close_one * levels
    body = b""
    for _ in range(levels):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(body)) + body
        body = b"\x08\x00\x40\x11SQ\0\0" + struct.pack("<I", len(item)) + item
    return body


@pytest.mark.parametrize("defined", [False, True])
def test_twenty_thousand_nested_sequences(defined: bool, phantom: ModuleType) -> None:
    raw = file_bytes(phantom)
    at = raw.index(b"\x10\x00\x10\x00PN")
    levels = 20_000 if not defined else 2_000
    header = read_header(raw[:at] + nested(levels, defined) + raw[at:])
    if defined:
        assert header.fault is None  # skipped by its length; nobody looks inside
    else:
        assert header.fault is not None
        assert header.fault.code == "PARSE_ERROR"


def test_a_tag_that_stands_twice(phantom: ModuleType) -> None:
    raw = file_bytes(phantom)
    at = raw.index(b"\x28\x00\x53\x10DS")
    length = struct.unpack_from("<H", raw, at + 6)[0]
    twice = raw[:at] + raw[at : at + 8 + length] + raw[at:]
    assert read_header(twice).fault is None
    other = raw[:at] + raw[at : at + 8] + b"7".ljust(length) + raw[at:]
    fault = read_header(other).fault
    assert fault is not None
    assert fault.code == "PARSE_ERROR"


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_an_answer(tail: bytes) -> None:
    for data in (tail, b"\0" * 128 + b"DICM" + tail, b"\x08\x00\x05\x00CS" + tail):
        try:
            header = read_header(data)
        except NotDicomError:
            continue
        assert isinstance(header, RawHeader)
        record_of(header)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_end_in_an_answer(phantom: ModuleType, data: st.DataObject) -> None:
    raw = bytearray(file_bytes(phantom))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(132, 1400))] ^= 1 << data.draw(st.integers(0, 7))
    header = read_header(bytes(raw))
    record_of(header)
    if header.encapsulated:
        try:
            elements.fragments(bytes(header.data[slice(*(header.pixels or (0, 0)))]))
        except elements.DicomFaultError as fault:
            assert fault.code in {"TRUNCATED", "PARSE_ERROR"}


def test_big_endian_numbers(phantom: ModuleType) -> None:
    (ds,) = phantom.series(count=1)
    ds.PixelData = b"\x01\x02" * (len(ds.PixelData) // 2)
    out = BytesIO()
    file = phantom.as_file(ds, ExplicitVRBigEndian)
    file.set_original_encoding(is_implicit_vr=False, is_little_endian=False, character_encoding="ascii")
    file.save_as(out, implicit_vr=False, little_endian=False)
    assert record_of(read_header(out.getvalue()))["rows"] == phantom.SHAPE[0]
