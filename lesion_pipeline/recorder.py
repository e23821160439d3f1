"""Runs a stage: time, memory, one log line, stage and subject onto errors. The stages themselves stay pure."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.domain.result import StageRun

P = ParamSpec("P")
T = TypeVar("T")

#: Called with (event, fields): "stage_started", "stage_done", "stage_failed". Fields are plain JSON, never header values.
Listener = Callable[[str, dict[str, object]], None]

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def _reset_peak() -> bool:
    """Ask Linux to forget the peak so that each stage gets its own; elsewhere the peak of the process so far is reported."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def peak_rss_mb(*, since_reset: bool = False) -> float:
    """Peak resident memory of this process in MB (1e6 bytes)."""
    if since_reset:
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


class Recorder:
    """Wraps each call of a stage. ``runs`` is what the provenance repeats."""

    def __init__(self, subject: str, listeners: tuple[Listener, ...] = ()) -> None:
        self.subject = subject
        self.runs: list[StageRun] = []
        self._listeners = listeners

    def tell(self, event: str, **fields: object) -> None:
        """Pass one event to every listener."""
        for listener in self._listeners:
            listener(event, fields)

    def run(self, stage: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``function``; on the way up a typed error learns which stage and subject it came from."""
        self.tell("stage_started", stage=stage)
        since_reset = _reset_peak()
        start = time.perf_counter()
        try:
            value = function(*args, **kwargs)
        except LesionPipelineError as error:
            error.stage = error.stage or stage
            error.subject = error.subject or self.subject
            self.tell("stage_failed", stage=stage, code=error.code, series=error.series, message=error.message)
            raise
        except BaseException as error:
            self.tell("stage_failed", stage=stage, code="CRASHED", message=type(error).__name__)
            raise
        run = StageRun(stage, time.perf_counter() - start, peak_rss_mb(since_reset=since_reset))
        self.runs.append(run)
        self.tell("stage_done", stage=stage, seconds=round(run.seconds, 3), peak_rss_mb=round(run.peak_rss_mb, 1))
        return value
