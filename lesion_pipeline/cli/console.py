"""What goes to which stream: results to stdout, progress and refusals to stderr."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from lesion_pipeline.domain.errors import LesionPipelineError
from lesion_pipeline.recorder import Listener

RESEARCH_USE = "RESEARCH USE ONLY - NOT A MEDICAL DEVICE. A qualified physician must review every lesion."

#: What each stage does, in the words of the progress bar, in pipeline order.
STAGE_WORDS: Mapping[str, str] = {
    "assemble": "reading series",
    "calibrate": "SUV",
    "coregister": "linking frames",
    "delineate": "organs and vertebrae",
    "detect": "candidate lesions",
    "localize": "naming places",
    "match": "PET, CT and MR evidence",
    "screen": "physiologic or lesion",
    "tally": "counting",
    "verdict": "criteria",
    "report": "writing",
}


def out() -> Console:
    """Stdout; wide enough for tables when it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 140, highlight=False, soft_wrap=False)


def err() -> Console:
    return Console(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def show_refusal(error: LesionPipelineError, *, as_json: bool) -> None:
    """The one sentence a refusal is; for a program, the same as JSON on stdout."""
    sys.stderr.write(f"{error}\n")
    if as_json:
        stage = error.stage or ""
        fields = {"code": error.code, "stage": stage, "series": error.series, "message": error.message, "advice": error.advice}
        print_json({"status": "refused", "research_use_only": True, **fields})


def show_crash(log_folder: Path | None) -> None:
    """Traceback into a file, one sentence to stderr."""
    folder = log_folder if log_folder and log_folder.is_dir() else Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix="lesion-pipeline-crash-", suffix=".log", delete=False) as log:
        log.write(traceback.format_exc())
    sys.stderr.write(f"CRASHED: this is a defect of lesion-pipeline, not of your study. Please report it with {log.name}\n")


def _json_lines(event: str, fields: dict[str, object]) -> None:
    sys.stderr.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stderr.flush()


@contextmanager
def progress(*, quiet: bool) -> Iterator[Listener]:
    """A listener for the recorder: a bar with stage names on a terminal, JSON lines otherwise, nothing when quiet."""
    if quiet:
        yield lambda _event, _fields: None
        return
    if not sys.stderr.isatty():
        yield _json_lines
        return
    columns = (SpinnerColumn(), TextColumn("{task.description:<26}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task("starting", total=len(STAGE_WORDS))

        def listen(event: str, fields: dict[str, object]) -> None:
            stage = str(fields.get("stage", ""))
            if event == "stage_started":
                bar.update(task, description=STAGE_WORDS.get(stage, stage))
            elif event == "stage_done":
                bar.advance(task)

        yield listen
