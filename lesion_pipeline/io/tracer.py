"""Which tracer a PET header names: by code, then by text, then by nuclide and series description. Never by habit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lesion_pipeline.domain.nuclides import Nuclide, nuclide_of_code, nuclide_of_half_life, nuclide_of_text
from lesion_pipeline.domain.pet import Injection, Tracer

# RadiopharmaceuticalCodeSequence values, DICOM CID 4021 and the older SRT codes
_CODES = {
    "35321007": Tracer.FDG,
    "C-B1031": Tracer.FDG,
    "129501009": Tracer.NAF,
    "C-B1032": Tracer.NAF,
    "456992002": Tracer.CHOLINE,
    "C-E0273": Tracer.CHOLINE,
    "126703": Tracer.CHOLINE,
    "C118961": Tracer.PSMA_11,
    "C116352": Tracer.DCFPYL,
    "126758": Tracer.PSMA_1007,
    "724025002": Tracer.DOTATATE,
    "C2713594": Tracer.DOTATATE,  # edotreotide: same receptor, same physiologic pattern
}

_EDGE, _END = r"(?<![a-z0-9])", r"(?![a-z0-9])"
_WORDS = (
    (Tracer.FDG, rf"{_EDGE}(?:18f|f18)?-?fdg{_END}|fluoro-?deoxy-?glucose|fludeoxyglucose"),
    (Tracer.NAF, rf"{_EDGE}(?:18f-?|f18-?)?naf{_END}|sodium[\s-]*fluoride|fluoride[\s-]*sodium"),
    (Tracer.PSMA_1007, r"psma[\s_-]*1007"),
    (Tracer.DCFPYL, r"dcfpyl|piflufolastat|pylarify"),
    (Tracer.PSMA_11, r"psma[\s_-]*(?:11|hbed)(?!\d)|hbed[\s_-]*cc|gozetotide|illuccix|locametz"),
    (Tracer.DOTATATE, r"dota[\s_-]*(?:tate|toc|noc)|edotreotide|oxodotreotide|netspot|sitate|detectnet"),
    (Tracer.CHOLINE, r"choline"),
)
_PATTERNS = tuple((tracer, re.compile(pattern, re.IGNORECASE)) for tracer, pattern in _WORDS)
_ANY_PSMA = re.compile(r"psma", re.IGNORECASE)

# nuclides each tracer is made with
_NUCLIDES = {
    Tracer.FDG: ("F-18",),
    Tracer.NAF: ("F-18",),
    Tracer.PSMA_1007: ("F-18",),
    Tracer.DCFPYL: ("F-18",),
    Tracer.PSMA_11: ("Ga-68",),
    Tracer.DOTATATE: ("Ga-68", "Cu-64", "F-18"),
    Tracer.CHOLINE: ("F-18", "C-11"),
}
_HALF_LIFE_MATCH = 0.02  # to recognise a nuclide only; the tolerance that refuses stands in the preset


@dataclass(frozen=True, slots=True)
class Recognised:
    """tracer, the tag that named it, and what must be said about it as (caveat code, sentence)."""

    tracer: Tracer
    source: str | None
    note: tuple[str, str] | None = None


def nuclide_of(injection: Injection) -> Nuclide | None:
    """The nuclide by code, by text, or by half-life; the half-life decides when code and text contradict each other."""
    by_life = nuclide_of_half_life(injection.half_life_s, _HALF_LIFE_MATCH)
    named = [n for n in (nuclide_of_code(injection.nuclide_code), nuclide_of_text(injection.nuclide_text)) if n]
    if by_life in named or not named:
        return by_life
    return named[0]


def tracers_in(words: str) -> tuple[Tracer, ...]:
    """Every tracer a text names, in the order of the table."""
    return tuple(tracer for tracer, pattern in _PATTERNS if pattern.search(words))


def recognise(injection: Injection, description: str) -> Recognised:
    """The tracer of one injection.

    description: SeriesDescription, believed only together with a nuclide that fits. A code and a text that name different
    tracers, or a tracer whose nuclide does not fit, give UNKNOWN with the note TRACER_CONFLICT.
    """
    nuclide = nuclide_of(injection)
    named = _named_in_header(injection, nuclide)
    if named is not None:
        return named
    described = tracers_in(description)
    if len(described) == 1 and nuclide and nuclide.name in _NUCLIDES[described[0]]:
        sentence = f"the tracer {described[0]} is known from the series description and the nuclide only"
        return Recognised(described[0], "SeriesDescription", ("TRACER_FROM_DESCRIPTION", sentence))
    if not described and _is_gallium_psma(description, nuclide):
        return _inferred_psma("SeriesDescription")
    return Recognised(Tracer.UNKNOWN, None)


def _named_in_header(injection: Injection, nuclide: Nuclide | None) -> Recognised | None:
    """What code and text of the injection say, None when they say nothing."""
    coded = _CODES.get((injection.tracer_code or "").strip())
    said = tracers_in(injection.tracer_text)
    if coded and said and coded not in said:
        return _conflict("RadiopharmaceuticalCodeSequence", "its code and its text name different tracers")
    if coded:
        return _fitting(coded, nuclide, "RadiopharmaceuticalCodeSequence")
    if said:
        several = _conflict("Radiopharmaceutical", "the text names several tracers")
        return several if len(said) > 1 else _fitting(said[0], nuclide, "Radiopharmaceutical")
    if _is_gallium_psma(injection.tracer_text, nuclide):
        return _inferred_psma("Radiopharmaceutical")
    if injection.tracer_code:
        return Recognised(Tracer.UNKNOWN, None)  # named, by a name not known here: a description must not overrule it
    return None


def _is_gallium_psma(words: str, nuclide: Nuclide | None) -> bool:
    return bool(_ANY_PSMA.search(words)) and nuclide is not None and nuclide.name == "Ga-68" and not re.search(r"617", words)


def _inferred_psma(source: str) -> Recognised:
    sentence = "the header says PSMA with gallium-68 without naming the ligand; read as PSMA-11"
    return Recognised(Tracer.PSMA_11, source, ("TRACER_INFERRED", sentence))


def _conflict(source: str, why: str) -> Recognised:
    return Recognised(Tracer.UNKNOWN, source, ("TRACER_CONFLICT", f"the tracer is not known: {why}"))


def _fitting(tracer: Tracer, nuclide: Nuclide | None, source: str) -> Recognised:
    if nuclide is not None and nuclide.name not in _NUCLIDES[tracer]:
        return _conflict(source, f"{tracer} does not come with {nuclide.name}")
    return Recognised(tracer, source)
