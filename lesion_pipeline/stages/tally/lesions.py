"""Screened findings as countable lesions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lesion_pipeline.domain.anatomy import Anatomy, Organ, VertebraInstance
from lesion_pipeline.domain.lesion import Decision, LesionClass, Screened, Site
from lesion_pipeline.domain.verdict import CountableLesion
from lesion_pipeline.domain.volume import Modality

_SOURCES = {Modality.PT: "pet", Modality.CT: "ct", Modality.MR: "mr"}
#: Classes whose counting is a question of the rules, so that a reading may bring them back in.
_FOR_THE_RULES = (LesionClass.ADDITIONAL, LesionClass.TREATED, LesionClass.PRIMARY, LesionClass.REGIONAL_NODE)


def countable(screened: Sequence[Screened], anatomy: Anatomy) -> tuple[CountableLesion, ...]:
    """What counting needs of every finding that a reading of the rules may count; excluded findings stay with screening."""
    names = _level_names(screened, anatomy)
    instances = {vertebra.instance: vertebra for vertebra in anatomy.vertebrae}
    return tuple(
        _lesion(item, names, instances)
        for item in screened
        if item.decision is not Decision.EXCLUDED or item.lesion_class in _FOR_THE_RULES
    )


def _level_names(screened: Sequence[Screened], anatomy: Anatomy) -> dict[int, str]:
    """Instance -> the name it is counted under: its level where one instance alone bears it, else ``V07``.

    Distinct instances must never fall together because a naming is wrong.
    """
    levels = {v.instance: v.level for v in anatomy.vertebrae}
    for item in screened:
        for share in item.finding.located.site.vertebrae:
            levels.setdefault(share.instance, share.level)
    bearers = Counter(level for level in levels.values() if level is not None)
    return {
        instance: level.name if level is not None and bearers[level] == 1 else f"V{instance:02d}"
        for instance, level in levels.items()
    }


def _lesion(item: Screened, names: dict[int, str], instances: dict[int, VertebraInstance]) -> CountableLesion:
    finding = item.finding
    site, candidate = finding.located.site, finding.located.candidate
    involved = [share.instance for share in site.vertebrae if share.involved]
    alternatives = tuple(
        (names[i], tuple((level.name, chance) for level, chance in instances[i].alternatives))
        for i in involved
        if i in instances and instances[i].alternatives
    )
    seen = {_SOURCES[s.candidate.modality] for s in finding.sightings if s.candidate.modality in _SOURCES}
    measures = candidate.measures
    diffuse = item.lesion_class is LesionClass.DIFFUSE
    return CountableLesion(
        id=finding.id,
        probability=item.probability,
        organs=_organs(site),
        spinal=site.spinal,
        vertebrae=tuple(names[i] for i in involved),
        klass=item.lesion_class.value,
        split_probability=candidate.split_probability,
        sources=tuple(source for source in ("pet", "ct", "mr") if source in seen),
        volume_ml=measures.volume_ml,
        suv_max=measures.suv_max,
        regional=True if item.lesion_class is LesionClass.REGIONAL_NODE else None,
        treated=item.lesion_class is LesionClass.TREATED,
        diffuse=diffuse,
        doubts=tuple(dict.fromkeys(_doubts(item, diffuse))),
        structure=site.structure,
        contrast=_contrast(measures.suv_peak or measures.suv_max, measures.background),
        level_alternatives=alternatives,
        evidence=finding.evidence,
    )


def _organs(site: Site) -> tuple[tuple[str, float], ...]:
    """Organ probabilities that sum to 1; what is missing to 1 goes to ``other``."""
    total = sum(chance for _, chance in site.organ_probabilities)
    if total <= 0.0:
        return ()
    organs = [(organ.value, chance) for organ, chance in site.organ_probabilities if chance > 0.0]
    if total < 1.0 - 1e-6:
        organs.append((Organ.OTHER.value, 1.0 - total))
        total = 1.0
    return tuple((organ, chance / total) for organ, chance in organs)


def _doubts(item: Screened, diffuse: bool) -> list[str]:
    doubts = [code for sighting in item.finding.sightings for code in sighting.site.doubts]
    return doubts + [reason.code for reason in item.reasons] if diffuse else doubts


def _contrast(value: float | None, background: float | None) -> float | None:
    return value / background if value is not None and background else None
