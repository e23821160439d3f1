"""Odd but good files: tilted, enhanced, without preamble, in a strange character set, zipped, with padding."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from lesion_pipeline.domain.errors import GeometryError, InputError
from lesion_pipeline.domain.study import Assembly, SeriesRole
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.stages import assemble

PRESET = Path(__file__).resolve().parents[3] / "configs" / "fdg-petct.toml"


def run(folder: Path) -> Assembly:
    return assemble.run(folder, assemble.Options.model_validate(tomllib.loads(PRESET.read_text(encoding="utf-8"))["assemble"]))


def codes(found: Assembly) -> set[str]:
    return {c.code for c in found.caveats}


def only_volume(found: Assembly) -> Volume:
    (volume,) = [s.volume for s in found.series if s.volume is not None]
    return volume


def at_balls(volume: Volume, phantom: ModuleType) -> list[float]:
    return [float(volume.values[tuple(np.rint(volume.grid.index(b)).astype(int))]) for b in phantom.BALLS]


def test_gantry_tilt_is_resampled_and_told(phantom: ModuleType, tmp_path: Path) -> None:
    shift = np.tan(np.radians(15)) * 3.0

    def tilt(ds: Dataset, k: int) -> None:
        origin = np.array(phantom.ORIGIN) + np.array([0, shift * (k - 10), 3.0 * k])
        j, i = np.indices(phantom.SHAPE)
        points = origin + np.stack([i * 4.0, j * 4.0, 0 * i], axis=-1)
        ds.ImagePositionPatient = [f"{x:.6f}" for x in origin]
        ds.PixelData = phantom.pixels(points).astype("<u2").tobytes()

    found = run(phantom.write(phantom.series("CT", each=tilt), tmp_path))
    volume = only_volume(found)
    assert "GANTRY_TILT" in codes(found)
    assert volume.grid.is_orthogonal
    assert min(at_balls(volume, phantom)) > 4000


def test_padding_of_a_ct_becomes_air(phantom: ModuleType, tmp_path: Path) -> None:
    def pad(ds: Dataset, _: int) -> None:
        stored = np.frombuffer(ds.PixelData, "<u2").astype("<i2").reshape(phantom.SHAPE).copy()
        stored[0] = -2000
        ds.PixelRepresentation, ds.PixelData = 1, stored.tobytes()

    found = run(phantom.write(phantom.series("CT", each=pad), tmp_path))
    assert only_volume(found).values.min() == -1024
    assert "CT_PADDING" in codes(found)


def test_files_without_preamble(phantom: ModuleType, tmp_path: Path) -> None:
    folder = phantom.write(phantom.series("MR"), tmp_path, "1.2.840.10008.1.2")
    for path in folder.iterdir():
        raw = path.read_bytes()
        path.write_bytes(raw[raw.index(b"\x08\x00\x08\x00") :])
    assert codes(run(folder)) == {"NO_PREAMBLE"}


def test_text_in_another_character_set_stops_nothing(phantom: ModuleType, tmp_path: Path) -> None:
    folder = phantom.write(phantom.series("MR", name="WIRBELX"), tmp_path)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"WIRBELX", b"WIRBEL\xe4"))
    found = run(folder)
    assert codes(found) == {"BAD_CHARSET"}
    assert found.series[0].description == "WIRBELä"


def test_zip_of_a_study_and_a_single_file(phantom: ModuleType, tmp_path: Path) -> None:
    folder = phantom.write(phantom.series("MR"), tmp_path / "loose")
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as out:
        for path in folder.iterdir():
            out.write(path, f"a/b/{path.name}")
    assert at_balls(only_volume(run(tmp_path / "study.zip")), phantom) == at_balls(only_volume(run(folder)), phantom)
    with pytest.raises(InputError, match="NO_VOLUME"):
        run(next(folder.iterdir()))


def test_slices_of_two_frames_of_reference(phantom: ModuleType, tmp_path: Path) -> None:
    mixed = phantom.series("MR", each=lambda ds, k: setattr(ds, "FrameOfReferenceUID", f"{phantom.ROOT}.{k // 10}"))
    with pytest.raises(InputError, match="FRAME_OF_REFERENCE_MISMATCH"):
        run(phantom.write(mixed, tmp_path))


ENHANCED = {"PT": "1.2.840.10008.5.1.4.1.1.130", "CT": "1.2.840.10008.5.1.4.1.1.2.1", "MR": "1.2.840.10008.5.1.4.1.1.4.1"}
LEGACY = {"PT": "1.2.840.10008.5.1.4.1.1.128.1", "CT": "1.2.840.10008.5.1.4.1.1.2.2", "MR": "1.2.840.10008.5.1.4.1.1.4.4"}


def multi_frame(slices: list[Dataset], sop_class: str, repeats: int = 1) -> Dataset:
    """One multi-frame object of single slices: orientation and spacing shared, position, slope and time per frame."""

    def item(**values: Any) -> Dataset:
        made = Dataset()
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return made

    whole = Dataset()
    whole.update(slices[0])
    whole.SOPClassUID = sop_class
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(whole, keyword)
    plane = item(ImageOrientationPatient=slices[0].ImageOrientationPatient)
    measures = item(PixelSpacing=slices[0].PixelSpacing, SliceThickness=9)
    shared = item(PlaneOrientationSequence=[plane], PixelMeasuresSequence=[measures])
    frames = []
    for time in range(repeats):
        for ds in slices:
            rescale = item(RescaleSlope=ds.RescaleSlope, RescaleIntercept=ds.RescaleIntercept, RescaleType="US")
            frames.append(
                item(
                    PlanePositionSequence=[item(ImagePositionPatient=ds.ImagePositionPatient)],
                    PixelValueTransformationSequence=[rescale],
                    FrameContentSequence=[item(StackID="1", TemporalPositionIndex=time + 1)],
                )
            )
    whole.SharedFunctionalGroupsSequence = [shared]
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.NumberOfFrames = len(frames)
    whole.PixelData = b"".join(ds.PixelData for ds in slices) * repeats
    return whole


@pytest.mark.parametrize("modality", ["PT", "CT", "MR"])
@pytest.mark.parametrize("classes", [ENHANCED, LEGACY], ids=["enhanced", "legacy converted"])
def test_multi_frame_is_the_same_as_its_single_frames(
    modality: str, classes: dict[str, str], phantom: ModuleType, tmp_path: Path
) -> None:
    slices = phantom.series(modality)
    shuffled = [slices[n] for n in np.random.default_rng(4).permutation(len(slices))]
    single = only_volume(run(phantom.write(slices, tmp_path / "single")))
    multi = only_volume(run(phantom.write([multi_frame(shuffled, classes[modality])], tmp_path / "multi")))
    assert multi.grid.same_as(single.grid)
    np.testing.assert_array_equal(multi.values, single.values)


def test_multi_frame_over_time_and_without_place(phantom: ModuleType, tmp_path: Path) -> None:
    moving = multi_frame(phantom.series(NumberOfTimeSlices=2), ENHANCED["PT"], repeats=2)
    start = len(moving.PixelData) // 2
    moving.PixelData = moving.PixelData[:start] + bytes(b ^ 1 for b in moving.PixelData[start:])
    with pytest.raises(InputError, match="DYNAMIC_PET"):
        run(phantom.write([moving], tmp_path / "time"))
    lost = multi_frame(phantom.series(), ENHANCED["PT"])
    del lost.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence
    with pytest.raises(GeometryError, match="NO_GEOMETRY"):
        run(phantom.write([lost], tmp_path / "place"))
    short = multi_frame(phantom.series(), ENHANCED["PT"])
    short.NumberOfFrames = 30
    with pytest.raises(InputError, match="TRUNCATED"):
        run(phantom.write([short], tmp_path / "short"))


@pytest.mark.realdata
def test_acrin_as_it_comes_from_a_pacs(real_data: Any) -> None:
    """Two encodings of one PET, a NAC that calls itself corrected, a scout, viewer objects."""
    found = run(real_data("acrin_petct"))
    (pet,), (ct,) = found.chosen(SeriesRole.PET), found.chosen(SeriesRole.CT)
    assert (pet.kind, pet.shape, ct.shape) == ("PET AC", (128, 128, 135), (512, 512, 135))
    kinds = sorted(s.kind for s in found.series if not s.chosen)
    assert kinds == ["PET NAC", "RWV", "RWV", "RWV", "SEG", "SEG", "SEG", "scout"]
    assert "DUPLICATE_POSITION" in codes(found)
    assert any(m.refers_to == (pet.key,) and m.slope == pytest.approx(4.2111e-4) for m in found.real_world_maps)
