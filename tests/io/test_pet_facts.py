from __future__ import annotations

from datetime import datetime, time

import pytest
from pydicom.dataset import Dataset

from lesion_pipeline.domain.nuclides import nuclide_of_code, nuclide_of_half_life, nuclide_of_text
from lesion_pipeline.domain.pet import Injection, Tracer
from lesion_pipeline.io import dicom_values as dv
from lesion_pipeline.io.pet_facts import read_patient_facts, read_pet_facts
from lesion_pipeline.io.tracer import recognise


def coded(value: str, meaning: str = "") -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodeMeaning = meaning
    return code


def pet_slice(**changes: object) -> Dataset:
    ds, injection = Dataset(), Dataset()
    injection.RadiopharmaceuticalStartTime = "100000.000"
    injection.RadiopharmaceuticalStartDateTime = "20250301100000"
    injection.RadionuclideTotalDose = "350000000.0"
    injection.RadionuclideHalfLife = "6586.2"
    injection.Radiopharmaceutical = "FDG -- fluorodeoxyglucose"
    injection.RadionuclideCodeSequence = [coded("C-111A1", "^18^Fluorine")]
    values: dict[str, object] = {
        "Units": "BQML",
        "DecayCorrection": "START",
        "CorrectedImage": ["DECY", "ATTN"],
        "SeriesDate": "20250301",
        "SeriesTime": "110000.000",
        "StudyDate": "20250301",
        "AcquisitionDate": "20250301",
        "AcquisitionTime": "110030.5",
        "FrameReferenceTime": "59936.85",
        "ActualFrameDuration": "120000",
        "DecayFactor": "1.0063",
        "Manufacturer": "SIEMENS",
        "PatientWeight": "70",
        "PatientSize": "1.75",
        "PatientSex": "M",
        "PatientBirthDate": "19600302",
        "RadiopharmaceuticalInformationSequence": [injection],
    }
    for keyword, value in (values | changes).items():
        if value is not None:
            setattr(ds, keyword, value)
    return ds


def test_every_fact_of_a_plain_header() -> None:
    facts = read_pet_facts([pet_slice(), pet_slice(AcquisitionTime="110230.5", FrameReferenceTime="180000")])
    assert (facts.units, facts.decay_correction, facts.corrected_image) == ("BQML", "START", ("DECY", "ATTN"))
    assert facts.series_datetime == datetime(2025, 3, 1, 11)
    assert [f.acquisition for f in facts.frames] == [
        datetime(2025, 3, 1, 11, 0, 30, 500000),
        datetime(2025, 3, 1, 11, 2, 30, 500000),
    ]
    assert facts.frames[1].frame_reference_time_ms == 180000.0
    assert facts.frames[0].duration_ms == 120000.0
    (injection,) = facts.injections
    assert injection.total_dose == 3.5e8
    assert injection.start_time == time(10)
    assert injection.start_datetime == datetime(2025, 3, 1, 10)
    assert injection.nuclide_code == "C-111A1"
    assert facts.tracer is Tracer.FDG
    assert facts.tracer_source == "Radiopharmaceutical"
    assert facts.conflicting == ()
    assert (facts.patient.weight, facts.patient.size, facts.patient.sex) == (70.0, 1.75, "M")


@pytest.mark.parametrize(
    ("changes", "age", "source", "boundary"),
    [
        ({}, 64, "PatientBirthDate", False),
        ({"PatientBirthDate": "19600301"}, 65, "PatientBirthDate", True),
        ({"PatientBirthDate": "19600228"}, 65, "PatientBirthDate", False),
        ({"PatientBirthDate": None, "PatientAge": "069Y"}, 69, "PatientAge", False),
        ({"PatientBirthDate": "", "PatientAge": "030M"}, 2, "PatientAge", False),
        ({"PatientBirthDate": "20260101", "PatientAge": "042Y"}, 42, "PatientAge", False),
        ({"PatientBirthDate": None}, None, None, False),
    ],
)
def test_age_is_in_completed_years_at_the_study_date(
    changes: dict[str, object], age: int | None, source: str | None, boundary: bool
) -> None:
    facts = read_patient_facts(pet_slice(**changes))
    assert (facts.age_years, facts.age_source, facts.age_boundary) == (age, source, boundary)


