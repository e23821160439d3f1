"""nnU-Net's own predictor on tiny models, in its own process, against known answers. `make test` makes its environment."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.errors import (
    ConfigError,
    InputError,
    LesionPipelineError,
    PluginError,
    PluginFailedError,
    PluginNotFoundError,
)
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.imaging.model_input import model_input, turned
from lesion_pipeline.plugins.nnunet_detector import NnunetDetector, Options, factory
from lesion_pipeline.plugins.nnunet_detector.child import check_end
from lesion_pipeline.plugins.nnunet_detector.model_folder import read_model_folder

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-nnunet" / "bin" / "python"
TABLE: dict[str, Any] = tomllib.loads((ROOT / "configs" / "fdg-petct.toml").read_text("utf-8"))["plugins"]["nnunet"]

BALLS = (((-20.0, 12.0, 30.0), 9.0, 8.0), ((24.0, -16.0, -24.0), 7.0, 6.0))  # LPS centre (mm), radius (mm), SUV
BRIGHT_ON_CT = ((20.0, 20.0, 20.0), 10.0)
#: Storage axes of the PET and its size: axial as scanners write it, and a sagittal stack stored head first.
GRIDS = {
    "axial": Grid((30, 28, 32), np.array([[4.0, 0, 0, -58], [0, 4.0, 0, -54], [0, 0, 4.0, -62], [0, 0, 0, 1]]), "pet"),
    "sagittal": Grid((28, 32, 30), np.array([[0, 0, -4.0, 58], [4.0, 0, 0, -54], [0, -4.0, 0, 62], [0, 0, 0, 1]]), "pet"),
}
CT_GRID = Grid((60, 60, 44), np.array([[2.0, 0, 0, -58], [0, -2.0, 0, 60], [0, 0, 3.0, -65], [0, 0, 0, 1]]), "ct")


def points(grid: Grid) -> npt.NDArray[np.float64]:
    axes = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    return grid.world(np.stack(axes, axis=-1).reshape(-1, 3)).reshape(*grid.shape, 3)


def study(grid: Grid = GRIDS["axial"], ct: bool = True, noise: float = 0.15) -> Study:
    pet = 1.0 + noise * np.random.default_rng(4).standard_normal(grid.shape)
    for centre, radius, suv in BALLS:
        pet[np.linalg.norm(points(grid) - centre, axis=-1) <= radius] = suv
    hu = np.full(CT_GRID.shape, 40.0)
    hu[np.linalg.norm(points(CT_GRID) - BRIGHT_ON_CT[0], axis=-1) <= BRIGHT_ON_CT[1]] = 600.0
    volume = Volume(hu.astype(np.float32), CT_GRID, Unit.HU, Modality.CT, "CT-1") if ct else None
    frames = Frames((RigidTransform.identity("pet", "ct"),))
    image = Volume(pet.astype(np.float32), grid, Unit.SUVBW, Modality.PT, "PT-1")
    return Study("k", PatientFacts(), Tracer.FDG, (), image, volume, frames=frames)


def mask(candidate_voxels: npt.NDArray[np.int32], grid: Grid) -> npt.NDArray[np.bool_]:
    out = np.zeros(grid.shape, dtype=bool)
    out[tuple(candidate_voxels.T)] = True
    return out


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: kind of tiny model -> its folder; all are made once."""
    if not PYTHON.is_file():
        if os.environ.get("CI"):
            pytest.fail("CI must run nnU-Net: `make test` makes .venv-nnunet")
        pytest.skip("nnU-Net is not installed: `make .venv-nnunet/.ready` makes its environment")
    folder = tmp_path_factory.mktemp("nnunet")
    maker = Path(__file__).with_name("nnunet_model.py")
    kinds = ("trained", "exact", "regions", "stranger", "poisoned")
    subprocess.run([str(PYTHON), str(maker), str(folder), *kinds], check=True, capture_output=True)
    return lambda kind: folder / kind


