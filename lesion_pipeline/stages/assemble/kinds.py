"""What a stack is to us: a short word for people, and whether it may be used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lesion_pipeline.domain.study import CtFacts, MrFacts, SeriesRole
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.io.dicom.extract import clean
from lesion_pipeline.io.dicom.record import OBJECT_KINDS, FileRecord
from lesion_pipeline.io.dicom.stacks import Stack
from lesion_pipeline.stages.assemble.mr import mr_facts

_PROJECTIONS = frozenset({"MIP", "MPR MIP", "PROJECTION IMAGE", "PROJECTION", "REPROJECTION", "MINIP", "VOLUME RENDERING"})
_CAPTURES = frozenset({"SCREEN SAVE", "SCREENSHOT", "SECONDARY CAPTURE", "CAPTURE", "DOSE_INFO", "DOSE REPORT", "REPORT"})
_NAC_WORDS = re.compile(r"\bNAC\b|\bNO[ _-]?AC\b|UNCORRECTED|NON[ _-]?(?:ATT|AC)", re.IGNORECASE)
_MIP_WORDS = re.compile(r"\bMIP\b", re.IGNORECASE)

_ROLES = {"PT": SeriesRole.PET, "CT": SeriesRole.CT, "MR": SeriesRole.MR}
NAC = "NOT_ATTENUATION_CORRECTED"


@dataclass(slots=True, eq=False)
class Candidate:
    """A stack with what we think of it. code: refusal, "" when usable; words: the reason in words."""

    stack: Stack
    role: SeriesRole
    kind: str
    code: str = ""
    words: str = ""
    ct: CtFacts | None = None
    mr: MrFacts | None = None

    @property
    def usable(self) -> bool:
        return self.role in _ROLES.values() and not self.code

    @property
    def key(self) -> str:
        return self.stack.key


def modality_of(file: FileRecord) -> Modality:
    word = file.image_modality or file.modality
    return Modality(word) if word in set(Modality) else Modality.OTHER


def object_kind(file: FileRecord) -> str:
    """The short word for an object that is no image of ours."""
    found = next((word for uid, word in OBJECT_KINDS if file.sop_class == uid or file.sop_class.startswith(uid + ".")), None)
    return found or f"{file.modality[:8]} object".strip()


def attenuation_corrected(file: FileRecord) -> tuple[bool, str]:
    """Is a PET attenuation-corrected, and the witness.

    Real NAC series carry ATTN in CorrectedImage, so no witness may contradict it.
    """
    method = file.attenuation_method.strip().upper()
    if _NAC_WORDS.search(file.description):
        return False, "its description says that it is not"
    if method in {"NONE", "NO", "OFF"}:
        return False, "AttenuationCorrectionMethod says none"
    if file.corrected_image:
        told = "ATTN" in {word.upper() for word in file.corrected_image}
        return told, "CorrectedImage holds ATTN" if told else "CorrectedImage lacks ATTN"
    if file.attenuation_corrected:
        return file.attenuation_corrected.upper() == "YES", f"AttenuationCorrected is {clean(file.attenuation_corrected)}"
    return (True, "AttenuationCorrectionMethod names one") if method else (False, "no header value says that it is")


def _pet(candidate: Candidate) -> None:
    file = candidate.stack.head
    if len(file.series_type) > 1 and file.series_type[1].upper() == "REPROJECTION":
        candidate.role, candidate.kind, candidate.words = SeriesRole.OTHER, "MIP", "a projection, not a volume"
        return
    corrected, witness = attenuation_corrected(file)
    candidate.kind = "PET AC" if corrected else "PET NAC"
    if not corrected and not candidate.code:
        candidate.code, candidate.words = NAC, f"not attenuation-corrected: {witness}"


def _ct(candidate: Candidate) -> None:
    file = candidate.stack.head
    affine = candidate.stack.affine
    step = None if affine is None else float((affine[:3, 2] ** 2).sum() ** 0.5)
    contrast = True if file.contrast_agent.strip() or (file.contrast_volume or 0) > 0 else None
    candidate.ct = CtFacts(kernel=file.kernel, kvp=file.kvp, contrast=contrast, slice_spacing_mm=step)
    candidate.kind = "CT"


def classify(stack: Stack, min_slices: int) -> Candidate:
    """Kind, role and refusal of one stack, before anything is chosen."""
    file = stack.head
    words = set(file.image_type)
    candidate = Candidate(stack, _ROLES[stack.modality], stack.modality, stack.refusal, stack.reason)
    if stack.scout:
        candidate.role, candidate.kind, candidate.words = SeriesRole.OTHER, "scout", "a localizer, not a volume"
    elif words & _PROJECTIONS or (_MIP_WORDS.search(file.description) and "DERIVED" in words):
        candidate.role, candidate.kind, candidate.words = SeriesRole.OTHER, "MIP", "a projection, not a volume"
    elif words & _CAPTURES:
        candidate.role, candidate.kind, candidate.words = SeriesRole.OTHER, "capture", "a picture, not quantities"
    elif not stack.refusal and len(stack.slices) < min_slices:
        candidate.role, candidate.kind = SeriesRole.OTHER, "single images"
        candidate.words = f"{len(stack.slices)} slices are no volume"
    elif stack.modality == "PT":
        _pet(candidate)
    elif stack.modality == "CT":
        _ct(candidate)
    elif stack.affine is not None:
        candidate.mr = mr_facts(file, stack.affine)
        candidate.kind = f"MR {candidate.mr.label}"
    if candidate.role is SeriesRole.OTHER:
        candidate.code = ""
    return candidate
