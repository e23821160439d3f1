"""Folders that appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.report import layout


def _write_run(out: Path, key: str, note: str) -> None:
    with layout.staged(out, key) as folder:
        layout.count_json(folder).write_text(json.dumps({"study": {"key": key}}), encoding="utf-8")
        layout.overlay(folder, "coronal").parent.mkdir()
        layout.overlay(folder, "coronal").write_text(note, encoding="utf-8")


def test_a_run_appears_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with layout.staged(out, "S-1") as folder:
        assert folder.parent == out
        assert not layout.study_folder(out, "S-1").exists()
        assert layout.study_folders(out) == ()
        layout.count_json(folder).write_text("{}", encoding="utf-8")
    assert layout.study_folders(out) == (out / "S-1",)
    assert layout.study_folders(out / "S-1") == (out / "S-1",)
    assert [p.name for p in out.iterdir()] == ["S-1"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), layout.staged(out, "S-1") as folder:
        layout.log(folder).write_text("x", encoding="utf-8")
        raise RuntimeError
    assert not out.exists()


def test_a_second_run_of_the_same_study_replaces_the_first_only_when_it_ends_well(tmp_path: Path) -> None:
    _write_run(tmp_path, "S-1", "first")
    with pytest.raises(RuntimeError), layout.staged(tmp_path, "S-1"):
        raise RuntimeError
    assert layout.overlay(tmp_path / "S-1", "coronal").read_text(encoding="utf-8") == "first"
    _write_run(tmp_path, "S-1", "second")
    assert layout.overlay(tmp_path / "S-1", "coronal").read_text(encoding="utf-8") == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["S-1"]


@pytest.mark.parametrize("content", ["", "{}", '{"study": {"key": "S-2"}}', "[1]", None])
def test_anything_else_is_not_destroyed_unless_asked(tmp_path: Path, content: str | None) -> None:
    precious = tmp_path / "S-1" / ("lesioncount.json" if content is not None else "thesis.txt")
    precious.parent.mkdir()
    precious.write_text(content or "years of work", encoding="utf-8")
    with pytest.raises(ConfigError) as caught, layout.staged(tmp_path, "S-1"):
        pytest.fail("the block must not run")
    assert caught.value.code == "OUTPUT_EXISTS"
    assert precious.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["S-1"]
    with layout.staged(tmp_path, "S-1", overwrite=True) as folder:
        layout.count_json(folder).write_text("{}", encoding="utf-8")
    assert not (tmp_path / "S-1" / "thesis.txt").exists()


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "S-1").mkdir()
    _write_run(tmp_path, "S-1", "x")
    assert layout.holds_run_of(tmp_path / "S-1", "S-1")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "", "ünïcode", "con trol\n"])
def test_names_stay_inside_their_folder(tmp_path: Path, name: str) -> None:
    path = layout.label_map(tmp_path, name)
    assert path.parent == tmp_path / "labels"
    assert path.name.endswith(".nii.gz")
    assert layout.label_names(tmp_path, name).name == path.name.removesuffix(".nii.gz") + ".names.json"
