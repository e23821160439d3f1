"""DICOM datasets with the headers a hospital's scanners write; byte for byte the same from the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.simulate.tracer import TracerFacts

MANUFACTURER = "SYNTHETIC IMAGING"
_IMPLEMENTATION = UID("2.25.284901730021853746290118372645")


@dataclass(frozen=True)
class Patient:
    """Identity of nobody. born: birth date; weight in kg, height in m."""

    name: str
    id: str
    born: date
    sex: str
    weight_kg: float
    height_m: float


@dataclass(frozen=True)
class Visit:
    """One study in the hospital's sense. seed: text that all UIDs are hashed from."""

    seed: str
    patient: Patient
    started: datetime
    description: str
    number: str

    def uid(self, *parts: object) -> UID:
        """A UID that depends on the seed and the parts alone."""
        text = "/".join([self.seed, *map(str, parts)])
        return UID(f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:15], 'big')}")

    def age_at(self) -> int:
        day, born = self.started.date(), self.patient.born
        return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


@dataclass(eq=False)
class File:
    """A dataset on its way to a path below the study's folder."""

    path: str
    dataset: Dataset


def _clock(when: datetime) -> str:
    return when.strftime("%H%M%S.%f")


def _item(code: tuple[str, str, str]) -> Dataset:
    out = Dataset()
    out.CodeValue, out.CodingSchemeDesignator, out.CodeMeaning = code
    return out


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters."""
    text = repr(round(float(value), 6))
    return text if len(text) <= 16 else f"{value:.9g}"


@dataclass(frozen=True)
class SeriesHead:
    """What all images of a series share. started: SeriesTime."""

    visit: Visit
    number: int
    modality: str
    sop_class: UID
    description: str
    started: datetime
    frame: UID
    image_type: tuple[str, ...]
    position: str = "HFS"

    def image(self, index: int, acquired: datetime) -> Dataset:
        """A dataset with everything but geometry and pixels; index counts from 1."""
        visit, who = self.visit, self.visit.patient
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 100"
        ds.ImageType = list(self.image_type)
        ds.SOPClassUID, ds.SOPInstanceUID = self.sop_class, visit.uid(self.number, self.description, index)
        ds.StudyDate, ds.SeriesDate, ds.AcquisitionDate = (
            t.strftime("%Y%m%d") for t in (visit.started, self.started, acquired)
        )
        ds.ContentDate = ds.AcquisitionDate
        ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime = (_clock(t) for t in (visit.started, self.started, acquired))
        ds.ContentTime = ds.AcquisitionTime
        ds.AccessionNumber, ds.Modality, ds.Manufacturer = visit.number, self.modality, MANUFACTURER
        ds.InstitutionName, ds.ReferringPhysicianName, ds.StationName = "SYNTHETIC HOSPITAL", "", f"{self.modality}01"
        ds.StudyDescription, ds.SeriesDescription, ds.ManufacturerModelName = visit.description, self.description, "PHANTOM 1"
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = who.name, who.id, who.born.strftime("%Y%m%d")
        ds.PatientSex, ds.PatientAge = who.sex, f"{visit.age_at():03d}Y"
        ds.PatientSize, ds.PatientWeight = _ds(who.height_m), _ds(who.weight_kg)
        ds.SoftwareVersions, ds.PatientPosition = "1.0", self.position
        ds.StudyInstanceUID, ds.SeriesInstanceUID = visit.uid("study"), visit.uid("series", self.number, self.description)
        ds.StudyID, ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = visit.number, self.number, 1, index
        ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = self.frame, ""
        return ds


def _geometry(ds: Dataset, grid: Grid, k: int, thickness: float) -> None:
    ds.SliceThickness = _ds(thickness)
    unit = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    ds.ImagePositionPatient = [_ds(v) for v in grid.world([0, 0, k])]
    ds.ImageOrientationPatient = [_ds(v) for v in [*unit[:, 0], *unit[:, 1]]]
    ds.PixelSpacing = [_ds(grid.spacing_mm[1]), _ds(grid.spacing_mm[0])]
    if abs(unit[2, 2]) > 0.9:
        ds.SliceLocation = _ds(grid.world([0, 0, k])[2])


def _pixels(ds: Dataset, plane: npt.NDArray[np.uint16] | npt.NDArray[np.int16], bits: int) -> None:
    """plane: (columns, rows) as it lies in a volume; stored rows first."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = plane.shape[1], plane.shape[0]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, bits, bits - 1
    ds.PixelRepresentation = int(plane.dtype == np.int16)
    ds.PixelData = np.ascontiguousarray(plane.T).astype(plane.dtype.newbyteorder("<")).tobytes()


