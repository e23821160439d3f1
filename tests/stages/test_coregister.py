from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import FrameMismatchError, InputError, PluginContractError, PluginFailedError
from lesion_pipeline.domain.geometry import Grid, RigidTransform
from lesion_pipeline.domain.pet import PatientFacts, PetFacts, SuvCalibration, SuvStatus, Tracer
from lesion_pipeline.domain.study import Assembly, MrFacts, Series, SeriesRole
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.stages import coregister

OPTIONS = coregister.Options(assume_registered=False, ct_cover_low=0.9)
ASSUME = OPTIONS.model_copy(update={"assume_registered": True})
ROLES = {Modality.PT: SeriesRole.PET, Modality.CT: SeriesRole.CT, Modality.MR: SeriesRole.MR}
UNITS = {Modality.PT: Unit.SUVBW, Modality.CT: Unit.HU, Modality.MR: Unit.ARBITRARY}


def image(
    modality: Modality, key: str, frame: str = "scanner", *, origin: tuple[float, float, float] = (0, 0, 0), mm: float = 4.0
) -> Series:
    nk = 20
    affine = np.diag([mm, mm, mm, 1.0])
    affine[:3, 3] = origin
    volume = Volume(np.ones((20, 20, nk), dtype=np.float32), Grid((20, 20, nk), affine, frame), UNITS[modality], modality, key)
    return Series(
        key, ROLES[modality], str(modality), modality, "", nk, volume=volume, chosen=True, input_sha256=f"hash of {key}"
    )


PET = replace(
    image(Modality.PT, "PT-1"), pet=PetFacts(tracer=Tracer.FDG), suv=SuvCalibration(SuvStatus.OK, bw_per_unit=1.0),
    caveats=(Caveat("DOSE_MBQ", "calibrate", "a dose in MBq", "PT-1"),),
)  # fmt: skip
CT = image(Modality.CT, "CT-1")
MR = replace(image(Modality.MR, "MR-1", "mr scanner"), mr=MrFacts("T1", 0.9))


def assembly(*series: Series) -> Assembly:
    return Assembly(series, PatientFacts(weight=70.0), caveats=(Caveat("FILES_SKIPPED", "assemble", "junk"),))


def codes(study: object) -> list[str]:
    return [c.code for c in getattr(study, "caveats", ())]


class FakeRegistrar:
    name, version = "fake", "1"

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def register(self, fixed: Volume, moving: Volume) -> RigidTransform:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # the point is that it may be anything


def shifted(source: str = "mr scanner") -> RigidTransform:
    matrix = np.eye(4)
    matrix[:3, 3] = (10.0, 0.0, 0.0)
    return RigidTransform(source, "scanner", matrix)


def test_one_scanner_needs_no_transform() -> None:
    study = coregister.run(assembly(PET, CT), OPTIONS)
    assert study.pet is PET.volume
    assert study.ct is CT.volume
    assert study.frames.links == ()
    assert study.tracer is Tracer.FDG
    assert study.suv is PET.suv
    assert study.pet_facts is PET.pet
    assert codes(study) == ["FILES_SKIPPED", "DOSE_MBQ", "NO_MR"]


@pytest.mark.parametrize(
    ("series", "missing"),
    [((PET,), ["NO_CT", "NO_MR"]), ((CT,), ["NO_PET", "NO_MR"]), ((MR,), ["NO_PET", "NO_CT"]), ((PET, MR), ["NO_CT"])],
)
def test_what_is_absent_is_said(series: tuple[Series, ...], missing: list[str]) -> None:
    assert [c for c in codes(coregister.run(assembly(*series), OPTIONS)) if c.startswith("NO_")] == missing


def test_a_study_without_any_image_is_refused() -> None:
    with pytest.raises(InputError, match="NO_IMAGES"):
        coregister.run(assembly(replace(PET, volume=None), replace(CT, chosen=False)), OPTIONS)


def test_frames_that_differ_are_refused_unless_the_preset_assumes() -> None:
    elsewhere = image(Modality.CT, "CT-2", "other scanner")
    with pytest.raises(FrameMismatchError, match="FRAME_OF_REFERENCE_MISMATCH") as refusal:
        coregister.run(assembly(PET, elsewhere), OPTIONS)
    assert refusal.value.series == "CT-2"
    assert "assume_registered" in refusal.value.advice
    study = coregister.run(assembly(PET, elsewhere), ASSUME)
    assert np.array_equal(study.frames.between("other scanner", "scanner").matrix, np.eye(4))
    assert "ASSUMED_REGISTERED" in codes(study)