def detector(folder: Path, **options: object) -> NnunetDetector:
    return factory({**TABLE, "model": str(folder), "python": str(PYTHON), "threads": 1, "memory_gb": 8.0, **options})


@pytest.mark.slow
def test_a_trained_network_finds_the_hot_balls_and_nothing_on_the_ct(models: Callable[[str], Path]) -> None:
    patient = study()
    found = detector(models("trained")).detect(patient, Anatomy())
    assert len(found) == len(BALLS)
    for centre, radius, suv in BALLS:
        (lesion,) = (c for c in found if np.linalg.norm(np.subtract(c.centroid_lps_mm, centre)) < 3.0)
        truth = np.linalg.norm(points(GRIDS["axial"]) - centre, axis=-1) <= radius
        drawn = mask(lesion.voxels, GRIDS["axial"])
        assert 2 * (truth & drawn).sum() / (truth.sum() + drawn.sum()) > 0.8
        assert lesion.measures.suv_max == pytest.approx(suv)
        assert lesion.probability is not None
        assert 0.6 < lesion.probability <= 1.0
        assert lesion.modality is Modality.PT


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "storage"), [("exact", "axial"), ("regions", "sagittal")])
def test_the_networks_answer_comes_back_to_the_voxel_it_was_given_for(
    models: Callable[[str], Path], kind: str, storage: str
) -> None:
    """P(lesion) is sigmoid(2 (SUV - 3)): the voxels of SUV 3 and more, and their mean probability, are known exactly."""
    patient = study(GRIDS[storage])
    assert patient.pet is not None
    found = detector(models(kind)).detect(patient, Anatomy())
    drawn = np.zeros(patient.pet.grid.shape, dtype=bool)
    for lesion in found:
        drawn |= mask(lesion.voxels, patient.pet.grid)
        suv = patient.pet.values[tuple(lesion.voxels.T)]
        assert lesion.probability == pytest.approx(float((1 / (1 + np.exp(-2 * (suv - 3)))).mean()), abs=2e-3)
    assert np.array_equal(drawn, patient.pet.values >= 3.0)
    assert len(found) == len(BALLS)


@pytest.mark.slow
def test_the_pet_is_brought_to_the_ct_where_the_preset_says_so(models: Callable[[str], Path]) -> None:
    patient = study(noise=0.0)
    assert patient.pet is not None
    found = detector(models("exact"), grid="ct", mirroring=True).detect(patient, Anatomy())
    drawn = np.sum([mask(c.voxels, patient.pet.grid) for c in found], axis=0) > 0
    truth = patient.pet.values >= 3.0
    assert 2 * (truth & drawn).sum() / (truth.sum() + drawn.sum()) > 0.9  # twice interpolated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        ("stranger", {}, "NNUNET_TRAINER_ABSENT"),
        ("poisoned", {}, "NNUNET_PICKLE"),
        ("exact", {"timeout_s": 0.05}, "NNUNET_TIMEOUT"),
        ("exact", {"memory_gb": 0.1}, "NNUNET_MEMORY"),
    ],
)
def test_what_the_child_cannot_do_is_said(
    models: Callable[[str], Path], kind: str, options: dict[str, object], code: str
) -> None:
    with pytest.raises(PluginFailedError) as refused:
        detector(models(kind), **options).detect(study(), Anatomy())
    assert refused.value.code == code
    assert refused.value.advice
    assert not (models(kind) / "poisoned").exists()


