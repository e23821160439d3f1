"""The parent's side of the child process that reads DICOM files.

Why a forked child: it starts in milliseconds with everything imported, shares nothing it could harm, and dies alone. Why
sockets and shared memory: headers come back as JSON, voxels are written once, into memory that becomes the volume's own.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.errors import IncompleteSeriesError, InputError
from lesion_pipeline.domain.pet import PatientFacts, PetFacts
from lesion_pipeline.io.dicom import worker
from lesion_pipeline.io.dicom.record import FileRecord, from_plain
from lesion_pipeline.io.plain import from_plain as value_from_plain

#: Longest wait for the answer to one file or slice.
SECONDS = 20.0
#: Private memory the child may take on top of what it starts with.
MEMORY_BYTES = 1536 << 20
#: Children that may die in one study before the study is refused.
MAX_DEATHS = 8
#: Answers that come together. Headers come one by one once a child has died, so that the right file is blamed.
BATCH = 32
#: Children that share work, and how much each must have at least: files to scan, voxels to decode.
MAX_WORKERS = 2
FILES_EACH = 64
VOXELS_EACH = 4 << 20
#: Largest volume that is read.
MAX_VOLUME_BYTES = 8 << 30

_ADVICE = {
    "UNSUPPORTED_SYNTAX": "Convert the series to an uncompressed transfer syntax.",
    "INPUT_CHANGED": "Run again when nothing writes into the input any more.",
}


class ChildLostError(Exception):
    """The child died or did not answer in time."""


@dataclass(frozen=True, slots=True)
class SliceRef:
    """One slice of a volume: a frame of a file, with its rescale."""

    file: FileRecord
    frame: int
    slope: float
    intercept: float


@dataclass(slots=True)
class Scan:
    """All DICOM files of a study, and what else lay there."""

    records: list[FileRecord] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decoded:
    """float32 (columns, rows, slices), i.e. (i, j, k), and what was mended on the way."""

    values: npt.NDArray[np.float32]
    high_bits: int
    below_floor: int


def _shared_memory(size: int) -> int:
    """A descriptor of anonymous shared memory of ``size`` bytes."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("voxels", os.MFD_CLOEXEC)
    else:  # pragma: no cover  (no memfd outside Linux)
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class _Child:
    """One forked child and the channel to it. Raises ChildLostError when it dies, stalls or talks nonsense."""

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        ours, theirs = socket.socketpair()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads: the child touches none of their locks
            pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                worker.child(theirs, memory_bytes)
            finally:
                os._exit(0)
        theirs.close()
        ours.settimeout(seconds)
        self.pid, self._channel = pid, ours

    def kill(self) -> None:
        """End the child, whatever it is doing; ``close`` waits for it."""
        if self.pid:  # 0 would be our own process group
            os.kill(self.pid, signal.SIGKILL)

    def close(self) -> None:
        if self.pid:
            self.kill()
            self._channel.close()
            os.waitpid(self.pid, 0)
            self.pid = 0

    def send(self, request: dict[str, Any], memory: int | None = None) -> None:
        body = json.dumps(request, separators=(",", ":")).encode("ascii")
        try:
            socket.send_fds(self._channel, [len(body).to_bytes(4, "big")], [] if memory is None else [memory])
            self._channel.sendall(body)
        except OSError as error:
            raise ChildLostError from error

    def receive(self) -> list[dict[str, Any]]:
        """The next answers, at least one."""
        try:
            size = int.from_bytes(worker.receive_exactly(self._channel, 4), "big")
            answers: list[dict[str, Any]] = json.loads(worker.receive_exactly(self._channel, size))["answers"]
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise ChildLostError from error
        return answers


