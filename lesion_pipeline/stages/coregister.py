"""Calibrated series -> one Study whose frames of reference are linked, or known not to be.

PET and CT of one scanner share a frame of reference and need no transform. Where they do not, nothing here assumes that they
lie on each other: the study is refused, unless the preset says ``assume_registered``. An MR in a frame of its own joins the
study only through a Registrar; without one it is kept, unlinked, and the result says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import (
    FrameMismatchError,
    InputError,
    LesionPipelineError,
    PluginContractError,
    PluginFailedError,
)
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.domain.protocols import Registrar
from lesion_pipeline.domain.study import Assembly, MrFacts, Series, SeriesRole, Study
from lesion_pipeline.domain.volume import Volume

STAGE = "coregister"


class Options(BaseModel):
    """assume_registered: take series in different frames of reference as lying on each other.

    ct_cover_low: share of the PET's slices that the CT must cover, a caveat below. tracer: in place of the header's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    assume_registered: bool
    ct_cover_low: float
    tracer: Tracer | None = None


def run(assembly: Assembly, options: Options, registrars: Sequence[Registrar] = ()) -> Study:
    """One study from the chosen series; their caveats and this stage's own are in it.

    Raises InputError (NO_IMAGES) when no volume is left, FrameMismatchError (FRAME_OF_REFERENCE_MISMATCH) when PET and CT
    lie in different frames, PluginContractError (BAD_TRANSFORM) or PluginFailedError (PLUGIN_FAILED) for a registrar.
    """
    pet_series = _only(assembly.chosen(SeriesRole.PET))
    ct_series = _only(assembly.chosen(SeriesRole.CT))
    mr_series = tuple(s for s in assembly.chosen(SeriesRole.MR) if s.volume is not None)
    pet = pet_series.volume if pet_series else None
    ct = ct_series.volume if ct_series else None
    mr = tuple((s.mr or MrFacts("unknown", 0.0), s.volume) for s in mr_series if s.volume is not None)
    if pet is None and ct is None and not mr:
        raise InputError(
            "NO_IMAGES",
            "the study holds neither a PET nor a CT nor an MR that can be used",
            advice="Look at what was rejected with the command inspect.",
        )
    caveats: list[Caveat] = []
    links: list[RigidTransform] = []
    if pet is not None and ct is not None:
        links.extend(_link_ct(pet, ct, options, caveats))
        ct = _overlapping(pet, ct, options, caveats)
    if any(c.code == "NO_OVERLAP" for c in assembly.caveats):
        caveats = [c for c in caveats if c.code != "NO_OVERLAP"]  # the choice of the series has said so already
    links.extend(_link_mr((ct, pet), [volume for _, volume in mr], options, registrars, caveats))
    caveats.extend(_absent(pet, ct, mr))
    facts = pet_series.pet if pet_series else None
    tracer = facts.tracer if facts else Tracer.UNKNOWN
    if options.tracer is not None and options.tracer is not tracer:
        caveats.append(
            _caveat("TRACER_FROM_USER", f"the tracer {options.tracer} was given by the user; the header says {tracer}")
        )
        tracer = options.tracer
    chosen = [s for s in (pet_series, ct_series, *mr_series) if s is not None]
    return Study(
        key=study_key(chosen),
        patient=assembly.patient,
        tracer=tracer,
        series=assembly.series,
        pet=pet,
        ct=ct,
        mr=mr,
        frames=Frames(tuple(links)),
        suv=pet_series.suv if pet_series else None,
        pet_facts=facts,
        real_world_maps=assembly.real_world_maps,
        caveats=tuple(dict.fromkeys((*assembly.caveats, *(c for s in chosen for c in s.caveats), *caveats))),
    )


def study_key(series: Sequence[Series]) -> str:
    """12 hex digits of a hash over what the chosen series' files hold; the same study has the same key wherever it lies."""
    content = sorted(s.input_sha256 or s.key for s in series)
    return hashlib.sha256("\n".join(content).encode("ascii", "replace")).hexdigest()[:12]


def _only(series: tuple[Series, ...]) -> Series | None:
    return next((s for s in series if s.volume is not None), None)


def _caveat(code: str, message: str, series: str | None = None) -> Caveat:
    return Caveat(code, STAGE, message, series)


def _absent(pet: Volume | None, ct: Volume | None, mr: Sequence[object]) -> list[Caveat]:
    found = []
    if pet is None:
        found.append(_caveat("NO_PET", "the study holds no usable PET"))
    if ct is None:
        found.append(_caveat("NO_CT", "the study holds no usable CT, so places in the body are known poorly or not at all"))
    if not mr:
        found.append(_caveat("NO_MR", "the study holds no spine MR"))
    return found


def _link_ct(pet: Volume, ct: Volume, options: Options, caveats: list[Caveat]) -> list[RigidTransform]:
    if pet.grid.frame == ct.grid.frame:
        return []
    if not options.assume_registered:
        raise FrameMismatchError(
            "FRAME_OF_REFERENCE_MISMATCH",
            "the PET and the CT lie in different frames of reference, so a lesion's place on the CT cannot be known",
            series=ct.series,
            advice="If the patient did not move between them, set coregister.assume_registered = true in the preset.",
        )
    caveats.append(
        _caveat("ASSUMED_REGISTERED", "PET and CT lie in different frames of reference and were taken as one", ct.series)
    )
    return [RigidTransform.identity(ct.grid.frame, pet.grid.frame)]


