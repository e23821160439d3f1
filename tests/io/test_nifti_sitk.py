"""Images through the NIfTI and the SimpleITK door: same world, same values, names kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.errors import FrameMismatchError, GeometryError, InputError, UnitError
from lesion_pipeline.domain.geometry import Grid, RigidTransform
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.io import nifti, sitk

nibabel: Any = untyped_nibabel

AFFINES = {
    "LPS": np.diag([2.0, 3.0, 4.0, 1.0]),
    "RAS": np.diag([-2.0, -3.0, 4.0, 1.0]),
    "feet_first": np.array([[2.0, 0, 0, 5], [0, -3, 0, 7], [0, 0, -4, 11], [0, 0, 0, 1]]),
    "sagittal": np.array([[0, 0, 4.0, -9], [2, 0, 0, 3], [0, -3, 0, 8], [0, 0, 0, 1]]),
    "oblique": np.array([[1.6, -1.8, 0, 4], [1.2, 2.4, 0, -2], [0, 0, 4.0, 1], [0, 0, 0, 1]]),
}
SHEARED = np.array([[2.0, 0, 0, 0], [0, 2.0, 0.8, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]])


def ramp(grid: Grid) -> Volume:
    """Value = 2 x - y + 0.5 z of the world: linear, so linear resampling is exact."""
    world = grid.world(np.indices(grid.shape).reshape(3, -1).T)
    values = (world @ [2.0, -1.0, 0.5]).reshape(grid.shape).astype(np.float32)
    return Volume(values, grid, Unit.HU, Modality.CT, "CT-test")


@pytest.mark.parametrize("name", AFFINES)
def test_nifti_round_trip_keeps_world_and_values(name: str, tmp_path: Path) -> None:
    volume = ramp(Grid((4, 5, 6), AFFINES[name], "f"))
    nifti.write_volume(volume, tmp_path / "a.nii.gz")
    back = nifti.read_volume(tmp_path / "a.nii.gz", Unit.HU, Modality.CT, "f")
    assert back.grid.same_as(volume.grid)
    np.testing.assert_array_equal(back.values, volume.values)
    # nibabel's own opinion of where voxel (1, 2, 3) lies: RAS
    ras = nibabel.load(tmp_path / "a.nii.gz").affine @ [1, 2, 3, 1]
    np.testing.assert_allclose(ras[:3] * [-1, -1, 1], volume.grid.world([1, 2, 3]), atol=1e-4)


def test_nifti_bytes_are_reproducible(tmp_path: Path) -> None:
    volume = ramp(Grid((4, 5, 6), AFFINES["oblique"], "f"))
    for sub in ("x", "y"):
        (tmp_path / sub).mkdir()
        nifti.write_volume(volume, tmp_path / sub / "a.nii.gz")
    assert (tmp_path / "x" / "a.nii.gz").read_bytes() == (tmp_path / "y" / "a.nii.gz").read_bytes()


def test_sheared_grid_survives_nifti(tmp_path: Path) -> None:
    volume = ramp(Grid((4, 5, 6), SHEARED, "f"))
    nifti.write_volume(volume, tmp_path / "a.nii")
    assert nifti.read_volume(tmp_path / "a.nii", Unit.HU, Modality.CT, "f").grid.same_as(volume.grid)


def test_label_map_round_trip(tmp_path: Path) -> None:
    grid = Grid((3, 3, 3), AFFINES["RAS"], "f")
    values = np.zeros(grid.shape, np.uint16)
    values[0, 1, 2], values[2, 2, 2] = 7, 300
    names = {
        7: Structure("vertebra_L3", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel.L3, 4, "36470004"),
        300: Structure("body", StructureKind.REGION),
    }
    nifti.write_label_map(LabelMap(values, grid, names), tmp_path / "m.nii.gz")
    back = nifti.read_label_map(tmp_path / "m.nii.gz", None, "f")
    assert dict(back.names) == names
    np.testing.assert_array_equal(back.values, values)


def test_tsv_names_and_inference(tmp_path: Path) -> None:
    grid = Grid((2, 2, 2), np.eye(4), "f")
    nifti.write_volume(
        Volume(np.full(grid.shape, 5, np.float32), grid, Unit.ARBITRARY, Modality.OTHER, "s"), tmp_path / "m.nii"
    )
    (tmp_path / "m.tsv").write_text("index\tname\n0\tbackground\n5\tvertebra_T12\n6\tliver\n", encoding="utf-8")
    back = nifti.read_label_map(tmp_path / "m.nii", None, "f")
    assert back.names[5].level is VertebralLevel.T12
    assert back.names[6].organ is Organ.LIVER


@pytest.mark.parametrize(
    "table", ["[]", "{", '{"a": "liver"}', '{"5": {"key": "x", "organ": "nonsense"}}', '{"1":"a","2":"a"}']
)
def test_bad_names_are_refused(table: str, tmp_path: Path) -> None:
    grid = Grid((2, 2, 2), np.eye(4), "f")
    nifti.write_volume(Volume(np.zeros(grid.shape, np.float32), grid, Unit.ARBITRARY, Modality.OTHER, "s"), tmp_path / "m.nii")
    (tmp_path / "m.names.json").write_text(table, encoding="utf-8")
    with pytest.raises(InputError, match="BAD_NAMES"):
        nifti.read_label_map(tmp_path / "m.nii", None, "f")


@pytest.mark.parametrize("value", [0.5, -1.0, 70000.0])
def test_labels_must_be_whole_numbers(value: float, tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.full((2, 2, 2), value, np.float32), np.eye(4))
    nibabel.save(image, tmp_path / "m.nii")
    with pytest.raises((InputError, UnitError)):
        nifti.read_label_map(tmp_path / "m.nii", {5: Structure("body", StructureKind.REGION)}, "f")


def test_nifti_refusals(tmp_path: Path) -> None:
    (tmp_path / "junk.nii.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match="BAD_NIFTI"):
        nifti.read_volume(tmp_path / "junk.nii.gz", Unit.HU, Modality.CT, "f")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), np.float32), np.eye(4)), tmp_path / "four.nii")
    with pytest.raises(GeometryError, match="BAD_SHAPE"):
        nifti.read_volume(tmp_path / "four.nii", Unit.HU, Modality.CT, "f")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.float32), None), tmp_path / "nowhere.nii")
    with pytest.raises(GeometryError, match="NO_GEOMETRY"):
        nifti.read_volume(tmp_path / "nowhere.nii", Unit.HU, Modality.CT, "f")
    whole = Volume(np.zeros((8, 8, 8), np.float32), Grid((8, 8, 8), np.eye(4), "f"), Unit.HU, Modality.CT, "s")
    nifti.write_volume(whole, tmp_path / "cut.nii")
    data = (tmp_path / "cut.nii").read_bytes()
    (tmp_path / "cut.nii").write_bytes(data[:-100])
    with pytest.raises(InputError, match="BAD_NIFTI"):
        nifti.read_volume(tmp_path / "cut.nii", Unit.HU, Modality.CT, "f")


@pytest.mark.parametrize("name", AFFINES)
def test_sitk_round_trip_and_its_own_opinion(name: str) -> None:
    volume = ramp(Grid((4, 5, 6), AFFINES[name], "f"))
    image = sitk.to_image(volume)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((1, 2, 3)), volume.grid.world([1, 2, 3]), atol=1e-9)
    assert image.GetPixel(1, 2, 3) == volume.values[1, 2, 3]
    back = sitk.from_image(image, Unit.HU, Modality.CT, "f")
    assert back.grid.same_as(volume.grid)


@pytest.mark.parametrize("name", AFFINES)
def test_linear_resampling_is_exact_on_a_ramp(name: str) -> None:
    source = ramp(Grid((14, 15, 16), AFFINES[name], "f"))
    centre = source.grid.world((np.array(source.grid.shape) - 1) / 2.0)
    affine = np.diag([1.1, 0.9, 1.3, 1.0])
    affine[:3, 3] = centre - 3.0
    target = Grid((5, 6, 5), affine, "f")
    np.testing.assert_allclose(sitk.resample_volume(source, target).values, ramp(target).values, atol=1e-3)


def test_link_between_frames_and_its_direction() -> None:
    source = ramp(Grid((12, 12, 12), np.eye(4), "pet"))
    matrix = np.eye(4)
    matrix[:3, 3] = [2.0, 0.0, 0.0]
    link = RigidTransform("ct", "pet", matrix)
    target = Grid((4, 4, 4), np.eye(4), "ct")
    moved = sitk.resample_volume(source, target, link=link)
    np.testing.assert_allclose(moved.values[1, 1, 1], source.values[3, 1, 1], atol=1e-4)
    with pytest.raises(FrameMismatchError):
        sitk.resample_volume(source, target)
    with pytest.raises(FrameMismatchError):
        sitk.resample_volume(source, target, link=link.inverse())


def test_labels_are_never_mixed() -> None:
    grid = Grid((6, 6, 6), np.eye(4), "f")
    values = np.zeros(grid.shape, np.uint16)
    values[3:], values[:2] = 40000, 2
    names = {2: Structure("a", StructureKind.REGION), 40000: Structure("b", StructureKind.REGION)}
    fine = Grid((23, 6, 6), np.diag([0.25, 1.0, 1.0, 1.0]), "f")
    out = sitk.resample_labels(LabelMap(values, grid, names), fine)
    assert set(np.unique(out.values)) <= {0, 2, 40000}
    assert out.at([[3.0, 1, 1]])[0] == 40000


def test_tilted_stack_is_straightened_where_it_lies() -> None:
    tilted = ramp(Grid((20, 24, 10), SHEARED, "f"))
    with pytest.raises(GeometryError, match="SHEARED_GRID"):
        sitk.to_image(tilted)
    straight = sitk.straighten(tilted, outside=-1024.0)
    assert straight.grid.is_orthogonal
    at = tilted.grid.index(straight.grid.world(np.indices(straight.grid.shape).reshape(3, -1).T))
    inside = np.all((at >= -1e-6) & (at <= np.array(tilted.grid.shape) - 1 + 1e-6), axis=1).reshape(straight.grid.shape)
    assert inside.mean() > 0.8
    np.testing.assert_allclose(straight.values[inside], ramp(straight.grid).values[inside], atol=2e-3)
    assert np.all(straight.grid.contains(tilted.grid.corners()))


def test_names_table_is_plain_json(tmp_path: Path) -> None:
    grid = Grid((2, 2, 2), np.eye(4), "f")
    label_map = LabelMap(np.ones(grid.shape, np.uint16), grid, {1: Structure("liver", StructureKind.ORGAN, Organ.LIVER)})
    nifti.write_label_map(label_map, tmp_path / "m.nii.gz")
    table = json.loads((tmp_path / "m.names.json").read_text(encoding="utf-8"))
    assert table["1"]["organ"] == "liver"
