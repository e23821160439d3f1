"""Did the PET see enough of the patient to count the whole body's lesions? (clinical specification A12)"""

from __future__ import annotations

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.study import Study
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.stages.screen.options import Options

_STAGE = "screen"
_HEAD = ("skull", "brain", "head_glands")
_THIGH = ("femur_left", "femur_right")


def caveats(study: Study, anatomy: Anatomy, options: Options) -> tuple[Caveat, ...]:
    """COVERAGE_INCOMPLETE when the PET ends above the thigh or below the skull base, COVERAGE_UNKNOWN when nobody can say."""
    if study.pet is None:
        return ()
    places = Places(anatomy, study.frames, study.pet.grid.frame)
    marks = places.landmarks()
    low, high = study.pet.grid.bounds()
    heads = [marks[k] for k in _HEAD if k in marks]
    femurs = [marks[k] for k in _THIGH if k in marks]
    if not places.known:
        return (Caveat("COVERAGE_UNKNOWN", _STAGE, "without an anatomy nobody can say which part of the body the PET shows"),)
    missing = []
    if not heads or min(m.low[2] for m in heads) > high[2]:
        missing.append("the skull base")
    if not femurs or max(m.high[2] for m in femurs) - low[2] < options.coverage.thigh_mm:
        missing.append("the mid-thigh")
    if not missing:
        return ()
    sentence = (
        f"the PET does not reach {' and '.join(missing)} as far as the anatomy can tell; lesions beyond it are not counted"
    )
    return (Caveat("COVERAGE_INCOMPLETE", _STAGE, sentence),)
