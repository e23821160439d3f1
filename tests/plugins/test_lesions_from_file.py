"""Masks and label maps come in with the connectivity that the user states, on any grid of the same world."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, Structure, StructureKind
from lesion_pipeline.domain.errors import ConfigError, InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.io import nifti
from lesion_pipeline.io.dicom_seg import read_segments
from lesion_pipeline.plugins.lesions_from_file import factory

GRID = Grid((20, 18, 16), np.array([[-4.0, 0, 0, 40], [0, 4.0, 0, -30], [0, 0, 3.0, 100], [0, 0, 0, 1]]), "pet")


def _study() -> Study:
    values = np.ones(GRID.shape, dtype=np.float32)
    values[5, 5, 5] = 9.0
    values[6, 6, 6] = 7.0
    return Study("k", PatientFacts(), Tracer.FDG, (), Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1"), None)


def _file(folder: Path, grid: Grid = GRID) -> Path:
    values = np.zeros(grid.shape, dtype=np.uint16)
    values[5, 5, 5] = 1
    values[6, 6, 6] = 2  # touches the first at a corner
    values[12, 12, 10] = 2
    names = {n: Structure(f"lesion_{n}", StructureKind.REGION) for n in (1, 2)}
    path = folder / "lesions.nii.gz"
    nifti.write_label_map(LabelMap(values, grid, names), path)
    return path


def _options(path: Path, lesions: str = "components", connectivity: int = 26) -> dict[str, object]:
    return {"path": str(path), "lesions": lesions, "connectivity": connectivity, "min_voxels": 1}


@pytest.mark.parametrize(
    ("lesions", "connectivity", "sizes"),
    [
        ("components", 26, [1, 2]),
        ("components", 6, [1, 1, 1]),
        ("values", 26, [1, 2]),
        ("components_of_values", 26, [1, 1, 1]),
    ],
)
def test_what_is_one_lesion_is_the_users_choice(tmp_path: Path, lesions: str, connectivity: int, sizes: list[int]) -> None:
    found = factory(_options(_file(tmp_path), lesions, connectivity)).detect(_study(), Anatomy())
    assert sorted(len(c.voxels) for c in found) == sizes


def test_a_mask_on_the_pets_grid_is_measured_on_its_voxels(tmp_path: Path) -> None:
    first = factory(_options(_file(tmp_path))).detect(_study(), Anatomy())[0]
    assert first.grid.same_as(GRID)
    assert first.measures.suv_max == 9.0
    assert {tuple(v) for v in first.voxels.tolist()} == {(5, 5, 5), (6, 6, 6)}
    assert first.measures.volume_ml == pytest.approx(2 * 0.048)


def test_a_finer_grid_of_the_same_world_keeps_its_own_voxels(tmp_path: Path) -> None:
    fine = Grid((40, 36, 32), np.array([[-2.0, 0, 0, 41], [0, 2.0, 0, -31], [0, 0, 1.5, 99.25], [0, 0, 0, 1]]), "pet")
    values = np.zeros(fine.shape, dtype=np.uint16)
    values[10:12, 10:12, 10:12] = 1  # exactly the PET voxel (5, 5, 5)
    path = tmp_path / "fine.nii.gz"
    nifti.write_label_map(LabelMap(values, fine, {1: Structure("lesion_1", StructureKind.REGION)}), path)
    (one,) = factory(_options(path)).detect(_study(), Anatomy())
    assert len(one.voxels) == 8
    assert one.measures.suv_max == 9.0
    assert one.measures.volume_ml == pytest.approx(0.048)
    np.testing.assert_allclose(one.centroid_lps_mm, GRID.world((5, 5, 5)), atol=1e-3)


def test_a_file_from_elsewhere_is_refused(tmp_path: Path) -> None:
    far = Grid(GRID.shape, np.array([[-4.0, 0, 0, 4000], [0, 4.0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]]), "pet")
    with pytest.raises(InputError, match="LESIONS_ELSEWHERE"):
        factory(_options(_file(tmp_path, far))).detect(_study(), Anatomy())


def test_probabilities_are_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "soft.nii.gz"
    values = np.zeros(GRID.shape, dtype=np.float32)
    values[3, 3, 3] = 0.4
    nifti.write_volume(Volume(values, GRID, Unit.ARBITRARY, Modality.OTHER, "x"), path)
    with pytest.raises(InputError, match="LESIONS_NOT_LABELS"):
        factory(_options(path)).detect(_study(), Anatomy())


def test_a_path_that_is_not_there_or_not_nifti_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="LESIONS_FILE_NOT_FOUND"):
        factory(_options(tmp_path / "none.nii.gz"))
    text = tmp_path / "lesions.txt"
    text.write_text("1 2 3")
    with pytest.raises(InputError, match="LESIONS_FILE_FORMAT"):
        factory(_options(text)).detect(_study(), Anatomy())


@pytest.mark.realdata
@pytest.mark.slow
def test_a_viewers_dicom_segmentation_is_read_on_its_own_grid(real_data: Callable[[str], Path]) -> None:
    path = next(p for p in sorted((real_data("acrin_petct") / "SEG_PT_Segmentation_504365").rglob("*")) if p.is_file())
    grid, segments = read_segments(path)
    low, high = grid.bounds()
    affine = np.diag([20.0, 20.0, 20.0, 1.0])
    affine[:3, 3] = low - 20.0
    shape = tuple(int(n) for n in np.ceil((high - low) / 20.0) + 3)
    pet_grid = Grid((shape[0], shape[1], shape[2]), affine, grid.frame)
    pet = Volume(np.ones(pet_grid.shape, dtype=np.float32), pet_grid, Unit.SUVBW, Modality.PT, "PT-1")
    study = Study("k", PatientFacts(), Tracer.FDG, (), pet, None)
    found = factory(_options(path, "values")).detect(study, Anatomy())
    assert len(found) == sum(1 for s in segments if len(s.voxels))
    assert sum(len(c.voxels) for c in found) == sum(len(s.voxels) for s in segments)
    elsewhere = Study("k", PatientFacts(), Tracer.FDG, (), _study().pet, None)
    with pytest.raises(InputError, match="LESIONS_ELSEWHERE"):
        factory(_options(path, "values")).detect(elsewhere, Anatomy())
