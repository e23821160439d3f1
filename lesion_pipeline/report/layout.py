"""The one module that spells paths of the output folder.

    OUT/<study key>/
        lesioncount.json      the count JSON
        lesions.tsv           one row a lesion
        overlays/coronal.png, overlays/sagittal.png
        labels/<source>.nii.gz + <source>.names.json     anatomy, one pair a segmenter
        labels/lesions.nii.gz + lesions.names.json       lesions on the PET grid
        provenance.json
        log.jsonl

    OUT/<study key>/          of the command ``anatomy``
        anatomy.json          levels and organs
        anatomy.png           the spine laid straight, and the organs from the front
        labels/<source>.nii.gz + <source>.names.json
        log.jsonl

A folder appears under its own name only when everything in it is written: see ``staged``.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lesion_pipeline.domain.errors import ConfigError

_LABELS = "labels"
_OVERLAYS = "overlays"


def study_folder(out: Path, study_key: str) -> Path:
    """The folder of one study below the output folder of a run."""
    return out / safe_name(study_key)


def count_json(folder: Path) -> Path:
    """The count JSON of a study folder."""
    return folder / "lesioncount.json"


def anatomy_json(folder: Path) -> Path:
    """Levels and organs of a study, of the command ``anatomy``."""
    return folder / "anatomy.json"


def anatomy_picture(folder: Path) -> Path:
    """The page with the spine laid straight and the organs from the front."""
    return folder / "anatomy.png"


def lesion_table(folder: Path) -> Path:
    """The lesion table, tab separated."""
    return folder / "lesions.tsv"


def overlay(folder: Path, plane: str) -> Path:
    """The projection picture of one plane, ``coronal`` or ``sagittal``."""
    return folder / _OVERLAYS / f"{safe_name(plane)}.png"


def label_map(folder: Path, source: str) -> Path:
    """A label map; ``source`` is the plug-in that made it, or ``lesions``."""
    return folder / _LABELS / f"{safe_name(source)}.nii.gz"


def label_names(folder: Path, source: str) -> Path:
    """What the values of ``label_map`` mean."""
    return folder / _LABELS / f"{safe_name(source)}.names.json"


def provenance(folder: Path) -> Path:
    """Versions, hashes, time and memory of one run."""
    return folder / "provenance.json"


def log(folder: Path) -> Path:
    """One JSON object a line."""
    return folder / "log.jsonl"


def study_folders(out: Path) -> tuple[Path, ...]:
    """Every finished study folder of a run, sorted; ``out`` itself when it is one."""
    if count_json(out).is_file():
        return (out,)
    return tuple(sorted(p.parent for p in out.glob("*/lesioncount.json") if not p.parent.name.startswith(".")))


def safe_name(text: str) -> str:
    """A name that every file system takes and that cannot leave its folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-") or "unnamed"


def holds_run_of(folder: Path, study_key: str, answer: Callable[[Path], Path] = count_json) -> bool:
    """True when the folder is a finished run of this study (its ``answer``, the count JSON or anatomy.json, says so)."""
    try:
        document = json.loads(answer(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    study = document.get("study") if isinstance(document, dict) else None
    return isinstance(study, dict) and study.get("key") == study_key


def refuse_foreign(out: Path, study_key: str, *, overwrite: bool = False, answer: Callable[[Path], Path] = count_json) -> None:
    """Raise ConfigError (OUTPUT_EXISTS) when writing would destroy something that is not a run of the same study.

    Ask before a long computation; ``staged`` asks again before it renames.
    """
    target = study_folder(out, study_key)
    if overwrite or not (target.exists() or target.is_symlink()):
        return
    empty = target.is_dir() and not any(target.iterdir())
    if not empty and not holds_run_of(target, study_key, answer):
        raise ConfigError(
            "OUTPUT_EXISTS",
            f"the output folder already holds {target.name}, which is not a finished run of this study",
            advice="Choose another output folder, remove it, or ask for it to be overwritten.",
        )


@contextmanager
def staged(
    out: Path, study_key: str, *, overwrite: bool = False, answer: Callable[[Path], Path] = count_json
) -> Iterator[Path]:
    """A folder under a temporary name, renamed to ``study_folder(out, study_key)`` when the block ends well.

    Contents reach the disk before the rename. When the block raises, nothing is left behind and an earlier run stays as it
    was. Raises ConfigError (OUTPUT_EXISTS), see ``refuse_foreign``.
    """
    refuse_foreign(out, study_key, overwrite=overwrite, answer=answer)
    created = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    target = study_folder(out, study_key)
    partial = out / f".{target.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir()
    try:
        yield partial
        refuse_foreign(out, study_key, overwrite=overwrite, answer=answer)
        _to_disk(partial)
        _swap(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        if created and not any(out.iterdir()):
            out.rmdir()
        raise


def _swap(partial: Path, target: Path) -> None:
    if not (target.exists() or target.is_symlink()):
        partial.rename(target)
        return
    old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")
    target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _to_disk(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        # folders are opened read-only: that is how a POSIX system is asked to flush a directory
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
