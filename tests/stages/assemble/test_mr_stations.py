"""Stations of one spine MR: separate or composed, in one series or in several, lying in any direction."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.domain.study import Assembly, Series
from lesion_pipeline.stages import assemble

PRESET = Path(__file__).resolve().parents[3] / "configs" / "fdg-petct.toml"
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (0.0, 0.9848077530, -0.1736481777, 0.0, -0.1736481777, -0.9848077530)
HEIGHT = 20 * 4.0  # rows of the phantom times their distance
ORIENTATIONS = pytest.mark.parametrize("orientation", [SAGITTAL, CORONAL, OBLIQUE], ids=["sagittal", "coronal", "oblique"])


def run(folder: Path) -> Assembly:
    return assemble.run(folder, assemble.Options.model_validate(tomllib.loads(PRESET.read_text(encoding="utf-8"))["assemble"]))


def station(phantom: ModuleType, orientation: Sequence[float], down_mm: float, name: str, **values: object) -> list[object]:
    """A T1 stack whose first pixel lies ``down_mm`` along the columns of the image."""
    origin = np.array([-30.0, -38.0, 40.0]) + down_mm * np.array(orientation[3:])
    datasets: list[object] = phantom.series("MR", 8, 4.0, name, orientation=orientation, origin=origin, **values)
    return datasets


def read(found: Assembly) -> list[Series]:
    return [s for s in found.series if s.volume is not None]


def codes(found: Assembly) -> set[str]:
    return {c.code for c in found.caveats}


@ORIENTATIONS
@pytest.mark.parametrize("overlap", [-4.0, 20.0])
def test_stations_stay_apart_and_all_are_read(
    orientation: Sequence[float], overlap: float, phantom: ModuleType, tmp_path: Path
) -> None:
    for number, name in enumerate(("T1 neck", "T1 chest", "T1 loin")):
        phantom.write(station(phantom, orientation, number * (HEIGHT - overlap), name), tmp_path)
    found = run(tmp_path)
    assert [s.shape for s in read(found)] == [(24, 20, 8)] * 3
    assert codes(found) == {"MR_STATIONS"}
    assert "3 MR series" in next(c.message for c in found.caveats)


@ORIENTATIONS
def test_stations_inside_one_series(orientation: Sequence[float], phantom: ModuleType, tmp_path: Path) -> None:
    upper = station(phantom, orientation, 0.0, "T1 spine")
    lower = station(phantom, orientation, HEIGHT - 12.0, "T1 spine")
    for k, ds in enumerate(lower):
        ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.9{k}"  # type: ignore[attr-defined]
    phantom.write([*upper, *lower], tmp_path)
    found = run(tmp_path)
    volumes = [s.volume for s in read(found) if s.volume is not None]
    assert [v.grid.shape for v in volumes] == [(24, 20, 8)] * 2
    first, second = (v.grid.affine[:3, 3] for v in volumes)
    assert np.linalg.norm(first - second) == pytest.approx(HEIGHT - 12.0, abs=1e-3)
    assert codes(found) == {"MR_STATIONS"}


@ORIENTATIONS
def test_the_composed_image_is_used_instead(orientation: Sequence[float], phantom: ModuleType, tmp_path: Path) -> None:
    for number in range(2):
        phantom.write(station(phantom, orientation, number * 30.0, f"T1 part {number}"), tmp_path)
    words = ["DERIVED", "PRIMARY", "M", "COMPOSED"]
    phantom.write(
        station(phantom, orientation, -10.0, "T1 whole", ImageType=words, PixelSpacing=[7.0, 4.0], SliceThickness=4), tmp_path
    )
    found = run(tmp_path)
    (used,) = read(found)
    assert used.description == "T1 whole"
    assert sorted(s.description for s in found.series if used.key in s.reason) == ["T1 part 0", "T1 part 1"]
    assert "MR_STATIONS" not in codes(found)


@pytest.mark.parametrize(
    "other",
    [
        {"FrameOfReferenceUID": "1.2.3.4"},
        {"RepetitionTime": 4000, "EchoTime": 100},
        {"SeriesDescription": "T1 again", "down_mm": 0.0},
        {"down_mm": 400.0},
    ],
    ids=["another frame", "another sequence", "a repetition", "far away"],
)
def test_what_is_no_station(other: dict[str, object], phantom: ModuleType, tmp_path: Path) -> None:
    changes = {"down_mm": HEIGHT - 12.0} | other
    phantom.write(station(phantom, SAGITTAL, 0.0, "T1 neck"), tmp_path)
    phantom.write(station(phantom, SAGITTAL, float(str(changes.pop("down_mm"))), "T1 chest", **changes), tmp_path)
    found = run(tmp_path)
    assert len(read(found)) == 2
    assert "MR_STATIONS" not in codes(found)


def test_contradicting_slices_at_one_place_are_still_refused(phantom: ModuleType, tmp_path: Path) -> None:
    """A shift in the plane of less than a station's is no station."""
    upper = station(phantom, SAGITTAL, 0.0, "T1 spine")
    shifted = station(phantom, SAGITTAL, 2.0, "T1 spine")
    for k, ds in enumerate(shifted):
        ds.SOPInstanceUID = f"{ds.SeriesInstanceUID}.9{k}"  # type: ignore[attr-defined]
        ds.PixelData = bytes(960)  # type: ignore[attr-defined]
    phantom.write([*upper, *shifted], tmp_path)
    with pytest.raises(LesionPipelineError, match="AMBIGUOUS_POSITION"):
        run(tmp_path)
