"""Functional groups of enhanced and legacy-converted multi-frame objects (PS3.3 C.7.6.16): one FrameRecord a frame."""

from __future__ import annotations

from typing import Any

from lesion_pipeline.io.dicom.elements import DicomFaultError
from lesion_pipeline.io.dicom.extract import Reader, number, numbers, text, texts

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_FRAME_TYPES = (0x00189226, 0x00189329, 0x00189751)  # MR, CT, PET image frame type sequences
_MR_TIMING, _MR_MODIFIER, _MR_ECHO, _MR_DIFFUSION = 0x00189112, 0x00189115, 0x00189114, 0x00189117


def _frame(group: Reader) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if (plane := group.first(0x00209113)) is not None:
        out["position"] = numbers(plane.raw(0x00200032))
    if (plane := group.first(0x00209116)) is not None:
        out["orientation"] = numbers(plane.raw(0x00200037))
    if (measures := group.first(0x00289110)) is not None:
        out["spacing"] = numbers(measures.raw(0x00280030))
    if (transform := group.first(0x00289145)) is not None:
        out["slope"] = number(transform.raw(0x00281053))
        out["intercept"] = number(transform.raw(0x00281052))
    if (content := group.first(0x00209111)) is not None:
        out["stack"] = text(content.raw(0x00209056)) or None
        out["temporal"] = content.us(0x00209128)
    if (echo := group.first(_MR_ECHO)) is not None:
        out["echo_time"] = echo.fd(0x00189082)
    if (diffusion := group.first(_MR_DIFFUSION)) is not None:
        out["b_value"] = diffusion.fd(0x00189087)
    for tag in _FRAME_TYPES:
        if (kind := group.first(tag)) is not None:
            out["frame_type"] = [part.upper() for part in texts(kind.raw(0x00080007))]
    return {name: value for name, value in out.items() if value is not None}


def _sequence_facts(out: dict[str, Any], shared: Reader) -> None:
    """TR, TI, flip angle and kernel stand in functional groups here; bring them to where single frames have them."""
    if (timing := shared.first(_MR_TIMING)) is not None:
        out.setdefault("repetition_time", timing.fd(0x00180080))
        out.setdefault("flip_angle", timing.fd(0x00181314))
    if (modifier := shared.first(_MR_MODIFIER)) is not None:
        out.setdefault("inversion_time", modifier.fd(0x00189079))
        out.setdefault("fat_suppression", text(modifier.raw(0x00189025)))
    if (echo := shared.first(_MR_ECHO)) is not None:
        out.setdefault("echo_time", echo.fd(0x00189082))
    if (kernel := shared.first(0x00189314)) is not None and not out.get("kernel"):
        out["kernel"] = text(kernel.raw(0x00181210))


def fill_frames(out: dict[str, Any], reader: Reader) -> None:
    """Put ``frame_records`` into a record: per-frame groups over shared ones. Raises DicomFaultError."""
    shared_items = reader.items(_SHARED)
    shared = _frame(shared_items[0]) if shared_items else {}
    per_frame = reader.items(_PER_FRAME)
    if len(per_frame) != max(1, out.get("frames", 1)):
        raise DicomFaultError("TRUNCATED", f"{out.get('frames', 1)} frames are declared, {len(per_frame)} are described")
    if shared_items:
        _sequence_facts(out, shared_items[0])
    if per_frame:
        _sequence_facts(out, per_frame[0])
    out["frame_records"] = [shared | _frame(group) for group in per_frame]
