"""Real World Value Maps, judged against our own factor.

A map is evidence, never a source: it names no weight, dose or time that could be checked, and of those seen in practice one
in three was wrong by a factor of 1000. Where our own factor cannot be known, SUV stays unknown.
"""

from __future__ import annotations

from dataclasses import replace

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.pet import SuvCalibration, SuvStatus
from lesion_pipeline.domain.study import RealWorldMap, Series
from lesion_pipeline.stages.calibrate.notes import STAGE
from lesion_pipeline.stages.calibrate.options import Options

#: How a unit code names a kind of SUV, and which of our factors may be meant.
_MEANT = (
    ("suvbw", ("bw",)),
    ("suvlbmjanma", ("lbm_janmahasatian",)),
    ("suvlbmjames128", ("lbm_james128",)),
    ("suvlbm", ("lbm_james128", "lbm_james120", "lbm_janmahasatian")),
    ("suvbsa", ("bsa",)),
    ("suvibw", ("ibw",)),
)
#: A program in wide use writes SUVbsa with 1 m2 as 1000 cm2; it is named for what it is, not rejected as an unknown number.
_BSA_IN_THOUSANDS = 0.1


def judge(maps: tuple[RealWorldMap, ...], series: tuple[Series, ...], options: Options) -> tuple[RealWorldMap, ...]:
    """The maps with their verdicts: ``agrees (which factor)``, ``rejected: why``, or ``not judged: why``."""
    by_key = {s.key: s for s in series}
    return tuple(replace(m, verdict=_verdict(m, by_key, options)) for m in maps)


def _verdict(one: RealWorldMap, by_key: dict[str, Series], options: Options) -> str:
    quantity = "".join(c for c in one.quantity.casefold() if c.isalnum())
    meant = next((names for word, names in _MEANT if word in quantity), None)
    if meant is None:
        return "not judged: no kind of SUV"
    targets = [by_key[key] for key in one.refers_to if key in by_key]
    if not targets:
        return "not judged: the series it refers to is not here"
    calibrations = [s.suv for s in targets if s.suv is not None and s.suv.status is not SuvStatus.REFUSED]
    if not calibrations:
        code = next((s.suv.code for s in targets if s.suv is not None), None)
        return f"rejected: SUV of the series it refers to cannot be known ({code or 'no PET'})"
    if one.intercept != 0:
        return "rejected: an SUV map with an intercept"
    if not one.slope > 0:
        return "rejected: its slope is not positive"
    return _compare(one.slope, meant, calibrations[0], options)


def _compare(slope: float, meant: tuple[str, ...], suv: SuvCalibration, options: Options) -> str:
    ours = dict(suv.other_factors)
    if suv.bw_per_unit is not None:
        ours["bw"] = suv.bw_per_unit
    known = [(abs(slope / ours[name] - 1.0), name) for name in meant if name in ours]
    if not known:
        return "not judged: our own factor of that kind is not known"
    apart, name = min(known)
    if apart <= options.real_world_agree:
        return f"agrees ({name})"
    if name == "bsa" and abs(slope / (ours[name] * _BSA_IN_THOUSANDS) - 1.0) <= options.real_world_agree:
        return "agrees (bsa, written with 1000 cm2 to the square metre)"
    return f"rejected: {slope / ours[name]:.3g} times our own factor ({name})"


def caveats(maps: tuple[RealWorldMap, ...]) -> tuple[Caveat, ...]:
    """One caveat for all rejected maps of a study."""
    rejected = [m for m in maps if m.verdict.startswith("rejected")]
    if not rejected:
        return ()
    sentence = f"{len(rejected)} of {len(maps)} real world value maps were rejected; none is used in place of our own factor"
    return (Caveat("RWV_REJECTED", STAGE, sentence),)
