"""What a rule answers: it fired, it could not be asked, or (None) it has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass

from lesion_pipeline.domain.lesion import LesionClass


@dataclass(frozen=True, slots=True)
class Fired:
    """code: ``R4_SPINAL_CORD``; text: one sentence with numbers; odds: what the odds of a metastasis are multiplied by.

    ceiling, floor: limits of the probability afterwards. excluded: the finding is no lesion at all. shrink: how much of the
    distance to 0.5 is taken away. klass: what the finding is then thought to be.
    placed: the rule knows enough of the place, where no anatomy does, for the finding to be counted.
    """

    code: str
    text: str
    odds: float = 1.0
    ceiling: float | None = None
    floor: float | None = None
    excluded: bool = False
    shrink: float = 0.0
    klass: LesionClass | None = None
    placed: bool = False


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The rule applies to the tracer but what it asks for is missing."""

    code: str
    why: str


Outcome = Fired | NotAsked | None
