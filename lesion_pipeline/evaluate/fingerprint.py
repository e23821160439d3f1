"""Which study a run read, told without names: by the keys of its series, which are hashes of what the files say they are."""

from __future__ import annotations

import json
from pathlib import Path

from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.io.dicom.building import build_stacks
from lesion_pipeline.io.dicom.reader import DicomReader
from lesion_pipeline.io.files import gathered
from lesion_pipeline.report import layout


def of_run(folder: Path) -> frozenset[str]:
    """Keys of the image series that a study folder was counted from; empty when its count JSON does not say."""
    try:
        document = json.loads(layout.count_json(folder).read_text(encoding="utf-8"))
        return frozenset(str(row["series"]) for row in document["provenance"]["inputs"] if row["chosen"])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def of_source(source: Path) -> frozenset[str]:
    """Keys of the image series below a folder, from their headers alone; empty when there are none."""
    try:
        with gathered(source) as found, DicomReader(found.paths) as reader:
            return frozenset(stack.key for stack in build_stacks(reader.scan().records, reader.hashes))
    except LesionPipelineError:
        return frozenset()
