"""Is this one patient? Asked with hashes; nothing that identifies anyone is compared in the clear or kept."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io.dicom.record import FileRecord

_ID, _ID_AS_STORED, _BIRTH, _SEX, _NAME = range(5)


def _told(files: Sequence[FileRecord], field: int) -> set[str]:
    return {f.patient[field] for f in files} - {""}


def check_patients(files: Sequence[FileRecord], stage: str) -> list[Caveat]:
    """Caveats about how images name their patient.

    Raises InputError (MIXED_PATIENTS) when identifiers, birth dates or sexes contradict each other.
    """
    images = [f for f in files if f.image_modality]
    fields = [(_ID, "patient identifiers"), (_BIRTH, "birth dates"), (_SEX, "sexes")]
    mixed = [name for field, name in fields if len(_told(images, field)) > 1]
    if mixed:
        raise InputError(
            "MIXED_PATIENTS",
            f"the images carry different {' and '.join(mixed)}",
            advice="Give one patient's study; if it is one patient, correct the headers.",
        )
    found: list[Caveat] = []
    if len(_told(images, _ID_AS_STORED)) > 1:
        found.append(
            Caveat("PATIENT_ID_FORM", stage, "the patient identifier is written in different ways; taken as one patient")
        )
    if len(_told(images, _NAME)) > 1:
        found.append(Caveat("PATIENT_NAME_DIFFERS", stage, "the patient's name is not the same in all images"))
    return found