@pytest.mark.slow
def test_provenance_says_which_weights_and_under_which_licence(models: Callable[[str], Path]) -> None:
    folder = models("exact")
    facts = detector(folder).facts
    assert {k: facts[k] for k in ("plans", "dataset", "channels", "lesion_labels", "folds", "licence")} == {
        "plans": "nnUNetPlans",
        "dataset": "Dataset999_Tiny",
        "channels": ["CT", "SUV"],
        "lesion_labels": ["lesion"],
        "folds": ["0"],
        "licence": "For tests only.\n",
    }
    files = [folder / "dataset.json", folder / "plans.json", folder / "fold_0" / "checkpoint_final.pth"]
    digests = b"".join(hashlib.sha256(f.read_bytes()).digest() for f in files)
    assert facts["sha256"] == hashlib.sha256(digests).hexdigest()
    assert str(facts["nnunetv2"]).startswith("2.")
    assert str(folder) not in json.dumps(dict(facts))
    with pytest.raises(ConfigError, match="WEIGHTS_DIFFER"):
        detector(folder, sha256="0" * 64)


# what follows runs no network


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        ({"refusal": "DEVICE_ABSENT", "detail": "cuda:7"}, 3, "NNUNET_FAILED"),
        ({"refusal": "NNUNET_ABSENT", "detail": "No module named nnunetv2"}, 3, "NNUNET_ABSENT"),
        ({"refusal": "WEIGHTS_DIFFER_FROM_PLANS", "detail": "size mismatch"}, 3, "NNUNET_FAILED"),
        (None, -9, "NNUNET_MEMORY"),  # killed by the system
        (None, 1, "NNUNET_FAILED"),
        ({"seconds": 1.0}, 0, "NNUNET_FAILED"),  # says that it is done and left no answer
    ],
)
def test_every_end_of_the_child_has_words(tmp_path: Path, answer: dict[str, object] | None, status: int, code: str) -> None:
    if answer is not None:
        (tmp_path / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    with pytest.raises(PluginError) as refused:
        check_end(status, tmp_path, Options.model_validate({**TABLE, "model": "m"}))
    assert refused.value.code == code
    assert refused.value.advice


def fake_model(folder: Path, channels: list[str], labels: dict[str, Any]) -> Path:
    (folder / "fold_all").mkdir(parents=True)
    (folder / "fold_all" / "checkpoint_final.pth").write_bytes(b"weights")
    (folder / "plans.json").write_text(json.dumps({"plans_name": "p", "dataset_name": "d"}), encoding="utf-8")
    named = {"channel_names": {str(n): c for n, c in enumerate(channels)}, "labels": labels}
    (folder / "dataset.json").write_text(json.dumps(named), encoding="utf-8")
    return folder


LABELS = {"background": 0, "lesion": 1}


def read(folder: Path, channels: tuple[Any, ...] = (), labels: tuple[str, ...] = (), folds: tuple[str, ...] = ()) -> Any:
    return read_model_folder(folder, channels=channels, lesion_labels=labels, folds=folds, checkpoint="checkpoint_final.pth")


@pytest.mark.parametrize(
    ("names", "said", "channels"),
    [
        (["CT", "PET"], (), ("CT", "SUV")),
        (["pet"], (), ("SUV",)),
        (["SUV", "ct"], (), ("SUV", "CT")),
        (["CT", "CT"], ("CT", "SUV"), ("CT", "SUV")),  # a name that only chooses nnU-Net's normalisation
    ],
)
def test_channels_by_name_or_by_the_preset(tmp_path: Path, names: list[str], said: tuple[Any, ...], channels: Any) -> None:
    assert read(fake_model(tmp_path / "m", names, LABELS), said).channels == channels


@pytest.mark.parametrize(
    ("names", "labels", "options", "code"),
    [
        (["CT", "CT"], LABELS, {}, "CHANNELS_UNKNOWN"),
        (["0000", "0001"], LABELS, {}, "CHANNELS_UNKNOWN"),
        (["CT", "PET"], LABELS, {"channels": ("SUV",)}, "CHANNELS_DIFFER"),
        (["CT", "PET"], {"background": 0, "liver": 1}, {}, "LESION_LABEL_UNKNOWN"),
        (["CT", "PET"], LABELS, {"labels": ("node",)}, "LESION_LABEL_UNKNOWN"),
        (["CT", "PET"], LABELS, {"folds": ("3",)}, "WEIGHTS_ABSENT"),
    ],
)
def test_a_model_that_leaves_a_doubt_is_refused(
    tmp_path: Path, names: list[str], labels: dict[str, Any], options: dict[str, Any], code: str
) -> None:
    folder = fake_model(tmp_path / "m", names, labels)
    with pytest.raises(LesionPipelineError) as refused:
        read(folder, **options)
    assert refused.value.code == code
    assert refused.value.advice


def test_lesion_outputs_of_labels_and_of_regions(tmp_path: Path) -> None:
    plain = read(fake_model(tmp_path / "a", ["CT", "PET"], {"background": 0, "liver": 1, "Primary tumor": 2, "metastasis": 3}))
    assert (plain.lesion_labels, plain.heads, plain.regions) == (("Primary tumor", "metastasis"), (2, 3), False)
    whole = read(fake_model(tmp_path / "b", ["CT", "PET"], {"background": 0, "body": [1, 2], "lesion": [2]}))
    assert (whole.heads, whole.regions, whole.folds) == ((1,), True, ("all",))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": ""}, "WEIGHTS_ABSENT"),
        ({"python": "no-such-python"}, "NNUNET_ABSENT"),
        ({"python": sys.executable}, "NNUNET_ABSENT"),  # our own environment has no torch
        ({"channels": ["CT", "CT"]}, "NO_PET_CHANNEL"),
    ],
)
def test_what_is_missing_is_said_before_a_study_is_read(tmp_path: Path, options: dict[str, object], code: str) -> None:
    if options.get("python") == sys.executable and shutil.which("nnUNetv2_predict", path=str(Path(sys.executable).parent)):
        pytest.skip("nnunetv2 is installed beside this interpreter")
    folder = fake_model(tmp_path / "m", ["CT", "PET"], LABELS)
    with pytest.raises(LesionPipelineError) as refused:
        factory({**TABLE, "model": str(folder), **options})
    assert refused.value.code == code
    assert "docs/detectors.md" in refused.value.advice or code in ("WEIGHTS_ABSENT", "NO_PET_CHANNEL")
    if code in ("WEIGHTS_ABSENT", "NNUNET_ABSENT"):
        assert isinstance(refused.value, PluginNotFoundError)