def ct_series(
    head: SeriesHead, values: npt.NDArray[np.float32], grid: Grid, kernel: str = "B31s", *, contrast: bool = False
) -> list[File]:
    """CT slices, 12 bits stored, intercept -1024. Instance numbers run from head to feet, as tables move."""
    out, count = [], grid.shape[2]
    for k in range(count):
        index = count - k
        ds = head.image(index, head.started + timedelta(seconds=0.04 * index))
        ds.KVP, ds.DataCollectionDiameter, ds.ReconstructionDiameter = "120", "500", _ds(grid.spacing_mm[0] * grid.shape[0])
        ds.GantryDetectorTilt, ds.RotationDirection, ds.ExposureTime, ds.XRayTubeCurrent = "0", "CW", "500", "60"
        ds.FilterType, ds.ConvolutionKernel = "FLAT", kernel
        if contrast:
            ds.ContrastBolusAgent, ds.ContrastBolusRoute, ds.ContrastBolusVolume = "Iohexol 300", "INTRAVENOUS", "100"
        _geometry(ds, grid, k, grid.spacing_mm[2])
        stored = np.clip(np.rint(values[:, :, k] + np.float32(1024)), 0, 4095).astype(np.uint16)
        _pixels(ds, stored, 12)
        ds.WindowCenter, ds.WindowWidth = "40", "400"
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
        out.append(File(f"SE{head.number:06d}/IM{index:06d}", ds))
    return out


def scout(head: SeriesHead, values: npt.NDArray[np.float32], grid: Grid) -> list[File]:
    """A planning radiograph: the CT's mean from front to back, in one coronal plane."""
    plane = values.mean(axis=1)[:, ::-1]  # columns right to left, rows head to feet
    ds = head.image(1, head.started)
    affine = np.eye(4)
    affine[:3, 0] = grid.affine[:3, 0]
    affine[:3, 1] = -grid.affine[:3, 2]
    affine[:3, 2] = [0, 1, 0]
    affine[:3, 3] = grid.world([0, grid.shape[1] / 2, grid.shape[2] - 1])
    ds.KVP = "120"
    _geometry(ds, Grid((grid.shape[0], grid.shape[2], 1), affine, grid.frame), 0, 1.0)
    _pixels(ds, np.clip(np.rint(plane + 1024), 0, 4095).astype(np.uint16), 12)
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    return [File(f"SE{head.number:06d}/IM000001", ds)]


@dataclass(frozen=True)
class PetTiming:
    """Injection, seconds per bed, bed of every slice. Values refer to the scan's start (DecayCorrection START)."""

    injected: datetime
    bed_seconds: float
    beds: Sequence[int]
    dose_bq: float
    tracer: TracerFacts

    def bq_per_suv(self, weight_kg: float, started: datetime) -> float:
        """Bq/ml at the reference time that one SUVbw stands for."""
        seconds = (started - self.injected).total_seconds()
        return self.dose_bq * float(np.exp(-np.log(2) * seconds / self.tracer.half_life_s)) / (weight_kg * 1000)

    def mean_instant_s(self, bed: int) -> float:
        """Seconds from the scan's start to the moment of a bed's mean count rate."""
        x = np.log(2) / self.tracer.half_life_s * self.bed_seconds
        average = np.log(x / (1 - np.exp(-x))) / (np.log(2) / self.tracer.half_life_s)
        return float(bed * self.bed_seconds + average)


def pet_series(
    head: SeriesHead, bq_ml: npt.NDArray[np.float32], grid: Grid, timing: PetTiming, corrections: Sequence[str]
) -> list[File]:
    """PET slices with one slope each (float activity scaled to 15 bits), Bq/ml decay-corrected to SeriesTime."""
    out, count = [], grid.shape[2]
    for k in range(count):
        index, bed = count - k, int(timing.beds[k])
        acquired = head.started + timedelta(seconds=bed * timing.bed_seconds)
        ds = head.image(index, acquired)
        _geometry(ds, grid, k, grid.spacing_mm[2])
        slope = max(float(bq_ml[:, :, k].max()) / 32767, 1e-4)
        slope = float(_ds(slope))
        _pixels(ds, np.clip(np.rint(bq_ml[:, :, k] / np.float32(slope)), 0, 32767).astype(np.int16), 16)
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", _ds(slope), "BQML"
        ds.SeriesType, ds.Units, ds.CountsSource, ds.DecayCorrection = ["WHOLE BODY", "IMAGE"], "BQML", "EMISSION", "START"
        ds.NumberOfSlices, ds.ImageIndex, ds.CorrectedImage = count, index, list(corrections)
        ds.RandomsCorrectionMethod, ds.ReconstructionMethod, ds.ConvolutionKernel = "DLYD", "PSF+TOF 3i21s", "XYZ Gauss 4.00"
        ds.AttenuationCorrectionMethod = "CT-derived mu-map" if "ATTN" in corrections else ""
        ds.CollimatorType, ds.ScatterCorrectionMethod = "NONE", "Model-based" if "SCAT" in corrections else ""
        ds.ActualFrameDuration = str(int(timing.bed_seconds * 1000))
        since = timing.mean_instant_s(bed)
        ds.FrameReferenceTime = _ds(since * 1000)
        ds.DecayFactor = _ds(np.exp(np.log(2) / timing.tracer.half_life_s * since))
        ds.ScatterFractionFactor, ds.DeadTimeFactor, ds.DoseCalibrationFactor = "0.32", "1.02", "1"
        ds.RadiopharmaceuticalInformationSequence = Items([_injection(timing)])
        out.append(File(f"SE{head.number:06d}/IM{index:06d}", ds))
    return out


