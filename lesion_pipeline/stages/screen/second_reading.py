"""Where several detectors read the PET and one of them did not see the lesion."""

from __future__ import annotations

from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired


def disagreement(case: Case) -> list[Fired]:
    """Who saw it and who did not; the ceiling is the one that detection gave it by the preset."""
    candidate = case.finding.located.candidate
    if not candidate.missed_by:
        return []
    text = f"seen by {' and '.join(candidate.seen_by)}, not by {' and '.join(candidate.missed_by)}"
    ceiling = candidate.ceiling if candidate.ceiling < 1.0 else None
    return [Fired("READERS_DISAGREE", text, ceiling=ceiling)]
