"""The command anatomy: files, keys, refusals and exit codes; on a file that holds no patient nothing is invented."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from lesion_pipeline.cli.app import main
from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.io import nifti


def called(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as stopped:
        main(["anatomy", *arguments, "--quiet", "--json"])
    text = capsys.readouterr().out
    return int(str(stopped.value.code)), json.loads(text) if text else {}


def ct_file(folder: Path, flip: bool = False) -> tuple[Path, Grid]:
    """A box of water with two bony blocks in air, 4 mm voxels, x running either way."""
    affine = np.diag([-4.0 if flip else 4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (196.0 if flip else 0.0, -50.0, 10.0)
    grid = Grid((50, 40, 60), affine, "f")
    values = np.full(grid.shape, -1000.0, dtype=np.float32)
    values[8:42, 8:32] = 0.0
    path = folder / "phantom.nii.gz"
    nifti.write_volume(Volume(values, grid, Unit.HU, Modality.CT, "c"), path)
    return path, grid


@pytest.mark.parametrize("flip", [False, True])
def test_a_nifti_ct_with_a_given_anatomy(tmp_path: Path, capsys: pytest.CaptureFixture[str], flip: bool) -> None:
    path, grid = ct_file(tmp_path, flip)
    labels = np.zeros(grid.shape, dtype=np.uint16)
    corners = {1: (18, 18, 40), 2: (18, 18, 30), 3: (30, 12, 20)}
    for value, (i, j, k) in corners.items():
        labels[i : i + 4, j : j + 4, k : k + 6] = value
    names = {n: Structure(key, StructureKind.REGION) for n, key in {1: "vertebrae_T12", 2: "vertebrae_L1", 3: "spleen"}.items()}
    nifti.write_label_map(LabelMap(labels, grid, names), tmp_path / "given.nii.gz")
    (tmp_path / "given.names.json").write_text(json.dumps({n: s.key for n, s in names.items()}), encoding="utf-8")
    options = (
        "--set",
        'engines.segmenters=["anatomy-from-file"]',
        "--set",
        f'plugins.anatomy_from_file.path="{tmp_path}/given.nii.gz"',
    )
    code, answer = called(str(path), "--modality", "CT", "--out", str(tmp_path / "out"), *options, capsys=capsys)
    assert code == 0, answer
    folder = Path(answer["folder"])
    document = json.loads((folder / "anatomy.json").read_text(encoding="utf-8"))
    assert document == answer["anatomy"]
    assert document["schema"] == {"name": "lesion-anatomy", "version": "1.0"}
    assert document["research_use_only"] is True
    assert [set(row) for row in document["levels"]] == [
        {"level", "instance", "confidence", "centroid_lps_mm", "anchors", "ambiguous"}
    ] * 2
    assert [(row["level"], row["instance"], row["ambiguous"]) for row in document["levels"]] == [
        ("T12", 1, False),
        ("L1", 2, False),
    ]
    centre = grid.world([[31.5, 13.5, 22.5]])[0]
    (spleen,) = document["organs"]
    assert set(spleen) == {"name", "volume_ml", "centroid_lps_mm"}
    assert (spleen["name"], spleen["volume_ml"]) == ("spleen", round(96 * 0.064, 2))
    assert spleen["centroid_lps_mm"] == pytest.approx(list(centre), abs=0.01)
    assert "HU_SAID_BY_USER" in {caveat["code"] for caveat in document["caveats"]}
    assert str(tmp_path) not in json.dumps(document)
    kept = nifti.read_label_map(folder / "labels" / "anatomy-from-file.nii.gz", None, "f")
    assert {s.key for s in kept.names.values()} == {"vertebra_T12", "vertebra_L1", "spleen"}
    with Image.open(folder / "anatomy.png") as picture:
        assert picture.width > 600
        assert len(picture.convert("RGB").getcolors(1 << 24) or ()) > 50
    assert [p.name for p in (tmp_path / "out").iterdir()] == [folder.name], "nothing half-written is left"
    again, second = called(str(path), "--modality", "CT", "--out", str(tmp_path / "out"), *options, capsys=capsys)
    assert again == 0
    assert {**second["anatomy"], "provenance": None} == {**document, "provenance": None}


def test_refusals_and_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = ct_file(tmp_path)
    out = ("--out", str(tmp_path / "out"))
    assert called(str(path), *out, capsys=capsys)[1]["code"] == "MODALITY_NOT_SAID"
    assert called(str(path), *out, capsys=capsys)[0] == 2
    code, answer = called(str(path), "--modality", "MR", *out, capsys=capsys)
    assert (code, answer["code"]) == (2, "MODALITY_NOT_CT")
    code, answer = called(str(tmp_path), "--modality", "CT", *out, capsys=capsys)
    assert (code, answer["code"]) == (2, "MODALITY_OF_DICOM")
    scaled = tmp_path / "scaled.nii.gz"
    ramp = np.linspace(0.0, 255.0, 24_000, dtype=np.float32).reshape(20, 30, 40)
    nibabel.save(nibabel.Nifti1Image(ramp, np.eye(4)), scaled)  # type: ignore[no-untyped-call]
    code, answer = called(str(scaled), "--modality", "CT", *out, capsys=capsys)
    assert (code, answer["code"]) == (1, "NOT_HU")
    (tmp_path / "broken.nii").write_bytes(b"not an image")
    code, answer = called(str(tmp_path / "broken.nii"), "--modality", "CT", *out, capsys=capsys)
    assert (code, answer["code"]) == (1, "BAD_NIFTI")
    assert not (tmp_path / "out").exists(), "a refused study writes nothing"


def test_results_of_a_run_are_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, _ = ct_file(tmp_path)
    options = ("--modality", "CT", "--out", str(tmp_path / "out"), "--set", "engines.segmenters=[]")
    code, answer = called(str(path), *options, capsys=capsys)
    assert code == 0
    assert (answer["anatomy"]["levels"], answer["anatomy"]["organs"]) == ([], [])
    assert "NO_ANATOMY" in {caveat["code"] for caveat in answer["anatomy"]["caveats"]}
    folder = Path(answer["folder"])
    (folder / "anatomy.json").rename(folder / "lesioncount.json")
    code, answer = called(str(path), *options, capsys=capsys)
    assert (code, answer["code"]) == (2, "OUTPUT_EXISTS")
    assert called(str(path), *options, "--overwrite", capsys=capsys)[0] == 0


@pytest.mark.slow
@pytest.mark.realdata
def test_a_thigh_holds_no_organ_and_no_vertebra(
    real_data: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thigh = str(real_data("sts_001") / "MR_T1")
    code, answer = called(thigh, "--out", str(tmp_path / "out"), capsys=capsys)
    assert code == 0, answer
    assert answer["anatomy"]["levels"] == []
    assert answer["anatomy"]["organs"] == []
    assert {"NO_CT", "NO_ANATOMY"} <= {caveat["code"] for caveat in answer["anatomy"]["caveats"]}
