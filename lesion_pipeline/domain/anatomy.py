"""Names of places in the body: organs as they are counted, vertebral levels in order, and the structures of a label map."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from lesion_pipeline.domain.caveat import Caveat

if TYPE_CHECKING:
    from lesion_pipeline.domain.volume import LabelMap


class Organ(StrEnum):
    """The vocabulary for counting organs. Paired organs are one; the skeleton is one."""

    BONE = "bone"
    LYMPH_NODE = "lymph_node"
    LUNG = "lung"
    PLEURA = "pleura"
    LIVER = "liver"
    ADRENAL = "adrenal"
    BRAIN = "brain"
    KIDNEY = "kidney"
    SPLEEN = "spleen"
    PANCREAS = "pancreas"
    PERITONEUM = "peritoneum"
    SKIN = "skin_subcutis"
    SOFT_TISSUE = "muscle_soft_tissue"
    OVARY = "ovary"
    THYROID = "thyroid"
    BREAST = "breast"
    GI = "gastrointestinal"
    BLADDER = "bladder"
    PROSTATE = "prostate"
    HEART = "heart"
    HEAD_GLANDS = "head_glands"
    OTHER = "other"


class VertebralLevel(IntEnum):
    """Levels from head to tail; comparing two asks which is more caudal. T13 and L6 exist in some people.

    The sacrum is one unit ``S`` unless a segmenter names S1..S5.
    """

    C1 = 1
    C2 = 2
    C3 = 3
    C4 = 4
    C5 = 5
    C6 = 6
    C7 = 7
    T1 = 8
    T2 = 9
    T3 = 10
    T4 = 11
    T5 = 12
    T6 = 13
    T7 = 14
    T8 = 15
    T9 = 16
    T10 = 17
    T11 = 18
    T12 = 19
    T13 = 20
    L1 = 21
    L2 = 22
    L3 = 23
    L4 = 24
    L5 = 25
    L6 = 26
    S = 27
    S1 = 28
    S2 = 29
    S3 = 30
    S4 = 31
    S5 = 32
    CO = 33

    @property
    def region(self) -> str:
        """cervical, thoracic, lumbar, sacral or coccygeal."""
        initial = self.name[0]
        if self is VertebralLevel.CO:
            return "coccygeal"
        return {"C": "cervical", "T": "thoracic", "L": "lumbar", "S": "sacral"}[initial]


class StructureKind(StrEnum):
    """What a label stands for."""

    ORGAN = "organ"
    VERTEBRA = "vertebra"
    BONE = "bone"
    REGION = "region"
    TISSUE = "tissue"


@dataclass(frozen=True, slots=True)
class Structure:
    """One named label.

    key: lower_snake_case, unique in its map, e.g. ``liver``, ``kidney_left``, ``rib_left_7``, ``vertebra_L3``, ``body``.
    organ: the organ a lesion inside it counts under; None for regions that are not an organ (``body``, ``spinal_canal``).
    level: for vertebrae that could be named. instance: ordinal of a vertebra in this scan, 1 = most cranial.
    snomed: SNOMED CT code, or None.
    """

    key: str
    kind: StructureKind
    organ: Organ | None = None
    level: VertebralLevel | None = None
    instance: int | None = None
    snomed: str | None = None


@dataclass(frozen=True, slots=True)
class VertebraInstance:
    """A vertebra of this scan. Its instance (1 = most cranial) counts; its level is a name that may be unsure.

    level: best name or None when ``ambiguous``; alternatives: (level, probability), best first; confidence: probability of the
    best name; anchors: landmarks that carried the name (``sacrum``, ``skull``, ``rib12``); centroid in LPS mm of the CT frame.
    """

    instance: int
    level: VertebralLevel | None
    confidence: float
    centroid_lps_mm: tuple[float, float, float]
    alternatives: tuple[tuple[VertebralLevel, float], ...] = ()
    anchors: tuple[str, ...] = ()
    ambiguous: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """What an anatomy segmenter answers: a label map, what it knows of the vertebrae, and its doubts."""

    label_map: LabelMap
    vertebrae: tuple[VertebraInstance, ...] = ()
    caveats: tuple[Caveat, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class NamedMap:
    """A label map and the plug-in it came from."""

    source: str
    label_map: LabelMap


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Everything that is known of where organs and vertebrae are. Earlier maps win where two speak of one place."""

    maps: tuple[NamedMap, ...] = ()
    vertebrae: tuple[VertebraInstance, ...] = ()
    caveats: tuple[Caveat, ...] = field(default=())

    def find(self, key: str) -> tuple[LabelMap, int] | None:
        """The first map that holds a structure, with its label value."""
        for named in self.maps:
            value = named.label_map.value_of(key)
            if value is not None:
                return named.label_map, value
        return None