def ct_cover(pet: Grid, ct: Grid) -> float:
    """Share of the PET's slices, head to foot, whose middle lies inside the CT, 0..1; both LPS mm in one frame.

    Nine points of the middle third of each slice are asked, and a slice is covered when most of them are: a CT's field of
    view is narrower than a PET's, so the corners say nothing.
    """
    axis, _ = pet.axis_toward((0.0, 0.0, 1.0))
    across = [n for n in range(3) if n != axis]
    slices = np.arange(pet.shape[axis])
    thirds = np.array([1.0 / 3.0, 1.0 / 2.0, 2.0 / 3.0])
    inside = np.zeros(len(slices), dtype=np.int64)
    for u in thirds:
        for v in thirds:
            points = np.zeros((len(slices), 3))
            points[:, axis] = slices
            points[:, across[0]] = u * (pet.shape[across[0]] - 1)
            points[:, across[1]] = v * (pet.shape[across[1]] - 1)
            inside += ct.contains(pet.world(points))
    return float(np.mean(inside * 2 > len(thirds) ** 2))


def _overlapping(pet: Volume, ct: Volume, options: Options, caveats: list[Caveat]) -> Volume | None:
    """The CT, with a caveat where it covers too little of the PET; None where it covers nothing."""
    cover = ct_cover(pet.grid, ct.grid)
    if cover >= options.ct_cover_low:
        return ct
    if cover == 0.0:
        sentence = "the CT shows another part of the body than the PET and was not used"
        caveats.append(_caveat("NO_OVERLAP", sentence, ct.series))
        return None
    sentence = f"the CT covers only {100.0 * cover:.0f} % of the PET; places in the rest are not known"
    caveats.append(_caveat("NO_OVERLAP", sentence, ct.series))
    return ct


def _link_mr(
    bodies: tuple[Volume | None, Volume | None],
    mr: list[Volume],
    options: Options,
    registrars: Sequence[Registrar],
    caveats: list[Caveat],
) -> list[RigidTransform]:
    """Links of the MR frames that are not the PET's or CT's; one a frame, made on the frame's largest volume.

    bodies: the CT and the PET; the first there is is what an MR is registered to.
    """
    fixed = next((v for v in bodies if v is not None), None)
    if fixed is None:
        return []
    known = {v.grid.frame for v in bodies if v is not None}
    frames: dict[str, list[Volume]] = {}
    for volume in mr:
        if volume.grid.frame not in known:
            frames.setdefault(volume.grid.frame, []).append(volume)
    links = []
    for volumes in frames.values():
        moving = max(volumes, key=lambda v: v.values.size * v.grid.voxel_ml)
        link = _registered(fixed, moving, registrars, caveats)
        if link is None and options.assume_registered:
            sentence = "an MR lies in another frame of reference than the PET-CT and was taken as lying on it"
            caveats.append(_caveat("ASSUMED_REGISTERED", sentence, moving.series))
            link = RigidTransform.identity(moving.grid.frame, fixed.grid.frame)
        if link is None:
            sentence = "an MR lies in another frame of reference than the PET-CT, so its findings are not matched with uptake"
            caveats.append(_caveat("MR_NOT_REGISTERED", sentence, moving.series))
            continue
        links.append(link)
    return links


def _registered(fixed: Volume, moving: Volume, registrars: Sequence[Registrar], caveats: list[Caveat]) -> RigidTransform | None:
    """The first registrar's answer that is not a failure, checked; None when there is none."""
    for registrar in registrars:
        try:
            link = registrar.register(fixed, moving)
        except PluginFailedError as failure:
            sentence = f"{registrar.name} could not register an MR: {failure.message}"
            caveats.append(_caveat("REGISTRATION_FAILED", sentence, moving.series))
            continue
        except LesionPipelineError:
            raise
        except Exception as defect:
            raise PluginFailedError(
                "PLUGIN_FAILED",
                f"the registrar {registrar.name} {registrar.version} failed with {type(defect).__name__}",
                series=moving.series,
                advice="Leave it out of engines.registrars in the preset, or report it to its authors.",
            ) from defect
        _check(link, fixed, moving, registrar.name)
        sentence = f"an MR was registered to the {fixed.modality.name} by {registrar.name}; its accuracy is not known"
        caveats.append(_caveat("MR_REGISTERED", sentence, moving.series))
        return link
    return None


def _check(link: object, fixed: Volume, moving: Volume, name: str) -> None:
    if not isinstance(link, RigidTransform):
        raise _broken(name, f"answered with {type(link).__name__} instead of a RigidTransform")
    if (link.from_frame, link.to_frame) != (moving.grid.frame, fixed.grid.frame):
        raise _broken(name, "gave a transform between other frames than those it was asked for")


def _broken(name: str, what: str) -> PluginContractError:
    return PluginContractError("BAD_TRANSFORM", f"the registrar {name} {what}", advice="Report it to the plug-in's authors.")
