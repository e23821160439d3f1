"""What other tools print as a warning is a value here, so that a screening tool can act on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Caveat:
    """Something that went on, but must be known.

    ``code`` is stable; ``stage`` is the stage that raised it; ``message`` is one sentence without names, ids, dates or paths;
    ``series`` is the key of the series concerned, if one is. Whether a caveat forces a criterion to ``indeterminate`` is not
    said here: the criteria file lists the codes that do.
    """

    code: str
    stage: str
    message: str
    series: str | None = None
