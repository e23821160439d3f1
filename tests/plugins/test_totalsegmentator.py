"""The adapter against a stand-in programme that writes what TotalSegmentator writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import VertebralLevel
from lesion_pipeline.domain.errors import ConfigError, PluginContractError, PluginFailedError, PluginNotFoundError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import MrFacts, Study
from lesion_pipeline.domain.vocabulary import known_structure
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.imaging.vertebra_gates import Limits, gated, one_piece_each
from lesion_pipeline.imaging.vertebra_order import with_vertebrae_in_order
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins.totalsegmentator import TotalSegmentator, factory

TABLE = {
    "program": "TotalSegmentator",
    "weights": "",
    "task": "total",
    "mode": "fast",
    "roi_subset": [],
    "device": "cpu",
    "timeout_s": 60.0,
    "vertebra_confidence": 0.9,
    "stray_share": 0.05,
    "spacing_low": 0.6,
    "spacing_high": 1.5,
    "small_share": 0.4,
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
open(os.path.join(os.path.dirname(sys.argv[0]), "told.json"), "w").write(json.dumps(sys.argv[1:]))
"""


def installed(
    folder: Path,
    names: dict[int, str],
    labels: dict[int, int] | None = None,
    *,
    status: int = 0,
    weights: tuple[str, ...] = ("Dataset297_TotalSegmentator_total_3mm_1559subj",),
    table: Mapping[str, object] | None = None,
) -> TotalSegmentator:
    program = folder / "TotalSegmentator"
    text = STAND_IN.format(python=sys.executable, labels=labels or {n: n for n in names}, names=names, status=status)
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    store = folder / "weights"
    store.mkdir()
    for dataset in weights:
        (store / dataset).mkdir()
    return factory({**TABLE, **(table or {}), "program": str(program), "weights": str(store)})


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
        installed(tmp_path, NAMES, weights=()).segment(study())


def test_failure_is_blamed(tmp_path: Path) -> None:
    with pytest.raises(PluginFailedError, match="status 3"):
        installed(tmp_path, NAMES, status=3).segment(study())


def test_a_map_without_class_names_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(PluginContractError, match="without class names"):
        installed(tmp_path, {}, labels={5: 5}).segment(study())


CHAIN = ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5")


def spine(bottoms: dict[str, int], extra: dict[tuple[int, int, int], str] | None = None, height: int = 8) -> Study:
    """A CT whose values are class ids: a block of 6 x 6 x ``height`` voxels of 3 mm at each level, and single voxels."""
    values = np.zeros((20, 20, 130), dtype=np.float32)
    for level, k in bottoms.items():
        values[8:14, 8:14, k : k + height] = IDS[level]
    for (i, j, k), level in (extra or {}).items():
        values[i : i + 2, j : j + 2, k : k + 2] = IDS[level]
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    volume = Volume(values, Grid(values.shape, affine, "f"), Unit.HU, Modality.CT, "c")
    return Study("s", PatientFacts(), Tracer.FDG, (), None, volume)


#: Class ids of the task total, version 2.
IDS = {"L5": 27, "L4": 28, "L3": 29, "L2": 30, "L1": 31, "T12": 32, "T11": 33, "T10": 34, "T9": 35, "sacrum": 25}
CLASSES = {n: name if name == "sacrum" else f"vertebrae_{name}" for name, n in IDS.items()}
REGULAR = {level: 110 - 12 * n for n, level in enumerate(CHAIN)}


def doubts(tmp_path: Path, what: Study) -> tuple[set[str], set[str]]:
    """Codes of the doubts, and levels that lost half their confidence."""
    answer = installed(tmp_path, CLASSES).segment(what)
    halved = {v.level.name for v in answer.vertebrae if v.level is not None and v.confidence == pytest.approx(0.45)}
    return {c.code for c in answer.caveats} - {"NO_NUMBERING_VARIANTS"}, halved


def test_a_regular_spine_raises_no_doubt(tmp_path: Path) -> None:
    assert doubts(tmp_path, spine(REGULAR)) == (set(), set())


def test_pieces_inside_the_neighbour_are_mixed_neighbours(tmp_path: Path) -> None:
    mixed = spine(REGULAR, {(10, 10, REGULAR["L2"] + 3): "L1", (10, 13, REGULAR["L2"] + 3): "L1", (8, 8, REGULAR["L2"]): "L1"})
    codes, halved = doubts(tmp_path, mixed)
    assert {"VERTEBRA_IN_PIECES", "VERTEBRAE_MIXED"} <= codes
    assert halved == {"L1", "L2"}


def test_a_vertebra_left_out_between_two_names(tmp_path: Path) -> None:
    """A sixth lumbar vertebra that no class can name: the tool jumps over it."""
    jumped = {level: k + 12 if level in CHAIN[:6] else k for level, k in REGULAR.items()}
    assert doubts(tmp_path, spine(jumped)) == ({"VERTEBRA_LEFT_OUT"}, {"L2", "L3"})


