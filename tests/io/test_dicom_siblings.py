"""Headers told by what differs from a sibling's are the headers that a full walk reads, whatever varies or is damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from lesion_pipeline.io.dicom import siblings, worker
from lesion_pipeline.io.dicom.elements import NotDicomError
from lesion_pipeline.io.dicom.reader import DicomReader
from lesion_pipeline.io.dicom.record import FileRecord
from lesion_pipeline.io.dicom.siblings import Siblings
from lesion_pipeline.io.pet_facts import read_pet_facts


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def records(paths: list[Path], monkeypatch: pytest.MonkeyPatch, *, walk: bool) -> list[FileRecord]:
    with monkeypatch.context() as patch:
        if walk:
            patch.setattr(siblings, "_as_sibling", lambda *_: None)
        with DicomReader(paths, workers=1) as reader:
            return reader.scan().records


def same(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[FileRecord]:
    """The records by both ways; ``facts`` is a name that may differ."""
    told, walked = (records(paths, monkeypatch, walk=walk) for walk in (False, True))
    for one, other in zip(told, walked, strict=True):
        for field in fields(FileRecord):
            if field.name != "facts":
                assert repr(getattr(one, field.name)) == repr(getattr(other, field.name)), field.name
    return told


def walks(paths: list[Path]) -> int:
    seen = Siblings()
    return sum("like" not in seen.record(path.read_bytes(), n) for n, path in enumerate(paths))


def _private(ds: Dataset, k: int) -> None:
    block = ds.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", f"2020010110{k // 5:02d}00")
    block.add_new(0x60, "LO", "x" * (k % 7))


def _nested(ds: Dataset, k: int) -> None:
    item = Dataset()
    item.ReferencedSOPInstanceUID = f"1.2.{10**k}"
    ds.SourceImageSequence = [item]
    ds["SourceImageSequence"].is_undefined_length = True


def _echo(ds: Dataset, k: int) -> None:
    ds.EchoTime = 10 if k % 2 else 80


def _words(ds: Dataset, k: int) -> None:
    ds.SliceLocation = f"{k * 3.0:.{k % 4}f}"
    if k % 5 == 0:
        ds.ImageComments = "only here"
    if k == 7:
        ds.InstanceNumber = None
        ds.AcquisitionTime = ""
    if k == 9:
        ds.SOPInstanceUID = "../evil"


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize("case", [("PT", _private, 20), ("CT", _nested, 8), ("MR", _echo, 8), ("PT", _words, 24)])
def test_told_by_difference_is_what_a_walk_reads(
    syntax: str,
    case: tuple[str, Callable[[Dataset, int], None], int],
    phantom: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modality, each, most = case
    phantom.write(phantom.series(modality, count=40, each=each), tmp_path, syntax)
    paths = files(tmp_path)
    told = same(paths, monkeypatch)
    assert len({r.position for r in told}) == 40
    assert walks(paths) <= most


def test_two_series_in_turns(phantom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for one, other in zip(phantom.series("PT", count=20), phantom.series("CT", count=20), strict=True):
        phantom.write([one, other], tmp_path)
    told = same(files(tmp_path), monkeypatch)
    assert sorted(r.modality for r in told) == ["CT"] * 20 + ["PT"] * 20
    assert walks(files(tmp_path)) <= 12


def test_damage_in_a_sibling_is_found(phantom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut or flipped anywhere, a file gives the record that a walk gives."""
    rng = random.Random(5)
    paths = files(phantom.write(phantom.series("PT", count=120, each=_private), tmp_path))
    for path in paths[10:]:
        data = bytearray(path.read_bytes())
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.choice((1, 1, 3))):
                data[rng.randrange(len(data) - 960)] ^= 1 << rng.randrange(8)  # the last 960 bytes are pixels
        path.write_bytes(data)
    told = same(paths, monkeypatch)
    assert len({r.fault for r in told}) > 2


def test_not_dicom_stays_not_dicom() -> None:
    with pytest.raises(NotDicomError):
        Siblings().record(b"x" * 500, 0)


_CHANGES: dict[str, Any] = {
    "AcquisitionDateTime": "20200101101500",
    "AcquisitionDate": "20200102",
    "AcquisitionTime": "101500",
    "StudyDate": "20200103",
    "SeriesDate": "20200103",
    "SeriesTime": "101500",
    "FrameReferenceTime": "5000",
    "ActualFrameDuration": "7000",
    "DecayFactor": "1.25",
    "Units": "CNTS",
    "PatientWeight": "71",
    "PatientSize": "1.8",
    "PatientSex": "F",
    "DecayCorrection": "ADMIN",
    "SUVType": "BW",
    "CorrectedImage": ["ATTN"],
    "RadiopharmaceuticalInformationSequence": [],
}


@pytest.mark.parametrize("keyword", [*_CHANGES, "dose", "philips", "ge", "siemens"])
def test_one_slice_that_says_otherwise_is_seen(keyword: str, phantom: ModuleType, tmp_path: Path) -> None:
    """Facts of the slices that differ in a header are those of all slices read one by one."""

    def change(ds: Dataset, k: int) -> None:
        ds.AcquisitionTime = f"1000{k // 6:02d}"
        if k != 13:
            return
        if keyword == "dose":
            ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = 3e8
        elif keyword == "philips":
            ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x09, "DS", "2.5")
        elif keyword == "ge":
            ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20200101100100")
        elif keyword == "siemens":
            ds.private_block(0x0071, "SIEMENS MED PT", create=True).add_new(0x22, "DT", "20200101100100")
        else:
            setattr(ds, keyword, _CHANGES[keyword])

    paths = files(phantom.write(phantom.series("PT", count=20, each=change), tmp_path))
    with DicomReader(paths) as reader:
        found = sorted(reader.scan().records, key=lambda r: r.position or ())
        facts = reader.pet_facts(found)
        assert 5 <= len({r.facts for r in found}) <= 9  # far fewer than slices
        each = [worker.dataset_of(worker._checked_header(reader.paths[r.index], r.size, r.mtime_ns)) for r in found]
    assert facts == read_pet_facts(each)
