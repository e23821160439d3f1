"""A tiny ONNX model with a known answer, its contract, and the tiles it is asked in."""

from __future__ import annotations

import hashlib
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.errors import LesionPipelineError, PluginContractError
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.model_input import spaced
from lesion_pipeline.plugins.onnx_detector import OnnxDetector, factory
from lesion_pipeline.plugins.onnx_detector.tiles import blended, starts, window

ROOT = Path(__file__).resolve().parents[2]
TABLE: dict[str, Any] = tomllib.loads((ROOT / "configs" / "fdg-petct.toml").read_text("utf-8"))["plugins"]["onnx"]
BALLS = (((-20.0, 12.0, 30.0), 9.0, 8.0), ((24.0, -16.0, -24.0), 7.0, 6.0))  # LPS centre (mm), radius (mm), SUV
GRIDS = {
    "axial": Grid((30, 28, 32), np.array([[4.0, 0, 0, -58], [0, 4.0, 0, -54], [0, 0, 4.0, -62], [0, 0, 0, 1]]), "pet"),
    "sagittal": Grid((28, 32, 30), np.array([[0, 0, -4.0, 58], [4.0, 0, 0, -54], [0, -4.0, 0, 62], [0, 0, 0, 1]]), "pet"),
}
CT_GRID = Grid((60, 60, 44), np.array([[2.0, 0, 0, -58], [0, -2.0, 0, 60], [0, 0, 3.0, -65], [0, 0, 0, 1]]), "ct")

CONTRACT = """
contract = 1
name = "tiny"
version = "7"
licence = "for tests only"
grid = "pet"
orientation = "{orientation}"
patch = [16, 16, 16]
input = "image"
output = "scores"
activation = "{activation}"
lesion_outputs = [1]
{extra}
[[channels]]
image = "CT"
clip_low = -1000.0
clip_high = 1000.0
subtract = 0.0
divide = 500.0
[[channels]]
image = "SUV"
clip_low = 0.0
clip_high = 20.0
subtract = 3.0
divide = 2.0
"""


def points(grid: Grid) -> npt.NDArray[np.float64]:
    axes = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    return grid.world(np.stack(axes, axis=-1).reshape(-1, 3)).reshape(*grid.shape, 3)


def study(grid: Grid = GRIDS["axial"]) -> Study:
    pet = np.ones(grid.shape, dtype=np.float32)
    for centre, radius, suv in BALLS:
        pet[np.linalg.norm(points(grid) - centre, axis=-1) <= radius] = suv
    hu = np.full(CT_GRID.shape, 40.0, dtype=np.float32)
    frames = Frames((RigidTransform.identity("pet", "ct"),))
    ct = Volume(hu, CT_GRID, Unit.HU, Modality.CT, "CT-1")
    return Study("k", PatientFacts(), Tracer.FDG, (), Volume(pet, grid, Unit.SUVBW, Modality.PT, "PT-1"), ct, frames=frames)


def model(
    folder: Path, *, activation: str = "softmax", shift: int = 0, orientation: str = "LPS", extra: str = "", inputs: int = 2
) -> Path:
    """Scores (0, 4 x the normalised SUV, that is 2 (SUV - 3)) by one convolution; ``shift``: of its answer along axis a."""
    weight = np.zeros((2, inputs, 3, 3, 3), dtype=np.float32)
    weight[1, inputs - 1, 1 - shift, 1, 1] = 4.0
    node = helper.make_node("Conv", ["image", "weight"], ["scores"], kernel_shape=[3, 3, 3], pads=[1] * 6)
    shape: list[int | str] = [1, inputs, "a", "b", "c"]
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2, "a", "b", "c"])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = folder / "tiny.onnx"
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(whole, path)
    path.with_suffix(".toml").write_text(
        CONTRACT.format(activation=activation, orientation=orientation, extra=extra), encoding="utf-8"
    )
    return path


def detector(path: Path, **options: object) -> OnnxDetector:
    return factory({**TABLE, "model": str(path), "threads": 1, **options})


