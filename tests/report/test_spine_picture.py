"""The straightened picture: made from any segmenter's vertebrae, none for too few."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from lesion_pipeline.domain.anatomy import Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.report.spine_picture import spine_picture


def ct() -> Volume:
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-60.0, -60.0, 0.0)
    values = np.full((40, 40, 60), 40.0, dtype=np.float32)
    values[17:23, 17:23, 10:50] = 400.0
    return Volume(values, Grid((40, 40, 60), affine, "ct"), Unit.HU, Modality.CT, "CT-1")


def vertebra(instance: int, level: VertebralLevel | None, z: float) -> VertebraInstance:
    doubts = ((VertebralLevel.T7, 0.5), (VertebralLevel.T8, 0.5)) if level is None else ()
    return VertebraInstance(instance, level, 0.9, (0.0, 0.0, z), doubts, ("sacrum",), level is None)


def picture(vertebrae: list[VertebraInstance], label_map: LabelMap | None = None) -> Image.Image:
    png = spine_picture(ct(), vertebrae, label_map)
    assert png is not None
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_one_vertebra_gives_no_picture() -> None:
    assert spine_picture(ct(), [vertebra(1, VertebralLevel.L1, 90.0)]) is None


def test_bone_runs_straight_down_the_sheet() -> None:
    page = np.asarray(
        picture([vertebra(1, VertebralLevel.L1, 120.0), vertebra(2, VertebralLevel.L2, 85.0), vertebra(3, None, 50.0)])
    )
    assert page.shape[0] > 150
    column = page[60:-60, 190 + 2 * 80, 0]  # the axis of the sagittal sheet
    assert np.median(column) > 150


def test_vertebrae_are_tinted_by_turns() -> None:
    plain = [vertebra(1, VertebralLevel.L1, 120.0), vertebra(2, VertebralLevel.L2, 60.0)]
    values = np.zeros((40, 40, 60), dtype=np.uint16)
    values[15:25, 15:25, 33:48] = 2
    values[15:25, 15:25, 12:28] = 4
    names = {
        2: Structure("vertebra_L1", StructureKind.VERTEBRA, instance=1),
        4: Structure("vertebra_L2", StructureKind.VERTEBRA, instance=2),
    }
    bare, tinted = np.asarray(picture(plain)), np.asarray(picture(plain, LabelMap(values, ct().grid, names)))
    differs = (bare != tinted).any(axis=2)
    assert differs.any()
    blue, orange = tinted[..., 2] > tinted[..., 0].astype(int) + 20, tinted[..., 0] > tinted[..., 2].astype(int) + 20
    assert (differs & blue).any()
    assert (differs & orange).any()
