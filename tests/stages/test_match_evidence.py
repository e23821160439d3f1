"""What CT and MR say of a lesion in a toy spine: holes and sclerosis in noisy bone, signal against the neighbours."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.lesion import Candidate, Finding, Located, Measures
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import MrFacts, Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.stages import localize, match

PRESET: dict[str, Any] = tomllib.loads((Path(__file__).resolve().parents[2] / "configs" / "fdg-petct.toml").read_text("utf-8"))
PET_GRID = Grid((32, 32, 60), np.diag([4.0, 4.0, 4.0, 1.0]), "pet")
CT_GRID = Grid((64, 64, 80), np.array([[2.0, 0, 0, -1], [0, 2.0, 0, -1], [0, 0, 3.0, 0], [0, 0, 0, 1]]), "ct")
MR_GRID = Grid((20, 90, 160), np.array([[4.0, 0, 0, 30], [0, 1.2, 0, 10], [0, 0, 1.5, 0], [0, 0, 0, 1]]), "mr")
LEVELS = {"L1": 200.0, "L2": 160.0, "L3": 120.0, "L4": 80.0, "L5": 40.0}
FRAMES = Frames((RigidTransform.identity("pet", "ct"), RigidTransform.identity("pet", "mr")))
LESION = np.array([64.0, 64.0, 120.0])  # the middle of L3


def _points(grid: Grid) -> npt.NDArray[np.float64]:
    axes = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    return grid.world(np.stack(axes, axis=-1).reshape(-1, 3)).reshape(*grid.shape, 3)


def _body(points: npt.NDArray[np.float64], z: float) -> npt.NDArray[np.bool_]:
    away = np.abs(points - np.array([64.0, 64.0, z]))
    return np.asarray((away[..., 0] < 24) & (away[..., 1] < 18) & (away[..., 2] < 14))


def _anatomy() -> Anatomy:
    points = _points(CT_GRID)
    values = np.zeros(CT_GRID.shape, dtype=np.uint16)
    names = {}
    for n, (level, z) in enumerate(LEVELS.items(), start=1):
        values[_body(points, z)] = n
        names[n] = Structure(f"vertebra_{level}", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[level], n)
    return Anatomy((NamedMap("toy", LabelMap(values, CT_GRID, names)),))


def _ct(radius: float, hu: float, noise: float = 25.0) -> Volume:
    points = _points(CT_GRID)
    values = np.full(CT_GRID.shape, 50.0)
    for z in LEVELS.values():
        values[_body(points, z)] = 170.0
    values[np.linalg.norm(points - LESION, axis=-1) < radius] = hu
    values += np.random.default_rng(5).normal(0, noise, CT_GRID.shape)
    return Volume(values.astype(np.float32), CT_GRID, Unit.HU, Modality.CT, "CT-1")


def _mr(lesion: float, normal: float = 300.0) -> Volume:
    points = _points(MR_GRID)
    values = np.full(MR_GRID.shape, 100.0)
    for z in LEVELS.values():
        values[_body(points, z)] = normal
    values[np.linalg.norm(points - LESION, axis=-1) < 12] = lesion
    return Volume(values.astype(np.float32), MR_GRID, Unit.ARBITRARY, Modality.MR, "MR-1")


def _finding(ct: Volume | None, mr: tuple[tuple[MrFacts, Volume], ...] = (), frames: Frames = FRAMES) -> Finding:
    points = _points(PET_GRID)
    voxels = np.argwhere(np.linalg.norm(points - LESION, axis=-1) < 10).astype(np.int32)
    pet = Volume(np.ones(PET_GRID.shape, dtype=np.float32), PET_GRID, Unit.SUVBW, Modality.PT, "PT-1")
    candidate = Candidate("C001", voxels, PET_GRID, Modality.PT, "toy", Measures(4.0, suv_max=6.0))
    study = Study("k", PatientFacts(), Tracer.FDG, (), pet, ct, mr, frames)
    anatomy = _anatomy()
    located = localize.run((candidate,), study, anatomy, localize.Options(**PRESET["localize"]))
    assert isinstance(located[0], Located)
    (finding,) = match.run(located, study, anatomy, match.Options(**PRESET["match"]))
    return finding


@pytest.mark.parametrize(
    ("radius", "hu", "expected"),
    [(0.0, 170.0, "none"), (9.0, 30.0, "lytic"), (9.0, 650.0, "sclerotic"), (9.0, -90.0, "none"), (9.0, 230.0, "none")],
    ids=["healthy", "hole", "dense", "fat is no hole", "a little denser is not sclerosis"],
)
def test_ct_class(radius: float, hu: float, expected: str) -> None:
    assert _finding(_ct(radius, hu)).evidence.ct == expected


def test_low_dose_noise_alone_is_no_lesion() -> None:
    assert _finding(_ct(0.0, 170.0, noise=90.0)).evidence.ct == "none"


def test_metal_close_by_silences_the_ct() -> None:
    evidence = _finding(_ct(5.0, 3000.0)).evidence
    assert evidence.ct == "not_assessable"
    assert "metal" in evidence.notes[0]


def test_without_ct_or_link_the_evidence_is_not_available() -> None:
    assert _finding(None).evidence.ct == "not_available"
    assert _finding(None).evidence.mri == "not_available"


T1 = MrFacts("T1", 0.9, plane="sagittal")
STIR = MrFacts("STIR", 0.9, fat_suppressed=True, plane="sagittal")
POST = MrFacts("T1", 0.9, contrast=True, plane="sagittal")


@pytest.mark.parametrize(
    ("series", "status", "enhanced"),
    [
        (((T1, 150.0, 300.0), (STIR, 250.0, 100.0)), "positive", False),
        (((T1, 300.0, 300.0), (STIR, 100.0, 100.0)), "negative", False),
        (((T1, 150.0, 300.0),), "not_assessable", False),
        (((T1, 150.0, 300.0), (POST, 270.0, 310.0)), "positive", True),
        (((STIR, 250.0, 100.0), (POST, 270.0, 310.0)), "not_assessable", True),
        (((MrFacts("T1", 0.2), 150.0, 300.0), (STIR, 250.0, 100.0)), "not_assessable", False),
    ],
    ids=["dark on T1, bright on STIR", "normal", "T1 alone", "enhances", "no T1 before", "a series nobody believes"],
)
def test_mr_signs(series: tuple[tuple[MrFacts, float, float], ...], status: str, enhanced: bool) -> None:
    mr = tuple((facts, _mr(lesion, normal)) for facts, lesion, normal in series)
    evidence = _finding(_ct(0.0, 170.0), mr).evidence
    assert evidence.mri == status
    assert evidence.mri_enhanced is enhanced


def test_an_mr_that_nothing_links_is_not_available() -> None:
    frames = Frames((RigidTransform.identity("pet", "ct"),))
    assert _finding(_ct(0.0, 170.0), ((T1, _mr(150.0)), (STIR, _mr(250.0, 100.0))), frames).evidence.mri == "not_available"