@pytest.mark.parametrize("storage", list(GRIDS))
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("blending", ["gaussian", "hann"])
def test_the_networks_answer_comes_back_to_the_voxel_it_was_given_for(
    tmp_path: Path, storage: str, activation: str, blending: str
) -> None:
    """Every tile gives the same answer for a voxel, so the blend is exact: P = sigmoid(2 (SUV - 3))."""
    patient = study(GRIDS[storage])
    assert patient.pet is not None
    found = detector(model(tmp_path, activation=activation), blending=blending).detect(patient, Anatomy())
    assert len(found) == len(BALLS)
    drawn = np.zeros(patient.pet.grid.shape, dtype=bool)
    for lesion in found:
        drawn[tuple(lesion.voxels.T)] = True
        suv = lesion.measures.suv_max
        assert suv is not None
        assert lesion.probability == pytest.approx(1 / (1 + np.exp(-2 * (suv - 3))), abs=1e-4)
        assert lesion.measures.background == pytest.approx(1.0, abs=0.05)
    assert np.array_equal(drawn, patient.pet.values >= 3.0)
    assert found[0].probability is not None
    assert found[0].probability >= (found[1].probability or 0.0)


@pytest.mark.parametrize(("orientation", "step"), [("LPS", 4.0), ("RAS", -4.0)])
def test_the_contracts_orientation_is_the_way_round_that_the_network_sees(
    tmp_path: Path, orientation: str, step: float
) -> None:
    """A network that answers one voxel further along its first axis: to the patient's left in LPS, to the right in RAS."""
    found = detector(model(tmp_path, shift=1, orientation=orientation)).detect(study(GRIDS["sagittal"]), Anatomy())
    for centre, _, suv in BALLS:
        (lesion,) = (c for c in found if np.linalg.norm(np.subtract(c.centroid_lps_mm, centre)) < 8)
        assert np.allclose(np.subtract(lesion.centroid_lps_mm, centre), (step, 0, 0), atol=1.5)
        assert lesion.measures.suv_max == pytest.approx(suv)


def test_a_model_with_its_own_spacing(tmp_path: Path) -> None:
    patient = study()
    assert patient.pet is not None
    found = detector(model(tmp_path, extra="spacing_mm = [3.0, 3.0, 2.5]")).detect(patient, Anatomy())
    drawn = np.zeros(patient.pet.grid.shape, dtype=bool)
    for lesion in found:
        drawn[tuple(lesion.voxels.T)] = True
    truth = patient.pet.values >= 3.0
    assert 2 * (truth & drawn).sum() / (truth.sum() + drawn.sum()) > 0.85  # twice interpolated
    assert len(found) == len(BALLS)


def test_provenance_names_the_model_by_its_hash(tmp_path: Path) -> None:
    path = model(tmp_path)
    made = detector(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert made.facts == {
        "model": "tiny",
        "model_version": "7",
        "licence": "for tests only",
        "channels": ["CT", "SUV"],
        "sha256": digest,
    }
    assert made.needs == {Modality.CT, Modality.PT}
    detector(path, sha256=digest)
    with pytest.raises(LesionPipelineError, match="WEIGHTS_DIFFER"):
        detector(path, sha256="0" * 64)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("no model", "WEIGHTS_ABSENT"),
        ("no sidecar", "ONNX_CONTRACT_ABSENT"),
        ("sidecar without patch", "BAD_ONNX_CONTRACT"),
        ("sidecar is no TOML", "BAD_ONNX_CONTRACT"),
        ("other channels", "ONNX_DIFFERS"),
        ("other input name", "ONNX_DIFFERS"),
        ("no PET channel", "BAD_ONNX_CONTRACT"),
        ("no ONNX", "BAD_ONNX"),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_a_study_is_read(tmp_path: Path, spoil: str, code: str) -> None:
    path = model(tmp_path, inputs=3 if spoil == "other channels" else 2)
    sidecar = path.with_suffix(".toml")
    text = sidecar.read_text(encoding="utf-8")
    if spoil == "no model":
        path.unlink()
    elif spoil == "no sidecar":
        sidecar.unlink()
    elif spoil == "sidecar without patch":
        sidecar.write_text(text.replace("patch = [16, 16, 16]", ""), encoding="utf-8")
    elif spoil == "sidecar is no TOML":
        sidecar.write_text("contract = = 1", encoding="utf-8")
    elif spoil == "other input name":
        sidecar.write_text(text.replace('input = "image"', 'input = "x"'), encoding="utf-8")
    elif spoil == "no PET channel":
        sidecar.write_text(text.replace('image = "SUV"', 'image = "CT"'), encoding="utf-8")
    elif spoil == "no ONNX":
        path.write_bytes(b"not a model")
    with pytest.raises(LesionPipelineError) as refused:
        detector(path)
    assert refused.value.code == code
    assert refused.value.advice


def test_scores_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginContractError, match="no probability"):
        detector(model(tmp_path, activation="none")).detect(study(), Anatomy())


