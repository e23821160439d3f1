"""The child process: what it reads, and what happens when a file kills, stalls or starves it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io.dicom import pixels, worker
from lesion_pipeline.io.dicom.building import build_stacks
from lesion_pipeline.io.dicom.elements import Buffer
from lesion_pipeline.io.dicom.reader import DicomReader, Scan, SliceRef
from lesion_pipeline.io.dicom.stacks import Stack


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def stacks_of(reader: DicomReader) -> tuple[Scan, list[Stack]]:
    scan = reader.scan()
    return scan, build_stacks(scan.records, reader.hashes)


def test_volume_is_shared_read_only_and_outlives_the_child(phantom: ModuleType, tmp_path: Path) -> None:
    with DicomReader(files(phantom.write(phantom.series(), tmp_path))) as reader:
        _, (stack,) = stacks_of(reader)
        decoded = reader.decode([s.ref for s in stack.slices], stack.key)
    assert decoded.values.shape == (24, 20, 20)
    assert decoded.values.max() == pytest.approx(8000, rel=1e-3)
    assert decoded.values.transpose(2, 1, 0).flags.c_contiguous


@pytest.mark.parametrize("change", [{"BitsStored": 12}, {"PixelRepresentation": 1}, {}])
def test_rescaled_values_are_single_precision_of_the_exact_ones(
    change: dict[str, int], phantom: ModuleType, tmp_path: Path
) -> None:
    datasets = phantom.series("MR", RescaleSlope=0.137, RescaleIntercept=-3.5, **change)
    rng = np.random.default_rng(1)
    for ds in datasets:
        ds.PixelData = rng.integers(0, 2048, phantom.SHAPE).astype("<u2").tobytes()
    with DicomReader(files(phantom.write(datasets, tmp_path))) as reader:
        _, (stack,) = stacks_of(reader)
        values = reader.decode([s.ref for s in stack.slices], stack.key).values
    stored = np.stack([np.frombuffer(ds.PixelData, "<u2").reshape(phantom.SHAPE) for ds in datasets]).transpose(2, 1, 0)
    np.testing.assert_allclose(values, stored * 0.137 - 3.5, rtol=2e-7, atol=1e-5)


def test_bits_above_bits_stored(phantom: ModuleType, tmp_path: Path) -> None:
    datasets = phantom.series("MR", BitsStored=12, HighBit=11)
    for ds in datasets:
        garbage = np.frombuffer(ds.PixelData, "<u2") & 0x0FFF
        ds.PixelData = (garbage | 0xA000).astype("<u2").tobytes()
    with DicomReader(files(phantom.write(datasets, tmp_path))) as reader:
        _, (stack,) = stacks_of(reader)
        decoded = reader.decode([s.ref for s in stack.slices], stack.key)
    assert decoded.high_bits == decoded.values.size
    assert decoded.values.max() < 4096


def test_clipped_metal_in_a_ct_does_not_become_air() -> None:
    values = np.array([[0, 4095, 4096]], dtype=np.uint16)
    kept, count = pixels.masked(values, 12, keep_clip=True)
    assert (kept[0, 2], count) == (4096, 1)
    assert pixels.masked(values, 12, keep_clip=False)[0][0, 2] == 0
    signed = np.array([[-5, 2047, 0x0FFF]], dtype=np.int16)
    assert list(pixels.masked(signed, 12, keep_clip=False)[0][0]) == [-5, 2047, -1]


def test_compressed_and_native_have_one_hash(phantom: ModuleType, tmp_path: Path) -> None:
    datasets = phantom.series("MR", count=8)
    phantom.write(datasets, tmp_path / "explicit")
    phantom.write(datasets, tmp_path / "implicit", ImplicitVRLittleEndian)
    for n, ds in enumerate(datasets):
        file = phantom.as_file(ds)
        file.compress(RLELossless, generate_instance_uid=False)
        (tmp_path / "rle").mkdir(exist_ok=True)
        file.save_as(tmp_path / "rle" / str(n), enforce_file_format=True)
    hashes = []
    for name in ("explicit", "implicit", "rle"):
        with DicomReader(files(tmp_path / name)) as reader:
            records = sorted(reader.scan().records, key=lambda r: r.position or ())
            hashes.append(reader.hashes([SliceRef(r, 0, 1.0, 0.0) for r in records]))
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes[0])) > 1


def _die(*_: object) -> worker.Message:
    os._exit(9)


def _hang(*_: object) -> worker.Message:
    time.sleep(60)
    return {}


def _grab(*_: object) -> worker.Message:
    return {"kind": str(len(bytearray(4 << 30)))}


def _recurse(path: str) -> worker.Message:
    return _recurse(path)


@pytest.mark.parametrize("harm", [_die, _hang, _grab, _recurse], ids=["dies", "stalls", "takes memory", "recurses"])
def test_one_evil_file_does_not_stop_the_others(
    harm: Callable[[str], worker.Message], phantom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom.write(phantom.series("MR", count=5), tmp_path / "good")
    (tmp_path / "a_evil").write_bytes(b"\0" * 200)
    (tmp_path / "z_evil").write_bytes(b"\0" * 200)
    calm = worker._scan_one
    monkeypatch.setattr(worker, "_scan_one", lambda path, *a: harm(path) if path.endswith("_evil") else calm(path, *a))
    with DicomReader(files(tmp_path), seconds=1.0) as reader:
        scan = reader.scan()
    assert [r.fault for r in scan.records].count("PARSE_ERROR") == 2
    assert sum(r.sop_class != "" for r in scan.records) == 5


def test_too_many_deaths_end_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(20):
        (tmp_path / str(n)).write_bytes(b"x")
    monkeypatch.setattr(worker, "_scan_one", _die)
    with DicomReader(files(tmp_path)) as reader, pytest.raises(InputError, match="PARSE_ERROR"):
        reader.scan()


def test_a_decoder_that_dies_refuses_its_series_only(
    phantom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantom.write(phantom.series("MR", BitsStored=15), tmp_path)
    phantom.write(phantom.series("CT"), tmp_path)
    calm = pixels.stored_frame

    def deadly(data: Buffer, form: pixels.PixelFormat, frame: int) -> pixels.Stored:
        if form.stored == 15:
            os._exit(9)
        return calm(data, form, frame)

    monkeypatch.setattr(worker, "stored_frame", deadly)
    with DicomReader(files(tmp_path)) as reader:
        _, stacks = stacks_of(reader)
        answers = {}
        for stack in stacks:
            try:
                reader.decode([s.ref for s in stack.slices], stack.key)
                answers[stack.modality] = "read"
            except InputError as error:
                answers[stack.modality] = error.code
    assert answers == {"MR": "PARSE_ERROR", "CT": "read"}


def test_a_file_that_changes_between_scan_and_decode(phantom: ModuleType, tmp_path: Path) -> None:
    paths = files(phantom.write(phantom.series("MR"), tmp_path))
    with DicomReader(paths) as reader:
        _, (stack,) = stacks_of(reader)
        with paths[3].open("ab") as file:
            file.write(b"\0")
        with pytest.raises(InputError, match="INPUT_CHANGED"):
            reader.decode([s.ref for s in stack.slices], stack.key)


def test_child_may_write_no_file_and_goes_with_its_reader(
    phantom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out" / "written"
    target.parent.mkdir()

    def write(*_: object) -> worker.Message:
        target.write_bytes(b"x" * 10_000)
        return {}

    paths = files(phantom.write(phantom.series("MR", count=1), tmp_path / "in"))
    monkeypatch.setattr(worker, "_scan_one", write)
    with DicomReader(paths) as reader:
        reader.scan()
        pids = [child.pid for child in reader._children if child is not None]
    assert not target.exists() or target.stat().st_size == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_facts_cross_the_border_unchanged(phantom: ModuleType, tmp_path: Path) -> None:
    with DicomReader(files(phantom.write(phantom.series(), tmp_path))) as reader:
        _, (stack,) = stacks_of(reader)
        facts = reader.pet_facts([s.file for s in stack.slices])
        patient = reader.patient_facts(stack.head)
    assert facts.units == "BQML"
    assert facts.injections[0].start_time is not None
    assert facts.injections[0].total_dose == 3.5e8
    assert facts.series_datetime is not None
    assert (patient.sex, patient.age_years) == ("M", 60)
