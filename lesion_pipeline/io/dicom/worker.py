"""The child process: the only place where untrusted bytes are parsed and decoded.

It is forked from the reader, gives up the right to write files or to take more memory than it is given, answers requests over
a socket in JSON, and puts voxels into shared memory that the parent opened. When a decoder kills it, the parent lives.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import hashlib
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from lesion_pipeline.io.dicom.elements import (
    DEFLATED,
    PIXEL_TAGS,
    Buffer,
    DicomFaultError,
    NotDicomError,
    RawHeader,
    read_header,
)
from lesion_pipeline.io.dicom.pixels import PixelFormat, Stored, masked, modality_values, stored_frame
from lesion_pipeline.io.dicom.siblings import Siblings
from lesion_pipeline.io.pet_facts import read_patient_facts, read_pet_facts
from lesion_pipeline.io.plain import to_plain

#: Files above this size are mapped, not read.
MAPPED_BYTES = 16 << 20

#: What a bad file may raise on its way through parsers and decoders; anything else kills the child, which is an answer too.
FAULTS = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    AssertionError,
    RuntimeError,
    EOFError,
    struct.error,
    zlib.error,
)

Message = dict[str, Any]


def send(channel: socket.socket, message: Message) -> None:
    """One message: its length in four bytes, then JSON."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    channel.sendall(len(body).to_bytes(4, "big") + body)