class DicomReader:
    """Scans and decodes files through child processes. Use as a context manager.

    paths: the files of the study; records and requests name them by index. seconds: longest wait for one file or slice.
    workers: children that share big work; all but the first are forked when they are needed.
    """

    def __init__(
        self, paths: Sequence[Path], seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES, workers: int | None = None
    ) -> None:
        self.paths = [os.fspath(p) for p in paths]
        self.seconds = seconds
        self.memory_bytes = memory_bytes
        self.workers = workers or max(
            1, min(MAX_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
        )
        self.deaths = 0
        self._children: list[_Child | None] = [None] * self.workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the children, whatever they are doing."""
        for child in self._children:
            if child is not None:
                child.kill()  # all of them before the first is waited for: they go at the same time
        for child in self._children:
            if child is not None:
                child.close()
        self._children = [None] * self.workers

    def _child(self, number: int = 0) -> _Child:
        child = self._children[number]
        if child is None:
            child = self._children[number] = _Child(self.seconds, self.memory_bytes)
        return child

    def _lost(self, number: int, error: ChildLostError) -> None:
        """Bury a child. Raises InputError (PARSE_ERROR) when too many have died."""
        child = self._children[number]
        if child is not None:
            child.close()
            self._children[number] = None
        self.deaths += 1
        if self.deaths > MAX_DEATHS:
            raise InputError(
                "PARSE_ERROR",
                "too many files kill the reader or stall it",
                advice="Look at the input: it may be damaged on purpose.",
            ) from error

    def _shared(self, work: Callable[[int, int, int], None], count: int, least: int) -> None:
        """work(child, first, stop) over ``count`` things, in shares of at least ``least``, at the same time."""
        shares = max(1, min(self.workers, count // least))
        bounds = [count * n // shares for n in range(shares + 1)]
        for number in range(shares):
            self._child(number)  # forked here, before any thread is started
        if shares == 1:
            work(0, 0, count)
            return
        with ThreadPoolExecutor(shares) as pool:
            running = [pool.submit(work, n, bounds[n], bounds[n + 1]) for n in range(shares)]
        for share in running:
            share.result()

    def scan(self) -> Scan:
        """The header facts of every file. A file that kills or stalls the child becomes a record with fault PARSE_ERROR."""
        answers: list[dict[str, Any]] = [{} for _ in self.paths]

        def share(number: int, first: int, stop: int) -> None:
            done, batch = first, BATCH
            while done < stop:
                try:
                    child = self._child(number)
                    child.send({"op": "scan", "first": done, "paths": self.paths[done:stop], "batch": batch})
                    while done < stop:
                        for answer in child.receive():
                            answers[done] = answer
                            done += 1
                except ChildLostError as error:
                    self._lost(number, error)
                    if batch == 1:  # now it is known which file did it
                        answers[done] = {"error": "PARSE_ERROR", "text": "reading the file took too long or killed the reader"}
                        done += 1
                    batch = 1

        self._shared(share, len(self.paths), FILES_EACH)
        found = Scan()
        by_index: dict[int, FileRecord] = {}
        for index, answer in enumerate(answers):
            kind = answer.pop("kind", "dicom")
            if "error" in answer:
                found.records.append(FileRecord(index=index, fault=answer["error"], fault_text=answer["text"]))
            elif kind == "dicom":
                like = by_index.get(answer.pop("like", -1))
                by_index[index] = from_plain(answer | {"index": index}, like)
                found.records.append(by_index[index])
            elif kind == "unreadable":
                found.unreadable.append(index)
            else:
                found.skipped["empty file" if kind == "empty" else "not DICOM"] += 1
        return found

    def _file(self, record: FileRecord) -> list[Any]:
        return [self.paths[record.index], record.size, record.mtime_ns]

    def _items(self, slices: Sequence[SliceRef]) -> tuple[list[list[Any]], list[list[Any]]]:
        """(items, forms) as the child wants them: a form is written once, an item names its form."""
        forms: dict[tuple[Any, ...], int] = {}
        items = []
        for ref in slices:
            file = ref.file
            form = (
                *(file.rows, file.columns, max(1, file.frames), file.samples, file.bits_allocated),
                *(
                    file.bits_stored or file.bits_allocated,
                    file.signed,
                    file.photometric,
                    file.syntax,
                    file.little,
                    file.integers,
                ),
            )
            number = forms.setdefault(form, len(forms))
            place = [file.pixels_from, file.pixels_to, number]
            items.append([*self._file(file), ref.frame, *place, ref.slope, ref.intercept])
        return items, [list(form) for form in forms]

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        """The single answer to a request. Raises InputError with the child's code."""
        try:
            child = self._child()
            child.send(request)
            (answer,) = child.receive()
        except ChildLostError as error:
            self._lost(0, error)
            raise InputError("PARSE_ERROR", "reading a header took too long or killed the reader") from error
        self._raise(answer, None)
        return answer

    @staticmethod
    def _raise(answer: dict[str, Any], series: str | None) -> None:
        if "error" in answer:
            code = answer["error"]
            kind = IncompleteSeriesError if code in {"TRUNCATED", "NO_PIXELS"} else InputError
            raise kind(code, answer["text"], series=series, advice=_ADVICE.get(code, "Export the series again."))

    def hashes(self, slices: Sequence[SliceRef]) -> list[str]:
        """sha256 of the stored values of each frame, the same for every lossless transfer syntax. Raises InputError."""
        items, forms = self._items(slices)
        answers: list[dict[str, Any]] = [{} for _ in slices]

        def share(number: int, first: int, stop: int) -> None:
            try:
                child = self._child(number)
                child.send({"op": "hash", "items": items[first:stop], "forms": forms, "batch": BATCH})
                done = first
                while done < stop:
                    for answer in child.receive():
                        answers[done] = answer
                        done += 1
            except ChildLostError as error:
                self._lost(number, error)
                raise InputError("PARSE_ERROR", "decoding took too long or killed the reader") from error

        self._shared(share, len(slices), FILES_EACH)
        for answer in answers:
            self._raise(answer, None)
        return [answer["hash"] for answer in answers]

    def decode(self, slices: Sequence[SliceRef], series: str, *, ct: bool = False, floor: float | None = None) -> Decoded:
        """The voxels of a stack, slices in the order given.

        ct: keep clipped metal (see pixels.masked). floor: values below are set to it (CT padding). Raises InputError with the
        code of what is wrong (TRUNCATED, PARSE_ERROR, UNSUPPORTED_SYNTAX, TOO_LARGE, INPUT_CHANGED ...) naming the series.
        """
        rows, columns = slices[0].file.rows, slices[0].file.columns
        size = len(slices) * rows * columns * 4
        if size > MAX_VOLUME_BYTES:
            raise InputError("TOO_LARGE", "the series is larger than can be read", series=series)
        memory = _shared_memory(size)
        try:
            high, low = self._fill(slices, series, memory, ct=ct, floor=floor)
            buffer = mmap.mmap(memory, size)
        finally:
            os.close(memory)
        values = np.frombuffer(buffer, dtype=np.float32).reshape(len(slices), rows, columns).transpose(2, 1, 0)
        return Decoded(values, high, low)

    def _fill(self, slices: Sequence[SliceRef], series: str, memory: int, *, ct: bool, floor: float | None) -> tuple[int, int]:
        items, forms = self._items(slices)
        rows, columns = slices[0].file.rows, slices[0].file.columns
        request = {
            "op": "decode",
            "batch": BATCH,
            "forms": forms,
            "rows": rows,
            "columns": columns,
            "slices": len(slices),
            "ct": ct,
            "floor": floor,
        }
        mended: list[tuple[int, int]] = []

        def share(number: int, first: int, stop: int) -> None:
            try:
                child = self._child(number)
                child.send(request | {"first": first, "items": items[first:stop]}, memory)
                done = first
                while done < stop:
                    for answer in child.receive():
                        self._raise(answer, series)
                        mended.append((answer["high_bits"], answer["below_floor"]))
                        done += 1
            except ChildLostError as error:
                self._lost(number, error)
                text = "decoding the pixels took too long or killed the decoder"
                raise InputError("PARSE_ERROR", text, series=series, advice="Export the series again.") from error

        self._shared(share, len(slices), max(1, VOXELS_EACH // (rows * columns)))
        return sum(high for high, _ in mended), sum(low for _, low in mended)

    def pet_facts(self, files: Sequence[FileRecord], order: Sequence[int] | None = None) -> PetFacts:
        """PET header facts; files in slice order, or one multi-frame object with its frames' order. Raises InputError."""
        first: dict[str, int] = {}  # slices with the same bytes in what facts are read from are read once
        alike = [first.setdefault(f.facts or str(n), len(first)) for n, f in enumerate(files)]
        told = [files[alike.index(number)] for number in range(len(first))]
        answer = self._one(
            {"op": "pet", "files": [self._file(f) for f in told], "order": None if order is None else list(order)}
        )
        facts: PetFacts = value_from_plain(PetFacts, answer["facts"])
        return facts if files[0].multi_frame else replace(facts, frames=tuple(facts.frames[number] for number in alike))

    def patient_facts(self, file: FileRecord) -> PatientFacts:
        """Weight, size, sex and age from one header. Raises InputError."""
        facts: PatientFacts = value_from_plain(PatientFacts, self._one({"op": "patient", "file": self._file(file)})["facts"])
        return facts
