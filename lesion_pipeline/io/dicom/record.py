"""What the scan of one file tells: plain values, small enough to send from the child process as JSON.

Nothing here identifies the patient: patient module values are hashes, made in the child.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

#: SOP classes of images we can place in space, and the modality they are.
IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
}
#: The multi-frame ones among them (enhanced and legacy converted).
MULTI_FRAME_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("128.1", "130", "2.1", "2.2", "4.1", "4.4"))
#: Objects that are no image to us, by SOP class prefix, and the short word for them.
OBJECT_KINDS = (
    ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"),
    ("1.2.840.10008.5.1.4.1.1.481", "RT"),
    ("1.2.840.10008.5.1.4.1.1.66.4", "SEG"),
    ("1.2.840.10008.5.1.4.1.1.66.7", "SEG"),
    ("1.2.840.10008.5.1.4.1.1.66", "registration"),
    ("1.2.840.10008.5.1.4.1.1.67", "RWV"),
    ("1.2.840.10008.5.1.4.1.1.88.59", "key objects"),
    ("1.2.840.10008.5.1.4.1.1.88.67", "dose report"),
    ("1.2.840.10008.5.1.4.1.1.88", "SR"),
    ("1.2.840.10008.5.1.4.1.1.11", "presentation state"),
    ("1.2.840.10008.5.1.4.1.1.7", "capture"),
    ("1.2.840.10008.5.1.4.1.1.104", "document"),
    ("1.2.840.10008.1.3.10", "DICOMDIR"),
)


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """One frame of a multi-frame object; what a functional group does not say is None."""

    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    slope: float | None = None
    intercept: float | None = None
    stack: str | None = None
    temporal: int | None = None
    echo_time: float | None = None
    b_value: float | None = None
    frame_type: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class FileRecord:
    """Header facts of one DICOM file.

    fault: code of what is wrong with the file itself (TRUNCATED, PARSE_ERROR, NO_PIXELS), else "". slope, intercept: None when
    absent, NaN when not a number. position, orientation (row then column cosines), spacing (row, column mm): as stored.
    patient: hashes of (normalised id, id as stored, birth date, sex, normalised name), "" where empty.
    """

    index: int = -1
    size: int = 0
    mtime_ns: int = 0
    sha256: str = ""
    syntax: str = ""
    preamble: bool = True
    fault: str = ""
    fault_text: str = ""
    unsafe_text: bool = False
    bad_charset: bool = False
    sop_class: str = ""
    sop_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_uid: str = ""
    modality: str = ""
    image_type: tuple[str, ...] = ()
    description: str = ""
    protocol: str = ""
    manufacturer: str = ""
    patient: tuple[str, ...] = ("", "", "", "", "")
    acquisition_number: int | None = None
    instance_number: int | None = None
    series_number: int | None = None
    rows: int = 0
    columns: int = 0
    frames: int = 1
    samples: int = 1
    photometric: str = ""
    bits_allocated: int = 0
    bits_stored: int = 0
    signed: bool = False
    pixels_from: int = 0  # bytes of the pixel data in the file (in the inflated data set of a deflated file)
    pixels_to: int = 0
    encapsulated: bool = False
    little: bool = True
    integers: bool = True
    lossy: bool = False
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    slope: float | None = None
    intercept: float | None = None
    mosaic: bool = False
    # PET
    units: str = ""
    corrected_image: tuple[str, ...] = ()
    attenuation_method: str = ""
    attenuation_corrected: str = ""
    series_type: tuple[str, ...] = ()
    reconstruction: str = ""
    number_of_slices: int | None = None
    time_slices: int | None = None
    frame_reference_ms: float | None = None
    gates: int | None = None
    facts: str = ""  # names the bytes that PET facts are read from: files with one name have one set of facts
    # CT
    kernel: str = ""
    kvp: float | None = None
    thickness: float | None = None
    contrast_agent: str = ""
    contrast_volume: float | None = None
    acquisition_time: str = ""
    # MR
    echo_time: float | None = None
    repetition_time: float | None = None
    inversion_time: float | None = None
    flip_angle: float | None = None
    b_value: float | None = None
    temporal: int | None = None
    trigger_time: float | None = None
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    scan_options: tuple[str, ...] = ()
    sequence_name: str = ""
    acquisition_contrast: str = ""
    pulse_sequence: str = ""
    fat_suppression: str = ""
    # other objects
    refers_to: tuple[str, ...] = ()
    real_world: tuple[tuple[str, float, float], ...] = ()
    frame_records: tuple[FrameRecord, ...] = ()

    @property
    def image_modality(self) -> str:
        """PT, CT or MR for images we can place in space, "" for everything else."""
        return IMAGE_CLASSES.get(self.sop_class, "")

    @property
    def multi_frame(self) -> bool:
        return self.sop_class in MULTI_FRAME_CLASSES


_TUPLES = frozenset(f.name for f in fields(FileRecord) if "tuple" in str(f.type))


def _frame(values: dict[str, Any]) -> FrameRecord:
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    return FrameRecord(**values)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON lists as the tuples that a record holds."""
    for name in _TUPLES & values.keys():
        if name == "frame_records":
            values[name] = tuple(_frame(frame) for frame in values[name])
        elif name == "real_world":
            values[name] = tuple((str(u), float(s), float(i)) for u, s, i in values[name])
        elif values[name] is not None:
            values[name] = tuple(values[name])
    return values


def from_plain(values: dict[str, Any], like: FileRecord | None = None) -> FileRecord:
    """A record from the JSON object that the child sent: all of it, or what differs from the record of another file."""
    values = _tuples(values)
    return FileRecord(**values) if like is None else replace(like, **values)
