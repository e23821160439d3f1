"""A procedural torso, asked on grids of every orientation; and things that are no patient."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Segmentation
from lesion_pipeline.domain.errors import PluginFailedError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins.builtin_organs import factory
from lesion_pipeline.plugins.builtin_organs.chest import Chest, find_chest
from lesion_pipeline.plugins.builtin_organs.fusion import believed_bone, believed_lungs
from lesion_pipeline.plugins.builtin_organs.lattice import along_axes
from lesion_pipeline.plugins.builtin_organs.network import CLASSES, OrganProbabilities, load
from lesion_pipeline.plugins.builtin_organs.soft import up_to_the_lungs

OPTIONS = {"lattice_mm": 5.0, "pet_lattice_mm": 5.0, "body_hu": -300.0, "bone_hu": 180.0}

Field = npt.NDArray[np.float64]


def kidneys(p: Field) -> npt.NDArray[np.bool_]:
    """Two ellipsoids of 75 ml beside the spine."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    return np.asarray(((np.abs(x) - 56) / 20) ** 2 + ((y - 55) / 20) ** 2 + ((z + 105) / 45) ** 2 < 1)


def torso_suv(p: Field) -> npt.NDArray[np.float32]:
    """Uptake of the same torso: excreting kidneys and one hot node in front of the spine."""
    hu = torso_hu(p)
    suv = np.where(hu > -300, 0.7, 0.05)
    suv[hu == 58] = 2.0
    suv[kidneys(p)] = 7.0
    suv[np.linalg.norm(p - np.array([0.0, 30.0, -110.0]), axis=-1) < 9] = 9.0
    return suv.astype(np.float32)


def torso_hu(p: Field) -> npt.NDArray[np.float32]:
    """HU at LPS points (..., 3): a chest and upper abdomen, 400 mm high, with a table behind."""
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    hu = np.full(x.shape, -1000.0)
    radius = np.hypot(x / 170, y / 115)
    hu[(np.abs(y - 135) < 5) & (np.abs(x) < 200)] = 0  # table
    hu[radius < 1] = -105
    hu[radius < 0.93] = 50
    inner = np.hypot(x / 140, y / 90)
    hu[(inner < 1) & (z < 0)] = -105  # fat of the belly
    ribs = (np.hypot(x / 150, y / 98) < 1) & (inner >= 1) & (((z + 0.2 * np.abs(y)) % 26) < 10) & (z > -60)
    hu[ribs] = 420
    lungs = (np.hypot((np.abs(x) - 72) / 52, (y - 10) / 75) < 1) & (z > 0) & (z < 180)
    hu[lungs] = -840 + 40 * np.sin(z[lungs] / 5.0) + 40 * np.cos(x[lungs] / 6.0)
    spine = np.hypot(x / 20, (y - 62) / 16) < 1
    hu[spine] = 260
    hu[np.hypot(x, y - 87) < 14] = 400
    hu[np.hypot(x, y - 87) < 8] = 25
    hu[(np.abs(x) < 5) & (np.abs(y - 108) < 14)] = 380
    hu[kidneys(p)] = 34
    liver = ((x + 60) / 75) ** 2 + (y / 70) ** 2 + ((z + 55) / 60) ** 2 < 1
    hu[liver] = 58
    spleen = ((x - 95) / 32) ** 2 + ((y - 35) / 38) ** 2 + ((z + 40) / 45) ** 2 < 1
    hu[spleen] = 48
    hu[np.hypot(x, y + 100) < 12] = np.where(z[np.hypot(x, y + 100) < 12] > 20, 350, 50)  # sternum
    return hu.astype(np.float32)


def oblique() -> Field:
    a = np.radians(12.0)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1.0]])


ORIENTATIONS: dict[str, Field] = {
    "LPS": np.eye(3),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "feet_first": np.diag([1.0, 1.0, -1.0]),
    "sagittal": np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]]),
    "oblique": oblique(),
}


