"""From the elements of a file to its record: values are read by what the standard says they are, whatever VR is written."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydicom.charset import python_encoding

from lesion_pipeline.io.dicom.elements import NATIVE, DicomFaultError, Element, RawHeader, Walker
from lesion_pipeline.io.dicom.record import IMAGE_CLASSES, MULTI_FRAME_CLASSES

Items = Mapping[int, Element]

_LOSSY_SYNTAXES = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
_UID = re.compile(r"[0-9.]{1,64}\Z")
_KEPT = " ._+-^(),:/%*&[]#~"
_PATIENT = (0x00100020, 0x00100030, 0x00100040, 0x00100010)


@lru_cache(maxsize=4096)  # the slices of a series repeat most of their values
def text(raw: bytes | None) -> str:
    """Any text value; never fails. UTF-8 where it is valid, Latin-1 else; padding stripped."""
    if not raw:
        return ""
    raw = raw.strip(b" \0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def texts(raw: bytes | None) -> list[str]:
    """A multi-valued text."""
    value = text(raw)
    return [part.strip(" \0") for part in value.split("\\")] if value else []


@lru_cache(maxsize=4096)
def number(raw: bytes | None) -> float | None:
    """A DS value: None when absent or empty, NaN when it is not a finite number."""
    value = text(raw).split("\\")[0].strip()
    if not value:
        return None
    try:
        out = float(value)
    except ValueError:
        return math.nan
    return out if math.isfinite(out) else math.nan


def numbers(raw: bytes | None) -> list[float] | None:
    """A multi-valued DS: None when absent, NaN where a part is not a number."""
    value = text(raw)
    if not value:
        return None
    out = [number(part.encode("latin-1", "replace")) for part in value.split("\\")]
    return [math.nan if x is None else x for x in out]


def whole(raw: bytes | None) -> int | None:
    """An IS value; None when absent or not a whole number."""
    value = number(raw)
    return None if value is None or not math.isfinite(value) or value != int(value) else int(value)


@lru_cache(maxsize=1024)
def clean(value: str) -> str:
    """A text that may be shown anywhere: printable, no markup, no formula, at most 64 characters."""
    kept = "".join(c if c.isalnum() or c in _KEPT else " " for c in unicodedata.normalize("NFC", value))
    kept = re.sub(r"\.{2,}", ".", " ".join(kept.split()))
    return kept[:64].lstrip("=+-@ ")


@lru_cache(maxsize=1024)
def _hash(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16] if value else ""


class Reader:
    """Values of one header, or of one item of a sequence in it."""

    def __init__(self, header: RawHeader, elements: Items | None = None) -> None:
        self.header = header
        self.elements = header.elements if elements is None else elements

    def raw(self, tag: int) -> bytes | None:
        place = self.elements.get(tag)
        return None if place is None else bytes(self.header.data[place[1] : place[2]])

    def us(self, tag: int) -> int | None:
        """An unsigned 16-bit value (also one that a writer stored in 32 bits)."""
        raw = self.raw(tag)
        if raw is None or len(raw) not in {2, 4}:
            return None
        order = "<" if self.header.encoding.little else ">"
        return int(struct.unpack(order + ("H" if len(raw) == 2 else "I"), raw)[0])

    def fd(self, tag: int) -> float | None:
        """A 64-bit float, or a DS that stands in its place."""
        raw = self.raw(tag)
        if not raw:
            return None
        if len(raw) % 8 == 0 and not re.fullmatch(rb"[0-9eE+\-. \\\0]+", raw):
            out = float(struct.unpack_from("<d" if self.header.encoding.little else ">d", raw)[0])
            return out if math.isfinite(out) else math.nan
        return number(raw)

    def items(self, tag: int) -> list[Reader]:
        place = self.elements.get(tag)
        if place is None:
            return []
        walker = Walker(self.header.data, self.header.encoding)
        return [Reader(self.header, item) for item in walker.items(place)]

    def first(self, tag: int) -> Reader | None:
        found = self.items(tag)
        return found[0] if found else None


_TEXT = {
    "sop_class": 0x00080016,
    "sop_uid": 0x00080018,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "frame_uid": 0x00200052,
    "modality": 0x00080060,
    "manufacturer": 0x00080070,
    "photometric": 0x00280004,
    "units": 0x00541001,
    "attenuation_method": 0x00541101,
    "attenuation_corrected": 0x00189759,
    "reconstruction": 0x00541103,
    "contrast_agent": 0x00180010,
    "acquisition_time": 0x00080032,
    "sequence_name": 0x00180024,
    "acquisition_contrast": 0x00089209,
    "pulse_sequence": 0x00189008,
    "fat_suppression": 0x00189025,
}
_TEXTS = {
    "image_type": 0x00080008,
    "corrected_image": 0x00280051,
    "series_type": 0x00541000,
    "scanning_sequence": 0x00180020,
    "sequence_variant": 0x00180021,
    "scan_options": 0x00180022,
}
_NUMBERS = {
    "slope": 0x00281053,
    "intercept": 0x00281052,
    "kvp": 0x00180060,
    "thickness": 0x00180050,
    "contrast_volume": 0x00181041,
    "echo_time": 0x00180081,
    "repetition_time": 0x00180080,
    "inversion_time": 0x00180082,
    "flip_angle": 0x00181314,
    "frame_reference_ms": 0x00541300,
    "trigger_time": 0x00181060,
}
_NUMBER_LISTS = {"position": 0x00200032, "orientation": 0x00200037, "spacing": 0x00280030}
_WHOLE = {
    "acquisition_number": 0x00200012,
    "instance_number": 0x00200013,
    "series_number": 0x00200011,
    "frames": 0x00280008,
    "temporal": 0x00200100,
}
_US = {
    "rows": 0x00280010,
    "columns": 0x00280011,
    "samples": 0x00280002,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "number_of_slices": 0x00540081,
    "time_slices": 0x00540101,
    "gates": 0x00540071,
}
_SHOWN = (0x00100010, 0x00100020, 0x0008103E)
_DESCRIPTIONS = (0x00080005, 0x0008103E, 0x00081030, 0x00181030, 0x00181210, 0x00280103, 0x00282110)
_DIFFUSION = (0x00189087, 0x00190010, 0x0019100C, 0x00430010, 0x00431039)
_SEQUENCES = (0x00081115, 0x30060010, 0x00409094, 0x52009229, 0x52009230)
_TABLES = (_TEXT, _TEXTS, _NUMBERS, _NUMBER_LISTS, _WHOLE, _US)
#: Every top-level element that a record is made of.
SCANNED = frozenset().union(_PATIENT, _DESCRIPTIONS, _DIFFUSION, _SEQUENCES, *(table.values() for table in _TABLES))

#: What differs from slice to slice and stands for itself: field of the record -> (tag, how it is read, value when absent).
PER_SLICE: dict[str, tuple[int, Callable[[bytes | None], Any], Any]] = {
    "sop_uid": (0x00080018, text, ""),
    "acquisition_time": (0x00080032, text, ""),
    "position": (0x00200032, numbers, None),
    "slope": (0x00281053, number, None),
    "intercept": (0x00281052, number, None),
    "acquisition_number": (0x00200012, whole, None),
    "instance_number": (0x00200013, whole, None),
    "temporal": (0x00200100, whole, None),
    "frame_reference_ms": (0x00541300, number, None),
    "trigger_time": (0x00181060, number, None),
}


def _table(out: dict[str, Any], table: Mapping[str, int], read: Callable[[bytes | None], Any], reader: Reader) -> None:
    for name, tag in table.items():
        if tag in reader.elements:
            value = read(reader.raw(tag))
            if value is not None and value not in ("", []):
                out[name] = value


@lru_cache(maxsize=256)
def _patient(id_raw: bytes | None, birth: bytes | None, sex: bytes | None, name: bytes | None) -> list[str]:
    """Hashes of (normalised id, id as stored, birth date, sex, normalised name)."""
    letters = " ".join(sorted(re.findall(r"\w+", text(name).split("=")[0].casefold())))
    as_stored = (id_raw or b"").decode("latin-1")
    return [
        _hash(text(id_raw).strip().casefold()),
        _hash(as_stored),
        _hash(text(birth)),
        _hash(text(sex).upper()),
        _hash(letters),
    ]


@lru_cache(maxsize=1024)
def _unsafe_text(raw: bytes | None) -> bool:
    value = text(raw)
    return len(value) > 324 or "../" in value or "..\\" in value or any(ord(c) < 32 and c != "\x1b" for c in value)


def _unsafe(reader: Reader) -> bool:
    """Is there a text that must never reach a path, a terminal or a page as it stands?"""
    if any(_unsafe_text(reader.raw(tag)) for tag in (0x00100010, 0x00100020, 0x0008103E, 0x00081030)):
        return True
    return not all(is_uid(text(reader.raw(tag))) for tag in (0x00080018, 0x0020000D, 0x0020000E, 0x00200052))


def is_uid(value: str) -> bool:
    """Nothing, or what a UID may be made of."""
    return not value or _UID.match(value) is not None


@lru_cache(maxsize=1024)
def _undecodable(raw: bytes | None, charset: str) -> bool:
    """Does a text not follow the character set that the file declares, or is that set unknown?"""
    if not raw or raw.isascii():
        return False
    if not charset:
        return True  # the default repertoire is ASCII
    names = [name.strip() for name in charset.split("\\")]
    encodings = [python_encoding.get(name) for name in names]
    known = [encoding for encoding in encodings if encoding]
    if len(known) < len(names):
        return True
    if len(names) > 1 or b"\x1b" in raw:
        return False  # code extensions: left to whoever shows the text
    try:
        raw.decode(known[0])
    except (UnicodeDecodeError, LookupError):
        return True
    return False


def _b_value(reader: Reader) -> float | None:
    if (value := reader.fd(0x00189087)) is not None:
        return value
    creator = text(reader.raw(0x00190010)) + text(reader.raw(0x00430010))
    if "SIEMENS MR HEADER" in creator:
        return number(reader.raw(0x0019100C))
    if "GEMS_PARM_01" in creator and (values := numbers(reader.raw(0x00431039))):
        return values[0] % 1e9 if math.isfinite(values[0]) else None
    return None


def _real_world(reader: Reader) -> list[tuple[str, float, float]]:
    """(unit, slope, intercept) of each mapping of a Real World Value Mapping object."""
    found: list[tuple[str, float, float]] = []
    for referenced in reader.items(0x00409094):
        for mapping in referenced.items(0x00409096):
            unit = mapping.first(0x004008EA)
            slope, intercept = mapping.fd(0x00409225), mapping.fd(0x00409224)
            if unit is not None and slope is not None and math.isfinite(slope):
                offset = intercept if intercept is not None and math.isfinite(intercept) else 0.0
                found.append((clean_unit(text(unit.raw(0x00080100))), slope, offset))
    return found


def clean_unit(value: str) -> str:
    """A UCUM code, braces kept."""
    return re.sub(r"[^A-Za-z0-9{}\[\]/.*^_-]", "", value)[:32]


def _refers_to(reader: Reader, depth: int = 0) -> list[str]:
    """SeriesInstanceUIDs that a non-image object refers to."""
    found: list[str] = []
    for item in reader.items(0x00081115):
        if uid := text(item.raw(0x0020000E)):
            found.append(uid)
    for item in reader.items(0x30060010):
        for study in item.items(0x30060012):
            found += [text(s.raw(0x0020000E)) for s in study.items(0x30060014)]
    return sorted(set(found))


def record_of(header: RawHeader) -> dict[str, Any]:
    """Plain values for a FileRecord. Never raises: what cannot be read becomes a fault of the file."""
    out: dict[str, Any] = {"syntax": header.syntax, "preamble": header.preamble}
    try:
        if header.fault is not None:
            out["fault"], out["fault_text"] = header.fault.code, header.fault.message
        _fill(out, header)
    except DicomFaultError as fault:
        out.setdefault("fault", fault.code)
        out.setdefault("fault_text", fault.message)
    return out


def _fill(out: dict[str, Any], header: RawHeader) -> None:
    reader = Reader(header)
    _table(out, _TEXT, text, reader)
    _table(out, _TEXTS, texts, reader)
    _table(out, _NUMBERS, number, reader)
    _table(out, _NUMBER_LISTS, numbers, reader)
    _table(out, _WHOLE, whole, reader)
    for name, tag in _US.items():
        if (value := reader.us(tag)) is not None:
            out[name] = value
    if not out.get("sop_class") and 0x00020002 in header.meta:
        place = header.meta[0x00020002]
        out["sop_class"] = text(bytes(header.data[place[1] : place[2]]))
    out["description"] = clean(text(reader.raw(0x0008103E)))
    out["protocol"] = clean(text(reader.raw(0x00181030)))
    out["kernel"] = clean(" ".join(texts(reader.raw(0x00181210))))
    out["signed"] = reader.us(0x00280103) == 1
    out["patient"] = _patient(*(reader.raw(tag) for tag in _PATIENT))
    out["unsafe_text"] = _unsafe(reader)
    out["bad_charset"] = any(_undecodable(reader.raw(tag), text(reader.raw(0x00080005))) for tag in _SHOWN)
    if header.pixels is not None:
        out["pixels_from"], out["pixels_to"] = header.pixels
    out["encapsulated"] = header.encapsulated
    out["little"] = header.encoding.little
    out["integers"] = 0x7FE00010 in header.elements
    out["lossy"] = text(reader.raw(0x00282110)) == "01" or header.syntax in _LOSSY_SYNTAXES
    out["image_type"] = [part.upper() for part in out.get("image_type", [])]
    out["mosaic"] = "MOSAIC" in out["image_type"]
    if out.get("modality") == "MR":
        out["b_value"] = _b_value(reader)
    sop_class = out.get("sop_class", "")
    if sop_class not in IMAGE_CLASSES:
        out["refers_to"] = _refers_to(reader)
        out["real_world"] = _real_world(reader)
        return
    if sop_class in MULTI_FRAME_CLASSES and not out.get("fault"):
        from lesion_pipeline.io.dicom.functional import fill_frames  # noqa: PLC0415  (it needs Reader from here)

        fill_frames(out, reader)
    _check_pixels(out, header)


def _check_pixels(out: dict[str, Any], header: RawHeader) -> None:
    """Hold rows x columns x frames against the bytes that are there, before anything is allocated."""
    if out.get("fault"):
        return
    if header.pixels is None:
        out["fault"], out["fault_text"] = "NO_PIXELS", "there is no pixel data"
        return
    have, need = header.pixels[1] - header.pixels[0], fewest_pixel_bytes(out)
    if need > have:
        declared = f"{need} bytes" if header.syntax in NATIVE else f"{need // 8} frames"
        out["fault"], out["fault_text"] = "TRUNCATED", f"{declared} of pixel data are declared, {have} bytes are there"


def fewest_pixel_bytes(record: Mapping[str, Any]) -> int:
    """Bytes that the pixel data of a record must have at least: all of them when native, 8 a frame when compressed."""
    frames, samples = max(1, int(record.get("frames", 1))), int(record.get("samples", 1)) or 1
    if record["syntax"] not in NATIVE:
        return 8 * frames
    rows, columns, bits = (int(record.get(name, 0)) for name in ("rows", "columns", "bits_allocated"))
    return rows * columns * frames * samples * bits // 8
