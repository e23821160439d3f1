"""The reading of a spine in the words of the domain: structures, vertebrae with honest names, caveats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import (
    Organ,
    Segmentation,
    Structure,
    StructureKind,
    VertebraInstance,
    VertebralLevel,
)
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.plugins.builtin_spine.engine import Spine
from lesion_pipeline.plugins.builtin_spine.readings import Vertebra

Array = npt.NDArray[np.float64]

STAGE = "delineate"
CANAL_VALUE = 1
CANAL_CODE = "61853006"
#: SNOMED CT codes of the vertebrae; T13 and L6 have none.
SNOMED: dict[str, str] = {
    "C1": "14806007",
    "C2": "39976000",
    "C3": "113205007",
    "C4": "5329002",
    "C5": "36978003",
    "C6": "36054005",
    "C7": "87391001",
    "T1": "64864005",
    "T2": "53733008",
    "T3": "1626008",
    "T4": "73071006",
    "T5": "56401006",
    "T6": "45296009",
    "T7": "62487009",
    "T8": "11068009",
    "T9": "82687006",
    "T10": "7610001",
    "T11": "12989004",
    "T12": "23215003",
    "L1": "66794005",
    "L2": "14293000",
    "L3": "36470004",
    "L4": "11994002",
    "L5": "49668003",
    "S": "54735007",
}
ALTERNATIVE_FROM = 0.01


def segmentation_of(spine: Spine, frame: str, name_from: float, one_anchor_ceiling: float, variant_from: float) -> Segmentation:
    """Label map, vertebrae (instance 1 = most cranial) and caveats of a spine that was found."""
    reading = spine.reading
    count = len(reading.vertebrae)
    ceiling = one_anchor_ceiling if len(reading.anchors) == 1 else 1.0
    instances: list[VertebraInstance] = []
    names: dict[int, Structure] = {}
    for number, vertebra in enumerate(reading.vertebrae, start=1):
        instance = _instance(
            vertebra,
            number=count + 1 - number,
            centre=spine.parts.centres[number - 1],
            anchors=() if spine.doubts else reading.anchors,
            name_from=name_from,
            ceiling=ceiling,
        )
        instances.append(instance)
        key, snomed = _key(instance)
        common = (StructureKind.VERTEBRA, Organ.BONE, instance.level, instance.instance, snomed)
        names[2 * number] = Structure(key, *common)
        names[2 * number + 1] = Structure(f"{key}_posterior", *common)
    names[CANAL_VALUE] = Structure("spinal_canal", StructureKind.TISSUE, snomed=CANAL_CODE)
    grid = Grid(spine.box.hu.shape, spine.box.affine(), frame)
    label_map = LabelMap(spine.parts.part, grid, names)
    ordered = tuple(sorted(instances, key=lambda v: v.instance))
    return Segmentation(label_map, ordered, tuple(_caveats(spine, ordered, variant_from)))


def _instance(
    vertebra: Vertebra,
    *,
    number: int,
    centre: Array,
    anchors: tuple[str, ...],
    name_from: float,
    ceiling: float,
) -> VertebraInstance:
    named = bool(anchors) and vertebra.probability >= name_from
    confidence = min(vertebra.probability, ceiling)
    total = sum(p for _, p in vertebra.names) or 1.0
    alternatives = tuple((level, round(p / total, 3)) for level, p in vertebra.names if p / total >= ALTERNATIVE_FROM)
    x, y, z = (float(v) for v in centre)
    return VertebraInstance(
        instance=number,
        level=vertebra.level if named else None,
        confidence=round(confidence, 3),
        centroid_lps_mm=(round(x, 2), round(y, 2), round(z, 2)),
        alternatives=alternatives,
        anchors=anchors,
        ambiguous=not named,
    )


def _key(instance: VertebraInstance) -> tuple[str, str | None]:
    if instance.level is None:
        return f"vertebra_V{instance.instance:02d}", None
    return f"vertebra_{instance.level.name}", SNOMED.get(instance.level.name)


def _caveats(spine: Spine, vertebrae: tuple[VertebraInstance, ...], variant_from: float) -> list[Caveat]:
    out: list[Caveat] = []
    if spine.doubts:
        sentence = f"{' and '.join(spine.doubts)}: the orientation in the header may be wrong, so no vertebra is named"
        out.append(Caveat("ORIENTATION_SUSPECT", STAGE, sentence))
    ambiguous = [v for v in vertebrae if v.ambiguous]
    if ambiguous:
        why = _why(spine)
        spans = ", ".join(f"V{v.instance:02d} {_range(v)}" for v in ambiguous[:4])
        more = " and others" if len(ambiguous) > 4 else ""
        out.append(
            Caveat(
                "VERTEBRAE_AMBIGUOUS",
                STAGE,
                f"{len(ambiguous)} of {len(vertebrae)} vertebrae are not named because {why} ({spans}{more})",
            )
        )
    elif not {"sacrum", "skull"} & set(spine.reading.anchors) and vertebrae:
        sentence = (
            "level naming from a partial field of view: names were counted from ribs, neither sacrum nor skull is in view"
        )
        out.append(Caveat("VERTEBRAE_PARTIAL_VIEW", STAGE, sentence))
    variant = _variant(vertebrae, spine.reading.plan, spine.reading.plan_probability, variant_from)
    if variant:
        out.append(Caveat("NUMBERING_VARIANT", STAGE, variant))
    return out


def _why(spine: Spine) -> str:
    if spine.doubts:
        return "the orientation is in doubt"
    return "the count from the landmarks is unsure" if spine.reading.anchors else "no landmark to count from is in view"


def _range(vertebra: VertebraInstance) -> str:
    """approx. T7 (T6 to T8): the likeliest name and the span of what it may be."""
    levels = [level for level, p in vertebra.alternatives if p >= 0.05] or [level for level, _ in vertebra.alternatives[:1]]
    best = vertebra.alternatives[0][0].name if vertebra.alternatives else "?"
    if len(levels) < 2:
        return f"approx. {best}"
    return f"approx. {best} ({min(levels).name} to {max(levels).name})"


def _variant(vertebrae: tuple[VertebraInstance, ...], plan: str, probability: float, variant_from: float) -> str:
    """A sentence where an unusual number of vertebrae can be seen and is likely, else empty."""
    levels = {v.level for v in vertebrae if v.level is not None}
    seen = {
        "L6": VertebralLevel.L6 in levels and VertebralLevel.S in levels,
        "T13": VertebralLevel.T13 in levels,
        "L4": VertebralLevel.S in levels and VertebralLevel.L4 in levels and VertebralLevel.L5 not in levels,
        "T11": VertebralLevel.T11 in levels and VertebralLevel.L1 in levels and VertebralLevel.T12 not in levels,
        "ribs11": {VertebralLevel.T12, VertebralLevel.L1} <= levels,
    }
    what = {
        "L6": "six lumbar vertebrae",
        "T13": "thirteen rib-bearing vertebrae",
        "L4": "four lumbar vertebrae",
        "T11": "eleven rib-bearing vertebrae",
        "ribs11": "eleven pairs of ribs",
    }
    if not seen.get(plan, False) or probability < variant_from:
        return ""
    return f"the spine seems to have {what[plan]} (probability {probability:.2f}); counting from its other end differs"
