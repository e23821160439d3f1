"""Fixtures shared by all tests: real data, unpacked once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
CACHE = ROOT / ".cache" / "shared-data"


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """A function: name of a set of ../shared/data -> its unpacked folder. Skips where there is none, fails in CI."""

    def unpacked(name: str) -> Path:
        if not (SHARED / "unpack").is_file():
            if os.environ.get("CI"):
                pytest.fail(f"CI must have the real data, but {SHARED} is absent")
            pytest.skip(f"real data set {name!r}: ../shared/data is not on this machine")
        if name.endswith(".json"):
            return SHARED / name
        command = [sys.executable, str(SHARED / "unpack"), str(CACHE), name]
        subprocess.run(command, check=True, capture_output=True)
        return CACHE / name

    return unpacked
