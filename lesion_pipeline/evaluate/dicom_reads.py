"""Users' reference reads as DICOM: SEG and RTSTRUCT."""

from __future__ import annotations

from pathlib import Path

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.evaluate.reads import Read


def read(path: Path, key: str, run: Read | None) -> Read:
    """One read from one file; every segment, or every structure, is a metastasis.

    run: its label map is the grid that contours are drawn on. Raises InputError (BAD_REFERENCE).
    """
    raise InputError("BAD_REFERENCE", f"{path.name} of {key} cannot be read", advice="Give a NIfTI mask.")
