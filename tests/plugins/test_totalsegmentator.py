"""The adapter against a stand-in programme that writes what TotalSegmentator writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import VertebralLevel
from lesion_pipeline.domain.errors import PluginContractError, PluginFailedError, PluginNotFoundError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.plugins.totalsegmentator import TotalSegmentator, factory

TABLE = {
    "program": "TotalSegmentator",
    "weights": "",
    "mode": "fast",
    "device": "cpu",
    "timeout_s": 60.0,
    "vertebra_confidence": 0.9,
    "stray_share": 0.05,
}

STAND_IN = """#!{python}
import json, os, sys
import nibabel, numpy as np
told = dict(zip(sys.argv[1::2], sys.argv[2::2]))
config = json.load(open(os.path.join(os.environ["TOTALSEG_HOME_DIR"], "config.json")))
assert config["send_usage_stats"] is False
image = nibabel.load(sys.argv[sys.argv.index("-i") + 1])
out = np.zeros(image.shape, dtype=np.uint8)
values = np.asarray(image.dataobj)
for hu, label in {labels}.items():
    out[values == int(hu)] = label
answer = nibabel.Nifti1Image(out, image.affine)
text = "<CaretExtension>" + "".join(
    f'<Label Key="{{k}}" Red="1" Alpha="1"><![CDATA[{{n}}]]></Label>' for k, n in {names}.items()
) + "</CaretExtension>"
if {names}:
    answer.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
if {status}:
    sys.exit({status})
nibabel.save(answer, sys.argv[sys.argv.index("-o") + 1])
"""


def installed(
    folder: Path, names: dict[int, str], labels: dict[int, int] | None = None, status: int = 0, weights: bool = True
) -> TotalSegmentator:
    program = folder / "TotalSegmentator"
    text = STAND_IN.format(python=sys.executable, labels=labels or {n: n for n in names}, names=names, status=status)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    store = folder / "weights"
    store.mkdir()
    if weights:
        (store / "Dataset297_TotalSegmentator_total_3mm_1559subj").mkdir()
    return factory({**TABLE, "program": str(program), "weights": str(store)})


def study() -> Study:
    values = np.zeros((20, 20, 40), dtype=np.float32)
    values[2:8, 2:8, 2:8] = 5  # liver
    values[12:15, 12:15, 30:36] = 32  # T12
    values[12:15, 12:15, 20:26] = 31  # L1
    values[2, 15, 35] = 31  # a stray voxel
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    return Study(
        "s", PatientFacts(), Tracer.FDG, (), None, Volume(values, Grid((20, 20, 40), affine, "f"), Unit.HU, Modality.CT, "c")
    )


NAMES = {5: "liver", 32: "vertebrae_T12", 31: "vertebrae_L1"}


def test_classes_come_by_name_and_vertebrae_in_order(tmp_path: Path) -> None:
    answer = installed(tmp_path, NAMES).segment(study())
    label_map = answer.label_map
    assert label_map.grid.frame == "f"
    assert {s.key for s in label_map.names.values()} == {"liver", "vertebra_T12", "vertebra_L1"}
    assert (label_map.values == label_map.value_of("liver")).sum() == 216
    assert [(v.instance, v.level) for v in answer.vertebrae] == [(1, VertebralLevel.T12), (2, VertebralLevel.L1)]
    assert label_map.values[2, 15, 35] == 0, "a stray piece of a vertebra goes"
    assert [c.code for c in answer.caveats] == ["NO_NUMBERING_VARIANTS"]


def test_names_out_of_order_are_doubted(tmp_path: Path) -> None:
    answer = installed(tmp_path, {5: "liver", 32: "vertebrae_L1", 31: "vertebrae_T12"}).segment(study())
    assert "VERTEBRAE_OUT_OF_ORDER" in {c.code for c in answer.caveats}


def test_absent_programme_and_weights_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PluginNotFoundError, match="pip install TotalSegmentator") as caught:
        factory({**TABLE, "program": str(tmp_path / "nothing")}).segment(study())
    assert caught.value.code == "TOTALSEGMENTATOR_ABSENT"
    with pytest.raises(PluginNotFoundError, match="totalseg_download_weights -t total_fast"):
        installed(tmp_path, NAMES, weights=False).segment(study())


def test_failure_is_blamed(tmp_path: Path) -> None:
    with pytest.raises(PluginFailedError, match="status 3"):
        installed(tmp_path, NAMES, status=3).segment(study())


def test_a_map_without_class_names_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(PluginContractError, match="without class names"):
        installed(tmp_path, {}, labels={5: 5}).segment(study())
