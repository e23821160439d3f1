"""What an MR series is, from its header: a cascade over timing and sequence tags, with text as the weakest witness.

Rules and limits: clinical specification, section 5.2. Description text alone gives at most 0.6 confidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.study import MrFacts
from lesion_pipeline.io.dicom.record import FileRecord

_TEXT_CONFIDENCE = 0.6
_NO_CONTRAST = frozenset({"", "NO", "NONE", "N", "0", "WITHOUT", "W/O", "NEIN"})
_CONTRAST_WORDS = re.compile(r"(?:^|[\s_+-])(?:\+C|C\+|GD|GAD\w*|POST|KM|CE|CONTRAST)(?:$|[\s_+-])|\+C\b|\+GD\b", re.IGNORECASE)
_FAT_WORDS = re.compile(r"\b(?:FS|FATSAT|FAT SAT|SPAIR|SPIR|TIRM|STIR)\b|FATSAT", re.IGNORECASE)

#: Labels that description text alone can give, most specific first.
_TEXT_LABELS = (
    ("STIR", re.compile(r"STIR|TIRM", re.IGNORECASE)),
    ("FLAIR", re.compile(r"FLAIR|DARK.?FLUID", re.IGNORECASE)),
    ("ADC", re.compile(r"\bADC\b", re.IGNORECASE)),
    ("DWI", re.compile(r"DWI|DIFF|TRACEW", re.IGNORECASE)),
    ("T1", re.compile(r"T1", re.IGNORECASE)),
    ("T2*", re.compile(r"T2\*|T2STAR|HEMO", re.IGNORECASE)),
    ("T2", re.compile(r"T2", re.IGNORECASE)),
    ("PD", re.compile(r"\bPD\b|PROTON", re.IGNORECASE)),
)
_DIXON = {
    "DIXON_W": re.compile(r"\bWATER\b|(?:^|_)W(?:$|_)"),
    "DIXON_F": re.compile(r"\bFAT\b|(?:^|_)F(?:$|_)"),
    "DIXON_IN": re.compile(r"IN_PHASE|\bIP\b"),
    "DIXON_OPP": re.compile(r"OPP_PHASE|OUT_PHASE|\bOP\b"),
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """The tags the rules ask for, words in capitals; times in ms, None when absent."""

    sequences: frozenset[str]
    variants: frozenset[str]
    options: frozenset[str]
    kinds: tuple[str, ...]
    tr: float | None
    te: float | None
    ti: float | None
    flip: float | None
    b: float | None
    text: str

    def has(self, *words: str) -> bool:
        return bool(self.sequences & set(words))


def _seen(file: FileRecord) -> _Seen:
    frames = file.frame_records
    echo = frames[0].echo_time if frames and frames[0].echo_time is not None else file.echo_time
    b_value = max((f.b_value for f in frames if f.b_value is not None), default=file.b_value)
    kinds = file.image_type + (frames[0].frame_type if frames else ())
    pulse = {"SPIN": {"SE"}, "GRADIENT": {"GR"}, "BOTH": {"SE", "GR"}}.get(file.pulse_sequence.upper(), set())
    sequences = {w.upper() for w in file.scanning_sequence} | pulse
    if file.acquisition_contrast.upper() == "DIFFUSION":
        kinds = (*kinds, "DIFFUSION")
    if file.acquisition_contrast.upper() == "STIR" or (frames and file.inversion_time):
        sequences.add("IR")
    return _Seen(
        sequences=frozenset(sequences),
        variants=frozenset(w.upper() for w in file.sequence_variant),
        options=frozenset(w.upper() for w in file.scan_options),
        kinds=tuple(k.upper() for k in kinds),
        tr=file.repetition_time,
        te=echo,
        ti=file.inversion_time,
        flip=file.flip_angle,
        b=b_value,
        text=f"{file.description} {file.protocol}",
    )


def _adc(s: _Seen) -> bool:
    return "ADC" in s.kinds


def _dwi(s: _Seen) -> bool:
    return "DIFFUSION" in s.kinds or "TRACEW" in s.kinds or (s.has("EP") and (s.b or 0) > 0)


def _stir(s: _Seen) -> bool:
    return s.has("IR") and s.ti is not None and 90 <= s.ti <= 300 and s.te is not None and s.te < 150


def _flair(s: _Seen) -> bool:
    return s.has("IR") and s.ti is not None and s.ti > 1500


def _t1(s: _Seen) -> bool:
    if s.tr is None or s.te is None:
        return False
    if s.has("SE") and not s.has("IR"):
        return s.tr < 1000 and s.te < 30
    spoiled = s.has("GR") and (s.variants & {"SP", "SS"} or not s.variants)
    return bool(spoiled) and s.te < 10 and (s.tr < 15 or (s.flip or 0) >= 50)


def _t2(s: _Seen) -> bool:
    return s.tr is not None and s.te is not None and s.tr > 1800 and s.te >= 60 and not s.has("GR")


def _pd(s: _Seen) -> bool:
    return s.tr is not None and s.te is not None and s.tr > 1500 and s.te < 50 and s.has("SE") and not s.has("IR")


def _t2_star(s: _Seen) -> bool:
    return s.has("GR") and not s.has("SE") and s.te is not None and s.te >= 10


_RULES: tuple[tuple[str, Callable[[_Seen], bool], float, str], ...] = (
    ("ADC", _adc, 0.95, "ImageType ADC"),
    ("DWI", _dwi, 0.9, "diffusion in ImageType, or echo-planar with a b-value"),
    ("STIR", _stir, 0.9, "IR, TI 90 to 300 ms, TE below 150 ms"),
    ("FLAIR", _flair, 0.9, "IR, TI above 1500 ms"),
    ("T1", _t1, 0.9, "short TR and TE"),
    ("T2", _t2, 0.9, "TR above 1800 ms, TE 60 ms or more"),
    ("PD", _pd, 0.8, "TR above 1500 ms, TE below 50 ms"),
    ("T2*", _t2_star, 0.7, "gradient echo, TE 10 ms or more"),
)


def _dixon(s: _Seen) -> str | None:
    """A Dixon part: the word must stand in ImageType, or in the text of a series that calls itself Dixon."""
    words = " ".join(s.kinds)
    if "DIXON" in s.text.upper():
        words += " " + s.text.upper()
    return next((label for label, pattern in _DIXON.items() if pattern.search(words)), None)


def plane_of(affine: npt.NDArray[np.float64]) -> str:
    """sagittal, coronal, axial, or oblique (more than 30 degrees from all three) by the slice normal."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    along = np.abs(normal) / np.linalg.norm(normal)
    axis = int(np.argmax(along))
    return ("sagittal", "coronal", "axial")[axis] if along[axis] > np.cos(np.radians(30)) else "oblique"


