"""Each stage leaves its time and memory, and errors learn where they happened."""

from __future__ import annotations

import numpy as np
import pytest

from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.recorder import Recorder


def test_runs_and_events() -> None:
    events: list[str] = []
    recorder = Recorder("study-1", (lambda event, fields: events.append(f"{event} {fields['stage']}"),))

    def work(megabytes: int) -> float:
        return float(np.ones(megabytes * 125_000).sum())

    assert recorder.run("detect", work, 80) == 80 * 125_000
    assert recorder.run("localize", work, 1) == 125_000
    assert events == ["stage_started detect", "stage_done detect", "stage_started localize", "stage_done localize"]
    assert [run.stage for run in recorder.runs] == ["detect", "localize"]
    assert all(run.seconds >= 0 and run.peak_rss_mb > 1 for run in recorder.runs)


def test_errors_learn_stage_and_subject() -> None:
    def refuse() -> None:
        raise InputError("NO_DICOM", "nothing to read")

    recorder = Recorder("study-1")
    with pytest.raises(InputError) as caught:
        recorder.run("assemble", refuse)
    assert (caught.value.stage, caught.value.subject) == ("assemble", "study-1")
    assert str(caught.value) == "NO_DICOM: nothing to read."
    assert not recorder.runs