@pytest.mark.parametrize(
    ("size", "patch", "step"), [(16, 16, 0.5), (17, 16, 0.5), (100, 16, 0.5), (100, 16, 1.0), (33, 16, 0.3)]
)
def test_tiles_cover_an_axis_evenly(size: int, patch: int, step: float) -> None:
    first = starts(size, patch, step)
    assert (first[0], first[-1]) == (0, size - patch)
    assert all(b - a <= max(1, step * patch) + 1 for a, b in pairwise(first))


@pytest.mark.parametrize("kind", ["gaussian", "hann"])
def test_a_seam_between_tiles_is_blended(kind: Any) -> None:
    """Tiles that answer 0 and 1 in turn: the middle of a tile keeps its answer, and no neighbours differ by a whole step."""
    weight = window((8, 8, 16), kind)
    assert weight.max() == pytest.approx(1.0, abs=0.2)
    assert weight[0, 0, 0] < 0.1 * weight[4, 4, 8]
    answers = iter(np.tile([0.0, 1.0], 8).astype(np.float32))

    def predict(tile: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.full(tile.shape[1:], next(answers), dtype=np.float32)

    image = np.zeros((1, 8, 8, 40), dtype=np.float32)
    line = blended(image, predict, weight=weight, step=0.5, fill=np.zeros(1, dtype=np.float32))[4, 4]
    assert line[7] == pytest.approx(0.0, abs=0.06)  # the middle of the first tile
    assert line[16] == pytest.approx(1.0, abs=0.06)  # of the second
    assert np.abs(np.diff(line)).max() < 0.5


def test_an_image_smaller_than_a_tile_is_padded_with_what_lies_outside() -> None:
    seen = []

    def predict(tile: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen.append(tile)
        return np.asarray(tile[0])

    image = np.ones((2, 5, 16, 16), dtype=np.float32)
    out = blended(image, predict, weight=window((16, 16, 16), "hann"), step=0.5, fill=np.array([-2.0, 0.5], dtype=np.float32))
    assert out.shape == (5, 16, 16)
    assert np.allclose(out, 1.0)
    assert (seen[0][0, 5:] == -2.0).all()
    assert (seen[0][1, 5:] == 0.5).all()


def test_another_spacing_covers_the_same_extent() -> None:
    grid = GRIDS["sagittal"]
    finer = spaced(grid, (3.0, 2.0, 2.5))
    assert finer.spacing_mm == pytest.approx((3.0, 2.0, 2.5))
    corner = np.full(3, -0.5)
    assert np.allclose(finer.world(corner), grid.world(corner))
    last = np.array(finer.shape) - 0.5
    beyond = np.abs(grid.index(finer.world(last)) - (np.array(grid.shape) - 0.5)) * np.array(grid.spacing_mm)
    assert (beyond < np.array(finer.spacing_mm)).all()
