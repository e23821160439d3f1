"""Foci that only the CT shows, from a toy spine to the decision: found, absorbed by a PET lesion, reported, never counted."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.lesion import Candidate, Decision, LesionClass, Measures, Screened
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.protocols import LesionDetector
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.plugins.ct_bone_detector import factory
from lesion_pipeline.stages import detect, localize, match, screen, tally
from lesion_pipeline.stages.tally import load_rules

ROOT = Path(__file__).resolve().parents[2]
PRESET: dict[str, Any] = tomllib.loads((ROOT / "configs" / "fdg-petct.toml").read_text("utf-8"))
PET_GRID = Grid((32, 32, 60), np.diag([4.0, 4.0, 4.0, 1.0]), "pet")
#: Rows run to the front: the PET's and the CT's storage differ.
CT_GRIDS = {
    "axial": Grid((64, 64, 80), np.array([[2.0, 0, 0, -1], [0, 2.0, 0, -1], [0, 0, 3.0, 0], [0, 0, 0, 1]]), "ct"),
    "flipped": Grid((80, 64, 64), np.array([[0, 0, 2.0, -1], [0, -2.0, 0, 125], [-3.0, 0, 0, 237], [0, 0, 0, 1]]), "ct"),
}
LEVELS = {"L1": 200.0, "L2": 160.0, "L3": 120.0, "L4": 80.0, "L5": 40.0}
FRAMES = Frames((RigidTransform.identity("pet", "ct"),))
MIDDLE = (64.0, 64.0, 120.0)  # of L3
Focus = tuple[tuple[float, float, float], float, float]  # centre (mm), radius (mm), HU


def _points(grid: Grid) -> npt.NDArray[np.float64]:
    axes = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    return grid.world(np.stack(axes, axis=-1).reshape(-1, 3)).reshape(*grid.shape, 3)


def _body(points: npt.NDArray[np.float64], z: float) -> npt.NDArray[np.bool_]:
    away = np.abs(points - np.array([64.0, 64.0, z]))
    return np.asarray((away[..., 0] < 24) & (away[..., 1] < 18) & (away[..., 2] < 14))


def _anatomy(grid: Grid) -> Anatomy:
    points = _points(grid)
    values = np.zeros(grid.shape, dtype=np.uint16)
    names = {}
    for n, (level, z) in enumerate(LEVELS.items(), start=1):
        values[_body(points, z)] = n
        names[n] = Structure(f"vertebra_{level}", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[level], n)
    found = tuple(VertebraInstance(n, VertebralLevel[k], 0.9, (64.0, 64.0, z)) for n, (k, z) in enumerate(LEVELS.items(), 1))
    return Anatomy((NamedMap("toy", LabelMap(values, grid, names)),), found)


def _study(foci: Sequence[Focus], grid: Grid = CT_GRIDS["axial"], noise: float = 25.0, pet: bool = True) -> Study:
    """Vertebral bodies of 170 HU with a dense shell of 2 mm, in soft tissue, with noise."""
    points = _points(grid)
    values = np.full(grid.shape, 50.0)
    for z in LEVELS.values():
        away = np.abs(points - np.array([64.0, 64.0, z])) - np.array([24.0, 18.0, 14.0])
        values[_body(points, z)] = 170.0
        values[_body(points, z) & (away.max(axis=-1) > -2.0)] = 600.0
    for centre, radius, hu in foci:
        values[np.linalg.norm(points - centre, axis=-1) < radius] = hu
    values += np.random.default_rng(5).normal(0, noise, grid.shape)
    ct = Volume(values.astype(np.float32), grid, Unit.HU, Modality.CT, "CT-1")
    image = Volume(np.ones(PET_GRID.shape, dtype=np.float32), PET_GRID, Unit.SUVBW, Modality.PT, "PT-1")
    return Study("k", PatientFacts(), Tracer.FDG, (), image if pet else None, ct, frames=FRAMES)


class _Pet:
    """A PET detector that saw one lesion, or none."""

    name, version = "pet", "0"
    needs: frozenset[Modality] = frozenset({Modality.PT})

    def __init__(self, centre: tuple[float, float, float] | None) -> None:
        self.centre = centre

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        if self.centre is None:
            return ()
        voxels = np.argwhere(np.linalg.norm(_points(PET_GRID) - self.centre, axis=-1) < 9).astype(np.int32)
        return (Candidate("P", voxels, PET_GRID, Modality.PT, "pet", Measures(3.0, suv_max=9.0), probability=0.9),)


def _found(study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
    return factory(PRESET["plugins"]["ct_bone"]).detect(study, anatomy)


def _run(study: Study, anatomy: Anatomy, pet: _Pet, **ct_alone: object) -> tuple[Screened, ...]:
    detectors: list[LesionDetector] = [pet, factory(PRESET["plugins"]["ct_bone"])]
    candidates = detect.run(study, anatomy, detectors, detect.Options(**PRESET["detect"]))
    located = localize.run(candidates, study, anatomy, localize.Options(**PRESET["localize"]))
    findings = match.run(located, study, anatomy, match.Options(**PRESET["match"]))
    table = {**PRESET["screen"], "ct_alone": {**PRESET["screen"]["ct_alone"], **ct_alone}}
    return screen.run(findings, study, anatomy, screen.Options(**table))


@pytest.mark.parametrize("storage", list(CT_GRIDS))
@pytest.mark.parametrize(("hu", "radius"), [(30.0, 8.0), (650.0, 8.0), (650.0, 7.0)])
def test_a_focus_of_a_body_is_found_where_it_is(storage: str, hu: float, radius: float) -> None:
    grid = CT_GRIDS[storage]
    (focus,) = _found(_study([(MIDDLE, radius, hu)], grid), _anatomy(grid))
    assert np.linalg.norm(np.subtract(focus.centroid_lps_mm, MIDDLE)) < 3.0
    assert (focus.modality, focus.grid, focus.probability) == (Modality.CT, grid, None)
    assert focus.measures.suv_max is None
    ball = 4 / 3 * np.pi * radius**3 / 1000
    assert 0.4 * ball < focus.measures.volume_ml < 1.6 * ball


@pytest.mark.parametrize(
    ("foci", "noise"),
    [
        ([], 25.0),
        ([], 90.0),
        ([(MIDDLE, 8.0, -90.0)], 25.0),
        ([(MIDDLE, 8.0, 230.0)], 25.0),
        ([((64.0, 64.0, 133.0), 6.0, 700.0)], 25.0),
        ([(MIDDLE, 8.0, 30.0), ((80.0, 64.0, 120.0), 4.0, 3000.0)], 25.0),
    ],
    ids=["healthy", "low dose", "fat", "a little denser", "at the endplate", "beside metal"],
)
def test_what_is_no_focus(foci: list[Focus], noise: float) -> None:
    grid = CT_GRIDS["axial"]
    assert _found(_study(foci, noise=noise), _anatomy(grid)) == ()


def test_without_named_vertebrae_nothing_is_said() -> None:
    assert _found(_study([(MIDDLE, 8.0, 650.0)]), Anatomy()) == ()


@pytest.mark.parametrize(("decision", "klass"), [("uncertain", LesionClass.ADDITIONAL), ("excluded", LesionClass.BENIGN)])
def test_a_focus_without_uptake_is_reported_and_not_counted(decision: str, klass: LesionClass) -> None:
    anatomy, study = _anatomy(CT_GRIDS["axial"]), _study([(MIDDLE, 8.0, 650.0)])
    (lesion,) = _run(study, anatomy, _Pet(None), decision=decision)
    assert (lesion.decision, lesion.lesion_class) == (Decision(decision), klass)
    assert (lesion.finding.evidence.pet, lesion.finding.evidence.ct) == ("negative", "sclerotic")
    (reason,) = lesion.reasons
    assert reason.code == "CT_ONLY"
    assert "sclerotic bone of" in reason.text
    assert "without uptake on PET" in reason.text
    site = lesion.finding.located.site
    assert (site.organ, site.level, site.spinal) == (Organ.BONE, VertebralLevel.L3, True)
    rules = load_rules(ROOT / "configs" / "counting" / "trial-default.toml")
    counts = tally.run((lesion,), study, anatomy, rules)
    assert (counts.lesions.best, counts.lesions.high, counts.spinal_lesions.high) == (0, 0, 0)
    listed = [code for code, _ in counts.notes]
    assert listed == (["NOT_SEEN_ON_PET"] if decision == "uncertain" else [])
    if_counted = dict(counts.variants)["mri_only_count"]
    assert (if_counted.lesions.high > 0) is (decision == "uncertain")


@pytest.mark.parametrize(("centre", "findings"), [(MIDDLE, 1), ((64.0, 64.0, 80.0), 2)], ids=["same place", "next vertebra"])
def test_the_pets_lesion_absorbs_the_focus_under_it(centre: tuple[float, float, float], findings: int) -> None:
    screened = _run(_study([(MIDDLE, 8.0, 650.0)]), _anatomy(CT_GRIDS["axial"]), _Pet(centre))
    assert len(screened) == findings
    first = screened[0].finding
    assert [s.candidate.modality for s in first.sightings] == [Modality.PT, Modality.CT][: 3 - findings]
    assert first.located.candidate.measures.suv_max == 9.0
    assert [s.finding.id for s in screened] == ["L001", "L002"][:findings]
    if findings == 1:
        assert first.evidence.ct == "sclerotic"
        rules = load_rules(ROOT / "configs" / "counting" / "trial-default.toml")
        counts = tally.run(screened, _study([]), _anatomy(CT_GRIDS["axial"]), rules)
        assert [x.sources for x in counts.countable] == [("pet", "ct")]


def test_a_study_without_pet_says_that_no_pet_reaches_there() -> None:
    (lesion,) = _run(_study([(MIDDLE, 8.0, 30.0)], pet=False), _anatomy(CT_GRIDS["axial"]), _Pet(None))
    assert lesion.finding.evidence.pet == "not_available"
    assert "where no PET reaches" in lesion.reasons[0].text
