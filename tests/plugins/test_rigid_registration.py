from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError
from scipy import ndimage

from lesion_pipeline.domain.errors import PluginFailedError
from lesion_pipeline.domain.geometry import Grid, RigidTransform
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.sitk import resample_volume
from lesion_pipeline.plugins.rigid_registration import RigidRegistration, factory

SETTINGS = {
    "working_mm": 4.0,
    "sampled": 0.2,
    "levels": (2, 1),
    "histogram_bins": 32,
    "iterations": 60,
    "rotation_limit_deg": 25.0,
    "step_mm": 40.0,
    "refined": 2,
    "standing_out": 0.05,
    "overlap_low": 0.3,
}


def phantom() -> Volume:
    """A trunk with a column of vertebrae and a few odd organs, in HU."""
    i, j, k = np.indices((48, 40, 56)).astype(np.float64)
    values = np.full((48, 40, 56), -1000.0)
    values[((i - 24) / 20) ** 2 + ((j - 20) / 15) ** 2 < 1] = 40.0
    vertebra = (((i - 24) / 5) ** 2 + ((j - 27) / 4) ** 2 < 1) & (k % 8 < 6)
    values[vertebra] = 250.0
    values[((i - 14) ** 2 + (j - 16) ** 2 + (k - 20) ** 2) < 60] = -700.0
    values[((i - 33) ** 2 + (j - 14) ** 2 + (k - 40) ** 2) < 45] = 120.0
    smooth = ndimage.gaussian_filter(values, 1.0).astype(np.float32)
    return Volume(smooth, Grid((48, 40, 56), np.diag([4.0, 4.0, 4.0, 1.0]), "ct"), Unit.HU, Modality.CT, "CT-1")


def moved(angle_deg: float, shift: tuple[float, float, float]) -> RigidTransform:
    turn = np.radians(angle_deg)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    centre = np.array([94.0, 78.0, 110.0])
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + np.array(shift)
    return RigidTransform("mr", "ct", matrix)


def as_mr(ct: Volume, link: RigidTransform) -> Volume:
    """The same body with other contrast, asked at an MR's grid in the MR's own frame."""
    grid = Grid((36, 30, 44), np.diag([5.0, 5.0, 5.0, 1.0]), "mr")
    seen = resample_volume(ct, grid, outside=-1000.0, link=link).values
    contrast: npt.NDArray[np.float32] = np.where(seen < -500, 0.0, 300.0 - 0.6 * seen).astype(np.float32)
    return Volume(contrast, grid, Unit.ARBITRARY, Modality.MR, "MR-1")


@pytest.mark.parametrize(("angle", "shift"), [(0.0, (0.0, 0.0, 0.0)), (5.0, (8.0, -6.0, 9.0))])
def test_a_known_movement_is_found(angle: float, shift: tuple[float, float, float]) -> None:
    truth = moved(angle, shift)
    ct = phantom()
    mr = as_mr(ct, truth)
    found = factory(SETTINGS).register(ct, mr)
    assert (found.from_frame, found.to_frame) == ("mr", "ct")
    points = mr.grid.world([(i, j, k) for i in (8, 28) for j in (8, 22) for k in (8, 36)])
    assert np.linalg.norm(found.apply(points) - truth.apply(points), axis=1).max() < 5.0  # about one voxel of either image


def test_the_same_input_gives_the_same_answer() -> None:
    ct = phantom()
    mr = as_mr(ct, moved(3.0, (4.0, 4.0, 0.0)))
    first, second = (factory(SETTINGS | {"iterations": 10}).register(ct, mr).matrix for _ in range(2))
    assert np.array_equal(first, second)


def test_an_answer_beyond_the_limits_is_a_failure() -> None:
    ct = phantom()
    with pytest.raises(PluginFailedError, match="REGISTRATION_FAILED"):
        factory(SETTINGS | {"overlap_low": 1.0, "iterations": 5}).register(ct, as_mr(ct, moved(0.0, (150.0, 0.0, 0.0))))


def test_a_body_that_looks_alike_all_along_is_no_answer() -> None:
    values = np.repeat(phantom().values[:, :, 4:5], 120, axis=2)
    ct = Volume(values, Grid((48, 40, 120), np.diag([4.0, 4.0, 4.0, 1.0]), "ct"), Unit.HU, Modality.CT, "CT-1")
    with pytest.raises(PluginFailedError, match="equally well"):
        factory(SETTINGS | {"iterations": 5}).register(ct, as_mr(ct, moved(0.0, (0.0, 0.0, 100.0))))


def test_a_pet_shows_too_little_to_register_to() -> None:
    ct = phantom()
    pet = Volume(ct.values, ct.grid, Unit.SUVBW, Modality.PT, "PT-1")
    with pytest.raises(PluginFailedError, match="CT only"):
        factory(SETTINGS).register(pet, as_mr(ct, moved(0.0, (0.0, 0.0, 0.0))))


def test_the_preset_holds_every_setting() -> None:
    preset = Path(__file__).resolve().parents[2] / "configs" / "fdg-petct.toml"
    assert factory(tomllib.loads(preset.read_text(encoding="utf-8"))["plugins"]["rigid_mattes"]).name == "rigid-mattes"


def test_settings_come_from_the_preset_alone() -> None:
    assert isinstance(factory(SETTINGS), RigidRegistration)
    with pytest.raises(ValidationError):
        factory({})
    with pytest.raises(ValidationError):
        factory(SETTINGS | {"colour": "blue"})