def _injection(timing: PetTiming) -> Dataset:
    out = Dataset()
    out.Radiopharmaceutical = timing.tracer.name
    out.RadiopharmaceuticalVolume, out.RadiopharmaceuticalRoute = "0", "Intravenous route"
    out.RadiopharmaceuticalStartTime = _clock(timing.injected)
    out.RadiopharmaceuticalStartDateTime = timing.injected.strftime("%Y%m%d%H%M%S.%f")
    out.RadionuclideTotalDose = str(round(timing.dose_bq))
    out.RadionuclideHalfLife, out.RadionuclidePositronFraction = (
        _ds(timing.tracer.half_life_s),
        _ds(timing.tracer.positron_fraction),
    )
    out.RadionuclideCodeSequence = Items([_item(timing.tracer.nuclide)])
    out.RadiopharmaceuticalCodeSequence = Items([_item(timing.tracer.code)])
    return out


#: SeriesDescription, ScanningSequence, SequenceVariant, ScanOptions, TR, TE, TI, flip angle.
MR_PROTOCOLS = (
    ("T1 TSE SAG", "SE", "SK", "", 550.0, 11.0, None, 150),
    ("STIR SAG", ["SE", "IR"], "SK", "", 4200.0, 62.0, 160.0, 150),
    ("T1 TSE SAG KM", "SE", "SK", "", 550.0, 11.0, None, 150),
)


def mr_series(head: SeriesHead, values: npt.NDArray[np.float32], grid: Grid, protocol: int, thickness: float) -> list[File]:
    """One MR sequence, 12 bits; the third protocol is after contrast medium."""
    _, scanning, variant, options, tr, te, ti, flip = MR_PROTOCOLS[protocol]
    out = []
    for k in range(grid.shape[2]):
        ds = head.image(k + 1, head.started)
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = scanning, variant, options, "2D"
        ds.RepetitionTime, ds.EchoTime, ds.FlipAngle, ds.NumberOfAverages = _ds(tr), _ds(te), str(flip), "2"
        if ti is not None:
            ds.InversionTime = _ds(ti)
        ds.MagneticFieldStrength, ds.EchoNumbers, ds.EchoTrainLength, ds.ImagedNucleus = "1.5", "1", "5", "1H"
        ds.SpacingBetweenSlices, ds.PercentPhaseFieldOfView, ds.PixelBandwidth = _ds(grid.spacing_mm[2]), "100", "200"
        ds.BodyPartExamined = "SPINE"
        if protocol == 2:
            ds.ContrastBolusAgent, ds.ContrastBolusVolume, ds.ContrastBolusRoute = "Gadobutrol", "7.5", "IV"
        _geometry(ds, grid, k, thickness)
        _pixels(ds, np.clip(np.rint(values[:, :, k]), 0, 4095).astype(np.uint16), 12)
        ds.WindowCenter, ds.WindowWidth = "450", "900"
        out.append(File(f"SE{head.number:06d}/IM{k + 1:06d}", ds))
    return out


SOP_CLASSES = {"CT": CTImageStorage, "PT": PositronEmissionTomographyImageStorage, "MR": MRImageStorage}


def write(files: Sequence[File], folder: Path, progress: Callable[[int], None] | None = None) -> None:
    """Explicit little endian files with fixed meta information."""
    for n, file in enumerate(files):
        ds = file.dataset
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
        meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, _IMPLEMENTATION
        meta.ImplementationVersionName = "LESIONPIPE_SIM"
        ds.file_meta = meta
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(target, enforce_file_format=True)
        if progress is not None:
            progress(n + 1)
