"""A whole study before it exists: who, which tracer, which scanners, which lesions, which faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.simulate.anatomy.params import BodyParams
from lesion_pipeline.simulate.implants import Implant
from lesion_pipeline.simulate.lesions import LesionPlan
from lesion_pipeline.simulate.motion import Motion
from lesion_pipeline.simulate.scanner import MrSettings, ScannerSettings


@dataclass(frozen=True)
class StudyPlan:
    """uptake: SUV that replaces the drawn one, by material. variation: spread of physiologic uptake relative to the tables.
    texture: patches of uptake inside tissues. ct_contrast: portal venous CT. motion: of the body between CT and PET.
    hot_ureter: +1 left, -1 right, with the fraction of its length where urine stands; faults: names from ``faults``.
    """

    name: str
    seed: int
    body: BodyParams = field(default_factory=BodyParams)
    tracer: Tracer = Tracer.FDG
    scanner: ScannerSettings = field(default_factory=ScannerSettings)
    mr: MrSettings | None = field(default_factory=MrSettings)
    lesions: tuple[LesionPlan, ...] = ()
    uptake: dict[str, float] = field(default_factory=dict)
    variation: float = 1.0
    texture: bool = False
    ct_contrast: bool = False
    motion: Motion = field(default_factory=Motion)
    implants: tuple[Implant, ...] = ()
    hot_ureter: tuple[tuple[int, float], ...] = ()
    faults: tuple[str, ...] = ()
    story: str = ""
