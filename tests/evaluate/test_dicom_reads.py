"""Reference reads as DICOM, and runs told from their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.evaluate import dicom_reads, fingerprint
from lesion_pipeline.evaluate.cohort import pair
from lesion_pipeline.io.rtstruct import RTSTRUCT

Rings = dict[str, list[tuple[float, float]]]  # region name: (z, radius) of circles round (10, 20)


def _rtstruct(path: Path, regions: Rings, tilt: float = 0.0) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = UID(RTSTRUCT), ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["made"])
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = RTSTRUCT, meta.MediaStorageSOPInstanceUID, "RTSTRUCT"
    ds.FrameOfReferenceUID = "1.2.3"
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    for number, (name, circles) in enumerate(regions.items(), start=1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, "1.2.3"
        drawn = Dataset()
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for z, radius in circles:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(angle)
            x, y = 10 + radius * np.cos(angle), 20 + radius * np.sin(angle)
            points = np.stack([x, y, z + tilt * x], axis=1)
            contour.ContourData = [f"{v:.4f}" for v in points.ravel()]
            drawn.ContourSequence.append(contour)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    ds.save_as(path, enforce_file_format=True)
    return path


def _cylinder(z: float, radius: float = 15.0) -> list[tuple[float, float]]:
    return [(z + 3.27 * n, radius) for n in range(8)]


def test_contours_of_several_regions_are_one_lesion_each(tmp_path: Path) -> None:
    path = _rtstruct(tmp_path / "rs.dcm", {"GTV 1": _cylinder(-100.0), "GTV 2": _cylinder(50.0, 10.0)})
    read = dicom_reads.read(path, "s")
    assert [lesion.id for lesion in read.lesions] == ["GTV 1", "GTV 2"]
    for lesion, radius, z in zip(read.lesions, (15.0, 10.0), (-100.0, 50.0), strict=True):
        assert lesion.volume_ml == pytest.approx(np.pi * radius**2 * 8 * 3.27 / 1000, rel=0.02)
        assert lesion.centroid_lps_mm == pytest.approx((10.0, 20.0, z + 3.5 * 3.27), abs=0.6)  # planes share a lattice
    assert read.counts["lesions"].best == 2


def test_one_region_is_taken_apart_and_a_gap_between_planes_is_no_bridge(tmp_path: Path) -> None:
    path = _rtstruct(tmp_path / "rs.dcm", {"lesions": [*_cylinder(-100.0), *_cylinder(-100.0 + 3.27 * 12)]})
    assert len(dicom_reads.read(path, "s").lesions) == 2


def test_contours_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="axial, coronal or sagittal"):
        dicom_reads.read(_rtstruct(tmp_path / "rs.dcm", {"A": _cylinder(0.0)}, tilt=0.3), "s")
    with pytest.raises(InputError, match="BAD_REFERENCE"):
        dicom_reads.read(_rtstruct(tmp_path / "empty.dcm", {"A": []}), "s")
    (tmp_path / "text.dcm").write_text("no DICOM", encoding="utf-8")
    with pytest.raises(InputError, match="NOT_SEG"):
        dicom_reads.read(tmp_path / "text.dcm", "s")


@pytest.mark.realdata
def test_contours_of_a_sarcoma_have_their_volume(real_data: Callable[[str], Path]) -> None:
    path = next((real_data("sts_001") / "FDG_PET").rglob("mask/*.dcm"))
    mass = dicom_reads.read(path, "s").lesions[0]
    assert mass.id == "GTV_Mass"
    assert mass.volume_ml == pytest.approx(368.0, rel=0.015)


@pytest.mark.realdata
def test_segments_are_read_on_their_own_grid(real_data: Callable[[str], Path]) -> None:
    path = next((real_data("acrin_petct") / "SEG_PT_Segmentation_504365").iterdir())
    read = dicom_reads.read(path, "s")
    assert len(read.lesions) == 2
    assert all(lesion.volume_ml is not None and lesion.volume_ml > 100 for lesion in read.lesions)


@pytest.mark.realdata
def test_a_run_finds_its_reference_by_the_files_it_read(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Neither folder bears the other's name: only the DICOM headers tell."""
    study = real_data("sts_cropped") / "STS_010"
    keys = fingerprint.of_source(study)
    assert {key.split("-")[0] for key in keys} >= {"CT", "PT", "MR"}
    truth = tmp_path / "truth" / "patient"
    truth.mkdir(parents=True)
    (truth / "lesions.csv").write_text("x_mm,y_mm,z_mm\n1,2,3\n", encoding="utf-8")
    (truth / "dicom").mkdir()
    for path in (study / "PET").rglob("*.dcm"):
        (truth / "dicom" / path.name).write_bytes(path.read_bytes())
    for name, chosen in (("0a1b", sorted(k for k in keys if k.startswith("PT"))), ("ffff", ["PT-00000000"])):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        inputs = [{"series": key, "chosen": True} for key in chosen]
        (folder / "lesioncount.json").write_text(json.dumps({"provenance": {"inputs": inputs}}), encoding="utf-8")
    paired, leftover = pair(tmp_path / "runs", tmp_path / "truth")
    assert [(name, folder.name if folder else None) for name, _, folder in paired] == [("patient", "0a1b")]
    assert leftover == ("ffff",)
