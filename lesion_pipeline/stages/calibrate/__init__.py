"""PET counts to SUV, with how and how sure; or a refusal that says why not and what to do.

``assess`` writes a refusal into the series; ``run`` raises it when it concerns the PET the study is read from.
"""

from __future__ import annotations

from dataclasses import replace

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.domain.pet import SuvCalibration, SuvStatus
from lesion_pipeline.domain.study import Assembly, Series, SeriesRole
from lesion_pipeline.domain.volume import Modality, Unit
from lesion_pipeline.stages.calibrate import realworld
from lesion_pipeline.stages.calibrate.factor import calibration_of
from lesion_pipeline.stages.calibrate.notes import STAGE, Notes
from lesion_pipeline.stages.calibrate.options import Options
from lesion_pipeline.stages.calibrate.values import check_plausible, to_suv

__all__ = ["Options", "assess", "calibrated", "run"]


def run(assembly: Assembly, options: Options) -> Assembly:
    """The assembly with PET volumes in SUVbw and ``suv`` of every PET series filled; CT and MR stay as they are.

    Raises MissingTagError or UnitError when SUV of the chosen PET cannot be known; other PETs carry their refusal.
    """
    assessed = assess(assembly, options)
    for before, after in zip(assembly.series, assessed.series, strict=True):
        if after.chosen and after.role is SeriesRole.PET and after.suv is not None and after.suv.status is SuvStatus.REFUSED:
            calibrated(before, options)  # raises what assess wrote down
    return assessed


def assess(assembly: Assembly, options: Options) -> Assembly:
    """As ``run``, but a refusal becomes status ``refused`` with its code and a caveat of the series; nothing is raised."""
    series = tuple(_assessed(s, options) for s in assembly.series)
    maps = realworld.judge(assembly.real_world_maps, series, options)
    return replace(assembly, series=series, real_world_maps=maps, caveats=assembly.caveats + realworld.caveats(maps))


def _assessed(series: Series, options: Options) -> Series:
    if series.modality is Modality.PT and series.refusal is not None:  # real NAC series may have all that SUV needs
        return replace(series, suv=SuvCalibration(SuvStatus.REFUSED, code=series.refusal, method=series.reason))
    if series.pet is None:
        return series
    try:
        return calibrated(series, options)
    except LesionPipelineError as refusal:
        caveat = Caveat(refusal.code, STAGE, f"{refusal.message}. {refusal.advice}".rstrip(". "), series.key)
        suv = SuvCalibration(SuvStatus.REFUSED, code=refusal.code, method=refusal.message)
        return replace(series, suv=suv, caveats=(*series.caveats, caveat))


def calibrated(series: Series, options: Options) -> Series:
    """One PET series with its calibration, its volume (if it was read) in SUVbw, and the caveats met on the way.

    Raises MissingTagError or UnitError.
    """
    if series.pet is None:
        return series
    notes = Notes(series.key)
    suv = calibration_of(series.pet, options, notes)
    volume = series.volume
    if volume is not None and volume.unit is not Unit.SUVBW:
        volume = to_suv(volume, suv)
        check_plausible(volume, options, notes)
    return replace(series, suv=suv, volume=volume, caveats=(*series.caveats, *notes.found))
