"""Positron emitters: codes, spellings and half-lives.

Half-lives in seconds as agreed for SUV work (NIST / DDEP values); vendors write slightly different ones (F-18 6586 or 6588 s,
Ga-68 4057.7 to 4069.8 s), hence every comparison is made with a tolerance that the preset states.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nuclide:
    """name: ``F-18``. codes: SNOMED CT and older SRT code values of DICOM CID 4020."""

    name: str
    half_life_s: float
    codes: tuple[str, ...]


NUCLIDES: tuple[Nuclide, ...] = (
    Nuclide("F-18", 6586.2, ("77004003", "C-111A1")),
    Nuclide("Ga-68", 4062.6, ("35337001", "C-131A3")),
    Nuclide("C-11", 1221.8, ("40565003", "C-105A1")),
    Nuclide("N-13", 597.9, ("21576001", "C-107A1")),
    Nuclide("O-15", 122.24, ("129504001", "C-B1038")),
    Nuclide("Cu-64", 45721.0, ("3932008", "C-127A2")),
    Nuclide("Rb-82", 76.38, ("79197006", "C-159A2")),
    Nuclide("Zr-89", 282280.0, ("63360001", "C-168A4")),
    Nuclide("I-124", 360806.0, ("40937006", "C-114A5")),
    Nuclide("Y-90", 230580.0, ("14691008", "C-162A7")),
    Nuclide("Ga-66", 34164.0, ("79477007", "C-131A1")),
    Nuclide("Ge-68", 2.341e7, ("53315004", "C-128A2")),
)

_ELEMENTS = {
    "F": "fluorine|fluor|f",
    "Ga": "gallium|ga",
    "C": "carbon|c",
    "N": "nitrogen|n",
    "O": "oxygen|o",
    "Cu": "copper|cu",
    "Rb": "rubidium|rb",
    "Zr": "zirconium|zr",
    "I": "iodine|i",
    "Y": "yttrium|y",
    "Ge": "germanium|ge",
}


def _spellings(name: str) -> re.Pattern[str]:
    symbol, mass = name.split("-")
    words = _ELEMENTS[symbol]
    gap = r"[\s^\-_\[\]()]*"
    return re.compile(rf"(?<![a-z0-9])(?:(?:{words}){gap}{mass}|{mass}{gap}(?:{words}))(?![a-z0-9])", re.IGNORECASE)


_TEXT = tuple((nuclide, _spellings(nuclide.name)) for nuclide in NUCLIDES)


def nuclide_of_code(code: str | None) -> Nuclide | None:
    """The nuclide with this SNOMED CT or SRT code, None when the table does not know it."""
    return next((n for n in NUCLIDES if code and code.strip() in n.codes), None)


def nuclide_of_text(text: str) -> Nuclide | None:
    """The one nuclide a text names (``18F``, ``F18``, ``^18^Fluorine``, ``GA68``), None when it names none or several."""
    named = [nuclide for nuclide, pattern in _TEXT if pattern.search(text)]
    return named[0] if len(named) == 1 else None


def nuclide_of_half_life(seconds: float | None, tolerance: float) -> Nuclide | None:
    """The nuclide whose half-life lies within a relative tolerance, None when there is none."""
    if seconds is None:
        return None
    return next((n for n in NUCLIDES if abs(seconds / n.half_life_s - 1.0) <= tolerance), None)