@pytest.mark.parametrize("letters", ["LPS", "LAS", "RAS", "SPL", "IRA"])
@pytest.mark.parametrize("storage", list(GRIDS))
def test_turning_moves_no_voxel_in_the_world(storage: str, letters: str) -> None:
    pet = study(GRIDS[storage]).pet
    assert pet is not None
    out = turned(pet, letters)
    sides = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    for axis, letter in enumerate(letters):
        world, sign = sides[letter]
        assert out.grid.axis_toward(np.eye(3)[world]) == (axis, sign)
    at = np.array([[3, 5, 7], [11, 2, 9]])
    index = np.rint(out.grid.index(pet.grid.world(at))).astype(int)
    assert np.array_equal(out.values[tuple(index.T)], pet.values[tuple(at.T)])


def test_the_ct_is_asked_at_the_pets_voxels_and_is_air_beyond_its_end() -> None:
    patient = study()
    given = model_input(patient, ("CT", "SUV"), "pet", "LPS")
    assert given.values.shape == (2, *GRIDS["axial"].shape)
    inside = np.linalg.norm(points(given.grid) - BRIGHT_ON_CT[0], axis=-1) <= BRIGHT_ON_CT[1] - 4.0
    assert given.values[0][inside].min() == pytest.approx(600.0)
    assert given.values[0].min() in (pytest.approx(40.0), pytest.approx(-1024.0))
    with pytest.raises(InputError, match="NO_CT"):
        model_input(study(ct=False), ("CT", "SUV"), "pet", "LPS")
    with pytest.raises(ConfigError, match="GRID_WITHOUT_IMAGE"):
        model_input(patient, ("SUV",), "ct", "LPS")
