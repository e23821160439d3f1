"""Study -> named organs and vertebrae: every segmenter is asked in turn, its answer is checked, the first one wins.

The order of the segmenters is their precedence: where two maps speak of one place, the earlier is believed, so that vertebrae
may come from one and organs from another. A vertebra has one number in all of them. A segmenter whose
modality the study lacks is skipped and the result says so; one that breaks its contract is blamed by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Segmentation, StructureKind, VertebraInstance
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import (
    FrameMismatchError,
    LesionPipelineError,
    PluginContractError,
    PluginFailedError,
    PluginNotFoundError,
)
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.protocols import AnatomySegmenter
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality
from lesion_pipeline.imaging.vertebra_layers import Merged, merge, merge_by_name, renumbered

STAGE = "delineate"

_KEY = re.compile(r"[a-z][a-z0-9]*(_[a-zA-Z0-9]+)*")


class Options(BaseModel):
    """when_unavailable: what to do where a segmenter lacks its weights or its programme.

    same_vertebra_mm, same_vertebra_across_mm: two segmenters speak of one vertebra when their centres lie within these
    distances along the spine and across it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    when_unavailable: Literal["refuse", "go_on"]
    same_vertebra_mm: float = Field(gt=0)
    same_vertebra_across_mm: float = Field(gt=0)


def run(study: Study, segmenters: Sequence[AnatomySegmenter], options: Options) -> Anatomy:
    """Ask every segmenter; return its checked label maps in order of precedence, with one list of vertebrae.

    Raises PluginContractError (BAD_SEGMENTATION) for an answer that breaks the protocol, PluginFailedError (PLUGIN_FAILED)
    for any untyped exception, and lets a segmenter's own typed errors pass.
    """
    maps: list[NamedMap] = []
    caveats: list[Caveat] = []
    vertebrae: tuple[VertebraInstance, ...] = ()
    for segmenter in segmenters:
        doubt, answer = _ask(study, segmenter, options)
        if doubt is not None:
            caveats.append(doubt)
            continue
        answer = _checked(answer, segmenter.name, study)
        caveats.extend(answer.caveats)
        layer = NamedMap(segmenter.name, answer.label_map)
        if vertebrae and answer.vertebrae:
            merged = _merged(study, maps, vertebrae, answer, options)
            vertebrae = merged.vertebrae
            maps = [NamedMap(m.source, renumbered(m.label_map, merged.first)) for m in maps]
            layer = NamedMap(segmenter.name, renumbered(answer.label_map, merged.second))
            caveats.extend(_disagreement(merged, segmenter.name))
        else:
            vertebrae = vertebrae or answer.vertebrae
        maps.append(layer)
    if not any(np.any(m.label_map.values) for m in maps):
        caveats.append(Caveat("NO_ANATOMY", STAGE, "no segmenter could name any structure, so places are unknown"))
    return Anatomy(tuple(maps), vertebrae, tuple(dict.fromkeys(caveats)))


def _ask(study: Study, segmenter: AnatomySegmenter, options: Options) -> tuple[Caveat | None, object]:
    """(why it was skipped, its answer as it came)."""
    missing = sorted(str(m) for m in segmenter.needs - _modalities(study))
    if missing:
        sentence = f"{segmenter.name} was skipped: it needs {' and '.join(missing)}, which the study does not hold"
        return Caveat("SEGMENTER_SKIPPED", STAGE, sentence), None
    try:
        return None, segmenter.segment(study)
    except PluginNotFoundError as absent:
        if options.when_unavailable == "refuse":
            raise
        sentence = f"{segmenter.name} was skipped: {absent.message}. {absent.advice}".strip()
        return Caveat("SEGMENTER_UNAVAILABLE", STAGE, sentence), None
    except LesionPipelineError:
        raise
    except Exception as defect:
        raise PluginFailedError(
            "PLUGIN_FAILED",
            f"the segmenter {segmenter.name} {segmenter.version} failed with {type(defect).__name__}",
            advice="Leave it out of engines.segmenters in the preset, or report it to its authors.",
        ) from defect


