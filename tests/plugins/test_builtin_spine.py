"""builtin-spine on simulated bodies and real CT: names, centres, anchors, doubts, and what it does without a spine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from lesion_pipeline.domain.anatomy import Segmentation, StructureKind, VertebralLevel
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins.builtin_spine import factory
from lesion_pipeline.simulate.anatomy.body import Body, build_body
from lesion_pipeline.simulate.anatomy.params import BodyParams

TABLE = {"name_from": 0.75, "one_anchor_ceiling": 0.95, "last_rib_name_from": 0.9, "variant_from": 0.5}


def study(ct: Volume | None) -> Study:
    return Study("s", PatientFacts(), Tracer.FDG, (), None, ct)


def segment(ct: Volume) -> Segmentation:
    return factory(TABLE).segment(study(ct))


def window(body: Body, low: str, high: str, below: float = 25.0, above: float = 25.0) -> Volume:
    """A 3 mm CT from some way below one vertebra to some way above another."""
    z0 = float(body.world(body.spine[low].origin)[2]) - below
    z1 = float(body.world(body.spine[high].origin)[2]) + above
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-180.0, -130.0, z0)
    grid = Grid((180, 130, int((z1 - z0) / 3.0)), affine, "frame-of-ct")
    return body.sample_ct(grid, np.random.default_rng(1), 12.0)


def volume(values: npt.NDArray[np.float64]) -> Volume:
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Volume(values.astype(np.float32), Grid(shape, np.diag([2.0, 2.0, 3.0, 1.0]), "ct"), Unit.HU, Modality.CT, "CT-1")


@pytest.fixture(scope="module")
def body() -> Body:
    return build_body(BodyParams(seed=11, scoliosis_deg=4.0))


@pytest.fixture(scope="module")
def lumbar(body: Body) -> Volume:
    return window(body, "L5", "T11", below=75.0)


@pytest.fixture(scope="module")
def answer(lumbar: Volume) -> Segmentation:
    return segment(lumbar)


def test_every_vertebra_down_to_the_sacrum_is_named(answer: Segmentation, body: Body) -> None:
    named = {v.level.name: v for v in answer.vertebrae if v.level is not None}
    assert {"S", "L5", "L4", "L3", "L2", "L1", "T12", "T11"} <= set(named)
    for name in ("L5", "L4", "L3", "L2", "L1", "T12"):
        truth = body.world(body.spine[name].origin)
        assert np.linalg.norm(np.array(named[name].centroid_lps_mm) - truth) < 8.0
        assert answer.label_map.names[int(answer.label_map.at(truth)[0])].key == f"vertebra_{name}"
        assert "sacrum" in named[name].anchors
        assert named[name].confidence >= 0.7


def test_instances_count_from_head_to_tail(answer: Segmentation) -> None:
    heights = [v.centroid_lps_mm[2] for v in sorted(answer.vertebrae, key=lambda v: v.instance)]
    assert heights == sorted(heights, reverse=True)
    assert [v.instance for v in answer.vertebrae] == list(range(1, len(answer.vertebrae) + 1))


def test_body_and_posterior_elements_share_the_instance(answer: Segmentation) -> None:
    by_key = {s.key: s for s in answer.label_map.names.values()}
    front, back = by_key["vertebra_L3"], by_key["vertebra_L3_posterior"]
    assert front.instance == back.instance
    assert front.kind is back.kind is StructureKind.VERTEBRA
    assert front.level is VertebralLevel.L3
    assert by_key["spinal_canal"].kind is StructureKind.TISSUE


def test_pedicle_and_canal_lie_where_they_should(answer: Segmentation, body: Body) -> None:
    names = answer.label_map.names
    canal = int(answer.label_map.at(body.world(body.spine["L3"].canal_centre))[0])
    assert names[canal].key == "spinal_canal"
    vertebra = body.spine["L2"]
    spinous = vertebra.at(0.0, vertebra.depth / 2 + vertebra.canal[1] + 14.0, -3.0)
    value = int(answer.label_map.at(body.world(spinous))[0])
    assert names[value].key == "vertebra_L2_posterior"


def test_last_rib_alone_names_only_from_its_own_threshold(body: Body) -> None:
    """The last rib may be the 11th: its name needs more than ``name_from``, and the confidence tells how sure it was."""
    ct = window(body, "L2", "T11")
    sure = factory({**TABLE, "last_rib_name_from": 0.6}).segment(study(ct)).vertebrae
    strict = factory({**TABLE, "last_rib_name_from": 0.999}).segment(study(ct)).vertebrae
    assert {v.anchors for v in sure} == {("rib12",)}
    assert {v.level.name for v in sure if v.level} >= {"T11", "T12", "L1", "L2"}
    assert all(v.level is None and v.ambiguous for v in strict)
    assert [v.confidence for v in sure] == [v.confidence for v in strict]


@pytest.mark.slow
def test_reversed_storage_changes_nothing(lumbar: Volume, answer: Segmentation) -> None:
    affine = lumbar.grid.affine.copy()
    for axis in (1, 2):
        affine[:3, 3] += affine[:3, axis] * (lumbar.grid.shape[axis] - 1)
        affine[:3, axis] *= -1
    turned = Volume(
        np.flip(lumbar.values, (1, 2)),
        Grid(lumbar.grid.shape, affine, "frame-of-ct"),
        lumbar.unit,
        lumbar.modality,
        lumbar.series,
    )
    other = segment(turned)
    assert [v.level for v in other.vertebrae] == [v.level for v in answer.vertebrae]
    for a, b in zip(answer.vertebrae, other.vertebrae, strict=True):
        assert np.allclose(a.centroid_lps_mm, b.centroid_lps_mm, atol=0.5)


def test_front_and_back_exchanged_is_doubted(lumbar: Volume) -> None:
    found = segment(Volume(np.flip(lumbar.values, 1), lumbar.grid, lumbar.unit, lumbar.modality, lumbar.series))
    assert "ORIENTATION_SUSPECT" in {c.code for c in found.caveats}
    assert all(v.level is None for v in found.vertebrae)


def test_without_a_landmark_nothing_is_named(body: Body) -> None:
    found = segment(window(body, "T9", "T5"))
    assert len(found.vertebrae) >= 4
    assert all(v.ambiguous and v.level is None for v in found.vertebrae)
    assert all(v.alternatives for v in found.vertebrae)
    assert {s.key for s in found.label_map.names.values() if s.kind is StructureKind.VERTEBRA} >= {
        "vertebra_V01",
        "vertebra_V02",
    }
    assert "VERTEBRAE_AMBIGUOUS" in {c.code for c in found.caveats}


@pytest.mark.slow
def test_a_sixth_lumbar_vertebra_is_said(body: Body) -> None:
    tall = build_body(BodyParams(seed=5, lumbar=6))
    found = segment(window(tall, "L6", "T10", below=75.0))
    assert "L6" in {v.level.name for v in found.vertebrae if v.level}
    assert "NUMBERING_VARIANT" in {c.code for c in found.caveats}


@pytest.mark.parametrize("kind", ["air", "zeros", "water"])
def test_an_image_without_a_spine_says_so(kind: str) -> None:
    x, y = np.meshgrid(np.arange(100) - 50, np.arange(100) - 50, indexing="ij")
    water = np.where(np.hypot(x, y) < 40, 0.0, -1000.0)[..., None] + np.random.default_rng(0).normal(0, 12, (100, 100, 40))
    values = {"air": np.full((60, 60, 30), -1000.0), "zeros": np.zeros((60, 60, 30)), "water": water}[kind]
    found = segment(volume(values))
    assert found.vertebrae == ()
    assert [c.code for c in found.caveats] == ["NO_SPINE_FOUND"]
    assert not found.label_map.values.any()
    assert found.label_map.grid.frame == "ct"


def test_a_few_voxels_do_not_break_it() -> None:
    assert segment(volume(np.random.default_rng(0).normal(0, 100, (3, 2, 1)))).vertebrae == ()


def test_a_study_without_ct_is_refused() -> None:
    with pytest.raises(InputError, match="NO_CT"):
        factory(TABLE).segment(study(None))


@pytest.mark.parametrize("change", [{"name_from": 0.2}, {"surprise": 1}])
def test_options_are_checked(change: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        factory({**TABLE, **change})


@pytest.mark.realdata
@pytest.mark.parametrize(
    "name", ["ct_labelled/example_ct", "ct_unlabelled/chest_low_dose", "ct_unlabelled/neck_chest_contrast"]
)
def test_real_ct_is_named_exactly(name: str, real_data: Callable[[str], Path]) -> None:
    folder, file = name.split("/")
    ct = read_volume(real_data(folder) / f"{file}.nii.gz", Unit.HU, Modality.CT, "ct")
    truth = json.loads(real_data("vertebra_truth.json").read_text())["cts"][name]["centroid_LPS_mm"]
    found = segment(ct)
    centres = np.array([v.centroid_lps_mm for v in found.vertebrae])
    errors = []
    for level, centre in truth.items():
        distance = np.linalg.norm(centres - np.array(centre), axis=1)
        named = found.vertebrae[int(distance.argmin())].level
        assert named is not None
        assert named.name == ("S" if level == "S1" else level)
        errors.append(float(distance.min()))
    assert np.median(errors) <= 4.0


@pytest.mark.realdata
@pytest.mark.parametrize("axis", [1, 2])
def test_a_chest_back_to_front_or_upside_down_is_doubted_and_not_named(axis: int, real_data: Callable[[str], Path]) -> None:
    ct = read_volume(real_data("ct_unlabelled") / "chest_low_dose.nii.gz", Unit.HU, Modality.CT, "ct")
    array_axis = int(np.abs(ct.grid.affine[axis, :3]).argmax())
    found = segment(Volume(np.flip(ct.values, array_axis), ct.grid, ct.unit, ct.modality, ct.series))
    assert "ORIENTATION_SUSPECT" in {c.code for c in found.caveats}
    assert found.vertebrae
    assert all(v.level is None for v in found.vertebrae)
