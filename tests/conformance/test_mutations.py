"""A small share of scripts/mutate.py on a study made here: right count or coded refusal, nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    return load("mutate", ROOT / "scripts" / "mutate.py")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    phantom = load("dicom_phantom_for_mutations", ROOT / "tests" / "dicom_phantom.py")
    folder = tmp_path_factory.mktemp("study")
    # 8000 Bq/ml must be a lesion and 1000 Bq/ml must not: 100 MBq in 70 kg an hour before
    pet = phantom.series(NumberOfSlices=20)
    for ds in pet:
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = 1.0e8
    phantom.write(pet, folder)
    phantom.write(phantom.series("CT"), folder)
    return folder


def test_mutated_studies_are_counted_right_or_refused(mutate: ModuleType, study: Path) -> None:
    truth = mutate.by_threshold(study)
    assert len(truth[0]) == 3
    cases = [mutate.one_case(study, number, 7, mutate.by_threshold, truth) for number in range(60)]
    assert all(case.allowed for case in cases), "\n" + mutate.table(cases)
    assert len({case.kind for case in cases}) == len(mutate.MUTATIONS)


def test_the_judge_sees_what_is_forbidden(mutate: ModuleType) -> None:
    one = [(0.0, 0.0, 0.0, 5.0), (50.0, 0.0, 0.0, 5.0)]
    assert mutate.same(one, one[::-1])
    assert not mutate.same(one, one[:1])
    assert not mutate.same(one, [(0.0, 0.0, 0.0, 5.0), (0.0, 50.0, 0.0, 5.0)])
    assert not mutate.Case(1, "x", "other count in silence (1 for 2)").allowed
    assert "FORBIDDEN" in mutate.table([mutate.Case(1, "x", "traceback"), mutate.Case(2, "x", "refused A")])
