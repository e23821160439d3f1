"""The stage's door: every located candidate becomes a finding with what each modality says of it."""

from __future__ import annotations

from collections.abc import Sequence

from lesion_pipeline.domain.anatomy import Anatomy, StructureKind
from lesion_pipeline.domain.lesion import Evidence, Finding, Located
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.stages.match.ct import CtReader, ct_evidence
from lesion_pipeline.stages.match.mr import MrReader
from lesion_pipeline.stages.match.options import Options

STAGE = "match"


def run(located: Sequence[Located], study: Study, anatomy: Anatomy, options: Options) -> tuple[Finding, ...]:
    """One finding for every candidate, in the given order, numbered L001.. ."""
    ct = CtReader(study.ct, Places(anatomy, study.frames, study.ct.grid.frame), options.ct) if study.ct is not None else None
    frame = study.pet.grid.frame if study.pet is not None else ""
    mr = MrReader(study, Places(anatomy, study.frames, frame), options.mr) if study.mr and frame else None
    involved = frozenset(key for one in located for key in _involved(one, anatomy))
    findings = []
    for rank, one in enumerate(located, start=1):
        on_ct = ct_evidence(one, study, ct, options.ct)
        on_mr = mr.read(one, involved) if mr is not None and one.candidate.grid.frame == frame else None
        notes = tuple(f"CT: {n}" for n in (on_ct.note,) if n) + tuple(f"MR: {n}" for n in (on_mr.notes if on_mr else ()))
        evidence = Evidence(
            pet="positive" if one.candidate.modality is Modality.PT else "not_available",
            ct=on_ct.kind,
            mri=on_mr.status if on_mr else "not_available",
            mri_enhanced=on_mr.enhanced if on_mr else None,
            notes=notes,
        )
        findings.append(Finding(f"L{rank:03d}", (one,), evidence))
    return tuple(findings)


def _involved(located: Located, anatomy: Anatomy) -> list[str]:
    """Keys of the vertebrae that a lesion involves."""
    instances = {v.instance for v in located.site.vertebrae if v.involved}
    structures = [s for named in anatomy.maps for s in named.label_map.names.values() if s.kind is StructureKind.VERTEBRA]
    return [s.key for s in structures if s.instance in instances]
