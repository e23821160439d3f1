"""Stored pixels of one frame, and their modality values (PS3.3 C.7.6.3, C.11.1). Runs in the child process."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from lesion_pipeline.io.dicom.elements import NATIVE, Buffer, DicomFaultError, fragments

#: Where several decoders can do it, the fastest measured one; the others give the same values.
_FAST_PLUGINS = {"1.2.840.10008.1.2.4.80": "pyjpegls", "1.2.840.10008.1.2.4.81": "pyjpegls"}

Stored = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """What is needed to turn bytes into numbers, as the header says it."""

    rows: int
    columns: int
    frames: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    syntax: str
    little: bool
    integers: bool  # False for floating-point pixel data

    def check(self) -> None:
        """Raises DicomFaultError (UNSUPPORTED_PIXELS, NOT_GRAYSCALE)."""
        if self.samples != 1:
            raise DicomFaultError("NOT_GRAYSCALE", "the pixels are colours, not quantities")
        if self.allocated not in {8, 16, 32} or not 1 <= self.stored <= self.allocated or min(self.rows, self.columns) < 1:
            text = f"{self.rows} x {self.columns} pixels of {self.stored} in {self.allocated} bits"
            raise DicomFaultError("UNSUPPORTED_PIXELS", text)
        if not self.integers:
            raise DicomFaultError("UNSUPPORTED_PIXELS", "the pixels are stored as floating point numbers")
        if self.allocated == 8 and not self.little:
            raise DicomFaultError("UNSUPPORTED_PIXELS", "8-bit pixels in big-endian words")

    @property
    def native(self) -> bool:
        return self.syntax in NATIVE

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.allocated // 8


def _native(data: Buffer, form: PixelFormat) -> Stored:
    dtype = np.dtype(f"{'<' if form.little else '>'}{'i' if form.signed else 'u'}{form.allocated // 8}")
    if len(data) < form.frame_bytes:
        raise DicomFaultError("TRUNCATED", "the pixel data ends early")
    return np.frombuffer(data, dtype=dtype, count=form.rows * form.columns).reshape(form.rows, form.columns)


def _codestream(data: Buffer, form: PixelFormat, frame: int) -> bytes:
    """The compressed bytes of one frame."""
    places = fragments(data)
    if form.frames == 1:
        return b"".join(bytes(data[start:stop]) for start, stop in places)
    if len(places) == form.frames:
        start, stop = places[frame]
        return bytes(data[start:stop])
    for number, packed in enumerate(generate_frames(bytes(data), number_of_frames=form.frames)):
        if number == frame:
            return packed
    raise DicomFaultError("TRUNCATED", "a frame is missing")


def _compressed(data: Buffer, form: PixelFormat, frame: int) -> Stored:
    stream = _codestream(data, form, frame)
    if not stream:
        raise DicomFaultError("TRUNCATED", "a compressed frame is empty")
    try:
        decoder = get_decoder(UID(form.syntax))
    except NotImplementedError as error:
        raise DicomFaultError("UNSUPPORTED_SYNTAX", f"transfer syntax {form.syntax} is not supported") from error
    if not decoder.is_available:
        raise DicomFaultError("UNSUPPORTED_SYNTAX", f"no decoder is installed for transfer syntax {form.syntax}")
    length = len(stream)
    item = b"\xfe\xff\x00\xe0" + (length + length % 2).to_bytes(4, "little") + stream + b"\0" * (length % 2)
    options: dict[str, Any] = {
        "transfer_syntax_uid": UID(form.syntax),
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": form.photometric or "MONOCHROME2",
        "bits_allocated": form.allocated,
        "bits_stored": form.stored,
        "pixel_representation": int(form.signed),
        "pixel_keyword": "PixelData",
        "pixel_vr": "OB",
    }
    fast = _FAST_PLUGINS.get(form.syntax)
    if fast in decoder.available_plugins:
        options["decoding_plugin"] = fast
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values, _ = decoder.as_array(b"\xfe\xff\x00\xe0\0\0\0\0" + item, raw=True, index=0, **options)
        except (RuntimeError, ValueError, AttributeError, TypeError, IndexError, NotImplementedError) as error:
            raise DicomFaultError("PARSE_ERROR", "the compressed pixel data cannot be decoded") from error
    if values.shape != (form.rows, form.columns) or values.dtype.kind not in "iu":
        raise DicomFaultError("PARSE_ERROR", f"a compressed frame decodes to {values.shape}")
    return values


def stored_frame(data: Buffer, form: PixelFormat, frame: int) -> Stored:
    """Stored values (rows, columns) of one frame, as they stand.

    data: the frame's own bytes when native; all of the encapsulated pixel data when compressed. Raises DicomFaultError.
    """
    form.check()
    return _native(data, form) if form.native else _compressed(data, form, frame)


def masked(values: Stored, stored_bits: int, *, keep_clip: bool) -> tuple[Stored, int]:
    """Values without the bits above BitsStored (PS3.5 8.1.1), and how many pixels had such bits.

    keep_clip: a CT whose only value above the range is 2**BitsStored holds clipped metal there; it is kept, for masked it
    would turn into air.
    """
    spare = values.dtype.itemsize * 8 - stored_bits
    if spare <= 0:
        return values, 0
    if values.dtype.kind == "u":
        top = int(values.max())
        if top < 1 << stored_bits:
            return values, 0
        above = values >= values.dtype.type(1 << stored_bits)
        if keep_clip and top == 1 << stored_bits:
            return values, int(above.sum())
        return values & values.dtype.type((1 << stored_bits) - 1), int(above.sum())
    if -(1 << stored_bits - 1) <= int(values.min()) and int(values.max()) < 1 << stored_bits - 1:
        return values, 0
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    cut = (native << spare) >> spare
    wrong = int((cut != native).sum())
    return (cut, wrong) if wrong else (values, 0)


def modality_values(
    values: Stored, slope: float, intercept: float, out: npt.NDArray[np.float32], floor: float | None = None
) -> int:
    """slope * stored + intercept into ``out`` (rows, columns), rounded once; how many were below ``floor`` and set to it.

    The slope is taken in single precision, as dcm2niix takes it (6e-8 of the value), so that both give the same voxels.
    """
    _rescale(values, slope, intercept, out)
    # rounding keeps the order, so with the smallest stored value at the floor or above there is nothing to look for
    if floor is None or (slope > 0 and int(values.min()) * float(np.float32(slope)) + intercept >= floor):
        return 0
    low = int(np.count_nonzero(out < np.float32(floor)))
    if low:
        np.clip(out, np.float32(floor), np.float32(np.inf), out=out)  # twice as fast as maximum
    return low


def _rescale(values: Stored, slope: float, intercept: float, out: npt.NDArray[np.float32]) -> None:
    single = np.float32(slope)
    small = values.dtype.itemsize <= 2  # whole numbers below 2**24: exact in single precision
    if small and single == 1.0 and float(intercept).is_integer() and abs(intercept) < 1 << 20:
        np.add(values, np.float32(intercept), out=out, casting="unsafe")
    elif small and intercept == 0.0:
        np.multiply(values, single, out=out, casting="unsafe")
    else:
        out[...] = values * np.float64(single) + np.float64(intercept)
