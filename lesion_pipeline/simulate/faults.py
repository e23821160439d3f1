"""Header and file faults as hospitals and anonymisers make them, planted into finished datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy

import numpy as np
from pydicom.uid import UID

from lesion_pipeline.simulate.dicom_files import File

Plant = Callable[[list[File], np.random.Generator], list[File]]


def _pet(files: Sequence[File]) -> list[File]:
    return [f for f in files if f.dataset.Modality == "PT"]


def _ac(files: Sequence[File]) -> list[File]:
    return [f for f in _pet(files) if "ATTN" in f.dataset.CorrectedImage]


def _missing_slice(files: list[File], rng: np.random.Generator) -> list[File]:
    chosen = _ac(files)
    gone = chosen[int(rng.integers(len(chosen) // 3, 2 * len(chosen) // 3))]
    return [f for f in files if f is not gone]


def _no_weight(files: list[File], _: np.random.Generator) -> list[File]:
    for f in files:
        f.dataset.PatientWeight = None
    return files


def _weight_in_grams(files: list[File], _: np.random.Generator) -> list[File]:
    for f in files:
        f.dataset.PatientWeight = str(round(float(f.dataset.PatientWeight) * 1000))
    return files


def _dose_in_mbq(files: list[File], _: np.random.Generator) -> list[File]:
    for f in _pet(files):
        item = f.dataset.RadiopharmaceuticalInformationSequence[0]
        item.RadionuclideTotalDose = f"{float(item.RadionuclideTotalDose) / 1e6:.4g}"
    return files


def _no_injection_time(files: list[File], _: np.random.Generator) -> list[File]:
    for f in _pet(files):
        item = f.dataset.RadiopharmaceuticalInformationSequence[0]
        del item.RadiopharmaceuticalStartTime
        del item.RadiopharmaceuticalStartDateTime
    return files


def _time_only(files: list[File], _: np.random.Generator) -> list[File]:
    for f in _pet(files):
        del f.dataset.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime
    return files


def _shifted_injection_date(files: list[File], _: np.random.Generator) -> list[File]:
    for f in _pet(files):
        item = f.dataset.RadiopharmaceuticalInformationSequence[0]
        stamp = str(item.RadiopharmaceuticalStartDateTime)
        item.RadiopharmaceuticalStartDateTime = f"{int(stamp[:8]) + 1}{stamp[8:]}"
    return files


def _no_tracer(files: list[File], _: np.random.Generator) -> list[File]:
    for f in _pet(files):
        item = f.dataset.RadiopharmaceuticalInformationSequence[0]
        item.Radiopharmaceutical = ""
        del item.RadiopharmaceuticalCodeSequence
    return files


def _only_nac(files: list[File], _: np.random.Generator) -> list[File]:
    corrected = {id(f) for f in _ac(files)}
    return [f for f in files if id(f) not in corrected]


def _other_frame(files: list[File], _: np.random.Generator) -> list[File]:
    for f in files:
        if f.dataset.Modality == "CT":
            f.dataset.FrameOfReferenceUID = UID(f"2.25.{int(str(f.dataset.FrameOfReferenceUID).rsplit('.', 1)[1]) + 1}")
    return files


def _duplicate_slices(files: list[File], rng: np.random.Generator) -> list[File]:
    chosen = _ac(files)
    picked = rng.choice(len(chosen), 3, replace=False)
    copies = [File(f"COPY/{chosen[n].path}", deepcopy(chosen[n].dataset)) for n in picked]
    return [*files, *copies]


def _shuffled_numbers(files: list[File], rng: np.random.Generator) -> list[File]:
    numbers = rng.permutation(len(files)) + 1
    for f, n in zip(files, numbers, strict=True):
        f.dataset.InstanceNumber = int(n)
        f.path = f"DATA/{int(n):05d}"
    return files


def _no_ct(files: list[File], _: np.random.Generator) -> list[File]:
    return [f for f in files if f.dataset.Modality != "CT"]


#: name: (what a reader of the header should do, planter). ``repairable``: goes on with a caveat; ``refuses``: no SUV.
FAULTS: Mapping[str, tuple[str, Plant]] = {
    "missing_slice": ("refuses", _missing_slice),
    "no_weight": ("refuses", _no_weight),
    "weight_in_grams": ("repairable", _weight_in_grams),
    "dose_in_mbq": ("repairable", _dose_in_mbq),
    "no_injection_time": ("refuses", _no_injection_time),
    "time_only": ("harmless", _time_only),
    "shifted_injection_date": ("repairable", _shifted_injection_date),
    "no_tracer": ("indeterminate", _no_tracer),
    "only_nac": ("refuses", _only_nac),
    "other_frame": ("refuses", _other_frame),
    "duplicate_slices": ("repairable", _duplicate_slices),
    "shuffled_numbers": ("harmless", _shuffled_numbers),
    "no_ct": ("indeterminate", _no_ct),
}


def plant(files: list[File], names: Sequence[str], rng: np.random.Generator) -> tuple[list[File], list[dict[str, str]]]:
    """Files with the named faults, and what stands in the answer key about them. Raises KeyError for an unknown name."""
    planted = []
    for name in names:
        expected, planter = FAULTS[name]
        files = planter(files, rng)
        planted.append({"fault": name, "expected": expected})
    return files, planted