def receive_exactly(channel: socket.socket, count: int) -> bytes:
    """``count`` bytes. Raises EOFError when the other side is gone."""
    parts: list[bytes] = []
    while count:
        part = channel.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def open_regular(path: str) -> tuple[int, os.stat_result]:
    """A descriptor of a regular file, links not followed, never blocking. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise OSError("not a regular file")
    return descriptor, info


@contextlib.contextmanager
def _content(path: str) -> Iterator[tuple[Buffer, os.stat_result]]:
    descriptor, info = open_regular(path)
    try:
        if info.st_size <= MAPPED_BYTES:
            data = os.read(descriptor, info.st_size)
            while len(data) < info.st_size and (more := os.read(descriptor, info.st_size - len(data))):
                data += more
            yield data, info
        else:
            yield mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ), info  # closed by its last user
    finally:
        os.close(descriptor)


def _scan_one(path: str, index: int, siblings: Siblings) -> Message:
    try:
        with _content(path) as (data, info):
            out: Message = {"size": info.st_size, "mtime_ns": info.st_mtime_ns}
            try:
                record = siblings.record(data, index)
            except NotDicomError:
                return out | {"kind": "empty" if not info.st_size else "other"}
            out["sha256"] = hashlib.sha256(data).hexdigest()
            return out | record
    except OSError as error:
        return {"kind": "unreadable", "errno": error.errno or 0}


def _checked_header(path: str, size: int, mtime_ns: int) -> RawHeader:
    """The header of a file that must not have changed since the scan. Raises DicomFaultError (INPUT_CHANGED), OSError."""
    with _content(path) as (data, info):
        if (info.st_size, info.st_mtime_ns) != (size, mtime_ns):
            raise DicomFaultError("INPUT_CHANGED", "a file changed while it was read")
        header = read_header(data)
    if header.fault is not None:
        raise header.fault
    return header


class _Frames:
    """Bytes of frames. Where the pixels lie is known from the scan, so headers are not parsed again (deflated files are)."""

    def __init__(self, forms: list[list[Any]]) -> None:
        self.forms = [PixelFormat(*form) for form in forms]

    def stored(self, item: list[Any]) -> tuple[Stored, PixelFormat]:
        """Stored values of one frame. item: path, size, mtime, frame, first and last byte of the pixels, number of the form.

        Raises DicomFaultError, OSError.
        """
        path, size, mtime_ns, frame, start, end, number = item[:7]
        form = self.forms[number]
        form.check()
        if form.native:
            start += frame * form.frame_bytes
            end = min(end, start + form.frame_bytes)
        if form.syntax == DEFLATED:
            header = _checked_header(path, size, mtime_ns)
            return stored_frame(bytes(header.data[start:end]), form, frame), form
        descriptor, info = open_regular(path)
        try:
            if (info.st_size, info.st_mtime_ns) != (size, mtime_ns):
                raise DicomFaultError("INPUT_CHANGED", "a file changed while it was read")
            data = os.pread(descriptor, max(0, end - start), start)
        finally:
            os.close(descriptor)
        return stored_frame(data, form, frame), form


class _Batch:
    """Answers that go out together, but never later than a second after the first of them."""

    def __init__(self, channel: socket.socket, size: int) -> None:
        self._channel, self._size = channel, size
        self._answers: list[Message] = []
        self._since = 0.0

    def add(self, answer: Message) -> None:
        if not self._answers:
            self._since = time.monotonic()
        self._answers.append(answer)
        if len(self._answers) >= self._size or time.monotonic() - self._since > 1.0:
            self.send()

    def send(self) -> None:
        if self._answers:
            send(self._channel, {"answers": self._answers})
            self._answers = []


def _decode(request: Message, memory: int, told: _Batch) -> Message:
    """Frames into shared memory as float32 (slices, rows, columns) from slice ``first`` on; one answer a slice."""
    rows, columns, items = request["rows"], request["columns"], request["items"]
    frames = _Frames(request["forms"])
    size = rows * columns
    whole = np.frombuffer(mmap.mmap(memory, request["slices"] * size * 4), dtype=np.float32)
    first, floor = request["first"], request["floor"]
    out = whole[first * size : (first + len(items)) * size].reshape(len(items), rows, columns)
    for number, item in enumerate(items):
        values, form = frames.stored(item)
        if (form.rows, form.columns) != (rows, columns):
            raise DicomFaultError("PARSE_ERROR", "a slice has another size than its header said")
        values, high = masked(values, form.stored, keep_clip=bool(request["ct"]))
        low = modality_values(values, item[7], item[8], out[number], floor)
        told.add({"high_bits": high, "below_floor": low})
    return {}


def _stored_hash(frames: _Frames, item: list[Any]) -> str:
    values, form = frames.stored(item)
    values, _ = masked(values, form.stored, keep_clip=False)
    return hashlib.sha256(values.astype("<i4").tobytes() + repr(values.shape).encode()).hexdigest()


class _LazyElements(dict[int, Any]):
    """tag -> pydicom raw element, made only when it is asked for: a header has hundreds, facts need a few dozen."""

    def __init__(self, header: RawHeader) -> None:
        super().__init__(header.elements)
        self._header = header

    def _made(self, tag: int, value: Any) -> Any:
        if type(value) is not tuple:  # made before, or put in by pydicom
            return value
        vr, start, stop = value
        raw, encoding = bytes(self._header.data[start:stop]), self._header.encoding
        name = vr.decode("latin-1") or None
        made = RawDataElement(BaseTag(tag), name, len(raw), raw or None, 0, not encoding.explicit, encoding.little)
        self[tag] = made
        return made

    def __getitem__(self, tag: int) -> Any:
        return self._made(tag, super().__getitem__(tag))

    def get(self, tag: int, default: Any = None) -> Any:
        value = super().get(tag, self)
        return default if value is self else self._made(tag, value)


def dataset_of(header: RawHeader) -> Dataset:
    """A pydicom data set that parses a value only when it is asked for; pixel data is left out."""
    elements = _LazyElements(header)
    for tag in PIXEL_TAGS:
        elements.pop(tag, None)
    dataset = Dataset(elements)  # type: ignore[arg-type]  # pydicom takes raw elements here and converts them on access
    dataset.set_original_encoding(not header.encoding.explicit, header.encoding.little)
    return dataset


def _pet_facts(request: Message) -> Message:
    datasets = [dataset_of(_checked_header(*item)) for item in request["files"]]
    return {"facts": to_plain(read_pet_facts(datasets, request["order"]))}


def _answer(channel: socket.socket, request: Message, memory: int) -> None:
    operation = request["op"]
    told = _Batch(channel, request.get("batch", 1))
    if operation == "scan":
        siblings = Siblings()
        for index, path in enumerate(request["paths"], start=request["first"]):
            told.add(_guarded(lambda path=path, index=index: _scan_one(path, index, siblings)))
    elif operation == "decode":
        fault = _guarded(lambda: _decode(request, memory, told))
        if fault:
            told.add(fault)
    elif operation == "hash":
        frames = _Frames(request["forms"])
        for item in request["items"]:
            told.add(_guarded(lambda item=item: {"hash": _stored_hash(frames, item)}))
    elif operation == "pet":
        told.add(_guarded(lambda: _pet_facts(request)))
    elif operation == "patient":
        facts = lambda: {"facts": to_plain(read_patient_facts(dataset_of(_checked_header(*request["file"]))))}  # noqa: E731
        told.add(_guarded(facts))
    told.send()


def _guarded(work: Any) -> Message:
    """The answer of some work, or what its file did wrong."""
    try:
        answer: Message = work()
    except DicomFaultError as fault:
        return {"error": fault.code, "text": fault.message}
    except RecursionError:
        return {"error": "PARSE_ERROR", "text": "sequences are nested too deeply"}
    except MemoryError:
        return {"error": "PARSE_ERROR", "text": "the file asks for more memory than it may have"}
    except OSError:
        return {"error": "UNREADABLE", "text": "the file cannot be read"}
    except FAULTS:
        return {"error": "PARSE_ERROR", "text": "the file cannot be read as DICOM"}
    return answer


def _private_bytes() -> int:
    """Private writable memory of this process now; 0 where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123  (this is no path of the input)
            for line in status:
                if line.startswith("VmData:"):
                    return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def _give_up_rights(memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        limit = _private_bytes() + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def child(channel: socket.socket, memory_bytes: int) -> None:
    """Serve requests until the parent hangs up. Runs in the forked process and never returns to its caller's code."""
    faulthandler.disable()
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    _give_up_rights(memory_bytes)
    while True:
        try:
            header, descriptors, _, _ = socket.recv_fds(channel, 4, 1)
            if len(header) < 4:
                header += receive_exactly(channel, 4 - len(header))
            request = json.loads(receive_exactly(channel, int.from_bytes(header, "big")))
        except EOFError:
            return
        memory = descriptors[0] if descriptors else -1
        try:
            _answer(channel, request, memory)
        except OSError:
            return  # the parent is gone
        finally:
            if memory >= 0:
                os.close(memory)
