"""The stage's door: every located candidate becomes a finding with what each modality says of it."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.anatomy import Anatomy, StructureKind
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.lesion import Evidence, Finding, Located
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.bone_ct import CtReader
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.stages.match.absorb import absorb
from lesion_pipeline.stages.match.ct import CHANGED, ct_evidence
from lesion_pipeline.stages.match.mr import MrReader
from lesion_pipeline.stages.match.options import Options

STAGE = "match"


def run(located: Sequence[Located], study: Study, anatomy: Anatomy, options: Options) -> tuple[Finding, ...]:
    """One finding for every candidate, in the given order, numbered L001.. ; CT foci on a PET lesion belong to its finding."""
    ct = CtReader(study.ct, Places(anatomy, study.frames, study.ct.grid.frame), options.ct) if study.ct is not None else None
    frame = study.pet.grid.frame if study.pet is not None else ""
    mr = MrReader(study, Places(anatomy, study.frames, frame), options.mr) if study.mr and frame else None
    involved = frozenset(key for one in located for key in _involved(one, anatomy))
    findings = []
    for rank, sightings in enumerate(absorb(located, study, options.ct), start=1):
        one = sightings[0]
        # a focus that the CT's own detector saw on it speaks where the whole of a larger lesion would not
        read = [ct_evidence(seen, study, ct, options.ct) for seen in sightings]
        on_ct = next((said for said in read if said.kind in CHANGED), read[0])
        on_mr = mr.read(one, involved) if mr is not None and one.candidate.grid.frame == frame else None
        notes = tuple(f"CT: {n}" for n in (on_ct.note,) if n) + tuple(f"MR: {n}" for n in (on_mr.notes if on_mr else ()))
        evidence = Evidence(
            pet=_on_pet(one, study),
            ct=on_ct.kind,
            mri=on_mr.status if on_mr else "not_available",
            mri_enhanced=on_mr.enhanced if on_mr else None,
            notes=notes,
        )
        findings.append(Finding(f"L{rank:03d}", sightings, evidence))
    return tuple(findings)


def _on_pet(located: Located, study: Study) -> str:
    """A lesion seen elsewhere is negative on a PET that reaches it: no detector of the PET saw it there."""
    if located.candidate.modality is Modality.PT:
        return "positive"
    if study.pet is None:
        return "not_available"
    try:
        link = study.frames.between(located.candidate.grid.frame, study.pet.grid.frame)
    except FrameMismatchError:
        return "not_available"
    inside = study.pet.grid.contains(link.apply(located.candidate.points_lps_mm))
    return "negative" if inside.all() else "not_available"


def _involved(located: Located, anatomy: Anatomy) -> list[str]:
    """Keys of the vertebrae that a lesion involves."""
    instances = {v.instance for v in located.site.vertebrae if v.involved}
    structures = [s for named in anatomy.maps for s in named.label_map.names.values() if s.kind is StructureKind.VERTEBRA]
    return [s.key for s in structures if s.instance in instances]