def test_private_values_are_found_by_creator_and_without_it_by_manufacturer() -> None:
    by_creator = pet_slice(Manufacturer="")
    by_creator.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.0005")
    facts = read_pet_facts([by_creator])
    assert facts.frames[0].philips_suv_factor == 0.0005
    assert facts.notes == ()

    orphan = pet_slice(Manufacturer="Philips Medical Systems")
    orphan.add_new((0x7053, 0x1009), "DS", "0.5")
    facts = read_pet_facts([orphan])
    assert facts.frames[0].philips_activity_factor == 0.5
    assert [code for code, _ in facts.notes] == ["PRIVATE_WITHOUT_CREATOR"]

    other_maker = pet_slice(Manufacturer="ACME")
    other_maker.add_new((0x7053, 0x1009), "DS", "0.5")
    assert read_pet_facts([other_maker]).frames[0].philips_activity_factor is None


def test_a_private_value_in_another_block_is_still_found_and_bytes_are_read() -> None:
    ds = pet_slice()
    ds.private_block(0x0009, "SOMEBODY ELSE", create=True)
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "UN", b"20250301105500.00 ")
    assert read_pet_facts([ds]).frames[0].ge_scan_datetime == datetime(2025, 3, 1, 10, 55)


def test_siemens_decay_correction_time() -> None:
    ds = pet_slice()
    ds.private_block(0x0071, "SIEMENS MED PT", create=True).add_new(0x22, "DT", "20250301105900.000000")
    assert read_pet_facts([ds]).frames[0].siemens_reference == datetime(2025, 3, 1, 10, 59)


@pytest.mark.parametrize("keyword", ["PatientWeight", "DecayCorrection", "SeriesTime", "Units"])
def test_values_that_differ_between_slices_are_named(keyword: str) -> None:
    other = {"PatientWeight": "71", "DecayCorrection": "ADMIN", "SeriesTime": "120000", "Units": "CNTS"}[keyword]
    assert read_pet_facts([pet_slice(), pet_slice(**{keyword: other})]).conflicting == (keyword,)


def test_a_dose_that_differs_between_slices_is_named() -> None:
    other = pet_slice()
    other.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "1e8"
    assert read_pet_facts([pet_slice(), other]).conflicting == ("RadionuclideTotalDose",)


def test_enhanced_frames_follow_the_given_order() -> None:
    ds = pet_slice(Units=None, DecayCorrection=None, CorrectedImage=None, AttenuationCorrected="YES", DecayCorrected="YES")
    ds.DecayCorrectionDateTime = "20250301105000"
    groups = []
    for minute in (0, 2, 4):
        group, content, rescale = Dataset(), Dataset(), Dataset()
        content.FrameAcquisitionDateTime = f"2025030111{minute:02d}00"
        content.FrameAcquisitionDuration = 120000.0
        rescale.RescaleType = "BQML"
        group.FrameContentSequence = [content]
        group.PixelValueTransformationSequence = [rescale]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = groups
    facts = read_pet_facts([ds], order=(2, 0, 1))
    assert [f.acquisition.minute for f in facts.frames if f.acquisition] == [4, 0, 2]
    assert facts.units == "BQML"
    assert facts.decay_correction == "START"
    assert facts.corrected_image == ("ATTN", "DECY")
    assert {f.decay_correction_datetime for f in facts.frames} == {datetime(2025, 3, 1, 10, 50)}


@pytest.mark.parametrize("word", ["abc", "1e400", "", "\x00\x00", "7\\8"])
def test_a_number_that_is_none_is_absent(word: str) -> None:
    assert dv.as_number(word) is None
    assert dv.as_number(b"\x37\x30 ") == 70.0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("110155", time(11, 1, 55)),
        ("110155.25", time(11, 1, 55, 250000)),
        ("11:01:55", time(11, 1, 55)),
        ("1101", time(11, 1)),
        ("235960", time(23, 59, 59)),
        ("256000", None),
        ("", None),
        ("11015", None),
        ("noon", None),
    ],
)
def test_dicom_times(word: str, expected: time | None) -> None:
    assert dv.as_time(word) == expected


@pytest.mark.parametrize(
    ("word", "expected", "offset"),
    [
        ("20250301100000", datetime(2025, 3, 1, 10), None),
        ("20250301100000.00 ", datetime(2025, 3, 1, 10), None),
        ("20250301100000+0100", datetime(2025, 3, 1, 10), 60),
        ("20250301100000.5-0330", datetime(2025, 3, 1, 10, 0, 0, 500000), -210),
        ("20250301", None, None),
        ("20251301100000", None, None),
    ],
)
def test_dicom_datetimes(word: str, expected: datetime | None, offset: int | None) -> None:
    assert dv.as_datetime(word) == (expected, offset)