def test_a_vertebra_left_out_above_the_sacrum(tmp_path: Path) -> None:
    near = {**{level: k + 10 for level, k in REGULAR.items()}, "sacrum": 14}
    assert doubts(tmp_path, spine(near))[0] == set()
    far = tmp_path / "far"
    far.mkdir()
    codes, halved = doubts(far, spine({**{level: k + 11 for level, k in REGULAR.items()}, "sacrum": 2}))
    assert codes == {"VERTEBRA_LEFT_OUT"}
    assert "L5" in halved


def test_two_vertebrae_where_one_is(tmp_path: Path) -> None:
    """L1 is cut in two and its lower part called L2: both are small, and their centres lie too near."""
    cut = spine(REGULAR)
    assert cut.ct is not None
    values = np.array(cut.ct.values)
    values[values == IDS["L2"]] = 0
    values[8:14, 8:14, REGULAR["L1"] : REGULAR["L1"] + 2] = IDS["L2"]
    volume = Volume(values, cut.ct.grid, Unit.HU, Modality.CT, "c")
    codes, halved = doubts(tmp_path, Study("s", PatientFacts(), Tracer.FDG, (), None, volume))
    assert {"VERTEBRAE_TOO_NEAR", "VERTEBRA_TOO_SMALL"} <= codes
    assert {"L1", "L2"} <= halved


@pytest.mark.parametrize(
    ("table", "weights", "told"),
    [
        ({"task": "total", "mode": "fast"}, ("Dataset297_x",), ["--task", "total", "--device", "cpu", "--fast"]),
        (
            {"task": "total", "mode": "fast", "roi_subset": ["liver", "spleen"]},
            ("Dataset297_x", "Dataset298_x"),
            ["--task", "total", "--device", "cpu", "--fast", "--roi_subset", "liver", "spleen"],
        ),
        ({"task": "total_mr", "mode": "fastest"}, ("Dataset853_x",), ["--task", "total_mr", "--device", "cpu", "--fastest"]),
        ({"task": "vertebrae_mr", "mode": "normal"}, ("Dataset756_x",), ["--task", "vertebrae_mr", "--device", "cpu"]),
    ],
)
def test_what_the_programme_is_told(
    tmp_path: Path, table: dict[str, object], weights: tuple[str, ...], told: list[str]
) -> None:
    """Options as TotalSegmentator 2.18 names them; the MR that is not diffusion is given to it."""
    ct = study().ct
    assert ct is not None
    dwi = Volume(
        np.zeros((40, 40, 80), dtype=np.float32), Grid((40, 40, 80), ct.grid.affine, "g"), Unit.ARBITRARY, Modality.MR, "m"
    )
    t1 = Volume(ct.values, ct.grid, Unit.ARBITRARY, Modality.MR, "n")
    both = Study("s", PatientFacts(), Tracer.FDG, (), None, ct, ((MrFacts("DWI", 1.0), dwi), (MrFacts("T1", 1.0), t1)))
    plugin = installed(tmp_path, NAMES, weights=weights, table=table)
    assert plugin.needs == {Modality.CT if table["task"] == "total" else Modality.MR}
    assert plugin.segment(both).label_map.grid.frame == "f"
    words = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    assert words[4:] == ["--ml", *told]


def test_missing_weights_are_named_by_the_downloads_own_words(tmp_path: Path) -> None:
    with pytest.raises(PluginNotFoundError, match="totalseg_download_weights -t total_fast_mr"):
        mr = Study("s", PatientFacts(), Tracer.FDG, (), None, None, ((MrFacts("T1", 1.0), study().need(Modality.CT)),))
        installed(tmp_path, NAMES, table={"task": "total_mr"}).segment(mr)
    for bad in ({"task": "vertebrae_mr", "mode": "fast"}, {"roi_subset": ["--output_type"]}):
        with pytest.raises(ConfigError, match="BAD_PLUGIN_OPTIONS"):
            factory({**TABLE, **bad})


@pytest.mark.realdata
def test_a_real_answer_of_the_programme_raises_no_false_alarm(real_data: Callable[[str], Path]) -> None:
    """example_seg_fast_force_split: T11 to S1 and sacrum, by TotalSegmentator itself in its fast mode."""
    path = real_data("ct_labelled") / "example_seg_fast_force_split.nii.gz"
    ids = {33: "vertebrae_T11", **{IDS[n]: f"vertebrae_{n}" for n in ("T12", "L1", "L2", "L3", "L4", "L5")}, 25: "sacrum"}
    raw = read_volume(path, Unit.ARBITRARY, Modality.OTHER, "f")
    values = np.where(np.isin(raw.values, list(ids)), raw.values, 0).astype(np.uint16)
    names = {n: known for n, name in ids.items() if (known := known_structure(name)) is not None}
    cleaned = one_piece_each(LabelMap(values, raw.grid, names), 0.1)
    ordered = with_vertebrae_in_order(LabelMap(cleaned.values, raw.grid, names), 0.9, "it")
    answer = gated(ordered, cleaned, Limits(0.1, 0.6, 1.5, 0.4), "it")
    assert [v.level.name for v in answer.vertebrae if v.level] == ["T11", "T12", "L1", "L2", "L3", "L4", "L5", "S"]
    assert answer.caveats == ()
