"""Which study a run read, told without names: by the keys of its series, which are hashes of their UIDs."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io.dicom.reader import DicomReader
from lesion_pipeline.io.dicom.stacks import hashed
from lesion_pipeline.io.files import gathered
from lesion_pipeline.report import layout

#: Files looked at in each folder: one is enough where a folder holds a series, several help where it holds a mixture.
_SAMPLE = 6


def of_run(folder: Path) -> frozenset[str]:
    """Keys of the series a study folder was made of; empty when its count JSON does not say."""
    try:
        document = json.loads(layout.count_json(folder).read_text(encoding="utf-8"))
        keys = [str(row["series"]) for row in document["provenance"]["inputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()
    return frozenset(_base(key) for key in keys)


def of_source(source: Path) -> frozenset[str]:
    """Keys of series among the DICOM files below a folder, from a sample of their headers; empty when there are none."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    try:
        with gathered(source) as found:
            for path in found.paths:
                by_folder[path.parent].append(path)
            sample = [path for paths in by_folder.values() for path in paths[:: -(-len(paths) // _SAMPLE)]]
            with DicomReader(sample) as reader:
                records = reader.scan().records
    except InputError:
        return frozenset()
    return frozenset(
        f"{r.image_modality}-{hashed(r.study_uid, r.series_uid, r.sop_class)}"
        for r in records
        if r.image_modality and r.series_uid
    )


def _base(key: str) -> str:
    """``PT-1a2b3c4d`` of ``PT-1a2b3c4d-2``: parts of one DICOM series share it."""
    return "-".join(key.split("-")[:2])