def ct_of(function: Callable[[Field], npt.NDArray[np.float32]], turn: Field, spacing: float = 5.0) -> Volume:
    """The function sampled on a grid whose axes are the columns of ``turn``; it covers 400 x 300 x 400 mm."""
    extent = np.abs(turn.T @ np.array([400.0, 300.0, 400.0]))
    shape = tuple(int(n) for n in np.ceil(extent / spacing))
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = np.array([0, 0, 40.0]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid((shape[0], shape[1], shape[2]), affine, "frame")
    points = grid.world(np.argwhere(np.ones(shape, dtype=bool))).reshape(*shape, 3)
    return Volume(function(points), grid, Unit.HU, Modality.CT, "CT-1")


def study_of(ct: Volume | None = None, pet: Volume | None = None) -> Study:
    return Study("s", PatientFacts(), Tracer.FDG, (), pet, ct)


def segment(ct: Volume | None = None, pet: Volume | None = None) -> Segmentation:
    return factory(OPTIONS).segment(study_of(ct, pet))


def key_at(answer: Segmentation, point: tuple[float, float, float]) -> str:
    value = int(answer.label_map.at([point])[0])
    return answer.label_map.names[value].key if value else ""


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(5, 4, 9), (9, 7, 6), (6, 6, 6)])
def test_weights_are_applied_along_their_own_axis_whatever_the_memory_order(order: str, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(2)
    values = np.asarray(rng.normal(size=(9, 8, 7)).astype(np.float32), order=order)  # type: ignore[call-overload]
    rows = [np.abs(rng.normal(size=(n, m))).astype(np.float32) for n, m in zip(shape, values.shape, strict=True)]
    expected = np.einsum("ijk,ai,bj,ck->abc", values.astype(float), *rows)
    np.testing.assert_allclose(along_axes(values, rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("orientation", ["RAS", "feet_first", "sagittal", "oblique"])
def test_torso_is_the_same_in_every_orientation(orientation: str) -> None:
    answer = segment(ct_of(torso_hu, ORIENTATIONS[orientation]))
    assert key_at(answer, (75, 10, 90)) == "lung_left"
    assert key_at(answer, (-75, 10, 90)) == "lung_right"
    assert key_at(answer, (-60, 0, -55)) == "liver"
    assert key_at(answer, (95, 35, -40)) == "spleen"
    assert key_at(answer, (0, 62, 60)) == "spine"
    assert key_at(answer, (0, -60, -80)) == "body"
    assert key_at(answer, (0, 135, 0)) == "", "the table is no part of the body"
    assert "ORGANS_COARSE" in {c.code for c in answer.caveats}


def test_volumes_and_names_are_right() -> None:
    answer = segment(ct_of(torso_hu, np.eye(3)))
    label_map = answer.label_map
    ml = {s.key: float((label_map.values == v).sum()) * label_map.grid.voxel_ml for v, s in label_map.names.items()}
    assert ml["lung_left"] == pytest.approx(np.pi * 52 * 75 * 180 / 1000, rel=0.1)
    assert ml["liver"] == pytest.approx(4 / 3 * np.pi * 75 * 70 * 60 / 1000, rel=0.25)
    assert {"rib_left", "rib_right"} <= ml.keys()
    assert not ml.keys() & {"brain", "urinary_bladder", "femur_left", "skull"}, "nothing is drawn that is not in view"


def test_uptake_finds_excreting_kidneys_and_no_kidney_in_a_node() -> None:
    ct, suv = ct_of(torso_hu, np.eye(3)), ct_of(torso_suv, np.eye(3), 6.0)
    pet = Volume(suv.values, suv.grid, Unit.SUVBW, Modality.PT, "PT-1")
    answer = segment(ct, pet)
    assert key_at(answer, (56, 55, -105)) == "kidney_left"
    assert key_at(answer, (-56, 55, -105)) == "kidney_right"
    assert key_at(answer, (0, 30, -110)) == "body"
    cold = Volume(np.full_like(suv.values, 0.5), suv.grid, Unit.SUVBW, Modality.PT, "PT-1")
    assert key_at(segment(ct, cold), (0, 30, -110)) == "body"


def test_kidneys_full_of_contrast_medium_are_no_bone() -> None:
    """Portal phase: kidneys of 230 HU beside ribs and spine, denser than the threshold of bone."""

    def enhanced(p: Field) -> npt.NDArray[np.float32]:
        hu = torso_hu(p)
        grain = 12 * np.sin(p[..., 0] / 5) * np.sin(p[..., 2] / 7)
        hu[kidneys(p)] = (230 + grain[kidneys(p)]).astype(np.float32)
        hu[hu == 58] = 110
        hu[hu == 48] = 120
        return hu

    answer = segment(ct_of(enhanced, np.eye(3)))
    for side in (1, -1):
        assert "rib" not in key_at(answer, (side * 56, 55, -105))
        assert key_at(answer, (side * 56, 55, -105)) not in {"spine", "bone_other", "hip_left", "hip_right"}
    assert key_at(answer, (0, 62, 60)) == "spine"


def test_bone_gives_way_where_the_network_is_sure_of_an_organ_and_not_of_bone() -> None:
    values = np.zeros((len(CLASSES), 20, 16, 24), dtype=np.float32)
    values[CLASSES.index("kidney"), 4:8, 2:6, 10:14] = 0.9
    values[CLASSES.index("bone"), 12:16, 2:6, 10:14] = 0.5
    values[CLASSES.index("kidney"), 12:16, 2:6, 10:14] = 0.5
    bone = believed_bone(np.ones((40, 32, 48), dtype=bool), OrganProbabilities(values, 3.0, (40, 32, 48)))
    assert not bone[11, 7, 23], "a kidney full of contrast medium"
    assert bone[27, 7, 23], "a rib beside the kidney"
    assert bone[0, 0, 0]


def test_lung_is_gained_beside_the_lungs_and_not_in_the_skull() -> None:
    """A soft mass in the lung is lung; the air cells of the temporal bone, which look like lung to the network, are not."""
    values = np.full((len(CLASSES), 20, 16, 28), 0.005, dtype=np.float32)
    values[CLASSES.index("lung"), :, :, :12] = 0.95
    values[CLASSES.index("lung"), 8:12, 6:10, 22:] = 0.95
    shape = (40, 32, 56)
    left, right = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    left[22:36, 4:28, :22] = right[4:18, 4:28, :22] = True
    left[26:32, 10:16, 8:14] = False  # a mass
    chest = Chest(left, right, np.zeros(shape, dtype=bool), None)
    lungs = believed_lungs(
        chest, OrganProbabilities(values, 3.0, shape), np.full(shape, -100.0, np.float32), np.ones(shape, bool)
    )
    assert lungs.left[26:32, 10:16, 8:14].all()
    assert not lungs.lungs[:, :, 40:].any()


@pytest.mark.parametrize(("seen", "kept"), [(0.0, False), (0.3, True), (0.9, True)])
def test_gas_that_is_nothing_like_lung_to_the_network_is_no_lung(seen: float, kept: bool) -> None:
    """Foam round a leg that the field of view cuts has the density of lung."""
    shape = (40, 32, 56)
    left = np.zeros(shape, dtype=bool)
    left[22:36, 4:28, :22] = True
    values = np.full((len(CLASSES), 20, 16, 28), seen, dtype=np.float32)
    chest = Chest(left, np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool), None)
    found = OrganProbabilities(values, 3.0, shape)
    lungs = believed_lungs(chest, found, np.full(shape, -850.0, np.float32), np.ones(shape, bool))
    assert lungs.left[left].all() == lungs.lungs.any() == kept


@pytest.mark.parametrize(("seen", "cut", "kept"), [(0.5, True, True), (0.15, True, False), (0.5, False, False)])
def test_the_tip_of_a_lung_that_the_field_of_view_cuts_is_lung_where_the_network_bears_it_out(
    seen: float, cut: bool, kept: bool
) -> None:
    """25 ml at the upper end: the other lung's size is enough, its own is not; stool in a cut bowel is as dense."""
    shape = (60, 40, 30)
    hu = np.full(shape, 40.0, dtype=np.float32)
    rng = np.random.default_rng(1)
    hu[8:24, 14:34, 15:] = rng.normal(-820, 25, (16, 20, 15))
    top = 30 if cut else 29
    tip = np.zeros(shape, dtype=bool)
    tip[38:50, 20:33, top - 6 : top] = True
    hu[tip] = rng.normal(-820, 25, tip.sum())
    body = np.ones(shape, dtype=bool)
    values = np.full((len(CLASSES), 30, 20, 15), 0.0, dtype=np.float32)
    values[CLASSES.index("lung"), :14] = 0.9
    values[CLASSES.index("lung"), 14:] = seen
    chest = believed_lungs(find_chest(hu, body, 3.0), OrganProbabilities(values, 3.0, shape), hu, body)
    assert chest.right[10:20, 16:30, 18:].all(), "the large lung stays"
    assert chest.left[41:47, 23:30, top - 5 : top - 1].all() == chest.left.any() == kept


@pytest.mark.parametrize("name", ["LPS", "feet_first", "oblique"])
def test_the_mediastinum_lies_between_the_lungs_and_neither_before_nor_below_them(name: str) -> None:
    answer = segment(ct_of(torso_hu, ORIENTATIONS[name]))
    assert key_at(answer, (0, 10, 155)) == "mediastinum"
    for elsewhere in ((0, -80, 155), (0, 10, -30), (72, 10, 100), (0, 62, 155)):
        assert key_at(answer, elsewhere) != "mediastinum"


def test_a_mirrored_volume_is_doubted() -> None:
    ct = ct_of(torso_hu, np.eye(3))
    flipped = Volume(np.ascontiguousarray(ct.values[::-1]), ct.grid, ct.unit, ct.modality, ct.series)
    assert "VOLUME_MIRRORED" in {c.code for c in segment(flipped).caveats}
    assert "VOLUME_MIRRORED" not in {c.code for c in segment(ct).caveats}


def water(p: Field) -> npt.NDArray[np.float32]:
    return np.where(np.hypot(p[..., 0], p[..., 1]) < 100, 0, -1000).astype(np.float32)


def thigh(p: Field) -> npt.NDArray[np.float32]:
    r = np.hypot(p[..., 0], p[..., 1])
    return np.select([r < 8, r < 14, r < 75, r < 90], [-60, 900, 55, -105], -1000).astype(np.float32)


def air(p: Field) -> npt.NDArray[np.float32]:
    return np.full(p.shape[:-1], -1000, dtype=np.float32)


def head(p: Field) -> npt.NDArray[np.float32]:
    """A skull of 8 mm round a brain, skin outside; nothing below."""
    r = np.linalg.norm(p / np.array([1.0, 1.2, 1.1]), axis=-1)
    hu = np.select([r < 64, r < 66, r < 74, r < 80], [36.0, 10.0, 900.0, -60.0], -1000.0)
    texture = 6 * np.sin(p[..., 0] / 7) * np.sin(p[..., 1] / 9)
    return np.asarray(hu + np.where(r < 64, texture, 0), dtype=np.float32)


def test_a_head_alone_has_a_brain_and_no_organ_of_the_trunk() -> None:
    keys = {s.key for s in segment(ct_of(head, np.eye(3), 5.0)).label_map.names.values()}
    trunk = {"liver", "spleen", "kidney_left", "kidney_right", "heart", "stomach", "bowel", "urinary_bladder", "prostate"}
    assert not keys & trunk
    assert "brain" in keys


def test_nothing_of_the_belly_above_lungs_that_go_on_below_the_field_of_view() -> None:
    ct = ct_of(torso_hu, np.eye(3), 5.0)
    bottom = round(float(ct.grid.index(np.array([[0.0, 0.0, 60.0]]))[0, 2]))
    affine = ct.grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * bottom
    values = np.ascontiguousarray(ct.values[:, :, bottom:])
    shape = (values.shape[0], values.shape[1], values.shape[2])
    answer = segment(Volume(values, Grid(shape, affine, "frame"), Unit.HU, Modality.CT, "CT-1"))
    keys = {s.key for s in answer.label_map.names.values()}
    assert {"lung_left", "lung_right"} <= keys
    assert not keys & {"liver", "spleen", "kidney_left", "kidney_right", "stomach", "bowel", "urinary_bladder"}


def test_the_network_is_the_one_that_was_measured() -> None:
    content = resources.files("lesion_pipeline.plugins.builtin_organs").joinpath("organs.onnx").read_bytes()
    assert len(content) < 8e6
    load(content)
    with pytest.raises(PluginFailedError) as refused:
        load(content[:-1] + bytes([content[-1] ^ 1]))
    assert refused.value.code == "MODEL_ALTERED"


def test_the_same_ct_gives_the_same_bytes() -> None:
    ct = ct_of(torso_hu, np.eye(3), 6.0)
    first, second = segment(ct), segment(ct)
    assert first.label_map.values.tobytes() == second.label_map.values.tobytes()


def test_probabilities_lie_where_the_voxels_lie() -> None:
    """A block in one corner stays there when the 6 mm answer is asked on the 3 mm lattice."""
    values = np.zeros((len(CLASSES), 20, 16, 24), dtype=np.float32)
    values[CLASSES.index("liver"), 4:8, 2:6, 10:14] = 1.0
    fine = OrganProbabilities(values, 3.0, (40, 32, 48)).fine("liver")
    seen = np.argwhere(fine > 0.5)
    np.testing.assert_array_equal(seen.min(axis=0), [8, 4, 20])
    np.testing.assert_array_equal(seen.max(axis=0), [15, 11, 27])


@pytest.mark.parametrize("nobody", [water, air])
def test_no_patient_no_structures(nobody: Callable[[Field], npt.NDArray[np.float32]]) -> None:
    answer = segment(ct_of(nobody, np.eye(3), 6.0))
    assert not answer.label_map.values.any()
    assert {c.code for c in answer.caveats} == {"NO_BODY"}


def test_thigh_has_no_organs() -> None:
    answer = segment(ct_of(thigh, np.eye(3), 5.0))
    keys = {s.key for s in answer.label_map.names.values()}
    assert keys == {"body", "bone_other"}
    assert {"NO_LUNGS", "NO_SOFT_ORGANS", "NO_TRUNK"} <= {c.code for c in answer.caveats}


def test_pet_alone_gives_the_outline_and_says_so() -> None:
    def uptake(p: Field) -> npt.NDArray[np.float32]:
        return np.where(np.hypot(p[..., 0] / 150, p[..., 1] / 100) < 1, 0.8, 0.01).astype(np.float32)

    pet = ct_of(uptake, np.eye(3), 6.0)
    pet = Volume(pet.values, pet.grid, Unit.SUVBW, Modality.PT, "PT-1")
    answer = segment(pet=pet)
    assert [c.code for c in answer.caveats] == ["NO_CT"]
    assert key_at(answer, (0, 0, 0)) == "body"
    assert key_at(answer, (180, 0, 0)) == ""


def test_no_image_at_all() -> None:
    assert [c.code for c in segment().caveats] == ["NO_BODY"]


@pytest.mark.realdata
def test_real_ct_against_labels(real_data: Callable[[str], Path]) -> None:
    """Silver labels of a real CT (T11 to pelvis); bounds lie two to three hundredths under what is measured."""
    folder = real_data("ct_labelled")
    ct = read_volume(folder / "example_ct.nii.gz", Unit.HU, Modality.CT, "frame")
    reference = read_volume(folder / "example_seg_fast_force_split.nii.gz", Unit.ARBITRARY, Modality.OTHER, "frame")
    label_map = factory({**OPTIONS, "lattice_mm": 3.0}).segment(study_of(ct)).label_map
    points = reference.grid.world(np.argwhere(np.ones(reference.grid.shape, dtype=bool)))
    found = label_map.at(points).reshape(reference.grid.shape)

    def dice(ids: list[int], keys: set[str]) -> float:
        a = np.isin(reference.values, ids)
        b = np.isin(found, [v for v, s in label_map.names.items() if s.key in keys])
        return float(2 * (a & b).sum() / (a.sum() + b.sum()))

    bones = {s.key for s in label_map.names.values() if s.kind.value == "bone"}
    assert dice([5], {"liver"}) > 0.86
    assert dice([1], {"spleen"}) > 0.88
    assert dice([2, 3], {"kidney_left", "kidney_right"}) > 0.78
    assert dice([21], {"urinary_bladder"}) > 0.77
    assert dice([10, 11, 12, 13, 14], {"lung_left", "lung_right"}) > 0.77
    assert dice([*range(25, 51), *range(69, 79), *range(91, 118)], bones) > 0.75


def test_the_networks_runtime_calls_nobody_and_leaves_no_id(tmp_path: Path) -> None:
    """onnxruntime 1.29 and later would write a session id beside its report; a CI server would keep it quiet by itself."""
    quiet = {k: v for k, v in os.environ.items() if k not in {"CI", "GITHUB_ACTIONS", "ORT_DISABLE_TELEMETRY", "TF_BUILD"}}
    code = "from lesion_pipeline.plugins.builtin_organs.network import load; load()"
    homes = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env={**quiet, **homes})
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("lung_from", "filled"), [(22, [20]), (23, []), (20, [])], ids=["6 mm", "9 mm", "touching"])
def test_an_organ_reaches_the_lung_over_a_gap_of_a_diaphragm_and_no_farther(
    axis: int, lung_from: int, filled: list[int]
) -> None:
    along = np.arange(40).reshape([-1 if a == axis else 1 for a in range(3)])
    organ = np.broadcast_to((along >= 8) & (along < 20), (40, 40, 40))
    lungs = np.broadcast_to(along >= lung_from, (40, 40, 40))
    free = ~organ & ~lungs
    out = up_to_the_lungs(free, organ, lungs, 3.0)
    added = sorted(set(np.argwhere(out & ~organ)[:, axis].tolist()))
    assert added == filled
    assert not (organ & ~out).any()
    assert (up_to_the_lungs(np.zeros_like(free), organ, lungs, 3.0) == organ).all()
