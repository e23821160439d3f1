"""Caveats met on the way through one PET header."""

from __future__ import annotations

from dataclasses import dataclass, field

from lesion_pipeline.domain.caveat import Caveat

STAGE = "calibrate"


@dataclass(slots=True)
class Notes:
    """Collects caveats of one series; a code is kept once."""

    series: str
    found: list[Caveat] = field(default_factory=list)

    def add(self, code: str, message: str) -> None:
        if all(caveat.code != code for caveat in self.found):
            self.found.append(Caveat(code, STAGE, message, self.series))