def _contrast(file: FileRecord, label: str, text: str) -> bool | None:
    """True when given, None when not told: an empty agent is no proof of none."""
    if label not in {"T1", "DIXON_W", "unknown"}:
        return None
    if file.contrast_agent.strip().upper() not in _NO_CONTRAST or (file.contrast_volume or 0) > 0:
        return True
    return True if _CONTRAST_WORDS.search(text) else None


def mr_facts(file: FileRecord, affine: npt.NDArray[np.float64]) -> MrFacts:
    """Label, confidence and evidence of one MR stack."""
    seen = _seen(file)
    matches = [(label, confidence, why) for label, rule, confidence, why in _RULES if rule(seen)]
    told = next((label for label, pattern in _TEXT_LABELS if pattern.search(seen.text)), None)
    evidence = [f"{label}: {why}" for label, _, why in matches]
    label, confidence = (matches[0][0], matches[0][1]) if matches else ("unknown", 0.0)
    dixon = _dixon(seen)
    if dixon is not None and label in {"T1", "T2", "unknown", "T2*"}:
        evidence.append(f"{dixon}: named in ImageType or text")
        label, confidence = dixon, 0.85
    if told is not None:
        evidence.append(f"{told}: description")
        if label == "unknown":
            label, confidence = told, _TEXT_CONFIDENCE
        elif told != label and not label.startswith("DIXON"):
            confidence = min(confidence, 0.7)  # timing outweighs text, but the two contradict each other
    suppressed = label in {"STIR", "DIXON_W"} or "FS" in seen.options or bool(_FAT_WORDS.search(seen.text))
    suppressed = suppressed or file.fat_suppression.upper() in {"FAT", "WATER_FAT", "FAT_AND_WATER"}
    return MrFacts(
        label=label,
        confidence=confidence,
        fat_suppressed=suppressed,
        contrast=_contrast(file, label, seen.text),
        plane=plane_of(affine),
        evidence=tuple(evidence),
    )