@pytest.mark.parametrize(
    ("origin", "mm", "cover", "kept", "caveat"),
    [
        ((0.0, 0.0, 0.0), 4.0, 1.0, True, False),
        ((12.0, 12.0, -1.0), 3.2, 0.8, True, True),  # a narrower CT, four slices short at the head
        ((0.0, 0.0, 40.0), 4.0, 0.5, True, True),
        ((0.0, 0.0, 200.0), 4.0, 0.0, False, True),
        ((500.0, 0.0, 0.0), 4.0, 0.0, False, True),
    ],
)
def test_a_ct_that_covers_too_little_is_said_and_one_beside_the_pet_is_dropped(
    origin: tuple[float, float, float], mm: float, cover: float, kept: bool, caveat: bool
) -> None:
    ct = image(Modality.CT, "CT-1", origin=origin, mm=mm)
    assert PET.volume is not None
    assert ct.volume is not None
    assert coregister.ct_cover(PET.volume.grid, ct.volume.grid) == pytest.approx(cover, abs=0.05)
    study = coregister.run(assembly(PET, ct), OPTIONS)
    assert (study.ct is not None) is kept
    assert ("NO_OVERLAP" in codes(study)) is caveat
    assert ("NO_CT" in codes(study)) is not kept


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_cover_is_asked_along_the_body_however_the_pet_is_stored(order: tuple[int, int, int]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.diag([4.0, 4.0, 4.0])[:, order]
    pet = Grid((20, 20, 20), affine, "scanner")
    half = np.diag([4.0, 4.0, 4.0, 1.0])
    half[2, 3] = 40.0
    assert coregister.ct_cover(pet, Grid((20, 20, 20), half, "scanner")) == pytest.approx(0.5, abs=0.05)


def test_an_mr_in_another_frame_stays_unlinked_without_a_registrar() -> None:
    study = coregister.run(assembly(PET, CT, MR), OPTIONS)
    assert len(study.mr) == 1
    assert "MR_NOT_REGISTERED" in codes(study)
    with pytest.raises(FrameMismatchError):
        study.frames.between("mr scanner", "scanner")
    assert "ASSUMED_REGISTERED" in codes(coregister.run(assembly(PET, CT, MR), ASSUME))


def test_an_mr_of_the_same_frame_needs_nothing() -> None:
    study = coregister.run(assembly(PET, CT, replace(image(Modality.MR, "MR-2"), mr=MrFacts("T1", 1.0))), OPTIONS)
    assert [c for c in codes(study) if "MR" in c] == []


def test_a_registrar_links_the_frame_once_for_all_its_series() -> None:
    second = image(Modality.MR, "MR-2", "mr scanner")
    study = coregister.run(assembly(PET, CT, MR, second), OPTIONS, [FakeRegistrar(shifted())])
    assert len(study.frames.links) == 1
    assert study.frames.between("mr scanner", "scanner").matrix[0, 3] == 10.0
    assert codes(study).count("MR_REGISTERED") == 1


def test_a_registrar_that_fails_is_said_and_the_next_one_asked() -> None:
    lost = FakeRegistrar(PluginFailedError("REGISTRATION_FAILED", "it got lost"))
    study = coregister.run(assembly(PET, CT, MR), OPTIONS, [lost, FakeRegistrar(shifted())])
    assert {"REGISTRATION_FAILED", "MR_REGISTERED"} <= set(codes(study))
    alone = coregister.run(assembly(PET, CT, MR), OPTIONS, [lost])
    assert {"REGISTRATION_FAILED", "MR_NOT_REGISTERED"} <= set(codes(alone))


@pytest.mark.parametrize("answer", ["a string", None, shifted(source="elsewhere")])
def test_an_answer_that_is_no_rigid_transform_is_blamed_on_the_registrar(answer: object) -> None:
    with pytest.raises(PluginContractError, match="fake"):
        coregister.run(assembly(PET, CT, MR), OPTIONS, [FakeRegistrar(answer)])


def test_a_registrar_that_crashes_is_named() -> None:
    with pytest.raises(PluginFailedError, match="fake 1 failed with ZeroDivisionError"):
        coregister.run(assembly(PET, CT, MR), OPTIONS, [FakeRegistrar(ZeroDivisionError())])


def test_the_key_names_the_content_and_not_the_place() -> None:
    first = coregister.run(assembly(PET, CT), OPTIONS).key
    assert first == coregister.run(assembly(CT, PET, replace(MR, chosen=False)), OPTIONS).key
    assert first != coregister.run(assembly(PET, replace(CT, input_sha256="other")), OPTIONS).key
    assert len(first) == 12


def test_the_user_may_name_the_tracer() -> None:
    named = OPTIONS.model_copy(update={"tracer": Tracer.FDG})
    silent = replace(PET, pet=PetFacts())
    study = coregister.run(assembly(silent, CT), named)
    assert study.tracer is Tracer.FDG
    assert "TRACER_FROM_USER" in codes(study)
    assert "TRACER_FROM_USER" not in codes(coregister.run(assembly(PET, CT), named))
