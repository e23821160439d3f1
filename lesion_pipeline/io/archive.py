"""Zip and tar inputs, unpacked into a private folder. Names inside an archive are never used as names on disk."""

from __future__ import annotations

import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from lesion_pipeline.domain.errors import InputError

MAX_MEMBERS = 200_000
MAX_RATIO = 200
MAX_BYTES = 20 << 30
#: Memory an xz stream may ask for.
XZ_MEMORY = 256 << 20
_CHUNK = 1 << 20
_SLACK = 16 << 20  # small archives of blank images may exceed the ratio

_TAR_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}


@dataclass(slots=True)
class Unpacked:
    """Files made, members that were skipped because they are archives themselves."""

    paths: list[Path]
    nested: int = 0


def kind_of(path: Path) -> str:
    """ "zip", "tar" or "" by the first bytes (a compressed tar also by its name). Never raises for a regular file."""
    try:
        with path.open("rb") as file:
            head = file.read(265)
    except OSError:
        return ""
    if head[:4] in {b"PK\x03\x04", b"PK\x05\x06"}:
        return "zip"
    if head[257:262] == b"ustar":
        return "tar"
    name = path.name.lower()
    packed = any(head.startswith(magic) for magic in _TAR_MAGIC)
    return "tar" if packed and (name.endswith((".tgz", ".tbz2", ".txz")) or ".tar." in name) else ""


class _LimitedXz(io.RawIOBase):
    """An xz stream that may not take more than XZ_MEMORY."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._engine = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # narrower than any buffer, as BufferedReader calls it
        while not self._engine.eof:
            data = self._file.read(_CHUNK) if self._engine.needs_input else b""
            out = self._engine.decompress(data, len(buffer))
            if out or (self._engine.needs_input and not data):
                buffer[: len(out)] = out
                return len(out)
        return 0


class _Budget:
    """Holds what is unpacked against what may be."""

    def __init__(self, packed_bytes: int, into: Path) -> None:
        free = shutil.disk_usage(into).free
        self.left = min(MAX_BYTES, free // 2, MAX_RATIO * packed_bytes + _SLACK)
        self.members = 0

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise InputError(
                "ARCHIVE_TOO_LARGE", "the archive unpacks to an absurd size", advice="Unpack it yourself and look."
            )

    def member(self) -> None:
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise InputError("ARCHIVE_TOO_LARGE", f"the archive holds more than {MAX_MEMBERS} members")


def _refuse_name(name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name or name[1:2] == ":":
        raise InputError("ARCHIVE_UNSAFE", "the archive names files outside itself", advice="Do not trust where it comes from.")


def _zip_members(path: Path) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            _refuse_name(info.filename)
            mode = info.external_attr >> 16
            if mode and (mode & 0o170000) not in {0, 0o100000, 0o040000}:
                raise InputError("ARCHIVE_UNSAFE", "the archive holds links or devices")
            if info.flag_bits & 1:
                raise InputError("ARCHIVE_ENCRYPTED", "the archive is encrypted", advice="Unpack it yourself.")
            if info.is_dir():
                continue
            with archive.open(info) as member:
                yield member


def _tar_members(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        magic = next((kind for head, kind in _TAR_MAGIC.items() if file.read(len(head)) == head or file.seek(0)), "")
        file.seek(0)
        source: IO[bytes] = io.BufferedReader(_LimitedXz(file), _CHUNK) if magic == "xz" else file
        with tarfile.open(fileobj=source, mode="r|" if magic in {"", "xz"} else f"r|{magic}") as archive:  # type: ignore[call-overload]
            for info in archive:
                _refuse_name(info.name)
                if info.isdir():
                    continue
                if not info.isreg():
                    raise InputError("ARCHIVE_UNSAFE", "the archive holds links or devices")
                member = archive.extractfile(info)
                if member is not None:
                    yield member


def unpack(path: Path, into: Path) -> Unpacked:
    """The regular members of a zip or tar as numbered files in ``into``, a private folder of ours.

    Raises InputError: ARCHIVE_UNSAFE (paths outside, links, devices), ARCHIVE_TOO_LARGE (members, ratio, bytes),
    ARCHIVE_ENCRYPTED, ARCHIVE_DAMAGED.
    """
    budget = _Budget(path.stat().st_size, into)
    out = Unpacked([])
    try:
        for member in _zip_members(path) if kind_of(path) == "zip" else _tar_members(path):
            budget.member()
            target = into / f"{len(out.paths):06d}"
            with target.open("xb") as file:
                while chunk := member.read(_CHUNK):
                    budget.take(len(chunk))
                    file.write(chunk)
            if kind_of(target):
                target.unlink()
                out.nested += 1
            else:
                out.paths.append(target)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        ValueError,
    ) as error:
        raise InputError("ARCHIVE_DAMAGED", "the archive cannot be unpacked", advice="Copy or make it again.") from error
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno is not None:
            raise InputError("NO_SPACE", "the archive cannot be unpacked to the temporary folder") from error
        raise InputError("ARCHIVE_DAMAGED", "the archive cannot be unpacked", advice="Copy or make it again.") from error
    return out
