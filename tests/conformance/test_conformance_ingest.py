"""The rows of scripts/conformance.py that are about reading: everything that can pass, passes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "conformance.py"


@pytest.fixture(scope="module")
def conformance() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conformance", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["conformance"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.mark.realdata
def test_volumes_equal_those_of_dcm2niix(conformance: ModuleType, real_data: Callable[[str], Path]) -> None:
    name, passed, total, note = conformance.geometry(real_data("geometry").parent)
    assert (passed, total) == (31, 31), f"{name}: {note}"


@pytest.mark.realdata
def test_nine_transfer_syntaxes_decode_equal(conformance: ModuleType, real_data: Callable[[str], Path]) -> None:
    name, passed, total, note = conformance.transfer_syntaxes(real_data("geometry").parent)
    assert (passed, total) == (9, 9), f"{name}: {note}"


@pytest.mark.realdata
@pytest.mark.slow
def test_bad_inputs_are_handled_as_specified(conformance: ModuleType, real_data: Callable[[str], Path]) -> None:
    cache = real_data("bad_inputs").parent
    before = conformance.tree_hash(cache / "bad_inputs")
    name, passed, total, note = conformance.bad_inputs(cache, conformance.in_process())
    assert (passed, total) == (52, 52), f"{name}: {note}"
    assert conformance.tree_hash(cache / "bad_inputs") == before


@pytest.mark.realdata
@pytest.mark.parametrize("case", ["G01_clean_pet", "D12_header_truncated", "D14_hostile_names"])
def test_the_command_keeps_its_promises(case: str, conformance: ModuleType, real_data: Callable[[str], Path]) -> None:
    """Exit code, no traceback, time, memory, no stray file, input untouched."""
    outcome = conformance.by_command(real_data("bad_inputs") / case)
    assert not outcome.problem
