"""The stage's door: every located candidate becomes a finding with what each modality says of it."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Evidence, Finding, Located
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.stages.match.options import Options

STAGE = "match"


def run(located: Sequence[Located], study: Study, anatomy: Anatomy, options: Options) -> tuple[Finding, ...]:
    """One finding for every candidate, in the given order, numbered L001.. ."""
    return tuple(
        Finding(f"L{rank:03d}", (one,), _evidence(one, study, anatomy, options)) for rank, one in enumerate(located, start=1)
    )


def _evidence(located: Located, study: Study, anatomy: Anatomy, options: Options) -> Evidence:
    return Evidence(pet="positive" if located.candidate.modality is Modality.PT else "not_available")
