"""One reading of the rules over the lesions of a patient: what each lesion adds to the counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lesion_pipeline.domain.anatomy import Organ, VertebralLevel
from lesion_pipeline.domain.counting import CountingUnit
from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.domain.verdict import CountableLesion
from lesion_pipeline.stages.tally.rules import CountingRules

NOT_DISEASE = (LesionClass.PHYSIOLOGIC, LesionClass.BENIGN)
#: Vertebrae that touch although a supernumerary level stands between their names.
_NEIGHBOURS = {("T12", "L1"), ("L5", "S"), ("L5", "S1")}


@dataclass(frozen=True, slots=True)
class Assumption:
    """How the unknown is read. spinal: ids of the lesions of unknown spinal state that are read as spinal. separate_organs:
    every lesion of unknown organ lies in an organ of its own (else: in an organ that is affected anyway).
    diffuse_is_disease: how diffuse uptake that may be a reaction is read.
    """

    spinal: frozenset[str] = frozenset()
    separate_organs: bool = False
    diffuse_is_disease: bool = True


def left_out(lesion: CountableLesion, rules: CountingRules) -> str | None:
    """The code of the rule that keeps a lesion out of every count; None when it is counted."""
    small = lesion.volume_ml is not None and lesion.volume_ml < rules.lesion.minimum_volume_ml
    faint = lesion.contrast is None or lesion.contrast < rules.lesion.or_minimum_contrast
    primary = lesion.klass == LesionClass.PRIMARY and not (rules.primary.count_as_lesion or rules.primary.count_as_organ)
    reasons = (
        ("NOT_METASTASIS", lesion.klass in NOT_DISEASE),
        ("PRIMARY_NOT_COUNTED", primary),
        ("NODES_NOT_COUNTED", lesion.organ == Organ.LYMPH_NODE and rules.nodes.organ_mode == "excluded"),
        ("REGIONAL_NODE_NOT_COUNTED", is_regional(lesion, rules) and rules.nodes.organ_mode != "single_all"),
        ("TREATED_NOT_COUNTED", is_treated(lesion) and rules.treated_inactive == "report"),
        ("NOT_SEEN_ON_PET", is_additional(lesion) and rules.mri_only == "report"),
        ("BELOW_MINIMUM", small and faint),
    )
    return next((code for code, holds in reasons if holds), None)


def is_treated(lesion: CountableLesion) -> bool:
    return lesion.treated or lesion.klass == LesionClass.TREATED


def is_additional(lesion: CountableLesion) -> bool:
    """Seen on MR or CT and not on PET."""
    return lesion.klass == LesionClass.ADDITIONAL or "pet" not in lesion.sources


def is_diffuse(lesion: CountableLesion) -> bool:
    return lesion.diffuse or lesion.klass == LesionClass.DIFFUSE


def is_regional(lesion: CountableLesion, rules: CountingRules) -> bool:
    """A node in the basin of the primary, as the lesion or the rules say; ``unknown_is_regional`` where neither does."""
    if lesion.klass == LesionClass.REGIONAL_NODE or lesion.regional is True:
        return True
    if lesion.organ != Organ.LYMPH_NODE or lesion.regional is False:
        return False
    if rules.nodes.regional_basin:
        return lesion.structure in rules.nodes.regional_basin
    return rules.nodes.unknown_is_regional


def region_unknown(lesion: CountableLesion, rules: CountingRules) -> bool:
    """A node of which nobody says whether it is regional."""
    said = lesion.klass == LesionClass.REGIONAL_NODE or lesion.regional is not None
    return lesion.organ == Organ.LYMPH_NODE and not said and not rules.nodes.regional_basin


def is_spinal(lesion: CountableLesion, rules: CountingRules, assumption: Assumption) -> bool:
    if lesion.structure and lesion.structure in rules.spine.extra_structures:
        return True
    said = lesion.id in assumption.spinal if lesion.spinal is None else lesion.spinal
    return said and (not lesion.vertebrae or bool(vertebrae_counted(lesion, rules)))


def vertebrae_counted(lesion: CountableLesion, rules: CountingRules) -> tuple[str, ...]:
    """Its vertebrae without those that the rules leave out of the spine, head to tail."""
    kept = [
        key
        for key in dict.fromkeys(lesion.vertebrae)
        if not (key.startswith("S") and not rules.spine.include_sacrum)
        and not (key == VertebralLevel.CO.name and not rules.spine.include_coccyx)
    ]
    return tuple(sorted(kept, key=_rank))


def _rank(vertebra: str) -> tuple[int, str]:
    if vertebra in VertebralLevel.__members__:
        return VertebralLevel[vertebra].value, vertebra
    return int(vertebra[1:]) if vertebra[1:].isdigit() else 99, vertebra


def sites(vertebrae: Sequence[str], longest: int) -> int:
    """Number of sites of at most ``longest`` contiguous vertebrae that cover them, at least 1."""
    total, run = 0, 0
    for index, vertebra in enumerate(vertebrae):
        if index and not _touch(vertebrae[index - 1], vertebra):
            total += -(-run // longest)
            run = 0
        run += 1
    return max(1, total + -(-run // longest))


def _touch(upper: str, lower: str) -> bool:
    if upper in VertebralLevel.__members__ and lower in VertebralLevel.__members__:
        return (upper, lower) in _NEIGHBOURS or VertebralLevel[lower] - VertebralLevel[upper] == 1
    return upper[0] == lower[0] and _rank(lower)[0] - _rank(upper)[0] == 1


def units(lesions: Iterable[CountableLesion], rules: CountingRules, assumption: Assumption) -> tuple[CountingUnit, ...]:
    """What every counted lesion adds under these rules, in the order of the lesions."""
    counted = [lesion for lesion in lesions if left_out(lesion, rules) is None]
    known = [lesion.organ for lesion in counted if lesion.organ is not None]
    shared = max(sorted(set(known)), key=known.count) if known else "unknown"
    made = []
    for lesion in counted:
        questioned = bool(set(lesion.doubts) & set(rules.diffuse.question_codes))
        if is_diffuse(lesion) and questioned and not assumption.diffuse_is_disease:
            continue
        made.append(_unit(lesion, rules, assumption, shared))
    return tuple(made)


def _unit(lesion: CountableLesion, rules: CountingRules, assumption: Assumption, shared: str) -> CountingUnit:
    spinal = is_spinal(lesion, rules, assumption)
    organs = lesion.organs
    if not organs:
        in_bone = Organ.BONE.value if lesion.spinal else shared
        organs = ((f"unknown:{lesion.id}" if assumption.separate_organs and not lesion.spinal else in_bone, 1.0),)
    primary = lesion.klass == LesionClass.PRIMARY
    as_organ = rules.primary.count_as_organ if primary else True
    as_lesion = rules.primary.count_as_lesion if primary else True
    wanted = rules.organs.lesions_in
    as_lesion = as_lesion and (not wanted or max(organs, key=lambda item: item[1])[0] in wanted)
    vertebrae: tuple[str, ...] = ()
    if spinal and lesion.structure not in rules.spine.extra_structures:
        vertebrae = vertebrae_counted(lesion, rules) or (f"?{lesion.id}",)
    by_vertebra = rules.spine.lesion_unit == "vertebra" and bool(vertebrae)
    number = 1
    if rules.spine.lesion_unit == "rtog_site" and vertebrae:
        number = sites(vertebrae, rules.spine.rtog_max_contiguous)
    of_spine = number
    if is_diffuse(lesion) and rules.diffuse.mode == "exceeds":
        number, by_vertebra = rules.diffuse.counts_as, False
    return CountingUnit(
        id=lesion.id,
        probability=lesion.probability,
        organs=tuple((_organ_key(key, lesion, rules, spinal) if as_organ else "", share) for key, share in organs),
        lesions=0 if by_vertebra or not as_lesion else number,
        spinal=0 if by_vertebra or not spinal else of_spine,
        vertebrae=vertebrae,
        vertebrae_are_lesions=by_vertebra,
        split_probability=0.0 if by_vertebra or not as_lesion else split_probability(lesion, rules),
    )


def split_probability(lesion: CountableLesion, rules: CountingRules) -> float:
    """As given, else from the saddle ratio: 1 up to ``split_below``, 0 from ``merge_above``, linear between."""
    if lesion.saddle_ratio is None or lesion.split_probability > 0.0:
        return lesion.split_probability
    low, high = rules.lesion.split_below, rules.lesion.merge_above
    return min(1.0, max(0.0, (high - lesion.saddle_ratio) / (high - low)))


def _organ_key(organ: str, lesion: CountableLesion, rules: CountingRules, spinal: bool) -> str:
    key = organ
    if organ == Organ.BONE:
        mode = rules.bone.organ_mode
        if mode == "spine_other":
            key = "spine" if spinal else "other_bone"
        elif mode == "per_bone":
            key = (f"vertebra_{lesion.vertebrae[0]}" if lesion.vertebrae else lesion.structure) or organ
    elif organ == Organ.LYMPH_NODE and rules.nodes.organ_mode == "per_region" and lesion.structure:
        key = f"{organ}:{lesion.structure}"
    key = rules.organs.groups.get(lesion.structure, rules.organs.groups.get(key, key))
    among = rules.organs.organs_among
    return key if not among or organ in among or key in among else ""


def level_order(key: str) -> tuple[int, str]:
    """Sort key: vertebrae head to tail, anything else by name after them."""
    return _rank(key) if key in VertebralLevel.__members__ or (key[:1] == "V" and key[1:].isdigit()) else (100, key)
