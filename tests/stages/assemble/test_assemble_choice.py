"""Which series is used, what is refused by name, and what is said about it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from lesion_pipeline.domain.errors import GeometryError, IncompleteSeriesError, InputError, LesionPipelineError
from lesion_pipeline.domain.study import Assembly, SeriesRole
from lesion_pipeline.domain.volume import Unit
from lesion_pipeline.stages import assemble

PRESET = Path(__file__).resolve().parents[3] / "configs" / "fdg-petct.toml"


def options(**values: Any) -> assemble.Options:
    table = tomllib.loads(PRESET.read_text(encoding="utf-8"))["assemble"]
    return assemble.Options.model_validate(table | values)


def chosen(found: Assembly, role: SeriesRole) -> str:
    (series,) = found.chosen(role)
    return series.description


def codes(found: Assembly) -> set[str]:
    return {c.code for c in found.caveats}


def test_pet_ct_and_mr_are_read_where_they_lie(phantom: ModuleType, tmp_path: Path) -> None:
    for modality, name in (("PT", "AC"), ("CT", "CT"), ("MR", "T1")):
        phantom.write(phantom.series(modality, name=name), tmp_path / "any" / name)
    found = assemble.run(tmp_path, options())
    assert {s.role for s in found.series} == {SeriesRole.PET, SeriesRole.CT, SeriesRole.MR}
    for series in found.series:
        assert series.chosen
        assert series.volume is not None
        offset = -1024.0 if series.role is SeriesRole.CT else 0.0
        for ball in phantom.BALLS:
            i, j, k = np.rint(series.volume.grid.index(ball)).astype(int)
            assert series.volume.values[i, j, k] == pytest.approx(8000 + offset, rel=1e-3)
    pet = found.chosen(SeriesRole.PET)[0]
    assert pet.volume is not None
    assert pet.volume.unit is Unit.BQML
    assert pet.pet is not None
    assert len(pet.pet.frames) == 20
    assert found.patient.weight == 70


def test_names_of_series_do_not_tell_uids_and_do_not_depend_on_file_names(phantom: ModuleType, tmp_path: Path) -> None:
    datasets = phantom.series()
    phantom.write(datasets, tmp_path / "a")
    phantom.write(datasets[::-1], tmp_path / "b")
    one, other = (assemble.run(tmp_path / n, options()) for n in "ab")
    assert one.series[0].key == other.series[0].key
    assert one.series[0].input_sha256 == other.series[0].input_sha256
    assert phantom.ROOT not in repr(one.series[0].key + str(one.series[0].frame))


@pytest.mark.parametrize(
    "nac",
    [
        {"CorrectedImage": ["DECY"]},
        {"SeriesDescription": "PET NAC"},
        {"AttenuationCorrectionMethod": "NONE"},
        {"CorrectedImage": None},
    ],
)
def test_nac_is_never_chosen(nac: dict[str, object], phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(name="x"), tmp_path)
    phantom.write(phantom.series(name="y", **nac), tmp_path)
    found = assemble.run(tmp_path, options())
    assert chosen(found, SeriesRole.PET) == "x"
    rejected = next(s for s in found.series if not s.chosen)
    assert (rejected.role, rejected.refusal) == (SeriesRole.REJECTED, "NOT_ATTENUATION_CORRECTED")


def test_nac_alone_is_refused(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(CorrectedImage=["DECY"]), tmp_path)
    with pytest.raises(InputError, match="NOT_ATTENUATION_CORRECTED"):
        assemble.run(tmp_path, options())


def _brighter(ds: Dataset, _: int) -> None:
    ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") * 2).astype("<u2").tobytes()


def test_two_reconstructions_need_a_word_from_the_user(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(name="OSEM"), tmp_path)
    phantom.write(phantom.series(name="PSF TOF", each=_brighter), tmp_path)
    with pytest.raises(InputError, match="AMBIGUOUS_PET") as caught:
        assemble.run(tmp_path, options())
    assert "--pet-series" in str(caught.value)
    keys = [word for word in caught.value.message.replace(";", " ").split() if word.startswith("PT-")]
    assert len(keys) == 2
    assert {chosen(assemble.run(tmp_path, options(pet_series=k)), SeriesRole.PET) for k in keys} == {"OSEM", "PSF TOF"}
    assert chosen(assemble.run(tmp_path, options(pet_rule="psf")), SeriesRole.PET) == "PSF TOF"
    with pytest.raises(InputError, match="AMBIGUOUS_PET"):
        assemble.run(tmp_path, options(pet_rule="OSEM|PSF"))
    with pytest.raises(InputError, match="NO_SUCH_SERIES"):
        assemble.run(tmp_path, options(pet_series="PT-00000000"))


def test_survey_shows_what_run_refuses(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(name="OSEM"), tmp_path / "two")
    phantom.write(phantom.series(name="PSF TOF", each=_brighter), tmp_path / "two")
    found = assemble.survey(tmp_path / "two", options())
    assert not found.chosen(SeriesRole.PET)
    assert [(s.role, "--pet-series" in s.reason) for s in found.series] == [(SeriesRole.PET, True)] * 2
    assert "AMBIGUOUS_PET" in codes(found)

    phantom.write([d for n, d in enumerate(phantom.series()) if n != 9], tmp_path / "gap")
    (series,) = assemble.survey(tmp_path / "gap", options()).series
    assert (series.role, series.refusal) == (SeriesRole.REJECTED, "MISSING_SLICES")

    phantom.write(phantom.series(), tmp_path / "patients")
    phantom.write(phantom.series("CT", PatientID="P2"), tmp_path / "patients")
    assert "MIXED_PATIENTS" in codes(assemble.survey(tmp_path / "patients", options()))
    with pytest.raises(InputError, match="NO_SUCH_INPUT"):
        assemble.survey(tmp_path / "absent", options())


def test_the_same_pet_twice_is_one_pet(phantom: ModuleType, tmp_path: Path) -> None:
    def other_uids(ds: Dataset, k: int) -> None:
        ds.SeriesInstanceUID, ds.SOPInstanceUID = f"{phantom.ROOT}.77", f"{phantom.ROOT}.77.{k}"

    phantom.write(phantom.series(), tmp_path)
    phantom.write(phantom.series(each=other_uids), tmp_path)
    found = assemble.run(tmp_path, options())
    assert len(found.chosen(SeriesRole.PET)) == 1
    assert "DUPLICATE_SERIES" in codes(found)


def test_a_bad_pet_beside_a_good_one_is_told(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(name="good"), tmp_path)
    phantom.write([d for n, d in enumerate(phantom.series(name="gap")) if n != 9], tmp_path)
    found = assemble.run(tmp_path, options())
    assert chosen(found, SeriesRole.PET) == "good"
    assert "MISSING_SLICES" in codes(found)


def test_ct_by_kernel_coverage_and_thickness(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(), tmp_path)
    phantom.write(phantom.series("CT", name="lung", ConvolutionKernel="B70f"), tmp_path)
    phantom.write(phantom.series("CT", name="soft"), tmp_path)
    phantom.write(phantom.series("CT", name="short", count=8), tmp_path)
    phantom.write(phantom.series("CT", name="thick", count=12, step=5.0), tmp_path)
    found = assemble.run(tmp_path, options())
    assert chosen(found, SeriesRole.CT) == "soft"
    assert "CT_CHOSEN" in codes(found)


def test_equal_cts_need_a_word_from_the_user(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series("CT", name="a"), tmp_path)
    phantom.write(phantom.series("CT", name="b", each=_brighter), tmp_path)
    with pytest.raises(InputError, match="AMBIGUOUS_CT") as caught:
        assemble.run(tmp_path, options())
    key = next(word for word in caught.value.message.replace(";", " ").split() if word.startswith("CT-"))
    assert len(assemble.run(tmp_path, options(ct_series=key)).chosen(SeriesRole.CT)) == 1


def test_ct_far_from_the_pet_is_not_used(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(), tmp_path)
    phantom.write(phantom.series("CT", origin=(-46.0, -38.0, 500.0)), tmp_path)
    found = assemble.run(tmp_path, options())
    assert not found.chosen(SeriesRole.CT)
    assert "NO_OVERLAP" in codes(found)


@pytest.mark.parametrize("other", [{"PatientID": "P2"}, {"PatientBirthDate": "19610101"}, {"PatientSex": "F"}])
def test_two_patients_are_refused(other: dict[str, str], phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(), tmp_path)
    phantom.write(phantom.series("CT", **other), tmp_path)
    with pytest.raises(InputError, match="MIXED_PATIENTS"):
        assemble.run(tmp_path, options())


@pytest.mark.parametrize(
    ("other", "code"), [({"PatientID": " p1"}, "PATIENT_ID_FORM"), ({"PatientName": "ROE^J"}, "PATIENT_NAME_DIFFERS")]
)
def test_one_patient_written_in_two_ways(other: dict[str, str], code: str, phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(), tmp_path)
    phantom.write(phantom.series("CT", **other), tmp_path)
    assert code in codes(assemble.run(tmp_path, options()))


def test_nothing_of_a_study(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="NO_DICOM"):
        assemble.run(tmp_path, options())
    (tmp_path / "notes.txt").write_text("no image here", encoding="utf-8")
    with pytest.raises(InputError, match="NO_DICOM"):
        assemble.run(tmp_path, options())
    with pytest.raises(InputError, match="NO_SUCH_INPUT"):
        assemble.run(tmp_path / "absent", options())


def test_mr_alone_and_ct_alone_are_fine(phantom: ModuleType, tmp_path: Path) -> None:
    for modality in ("MR", "CT"):
        found = assemble.run(phantom.write(phantom.series(modality), tmp_path / modality), options())
        assert [s.chosen for s in found.series] == [True]


@pytest.mark.parametrize(
    ("change", "code", "kind"),
    [
        ({"PixelSpacing": [0, 4]}, "BAD_SPACING", GeometryError),
        ({"PixelSpacing": None}, "BAD_SPACING", GeometryError),
        ({"ImagePositionPatient": None}, "NO_GEOMETRY", GeometryError),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "BAD_ORIENTATION", GeometryError),
        ({"RescaleSlope": None}, "RESCALE_MISSING", InputError),
        ({"RescaleSlope": 0}, "BAD_RESCALE", InputError),
        ({"RescaleSlope": -1}, "BAD_RESCALE", InputError),
        ({"RescaleIntercept": 5}, "PET_INTERCEPT", InputError),
        ({"SeriesType": ["GATED", "IMAGE"]}, "GATED_PET", InputError),
        ({"SeriesType": ["DYNAMIC", "IMAGE"]}, "DYNAMIC_PET", InputError),
        ({"LossyImageCompression": "01"}, "LOSSY", InputError),
        ({"PixelData": None}, "NO_PIXELS", IncompleteSeriesError),
        ({"NumberOfFrames": 1_000_000_000}, "TRUNCATED", IncompleteSeriesError),
        ({"Rows": 60000, "Columns": 60000}, "TRUNCATED", IncompleteSeriesError),
        ({"NumberOfSlices": 40}, "MISSING_SLICES", IncompleteSeriesError),
        ({"BitsAllocated": 12}, "UNSUPPORTED_PIXELS", InputError),
    ],
)
def test_refused_by_name(
    change: dict[str, object], code: str, kind: type[LesionPipelineError], phantom: ModuleType, tmp_path: Path
) -> None:
    phantom.write(phantom.series(**change), tmp_path)
    with pytest.raises(kind, match=code) as caught:
        assemble.run(tmp_path, options())
    assert caught.value.series is not None
    assert caught.value.advice


def test_mosaic_and_colour(phantom: ModuleType, tmp_path: Path) -> None:
    mosaic = phantom.series("MR", ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], Manufacturer="SIEMENS")
    with pytest.raises(InputError, match="MOSAIC"):
        assemble.run(phantom.write(mosaic, tmp_path / "mosaic"), options())
    size = phantom.SHAPE[0] * phantom.SHAPE[1]
    colour = phantom.series(
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelData=b"\7" * size * 3,
    )
    with pytest.raises(InputError, match="NOT_GRAYSCALE"):
        assemble.run(phantom.write(colour, tmp_path / "colour"), options())


def test_scouts_and_projections_are_listed_but_not_used(phantom: ModuleType, tmp_path: Path) -> None:
    phantom.write(phantom.series(), tmp_path)
    phantom.write(phantom.series(name="MIP", count=6, ImageType=["DERIVED", "SECONDARY", "MIP"]), tmp_path)
    phantom.write(phantom.series("CT", name="scout", count=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path)
    capture = phantom.series("CT", name="shot", count=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SOPInstanceUID=generate_uid())
    phantom.write(capture, tmp_path)
    found = assemble.run(tmp_path, options())
    assert {s.kind for s in found.series if s.role is SeriesRole.OTHER} == {"MIP", "scout", "capture"}
    assert not found.chosen(SeriesRole.CT)


def test_hostile_text_never_gets_out(phantom: ModuleType, tmp_path: Path) -> None:
    bad = "=cmd|' /C calc'!A0<script>../../etc\n\x07" + "x" * 5000
    phantom.write(phantom.series(SeriesDescription=bad), tmp_path)
    found = assemble.run(tmp_path, options())
    assert "UNSAFE_TEXT" in codes(found)
    (series,) = found.series
    assert len(series.description) <= 64
    assert not set(series.description) & set("<>|'!\n\x07=")
    assert ".." not in series.description
