"""Small DICOM series for tests: a box with bright balls, headers as a scanner writes them, every value open to change."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

CLASSES = {"PT": "1.2.840.10008.5.1.4.1.1.128", "CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}
ROOT = "1.2.826.0.1.3680043.10.543"
BALLS = ((-20.0, -12.0, 15.0), (16.0, 20.0, 30.0), (0.0, -8.0, 48.0))
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SHAPE = (20, 24)  # rows, columns
SPACING = (4.0, 4.0)
ORIGIN = (-46.0, -38.0, 0.0)


def world(
    k: int, step: float, orientation: Sequence[float] = AXIAL, origin: Sequence[float] = ORIGIN
) -> npt.NDArray[np.float64]:
    """(rows, columns, 3) LPS mm of the pixels of slice k."""
    along, down = np.array(orientation[:3]), np.array(orientation[3:])
    j, i = np.indices(SHAPE)
    start = np.array(origin) + k * step * np.cross(along, down)
    return np.asarray(start + i[..., None] * SPACING[1] * along + j[..., None] * SPACING[0] * down)


def pixels(points: npt.NDArray[np.float64], bright: float = 8000.0) -> npt.NDArray[np.uint16]:
    """1000 everywhere, ``bright`` in balls of 8 mm radius."""
    out = np.full(points.shape[:2], 1000.0)
    for ball in BALLS:
        out[np.linalg.norm(points - np.array(ball), axis=-1) <= 8.0] = bright
    return out.astype(np.uint16)


def _head(modality: str, series: str) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = CLASSES[modality]
    ds.StudyInstanceUID = f"{ROOT}.1"
    ds.SeriesInstanceUID = f"{ROOT}.2.{sum(map(ord, series + modality))}"
    ds.FrameOfReferenceUID = f"{ROOT}.3"
    ds.Modality = modality
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "P1", "DOE^JOHN", "19600101", "M"
    ds.PatientWeight, ds.PatientSize = 70, 1.75
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20200101"
    ds.SeriesTime = ds.AcquisitionTime = "100000"
    ds.SeriesDescription = series
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    if modality == "PT":
        ds.Units, ds.DecayCorrection = "BQML", "START"
        ds.CorrectedImage = ["ATTN", "DECY", "SCAT"]
        ds.SeriesType = ["STATIC", "IMAGE"]
        item = Dataset()
        item.RadionuclideTotalDose, item.RadionuclideHalfLife = 3.5e8, 6586.2
        item.RadiopharmaceuticalStartTime = "090000"
        item.Radiopharmaceutical = "FDG"
        ds.RadiopharmaceuticalInformationSequence = [item]
    if modality == "CT":
        ds.ConvolutionKernel, ds.KVP = "B30f", 120
    if modality == "MR":
        ds.ScanningSequence, ds.RepetitionTime, ds.EchoTime = "SE", 600, 12
    return ds


def series(
    modality: str = "PT",
    count: int = 20,
    step: float = 3.0,
    name: str = "WB AC",
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = ORIGIN,
    each: Callable[[Dataset, int], None] | None = None,
    **values: Any,
) -> list[Dataset]:
    """One series; ``values`` replace header values by keyword, ``each`` changes slice k."""
    made = []
    for k in range(count):
        ds = _head(modality, name)
        points = world(k, step, orientation, origin)
        ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.{k + 1}"
        ds.InstanceNumber = count - k  # against the order in space, on purpose
        ds.ImagePositionPatient = [f"{x:.6f}" for x in points[0, 0]]
        ds.ImageOrientationPatient = [f"{x:.9f}" for x in orientation]
        ds.PixelSpacing = list(SPACING)
        ds.SliceThickness = 9.0  # a lie, as so often
        ds.Rows, ds.Columns = SHAPE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 0
        ds.RescaleSlope, ds.RescaleIntercept = (1 + k / 64 if modality == "PT" else 1), (-1024 if modality == "CT" else 0)
        stored = pixels(points).astype(np.float64)
        if modality == "PT":
            stored = np.round(stored / (1 + k / 64))
        ds.PixelData = stored.astype("<u2").tobytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # bad values are the point
            for keyword, value in values.items():
                if value is None:
                    delattr(ds, keyword)
                else:
                    setattr(ds, keyword, value)
            if each is not None:
                each(ds, k)
        made.append(ds)
    return made


def as_file(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    return FileDataset("", ds, file_meta=meta, preamble=b"\0" * 128)


def write(datasets: Sequence[Dataset], folder: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Files with names that say nothing; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    already = len(list(folder.iterdir()))
    for n, ds in enumerate(datasets):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            as_file(ds, syntax).save_as(folder / f"{(already + n) * 7919 % 100003:06d}", enforce_file_format=True)
    return folder


def deflated(raw: bytes) -> bytes:
    """A bare deflate stream, as the deflated transfer syntax holds it."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return engine.compress(raw) + engine.flush()
