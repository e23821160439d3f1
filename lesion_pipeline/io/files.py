"""The files of a study: a folder of any depth, an archive, or a single file. Links are not followed, nothing blocks."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io import archive

MAX_FILES = 500_000
MAX_DEPTH = 64


@dataclass(slots=True)
class Found:
    """paths: regular files, sorted. skipped: (kind of thing, how many). origin: folder of each path, for files out of archives
    the archive's own. unreadable: folders that could not be listed."""

    paths: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0


def _walk(folder: Path, found: Found, depth: int) -> None:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda e: e.name)
    except OSError:
        found.unreadable += 1
        return
    for entry in entries:
        try:
            mode = entry.stat(follow_symlinks=False).st_mode
        except OSError:
            found.unreadable += 1
            continue
        if stat.S_ISLNK(mode):
            found.skipped["link"] += 1
        elif stat.S_ISDIR(mode):
            if depth >= MAX_DEPTH:
                found.skipped["folder nested too deeply"] += 1
            else:
                _walk(Path(entry.path), found, depth + 1)
        elif not stat.S_ISREG(mode):
            found.skipped["no regular file"] += 1
        elif entry.name.upper() == "DICOMDIR":
            found.skipped["DICOMDIR"] += 1
        else:
            found.paths.append(Path(entry.path))
            if len(found.paths) > MAX_FILES:
                raise InputError(
                    "TOO_MANY_FILES", f"the input holds more than {MAX_FILES} files", advice="Give one study's folder."
                )


@contextlib.contextmanager
def gathered(source: Path) -> Iterator[Found]:
    """The files of ``source``; archives in it are unpacked into a private temporary folder that lives as long as the context.

    Raises InputError (NO_SUCH_INPUT, UNREADABLE, TOO_MANY_FILES, ARCHIVE_...).
    """
    if not source.exists():
        raise InputError("NO_SUCH_INPUT", "the input does not exist", advice="Check the path.")
    found = Found()
    if source.is_dir():
        _walk(source.resolve(), found, 0)
        if found.unreadable and not found.paths:
            raise InputError("UNREADABLE", "the input folder cannot be read", advice="Check its permissions.")
    elif source.is_file():
        found.paths.append(source.resolve())
    else:
        raise InputError("NO_DICOM", "the input is neither a folder nor a file")
    with contextlib.ExitStack() as stack:
        packed = [p for p in found.paths if archive.kind_of(p)]
        if packed:
            private = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lesion-pipeline-")))
            kept = [p for p in found.paths if p not in set(packed)]
            for number, path in enumerate(packed):
                into = private / str(number)
                into.mkdir(mode=0o700)
                unpacked = archive.unpack(path, into)
                kept += unpacked.paths
                if unpacked.nested:
                    found.skipped["archive in an archive"] += unpacked.nested
            found.paths = kept
        yield found
