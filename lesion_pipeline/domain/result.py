"""What one run of the pipeline knows at its end. Renderers read it and never count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.lesion import Screened
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import Tally, Verdict


@dataclass(frozen=True, slots=True)
class StageRun:
    """Time and memory of one stage."""

    stage: str
    seconds: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One study's answer. settings: every setting that was used, as plain JSON values, by stage.

    plugin_facts: what a plug-in says of the model it ran (hash, licence, versions), by the plug-in's name.
    """

    study: Study
    anatomy: Anatomy
    screened: tuple[Screened, ...]
    tally: Tally
    verdict: Verdict
    preset: str
    settings: Mapping[str, object]
    config_sha256: str
    plugins: tuple[tuple[str, str, str], ...]  # (group, name, version)
    caveats: tuple[Caveat, ...]
    plugin_facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Charted:
    """What is known of a study's anatomy, without any lesion. Fields as in ``Result``."""

    study: Study
    anatomy: Anatomy
    preset: str
    settings: Mapping[str, object]
    config_sha256: str
    plugins: tuple[tuple[str, str, str], ...]
    caveats: tuple[Caveat, ...]
