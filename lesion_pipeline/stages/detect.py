"""Study + anatomy -> candidate lesions: every detector's answer is checked, then several answers become one.

A tracer that the preset was not made for, or that nobody named, is a caveat: thresholds of one tracer say nothing of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import LesionPipelineError, PluginContractError, PluginFailedError
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.domain.protocols import LesionDetector
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality

STAGE = "detect"


class Options(BaseModel):
    """[detect]

    tracers: what the preset's thresholds were made for. combine: ``union`` keeps what any detector saw; ``intersection`` what
    at least two saw; ``second_reader`` keeps the first detector's candidates and adds those of the others, both marked where
    only one reader saw them. Two candidates are one when at least ``same_overlap`` of the smaller one's voxels are shared.
    single_reader_probability: P(tumour) ceiling of what only some of several detectors saw.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracers: tuple[Tracer, ...] = Field(min_length=1)
    combine: Literal["union", "intersection", "second_reader"]
    same_overlap: float = Field(gt=0, le=1)
    single_reader_probability: float = Field(gt=0, le=1)


def run(study: Study, anatomy: Anatomy, detectors: Sequence[LesionDetector], options: Options) -> tuple[Candidate, ...]:
    """Ask every detector, check its answer, combine, and number the candidates C001.. from the hottest down.

    Raises PluginContractError (BAD_CANDIDATES) for an answer that breaks the protocol, PluginFailedError (PLUGIN_FAILED) for
    any untyped exception, and lets a detector's own typed errors pass. A detector whose modality the study lacks finds nothing.
    """
    answers = [_ask(study, anatomy, detector) for detector in detectors if detector.needs <= _modalities(study)]
    combined = _combine(answers, options) if len(answers) > 1 else [c for answer in answers for c in answer]
    combined.sort(key=lambda c: (-(c.measures.suv_max or 0.0), c.centroid_lps_mm))
    return tuple(replace(c, id=f"C{rank:03d}") for rank, c in enumerate(combined, start=1))


def caveats(study: Study, detectors: Sequence[LesionDetector], options: Options) -> tuple[Caveat, ...]:
    """What must be known about the detection of this study: its tracer, and detectors that could not be asked."""
    found: list[Caveat] = []
    made_for = ", ".join(options.tracers)
    if study.pet is None:
        found.append(Caveat("NO_PET", STAGE, "the study holds no usable PET, so nothing was searched for uptake"))
    elif study.tracer is Tracer.UNKNOWN:
        sentence = f"the header does not name the tracer; thresholds for {made_for} were used without knowing that they apply"
        found.append(Caveat("TRACER_UNKNOWN", STAGE, sentence))
    elif study.tracer not in options.tracers:
        sentence = f"the tracer is {study.tracer}, but the preset was made for {made_for}; its thresholds do not apply"
        found.append(Caveat("TRACER_MISMATCH", STAGE, sentence))
    for detector in detectors:
        missing = sorted(str(m) for m in detector.needs - _modalities(study))
        if missing:
            sentence = f"{detector.name} was skipped: it needs {' and '.join(missing)}, which the study does not hold"
            found.append(Caveat("DETECTOR_SKIPPED", STAGE, sentence))
    return tuple(found)


def _modalities(study: Study) -> frozenset[Modality]:
    held = {Modality.PT: study.pet is not None, Modality.CT: study.ct is not None, Modality.MR: bool(study.mr)}
    return frozenset(modality for modality, present in held.items() if present)


def _ask(study: Study, anatomy: Anatomy, detector: LesionDetector) -> tuple[Candidate, ...]:
    try:
        answer = detector.detect(study, anatomy)
    except LesionPipelineError:
        raise
    except Exception as defect:
        raise PluginFailedError(
            "PLUGIN_FAILED",
            f"the detector {detector.name} {detector.version} failed with {type(defect).__name__}",
            advice="Leave it out of engines.detectors in the preset, or report it to its authors.",
        ) from defect
    _check(answer, detector.name, study)
    return answer


def _check(answer: object, name: str, study: Study) -> None:
    if not isinstance(answer, tuple) or not all(isinstance(c, Candidate) for c in answer):
        raise _broken(name, "answered with something other than a tuple of Candidate")
    ids = [c.id for c in answer]
    if len(set(ids)) != len(ids):
        raise _broken(name, "gave one id to several candidates")
    volumes = [study.pet, study.ct, *(volume for _, volume in study.mr)]
    known = {v.grid.frame for v in volumes if v is not None}
    linked = known | {f for link in study.frames.links for f in (link.from_frame, link.to_frame)}
    for candidate in answer:
        if candidate.grid.frame not in linked:
            raise _broken(name, f"put candidate {candidate.id} into a frame that the study does not know")
        if len(np.unique(candidate.voxels, axis=0)) != len(candidate.voxels):
            raise _broken(name, f"named a voxel of candidate {candidate.id} twice")
        for what, value in (("probability", candidate.probability), ("split_probability", candidate.split_probability)):
            if value is not None and not 0.0 <= value <= 1.0:
                raise _broken(name, f"gave candidate {candidate.id} a {what} of {value:g}")


def _broken(name: str, what: str) -> PluginContractError:
    return PluginContractError("BAD_CANDIDATES", f"the detector {name} {what}", advice="Report it to its authors.")


def _combine(answers: Sequence[tuple[Candidate, ...]], options: Options) -> list[Candidate]:
    """One list from several readers; the first reader that saw a lesion draws it."""
    kept: list[Candidate] = []
    readers: list[set[int]] = []
    for reader, answer in enumerate(answers):
        fresh = []
        for candidate in answer:
            twins = [n for n, other in enumerate(kept) if _overlap(candidate, other) >= options.same_overlap]
            for n in twins:
                readers[n].add(reader)
            if not twins:
                fresh.append(candidate)
        kept.extend(fresh)
        readers.extend({reader} for _ in fresh)
    if options.combine == "intersection":
        return [c for c, seen in zip(kept, readers, strict=True) if len(seen) > 1]
    if options.combine == "union":
        return kept
    ceiling = options.single_reader_probability
    return [
        c if len(seen) > 1 else replace(c, probability=min(ceiling, c.probability if c.probability is not None else ceiling))
        for c, seen in zip(kept, readers, strict=True)
    ]


def _overlap(one: Candidate, two: Candidate) -> float:
    """Share of the smaller candidate's voxels that the other holds too; 0 on different grids that do not meet."""
    small, large = (one, two) if len(one.voxels) <= len(two.voxels) else (two, one)
    if small.grid.frame != large.grid.frame:
        return 0.0
    at = small.voxels if small.grid.same_as(large.grid) else np.rint(large.grid.index(small.points_lps_mm)).astype(np.int64)
    low, high = large.voxels.min(axis=0), large.voxels.max(axis=0)
    at = at[np.all((at >= low) & (at <= high), axis=1)]
    if not len(at):
        return 0.0
    size = high - low + 1
    flat_large = np.ravel_multi_index(tuple((large.voxels - low).T), tuple(size))
    flat_small = np.ravel_multi_index(tuple((at - low).T), tuple(size))
    return float(np.isin(flat_small, flat_large).sum() / len(small.voxels))
