"""Study + anatomy -> candidate lesions: every detector's answer is checked, then several answers become one.

A tracer that the preset was not made for, or that nobody named, is a caveat: thresholds of one tracer say nothing of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
from lesion_pipeline.imaging.readers import Mode, combine

STAGE = "detect"


class Options(BaseModel):
    """[detect]

    tracers: what the preset's thresholds were made for. combine: of detectors that read the same image, ``union`` keeps what
    any of them saw, with a doubt where one missed it; ``intersection`` excludes what one missed; in ``second_reader`` what the
    first reader saw stands on its own and what the others add is in doubt. Two candidates are one when at least
    ``same_overlap`` of the smaller one's voxels are shared. single_reader_probability: ceiling of the probability of what some
    of the readers did not see.
    disagreed_split: probability of two lesions where one reader draws one and another draws several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tracers: tuple[Tracer, ...] = Field(min_length=1)
    combine: Mode
    same_overlap: float = Field(gt=0, le=1)
    single_reader_probability: float = Field(gt=0, le=1)
    disagreed_split: float = Field(ge=0, le=1)


def run(study: Study, anatomy: Anatomy, detectors: Sequence[LesionDetector], options: Options) -> tuple[Candidate, ...]:
    """Ask every detector, check its answer, combine, and number the candidates C001.. from the hottest down.

    Raises PluginContractError (BAD_CANDIDATES) for an answer that breaks the protocol, PluginFailedError (PLUGIN_FAILED) for
    any untyped exception, and lets a detector's own typed errors pass. A detector whose modality the study lacks finds nothing.
    Detectors that read different images (PET, or CT alone) do not contradict each other: matching brings them together.
    """
    combined: list[Candidate] = []
    for readers in _by_image(study, detectors).values():
        answers = [(detector.name, _ask(study, anatomy, detector)) for detector in readers]
        combined += combine(
            answers,
            options.combine,
            same_overlap=options.same_overlap,
            single_reader_probability=options.single_reader_probability,
            disagreed_split=options.disagreed_split,
        )
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


def _by_image(study: Study, detectors: Sequence[LesionDetector]) -> dict[Modality, list[LesionDetector]]:
    """The detectors that can be asked, by the image they find lesions on: the PET unless they need another one only."""
    out: dict[Modality, list[LesionDetector]] = {}
    for detector in detectors:
        if detector.needs <= _modalities(study):
            alone = next(iter(detector.needs)) if len(detector.needs) == 1 else Modality.PT
            out.setdefault(alone, []).append(detector)
    return out


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
