"""``builtin-spine``: every vertebra of a CT segmented and named without trained weights, or honestly called ambiguous.

Canal tracking, straightening along the bodies, one feature a millimetre, ribs, and a semi-Markov chain that cuts and names at
once (chain.py); the numbers that decide whether a vertebra is named stand in the preset.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.anatomy import Segmentation
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Volume
from lesion_pipeline.plugins.builtin_spine.answer import STAGE, segmentation_of
from lesion_pipeline.plugins.builtin_spine.engine import analyse

#: The landmarks of a reading that hangs on the last rib alone.
LAST_RIB = ("rib12",)


class Options(BaseModel):
    """name_from: lowest posterior probability at which a vertebra is named; last_rib_name_from: the same where the last rib is
    the only landmark, since in some people it is the 11th. one_anchor_ceiling: highest confidence of a name that hangs on one
    landmark alone, since a numbering variant beyond the field of view cannot be excluded. variant_from: probability of an
    unusual body plan from which the answer says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name_from: float = Field(gt=0.5, lt=1.0)
    one_anchor_ceiling: float = Field(gt=0.5, le=1.0)
    last_rib_name_from: float = Field(gt=0.5, lt=1.0)
    variant_from: float = Field(gt=0.0, lt=1.0)


class BuiltinSpine:
    """Vertebra segmenter for CT."""

    name = "builtin-spine"
    version = "1.0"
    needs: frozenset[Modality] = frozenset({Modality.CT})

    def __init__(self, options: Options) -> None:
        self._options = options

    def segment(self, study: Study) -> Segmentation:
        """Label map (1.5 mm, in the CT's frame) of bodies, posterior elements and canal. An image without a spine gives an
        empty map and the caveat NO_SPINE_FOUND; it never raises for lack of a spine."""
        ct = study.need(Modality.CT)
        spine = analyse(ct)
        if spine is None:
            return _nothing(ct)
        options = self._options
        name_from = options.last_rib_name_from if spine.reading.anchors == LAST_RIB else options.name_from
        return segmentation_of(spine, ct.grid.frame, name_from, options.one_anchor_ceiling, options.variant_from)


def _nothing(ct: Volume) -> Segmentation:
    centre = ct.grid.world((np.array(ct.grid.shape) - 1) / 2.0)
    affine = np.eye(4)
    affine[:3, 3] = centre
    empty = LabelMap(np.zeros((1, 1, 1), dtype=np.uint16), Grid((1, 1, 1), affine, ct.grid.frame), {})
    sentence = "the CT shows no spine that could be followed, so no vertebra is named and no lesion can be given a level"
    return Segmentation(empty, (), (Caveat("NO_SPINE_FOUND", STAGE, sentence, ct.series),))


def factory(options: Mapping[str, object]) -> BuiltinSpine:
    """Entry point: the preset's table [plugins.builtin_spine] -> the segmenter."""
    return BuiltinSpine(Options.model_validate(dict(options)))
