"""Positions to affine: every orientation, and every kind of stack that is no lattice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from lesion_pipeline.io.dicom import lattice
from lesion_pipeline.io.dicom.building import build_stacks
from lesion_pipeline.io.dicom.lattice import LatticeError, Placement
from lesion_pipeline.io.dicom.reader import DicomReader
from lesion_pipeline.io.dicom.stacks import Stack

ORIENTATIONS = {
    "axial": (1, 0, 0, 0, 1, 0),
    "feet_first": (-1, 0, 0, 0, 1, 0),
    "prone": (-1, 0, 0, 0, -1, 0),
    "decubitus": (0, 1, 0, -1, 0, 0),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "coronal": (1, 0, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.48, 0.64, 0.6),
}


def stack(z: list[float], shift: Callable[[int], tuple[float, float, float]] = lambda k: (0, 0, 0)) -> list[Placement]:
    return [
        Placement(np.array([0.0, 0.0, h]) + shift(k), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), (2.0, 3.0))
        for k, h in enumerate(z)
    ]


def code(placements: list[Placement]) -> str:
    with pytest.raises(LatticeError) as caught:
        lattice.affine_of(placements, 1.0)
    return caught.value.code


def test_affine_columns_are_column_row_and_slice() -> None:
    affine = lattice.affine_of(stack([5.0, 9.0, 13.0]), 1.0)
    np.testing.assert_allclose(affine, [[3, 0, 0, 0], [0, 2, 0, 0], [0, 0, 4, 5], [0, 0, 0, 1]])


def test_rounded_positions_of_a_real_scanner_are_not_carried_on() -> None:
    steps = [3.27, 3.27, 3.29, 3.27, 3.27, 3.27, 3.29, 3.19] * 30
    z = [0.0, *np.cumsum(steps)]
    affine = lattice.affine_of(stack(z), 1.0)
    assert affine[2, 2] == pytest.approx(np.mean(steps))


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        ([0, 3, 9, 12, 15], "MISSING_SLICES"),
        ([0, 3, 6, 12, 15, 24, 27], "MISSING_SLICES"),
        ([*range(0, 30, 3), *range(200, 230, 3)], "GAP_IN_STACK"),
        ([0, 3, 6.5, 9, 12], "IRREGULAR_SPACING"),
        ([0, 3, 6, 9.3, 12.3, 15.3, 16.8], "IRREGULAR_SPACING"),
        ([0.0, *np.cumsum([3.0] * 20 + [3.08] * 20)], "IRREGULAR_SPACING"),
    ],
)
def test_no_lattice(z: list[float], expected: str) -> None:
    assert code(stack([float(x) for x in z])) == expected


def test_slice_beside_the_line() -> None:
    assert code(stack([0.0, 3, 6, 9, 12], lambda k: (5.0 if k == 2 else 0.0, 0, 0))) == "IRREGULAR_SPACING"


def test_tilt_is_kept_as_shear_and_measured() -> None:
    affine = lattice.affine_of(stack([0.0, 3, 6, 9], lambda k: (0, 0.5 * k, 0)), 1.0)
    assert lattice.tilt_degrees(affine) == pytest.approx(np.degrees(np.arctan(0.5 / 3)), abs=1e-6)
    assert lattice.tilt_degrees(lattice.affine_of(stack([0.0, 3]), 1.0)) == 0


@given(
    step=st.floats(0.3, 10),
    count=st.integers(2, 300),
    noise=st.floats(0, 0.0045),
    seed=st.integers(0, 1000),
)
def test_rounding_noise_never_refuses_and_never_moves_a_slice(step: float, count: int, noise: float, seed: int) -> None:
    z = np.arange(count) * step + np.random.default_rng(seed).uniform(-noise, noise, count)
    affine = lattice.affine_of(stack(list(z)), 1.0)
    assert np.abs(affine[2, 3] + affine[2, 2] * np.arange(count) - z).max() < 0.02


@pytest.mark.parametrize(
    ("position", "orientation", "spacing", "expected"),
    [
        (None, (1, 0, 0, 0, 1, 0), (1, 1), "NO_GEOMETRY"),
        ((0, 0, float("nan")), (1, 0, 0, 0, 1, 0), (1, 1), "NO_GEOMETRY"),
        ((0, 0), (1, 0, 0, 0, 1, 0), (1, 1), "NO_GEOMETRY"),
        ((0, 0, 0), None, (1, 1), "NO_GEOMETRY"),
        ((0, 0, 0), (0, 0, 0, 0, 0, 0), (1, 1), "BAD_ORIENTATION"),
        ((0, 0, 0), (1, 0, 0, 1, 0, 0), (1, 1), "BAD_ORIENTATION"),
        ((0, 0, 0), (1, 0, 0, 0, 2, 0), (1, 1), "BAD_ORIENTATION"),
        ((0, 0, 0), (1, 0, 0, 0, 1, 0), (0, 1), "BAD_SPACING"),
        ((0, 0, 0), (1, 0, 0, 0, 1, 0), (-1, 1), "BAD_SPACING"),
        ((0, 0, 0), (1, 0, 0, 0, 1, 0), (float("nan"), 1), "BAD_SPACING"),
        ((0, 0, 0), (1, 0, 0, 0, 1, 0), None, "BAD_SPACING"),
    ],
)
def test_bad_placement(
    position: tuple[float, ...] | None, orientation: tuple[float, ...] | None, spacing: tuple[float, ...] | None, expected: str
) -> None:
    with pytest.raises(LatticeError) as caught:
        lattice.placement(position, orientation, spacing)
    assert caught.value.code == expected


def stacks(folder: Path) -> list[Stack]:
    with DicomReader(sorted(p for p in folder.rglob("*") if p.is_file())) as reader:
        return build_stacks(reader.scan().records, reader.hashes)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_balls_are_where_they_were_put_in_every_orientation(name: str, phantom: ModuleType, tmp_path: Path) -> None:
    orientation = np.array(ORIENTATIONS[name], dtype=float)
    along, down = orientation[:3], orientation[3:]
    normal = np.cross(along, down)
    centre = np.array([0.0, 0.0, 30.0])
    origin = centre - 46 * along - 38 * down - 42 * normal
    phantom.write(phantom.series(count=29, orientation=tuple(orientation), origin=tuple(origin)), tmp_path)
    with DicomReader(sorted(tmp_path.iterdir())) as reader:
        (found,) = build_stacks(reader.scan().records, reader.hashes)
        assert not found.refusal, found.reason
        values = reader.decode([s.ref for s in found.slices], found.key).values
    assert found.affine is not None
    for ball in phantom.BALLS:
        index = np.linalg.solve(found.affine, [*ball, 1.0])[:3]
        i, j, k = np.rint(index).astype(int)
        assert values[i, j, k] == pytest.approx(8000, rel=1e-3)


def test_one_slice_of_another_kind_refuses_the_stack(phantom: ModuleType, tmp_path: Path) -> None:
    def change(keyword: str, value: object, at: int) -> Callable[[Dataset, int], None]:
        return lambda ds, k: setattr(ds, keyword, value) if k == at else None

    cases = [
        ("PixelSpacing", [4, 5], 7, "MIXED_PIXEL_SPACING"),
        ("Units", "CNTS", 19, "MIXED_ATTRIBUTES"),
        ("Units", "CNTS", 7, "MIXED_ATTRIBUTES"),
        ("CorrectedImage", ["DECY"], 0, "MIXED_ATTRIBUTES"),
        ("BitsStored", 12, 19, "MIXED_ATTRIBUTES"),
        ("ImageOrientationPatient", [-1, 0, 0, 0, 1, 0], 19, "BAD_ORIENTATION"),
        ("ImagePositionPatient", [-46, -30, 30], 10, "IRREGULAR_SPACING"),
        ("SeriesInstanceUID", "1.2.3", 10, "MISSING_SLICES"),
    ]
    for n, (keyword, value, at, expected) in enumerate(cases):
        folder = phantom.write(phantom.series(each=change(keyword, value, at)), tmp_path / str(n))
        biggest = max(stacks(folder), key=lambda s: len(s.files))
        assert biggest.refusal == expected, (keyword, at, biggest.reason)


def test_copies_and_contradictions_at_one_position(phantom: ModuleType, tmp_path: Path) -> None:
    datasets = phantom.series()
    phantom.write([*datasets, datasets[3]], tmp_path / "same")
    (found,) = stacks(tmp_path / "same")
    assert (found.refusal, [c for c, _ in found.caveats]) == ("", ["DUPLICATE_SOP"])

    again = phantom.series(each=lambda ds, k: setattr(ds, "SOPInstanceUID", f"{phantom.ROOT}.9.{k}"))
    phantom.write([*datasets, again[3]], tmp_path / "position")
    (found,) = stacks(tmp_path / "position")
    assert (found.refusal, [c for c, _ in found.caveats]) == ("", ["DUPLICATE_POSITION"])

    again[3].PixelData = bytes(reversed(again[3].PixelData))
    phantom.write([*datasets, again[3]], tmp_path / "other")
    (found,) = stacks(tmp_path / "other")
    assert found.refusal == "AMBIGUOUS_POSITION"


def test_time_frames_gates_and_acquisitions(phantom: ModuleType, tmp_path: Path) -> None:
    def second(ds: Dataset, k: int) -> None:
        ds.SOPInstanceUID = f"{phantom.ROOT}.9.{k}"
        ds.PixelData = (np.frombuffer(ds.PixelData, "<u2") + 5).astype("<u2").tobytes()

    def acquired(number: int) -> Callable[[Dataset, int], None]:
        def change(ds: Dataset, k: int) -> None:
            if number == 2:
                second(ds, k)
            ds.AcquisitionNumber = number

        return change

    phantom.write(phantom.series(NumberOfTimeSlices=2), tmp_path / "dynamic")
    phantom.write(phantom.series(NumberOfTimeSlices=2, each=second), tmp_path / "dynamic")
    assert [s.refusal for s in stacks(tmp_path / "dynamic")] == ["DYNAMIC_PET"]
    phantom.write(phantom.series("CT", each=acquired(1)), tmp_path / "two")
    phantom.write(phantom.series("CT", each=acquired(2)), tmp_path / "two")
    found = stacks(tmp_path / "two")
    assert [(s.refusal, len(s.slices)) for s in found] == [("", 20), ("", 20)]
    beds = phantom.series(each=lambda ds, k: setattr(ds, "AcquisitionNumber", 1 + k // 7), NumberOfTimeSlices=3)
    assert [(s.refusal, len(s.slices)) for s in stacks(phantom.write(beds, tmp_path / "beds"))] == [("", 20)]


def test_damaged_slice_without_a_name_blames_its_class(phantom: ModuleType, tmp_path: Path) -> None:
    folder = phantom.write(phantom.series(), tmp_path)
    victim = sorted(folder.iterdir())[5]
    victim.write_bytes(victim.read_bytes()[:400])
    (found,) = stacks(folder)
    assert found.refusal == "TRUNCATED"
