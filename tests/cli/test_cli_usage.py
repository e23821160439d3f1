"""Exit codes and refusals, as a user's shell sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lesion_pipeline import __version__
from lesion_pipeline.cli.app import main


def call(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    streams = capsys.readouterr()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, streams.out, streams.err


def text_files(folder: Path) -> Path:
    folder.mkdir()
    for name in ("report.txt", "notes.csv", "DICOMDIR.txt"):
        (folder / name).write_text("this is no image\n" * 50, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["empty", "text"])
def test_a_folder_without_dicom_is_refused_and_nothing_is_written(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    if kind == "empty":
        source.mkdir()
    else:
        text_files(source)
    before = sorted(source.rglob("*"))
    code, out, err = call("run", str(source), "--out", str(tmp_path / "out"), "--quiet", capsys=capsys)
    assert code == 1
    assert err.startswith("NO_DICOM: ")
    assert err.count("\n") == 1
    assert not out
    assert not (tmp_path / "out").exists()
    assert sorted(source.rglob("*")) == before


def test_a_refusal_for_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(
        "run", str(text_files(tmp_path / "in")), "--out", str(tmp_path / "out"), "--json", "--quiet", capsys=capsys
    )
    answer = json.loads(out)
    assert (code, answer["status"], answer["code"], answer["stage"]) == (1, "refused", "NO_DICOM", "assemble")
    assert answer["research_use_only"] is True
    assert answer["advice"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "/no/such/folder", "--out", "OUT"),
        ("run", "IN"),
        ("run", "IN", "--out", "OUT", "--no-such-option"),
        ("run", "IN", "--out", "OUT", "--config", "no-such-preset"),
        ("run", "IN", "--out", "OUT", "--set", "detect.no_such_key=1"),
        ("run", "IN", "--out", "OUT", "--set", "nonsense"),
        ("run", "IN", "--out", "OUT", "--weight", "-3"),
        ("no-such-command",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2_and_writes_nothing(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    places = {"IN": str(tmp_path / "in"), "OUT": str(tmp_path / "out")}
    code, out, err = call(*[places.get(a, a) for a in arguments], capsys=capsys)
    assert code == 2
    assert err.strip()
    assert "Traceback" not in err + out
    assert not (tmp_path / "out").exists()


def test_unknown_preset_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = call("inspect", str(tmp_path), "--config", "fdg-petc", capsys=capsys)
    assert "CONFIG_NOT_FOUND" in err
    assert "'fdg-petct'" in err


def test_output_that_cannot_be_written_is_refused_before_reading(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("", encoding="utf-8")
    (tmp_path / "in").mkdir()
    code, _, err = call("run", str(tmp_path / "in"), "--out", str(blocker / "out"), "--quiet", capsys=capsys)
    assert code == 2
    assert "OUTPUT_NOT_WRITABLE" in err


def test_a_defect_of_ours_is_3_with_the_traceback_in_a_log_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("lesion_pipeline.stages.assemble.run", broken)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    code, out, err = call("run", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--quiet", capsys=capsys)
    assert code == 3
    assert "Traceback" not in out + err
    (log,) = (tmp_path / "out").glob("*.log")
    assert "ZeroDivisionError: planted" in log.read_text(encoding="utf-8")
    assert str(log) in err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version", capsys=capsys) == (0, f"lesion-pipeline {__version__}\n", "")
    code, out, _ = call("--help", capsys=capsys)
    assert code == 0
    assert "NOT A MEDICAL DEVICE" in out


def test_doctor_and_plugins_answer_programs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("doctor", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["missing"] == []
    code, out, _ = call("plugins", "--json", capsys=capsys)
    listed = json.loads(out)
    assert code == 0
    assert "fdg-petct" in listed["presets"]
    assert {"anatomy-from-file", "lesions-from-file"} <= {p["name"] for p in listed["plugins"]}
    for command in ("doctor", "plugins"):
        assert call(command, capsys=capsys)[0] == 0


def test_module_and_closed_stdout() -> None:
    command = [sys.executable, "-m", "lesion_pipeline", "schema"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["title"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr
