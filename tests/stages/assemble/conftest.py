"""The DICOM phantom, as a module, for the tests of this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_PATH = Path(__file__).resolve().parents[2] / "dicom_phantom.py"


@pytest.fixture(scope="session")
def phantom() -> ModuleType:
    """tests/dicom_phantom.py."""
    if "dicom_phantom" not in sys.modules:
        spec = importlib.util.spec_from_file_location("dicom_phantom", _PATH)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["dicom_phantom"] = module
        spec.loader.exec_module(module)
    return sys.modules["dicom_phantom"]
