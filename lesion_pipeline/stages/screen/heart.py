"""Rules about the heart: its muscle takes up FDG as it likes, and its map may take in what lies beside it."""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.lesion import LesionClass
from lesion_pipeline.imaging.components import box, mask_of
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

#: Round a finding: beyond the blur of its own edge, and no farther than the wall of the heart is thick.
_SHELL_MM = (4.0, 12.0)
#: Where a focus has fallen to half its height on every side, if it is one: a wall goes on.
_FALL_MM = (3.0, 8.0)


def not_its_own(case: Case, organ: str, key: str) -> Fired | None:
    """What lies in the map of an organ of uneven uptake and is small against it may be something else all the same.

    A nodule with lung all round it, a mass that goes on in something hotter beyond, a focus that falls off on every side as no
    piece of muscle does, or one that outshines all else inside.
    """
    masks = case.scene.options.masks
    if case.measures.volume_ml > masks.nodule_fraction * case.scene.volume_ml(key):
        return None
    code, name = f"ORGAN_{organ.upper()}", key.replace("_", " ")
    lung = _lung_round(case)
    if lung is not None and lung >= masks.lung_round:
        said = f"inside the map of the {name}, but {100 * lung:.0f} % of what lies round it is lung: a nodule beside the {name}"
        return Fired(f"{code}_IN_LUNG", said)
    outshines = _outshines(case, organ, key)
    beyond = _hotter_beyond(case) if outshines else None
    if beyond is not None:
        said = (
            f"mass that reaches into the {name}: it goes on in {beyond.finding.id} beyond it (SUVmax {beyond.suv_max:.1f}) and "
            f"with {case.suv_max:.1f} outshines all else in the {name}; likely one lesion with it"
        )
        return Fired(f"{code}_INVADED", said, odds=masks.invaded_odds)
    apart = _falls_off(case)
    if apart is not None and apart >= masks.apart_share:
        return _apart(case, code, key, apart)
    noise = case.measures.contrast_to_noise
    if not outshines or noise is None or noise < masks.clear_noise:
        return None
    said = f"focus of {case.measures.volume_ml:.1f} ml with SUVmax {case.suv_max:.1f} that outshines all else in the {name}"
    return Fired(f"{code}_FOCUS", said, odds=masks.outshining_odds)


def _apart(case: Case, code: str, key: str, share: float) -> Fired:
    """A focus on its own, by the height it has in the organ's map."""
    masks, measures = case.scene.options.masks, case.measures
    mark = case.scene.landmarks.get(key)
    upper = mark is not None and mark.height_of(float(case.centre[2])) >= masks.upper_from
    where = "at the height of the hila and the atria, where nodes lie" if upper else "but at the height of the chambers"
    said = (
        f"focus of {measures.volume_ml:.1f} ml with SUVmax {case.suv_max:.1f} in the map of the {key.replace('_', ' ')}: it "
        f"falls below half of that on {100 * share:.0f} % of its sides, as no piece of muscle does; {where}"
    )
    return Fired(f"{code}_APART", said, odds=masks.upper_odds if upper else masks.apart_odds)


def _shell(case: Case, reach_mm: tuple[float, float]) -> npt.NDArray[np.int64]:
    """Indices (n, 3) of the places from beyond the first to the second distance round a finding."""
    candidate = case.finding.located.candidate
    grid = candidate.grid
    window = box(candidate.voxels, grid.shape, int(np.ceil(reach_mm[1] / min(grid.spacing_mm))))
    away = edt.edt(~mask_of(candidate.voxels, window), anisotropy=grid.spacing_mm, parallel=1)
    near = np.argwhere((away > reach_mm[0]) & (away <= reach_mm[1]))
    return np.asarray(near + [w.start for w in window], dtype=np.int64)


def _lung_round(case: Case) -> float | None:
    """Share of the places 4 to 12 mm round a finding whose density is that of lung; None unless the CT reaches all of them."""
    shell = _shell(case, _SHELL_MM)
    hu = case.scene.hounsfield(case.finding.located.candidate.grid.world(shell), case.frame) if len(shell) else None
    return float(np.mean(hu < case.scene.options.masks.lung_hu)) if hu is not None else None


def _falls_off(case: Case) -> float | None:
    """Share of the places 3 to 8 mm round a finding below half its SUVmax; None without a PET."""
    pet = case.scene.study.pet
    if pet is None or not case.finding.located.candidate.grid.same_as(pet.grid):
        return None
    shell = _shell(case, _FALL_MM)
    return float(np.mean(pet.values[tuple(shell.T)] < 0.5 * case.suv_max)) if len(shell) else None


def _outshines(case: Case, organ: str, key: str) -> bool:
    """Is it ``invaded_ratio`` times as hot as all else of the organ, pieces of its own uptake and nodules in lung aside?"""
    masks, parent = case.scene.options.masks, case.finding.located.candidate.parent
    usual = case.scene.references.organs.get(key)
    own = [masks.invaded_ratio * usual.median] if usual is not None else []
    for other in case.siblings:
        joined = parent is not None and other.finding.located.candidate.parent == parent
        if other is case or joined or other.share(*masks.organs[organ].keys) < masks.share:
            continue
        if (_lung_round(other) or 0.0) < masks.lung_round:
            own.append(other.suv_max)
    return case.suv_max >= masks.invaded_ratio * max(own, default=0.0)


def _hotter_beyond(case: Case) -> Case | None:
    """The hottest piece of the same uptake that is hotter than this one and lies in no organ of ordinary uptake."""
    masks, parent = case.scene.options.masks, case.finding.located.candidate.parent
    if parent is None:
        return None
    joined = [c for c in case.siblings if c.finding.located.candidate.parent == parent and c.suv_max > case.suv_max]
    free = [c for c in joined if not any(c.share(*mask.keys) >= masks.share for mask in masks.organs.values())]
    return max(free, key=lambda c: c.suv_max, default=None)


def heart_wall(case: Case) -> Outcome:
    """3.1: myocardium, which takes up FDG as it likes, and the wall of the atria: beside the heart, in no organ of its own."""
    rule = case.scene.options.heart_wall
    if not case.places.codes("heart"):
        return NotAsked("HEART_WALL", "no heart in the anatomy")
    away = case.distance("heart")
    if away is None or away > rule.reach_mm or case.share_of_bone() > rule.max_bone_share:
        return None
    if case.share("heart") >= case.scene.options.masks.share or case.share("lung") > rule.max_lung_share:
        return None
    text = f"{away:.0f} mm from the heart: its muscle and the wall of the atria take up the tracer beyond the heart's map"
    return Fired("HEART_WALL", text, odds=rule.odds, klass=LesionClass.PHYSIOLOGIC)