@pytest.mark.parametrize(
    ("text", "name"),
    [("18F", "F-18"), ("F18", "F-18"), ("^18^Fluorine", "F-18"), ("GA68", "Ga-68"), ("^68^Gallium", "Ga-68"), ("C-11", "C-11"),
     ("Fluorine F^18^", "F-18"), ("Cu 64", "Cu-64"), ("89Zr", "Zr-89"), ("CF180", None), ("", None), ("F18 or Ga68", None)],
)  # fmt: skip
def test_a_nuclide_is_known_by_its_text(text: str, name: str | None) -> None:
    found = nuclide_of_text(text)
    assert (found.name if found else None) == name


def test_a_nuclide_is_known_by_code_and_by_half_life() -> None:
    assert [nuclide_of_code(c) and nuclide_of_code(c).name for c in ("77004003", "C-111A1", "40565003", None, "1")] == [  # type: ignore[union-attr]  # guarded by "and"
        "F-18", "F-18", "C-11", None, None,
    ]  # fmt: skip
    found = [nuclide_of_half_life(s, 0.02) for s in (6588.0, 4057.7, 1223.0, 10.0, None)]
    assert [n.name if n else None for n in found] == ["F-18", "Ga-68", "C-11", None, None]


def f18(text: str = "", code: str | None = None) -> Injection:
    return Injection(tracer_text=text, tracer_code=code, nuclide_text="F18", half_life_s=6586.0)


def ga68(text: str = "") -> Injection:
    return Injection(tracer_text=text, nuclide_text="Ga68", half_life_s=4062.6)


@pytest.mark.parametrize(
    ("injection", "description", "tracer", "source", "note"),
    [
        (Injection(tracer_code="35321007"), "", Tracer.FDG, "RadiopharmaceuticalCodeSequence", None),
        (Injection(tracer_code="C-B1031", nuclide_text="F18"), "", Tracer.FDG, "RadiopharmaceuticalCodeSequence", None),
        (Injection(tracer_code="126758", nuclide_text="F18"), "", Tracer.PSMA_1007, "RadiopharmaceuticalCodeSequence", None),
        (Injection(tracer_code="724025002"), "", Tracer.DOTATATE, "RadiopharmaceuticalCodeSequence", None),
        (Injection(tracer_text="Fluorodeoxyglucose"), "", Tracer.FDG, "Radiopharmaceutical", None),
        (Injection(tracer_text="18F-FDG"), "", Tracer.FDG, "Radiopharmaceutical", None),
        (Injection(tracer_text="F18 PSMA-1007"), "", Tracer.PSMA_1007, "Radiopharmaceutical", None),
        (Injection(tracer_text="[68Ga]Ga-PSMA-11"), "", Tracer.PSMA_11, "Radiopharmaceutical", None),
        (Injection(tracer_text="18F-DCFPyL"), "", Tracer.DCFPYL, "Radiopharmaceutical", None),
        (Injection(tracer_text="Sodium Fluoride F18"), "", Tracer.NAF, "Radiopharmaceutical", None),
        (Injection(tracer_text="C11 Choline"), "", Tracer.CHOLINE, "Radiopharmaceutical", None),
        (ga68("Ga68-PSMA"), "", Tracer.PSMA_11, "Radiopharmaceutical", "TRACER_INFERRED"),
        (f18("F18-PSMA"), "", Tracer.UNKNOWN, None, None),
        (f18(), "WB FDG AC", Tracer.FDG, "SeriesDescription", "TRACER_FROM_DESCRIPTION"),
        (ga68(), "WB FDG AC", Tracer.UNKNOWN, None, None),
        (Injection(), "WB FDG AC", Tracer.UNKNOWN, None, None),
        (f18(), "PET WB AC", Tracer.UNKNOWN, None, None),
        (f18(code="99999"), "FDG", Tracer.UNKNOWN, None, None),
        (f18("PSMA-1007", "35321007"), "", Tracer.UNKNOWN, "RadiopharmaceuticalCodeSequence", "TRACER_CONFLICT"),
        (ga68("FDG"), "", Tracer.UNKNOWN, "Radiopharmaceutical", "TRACER_CONFLICT"),
    ],
)  # fmt: skip
def test_a_tracer_is_recognised_or_unknown_never_assumed(
    injection: Injection, description: str, tracer: Tracer, source: str | None, note: str | None
) -> None:
    found = recognise(injection, description)
    assert (found.tracer, found.source, found.note[0] if found.note else None) == (tracer, source, note)