def _modalities(study: Study) -> frozenset[Modality]:
    held = {Modality.PT: study.pet is not None, Modality.CT: study.ct is not None, Modality.MR: bool(study.mr)}
    return frozenset(modality for modality, present in held.items() if present)


def _study_grids(study: Study) -> list[Grid]:
    volumes = [study.ct, study.pet, *(volume for _, volume in study.mr)]
    return [volume.grid for volume in volumes if volume is not None]


def _checked(answer: object, name: str, study: Study) -> Segmentation:
    if not isinstance(answer, Segmentation):
        raise _broken(name, f"answered with {type(answer).__name__} instead of a Segmentation")
    label_map = answer.label_map
    _check_place(label_map.grid, name, study)
    keys = [s.key for s in label_map.names.values()]
    bad = next((key for key in keys if not _KEY.fullmatch(key)), None)
    if bad is not None:
        raise _broken(name, f"names a structure {bad!r}, which is not lower_snake_case")
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise _broken(name, f"gives two labels the name {twice!r}")
    _check_vertebrae(answer, name)
    return answer


def _check_place(grid: Grid, name: str, study: Study) -> None:
    """The frame must be linked to an image of the study and the map must overlap it."""
    linked = False
    for image in _study_grids(study):
        try:
            transform = study.frames.between(grid.frame, image.frame)
        except FrameMismatchError:
            continue
        linked = True
        low, high = (f(transform.apply(grid.corners()), axis=0) for f in (np.min, np.max))
        image_low, image_high = image.bounds()
        if bool(np.all(low <= image_high) and np.all(high >= image_low)):
            return
    if linked:
        raise _broken(name, "answered with a label map that lies beside every image of the study")
    raise _broken(name, "answered in a frame of reference that the study does not know")


def _check_vertebrae(answer: Segmentation, name: str) -> None:
    instances = [v.instance for v in answer.vertebrae]
    if len(set(instances)) != len(instances):
        raise _broken(name, "gives two vertebrae the same instance number")
    unknown = [
        s.key
        for s in answer.label_map.names.values()
        if s.kind is StructureKind.VERTEBRA and s.instance is not None and s.instance not in instances
    ]
    if unknown:
        raise _broken(name, f"labels the vertebra {unknown[0]!r} but does not list it among its vertebrae")
    for vertebra in answer.vertebrae:
        if not 0.0 <= vertebra.confidence <= 1.0 or not np.all(np.isfinite(vertebra.centroid_lps_mm)):
            raise _broken(name, f"gives vertebra {vertebra.instance} a confidence or centre that is out of range")
        if vertebra.level is None and not vertebra.ambiguous:
            raise _broken(name, f"leaves vertebra {vertebra.instance} without a name and does not call it ambiguous")


def _broken(name: str, what: str) -> PluginContractError:
    return PluginContractError("BAD_SEGMENTATION", f"the segmenter {name} {what}", advice="Report it to the plug-in's authors.")


def _merged(
    study: Study, maps: Sequence[NamedMap], first: tuple[VertebraInstance, ...], answer: Segmentation, options: Options
) -> Merged:
    """The vertebrae so far with those of a further layer, by place where a transform links the two, else by name."""
    numbered = (m.label_map for m in maps if any(s.kind is StructureKind.VERTEBRA for s in m.label_map.names.values()))
    believed = next(numbered, maps[0].label_map)
    try:
        link = study.frames.between(answer.label_map.grid.frame, believed.grid.frame)
    except FrameMismatchError:
        return merge_by_name(first, answer.vertebrae)
    moved = [
        replace(v, centroid_lps_mm=(float(x), float(y), float(z)))
        for v in answer.vertebrae
        for x, y, z in link.apply(np.array([v.centroid_lps_mm]))
    ]
    return merge(first, moved, options.same_vertebra_mm, options.same_vertebra_across_mm)


def _disagreement(merged: Merged, source: str) -> Iterable[Caveat]:
    if not merged.disagreeing:
        return ()
    told = ", ".join(f"{believed.name}/{other.name}" for believed, other in merged.disagreeing[:6])
    sentence = f"{source} names {len(merged.disagreeing)} vertebrae otherwise ({told}); their confidence is halved"
    return (Caveat("VERTEBRA_NAMES_DISAGREE", STAGE, sentence),)
