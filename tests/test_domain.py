"""Grids, transforms and label maps: values that are valid at birth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.errors import FrameMismatchError, GeometryError, GridMismatchError, UnitError
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume

ORIENTATIONS = {
    "LPS": np.diag([1.0, 1.0, 1.0]),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "feet_first": np.diag([-1.0, 1.0, -1.0]),
    "sagittal": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    "oblique": Rotation.from_euler("xyz", [20.0, -10.0, 5.0], degrees=True).as_matrix(),
}


def grid(orientation: str = "LPS", shape: tuple[int, int, int] = (4, 5, 6)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = ORIENTATIONS[orientation] * np.array([2.0, 3.0, 4.0])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    return Grid(shape, affine, "frame")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_index_and_world_are_inverse(orientation: str) -> None:
    g = grid(orientation)
    points = np.random.default_rng(1).uniform(-50, 50, (20, 3))
    assert np.allclose(g.world(g.index(points)), points)
    assert g.spacing_mm == pytest.approx((2.0, 3.0, 4.0))
    assert g.voxel_ml == pytest.approx(0.024)
    assert g.is_orthogonal


def test_axis_toward_head() -> None:
    assert grid("LPS").axis_toward((0, 0, 1)) == (2, 1)
    assert grid("feet_first").axis_toward((0, 0, 1)) == (2, -1)
    assert grid("sagittal").axis_toward((0, 0, 1)) == (1, -1)


def test_same_grid_is_asked_at_the_corners() -> None:
    g = grid(shape=(400, 400, 600))
    nudged = np.array(g.affine)
    nudged[2, 2] += 1e-6  # 0.6 um at the far end
    assert g.same_as(Grid(g.shape, nudged, "frame"))
    nudged[2, 2] += 1e-4  # 60 um
    assert not g.same_as(Grid(g.shape, nudged, "frame"))
    assert not g.same_as(Grid(g.shape, g.affine, "another"))
    with pytest.raises(GridMismatchError):
        g.require_same(grid(), "test")


@pytest.mark.parametrize(
    ("shape", "affine", "frame"),
    [
        ((0, 1, 1), np.eye(4), "f"),
        ((1, 1, 1), np.zeros((4, 4)), "f"),
        ((1, 1, 1), np.full((4, 4), np.nan), "f"),
        ((1, 1, 1), np.eye(4), ""),
    ],
)
def test_bad_grids_are_refused(shape: tuple[int, int, int], affine: np.ndarray, frame: str) -> None:
    with pytest.raises(GeometryError):
        Grid(shape, affine, frame)


@given(st.tuples(*[st.floats(-180, 180)] * 3), st.tuples(*[st.floats(-500, 500)] * 3))
def test_rigid_transform_round_trip(angles: tuple[float, float, float], shift: tuple[float, float, float]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    transform = RigidTransform("a", "b", matrix)
    points = np.array([[1.0, 2.0, 3.0], [-100.0, 50.0, 700.0]])
    assert np.allclose(transform.inverse().apply(transform.apply(points)), points, atol=1e-6)
    assert np.allclose(Frames((transform,)).between("b", "a").apply(transform.apply(points)), points, atol=1e-6)


def test_frames_that_nothing_links() -> None:
    with pytest.raises(FrameMismatchError) as caught:
        Frames().between("a", "b")
    assert caught.value.code == "FRAME_OF_REFERENCE_MISMATCH"


def test_a_mirror_is_not_rigid() -> None:
    with pytest.raises(GeometryError):
        RigidTransform("a", "b", np.diag([-1.0, 1.0, 1.0, 1.0]))


def test_volume_refuses_nan_and_is_read_only() -> None:
    values = np.zeros((4, 5, 6), dtype=np.float32)
    volume = Volume(values, grid(), Unit.HU, Modality.CT, "CT-1")
    with pytest.raises(ValueError, match="read-only"):
        volume.values[0, 0, 0] = 1
    bad = np.zeros((4, 5, 6), dtype=np.float32)
    bad[1, 1, 1] = np.nan
    with pytest.raises(UnitError):
        Volume(bad, grid(), Unit.HU, Modality.CT, "CT-1")


def test_label_map_names_every_value_and_is_asked_at_points() -> None:
    values = np.zeros((4, 5, 6), dtype=np.uint16)
    values[2, 3, 4] = 7
    liver = Structure("liver", StructureKind.ORGAN, Organ.LIVER)
    with pytest.raises(UnitError) as caught:
        LabelMap(values, grid(), {1: liver})
    assert caught.value.code == "LABEL_WITHOUT_NAME"
    labels = LabelMap(values, grid("oblique"), {7: liver})
    assert labels.value_of("liver") == 7
    points = np.vstack([labels.grid.world((2, 3, 4)), [9999.0, 0.0, 0.0]])
    assert labels.at(points).tolist() == [7, 0]


def test_levels_are_ordered_from_head_to_tail() -> None:
    order = [VertebralLevel[n] for n in ("C7", "T1", "T12", "T13", "L1", "L5", "L6", "S")]
    assert order == sorted(order)
    assert [level.region for level in order] == [
        "cervical",
        "thoracic",
        "thoracic",
        "thoracic",
        "lumbar",
        "lumbar",
        "lumbar",
        "sacral",
    ]
