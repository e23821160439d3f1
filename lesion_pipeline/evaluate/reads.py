"""What a judge compares: two reads of one study, the reference and the run, in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.domain.volume import LabelMap

#: Kind of a reference lesion that counts. Anything else (benign, primary, additional, ...) must not be counted.
METASTASIS = "metastasis"

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ReadLesion:
    """One lesion of a read. None means: the reader did not say.

    centroid_lps_mm: a point inside or near the lesion. organ: key of domain.anatomy.Organ. level: VertebralLevel name. levels:
    every vertebra it involves. kind: ``metastasis`` for what counts. probability, decision and reasons belong to runs; a
    reference lesion has probability 1 and is counted when its kind is metastasis. traits: what strata a reference puts it in,
    e.g. ("near_physiologic", "yes").
    """

    id: str
    centroid_lps_mm: Point
    organ: str | None = None
    spinal: bool | None = None
    level: str | None = None
    levels: tuple[str, ...] = ()
    volume_ml: float | None = None
    suv_max: float | None = None
    kind: str = METASTASIS
    decision: Decision = Decision.COUNTED
    probability: float = 1.0
    reasons: tuple[str, ...] = ()
    traits: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadCount:
    """A count and its interval; a reference has low = best = high."""

    low: int
    best: int
    high: int

    @classmethod
    def exactly(cls, n: int) -> ReadCount:
        """A count without doubt."""
        return cls(n, n, n)


@dataclass(frozen=True, slots=True)
class ReadAnswer:
    """status: meets, does_not_meet, indeterminate, not_assessable. probability: that the criterion holds, if said."""

    status: str
    probability: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """One study as one reader sees it.

    maps: label maps of the lesions; names[value].key is a lesion id. A lesion that no map holds is a point. counts: keys
    lesions, organs, spinal_lesions, involved_vertebrae, where known. tracer, preset: for strata and the report. headline: id of
    the criterion that a run puts first.
    """

    key: str
    lesions: tuple[ReadLesion, ...]
    maps: tuple[LabelMap, ...] = ()
    counts: Mapping[str, ReadCount] = field(default_factory=dict)
    criteria: Mapping[str, ReadAnswer] = field(default_factory=dict)
    tracer: str = "unknown"
    preset: str = ""
    headline: str = ""
    caveats: tuple[str, ...] = ()


COUNT_NAMES = ("lesions", "organs", "spinal_lesions", "involved_vertebrae")


def derived_counts(lesions: tuple[ReadLesion, ...]) -> dict[str, ReadCount]:
    """Counts that follow from a reference's own lesions; a count is left out when the reference lacks what it needs.

    Every metastasis is one lesion; organs: distinct organs; spinal lesions: those said to be spinal; involved vertebrae:
    distinct levels of spinal lesions.
    """
    counted = [lesion for lesion in lesions if lesion.kind == METASTASIS]
    out = {"lesions": ReadCount.exactly(len(counted))}
    if all(lesion.organ is not None for lesion in counted):
        out["organs"] = ReadCount.exactly(len({lesion.organ for lesion in counted}))
    if all(lesion.spinal is not None for lesion in counted):
        spinal = [lesion for lesion in counted if lesion.spinal]
        out["spinal_lesions"] = ReadCount.exactly(len(spinal))
        named = [set(lesion.levels) | ({lesion.level} if lesion.level is not None else set()) for lesion in spinal]
        if all(named):
            out["involved_vertebrae"] = ReadCount.exactly(len(set().union(*named)))
    return out
