"""The rules of the house that no linter holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lesion_pipeline"
MODULES = sorted(PACKAGE.rglob("*.py"))
MODULE_LINES = 400
FUNCTION_LINES = 60


def _functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_sizes(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES, f"{module.name} has {lines} lines"
    for function in _functions(module):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{module.name}:{function.name} has {length} lines"


def test_no_room_for_leftovers() -> None:
    names = {p.stem for p in MODULES} | {p.parent.name for p in MODULES}
    assert not names & {"utils", "util", "helpers", "misc", "common"}


def test_only_the_doors_import_the_format_libraries() -> None:
    allowed = ("io", "plugins", "report", "simulate")
    pattern = re.compile(r"^\s*(?:import|from)\s+(SimpleITK|nibabel|pydicom|highdicom)\b", re.MULTILINE)
    outside = [
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if pattern.search(module.read_text(encoding="utf-8")) and module.relative_to(PACKAGE).parts[0] not in allowed
    ]
    assert not outside


def test_scipy_zoom_is_never_used() -> None:
    """It pins the end voxels while the affine is scaled by the nominal factor (see ARCHITECTURE.md, Space)."""
    assert not [m for m in MODULES if re.search(r"\bzoom\s*\(", m.read_text(encoding="utf-8"))]
