"""A reader's own masks through the command line: drawn lesions instead of detection, an anatomy before the built-in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesion_pipeline.cli.app import main
from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit
from lesion_pipeline.io import nifti

pytestmark = pytest.mark.realdata


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    with pytest.raises(SystemExit) as stopped:
        main(["run", *arguments, "--quiet", "--json"])
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 0, answer
    return answer


def test_drawn_lesions_and_a_given_anatomy(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phantom = str(real_data("bad_inputs") / "G01_clean_pet")
    found = run(phantom, "--out", str(tmp_path / "found"), capsys=capsys)
    mask = Path(found["folder"]) / "labels" / "lesions.nii.gz"
    assert len(found["count"]["lesions"]) == 5
    assert {lesion["organ"] for lesion in found["count"]["lesions"]} == {None}

    drawn = run(phantom, "--out", str(tmp_path / "drawn"), "--lesions", str(mask), capsys=capsys)["count"]
    assert [lesion["suv_max"] for lesion in drawn["lesions"]] == [lesion["suv_max"] for lesion in found["count"]["lesions"]]
    assert "lesions-from-file" in {plugin["name"] for plugin in drawn["provenance"]["plugins"]}

    grid = nifti.read_volume(mask, Unit.ARBITRARY, Modality.OTHER, "frame").grid
    everywhere = LabelMap(np.ones(grid.shape, np.uint16), grid, {1: Structure("liver", StructureKind.ORGAN, Organ.LIVER)})
    nifti.write_label_map(everywhere, tmp_path / "anatomy.nii.gz")
    options = ("--anatomy", str(tmp_path / "anatomy.nii.gz"), "--set", "plugins.anatomy_from_file.frame=pet")
    placed = run(phantom, "--out", str(tmp_path / "placed"), *options, capsys=capsys)["count"]
    assert {lesion["organ"] for lesion in placed["lesions"]} == {"liver"}

    both = run(phantom, "--out", str(tmp_path / "both"), *options, "--lesions", str(mask), capsys=capsys)["count"]
    assert [lesion["decision"] for lesion in both["lesions"]] == ["counted"] * 5
