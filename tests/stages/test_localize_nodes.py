"""Foci where lymph nodes lie: between lungs, beside the bowel's coarse map, above a lung; and foci of the organs themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Candidate, Measures
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.stages import localize

Box = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
MEDIASTINUM = Structure("mediastinum", StructureKind.REGION)
LUNG_LEFT = Structure("lung_left", StructureKind.ORGAN, Organ.LUNG)
LUNG_RIGHT = Structure("lung_right", StructureKind.ORGAN, Organ.LUNG)
HEART = Structure("heart", StructureKind.ORGAN, Organ.HEART)
BOWEL = Structure("bowel", StructureKind.ORGAN, Organ.GI)
L3 = Structure("vertebra_L3", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel.L3, 1)
CLAVICLE = Structure("clavicle_left", StructureKind.BONE, Organ.BONE)
_SIZE = 80


def organs(
    centre: Sequence[float],
    drawn: Sequence[tuple[Structure, Box]],
    flip: bool,
    preset: str = "fdg-petct",
    volume_ml: float = 1.4,
) -> dict[Organ, float]:
    """Where a ball of 14 mm round a point (LPS mm) of a map of 160 mm width lies; x of the map runs either way."""
    axis = np.arange(_SIZE) * 2.0
    affine = np.diag([-2.0 if flip else 2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = axis[-1] if flip else 0.0
    values = np.zeros((_SIZE,) * 3, dtype=np.uint16)
    for n, (_, box) in enumerate(drawn, start=1):
        inside = np.ones(values.shape, dtype=bool)
        for d, (low, high) in enumerate(box):
            place = axis[::-1] if flip and d == 0 else axis
            inside &= ((place >= low) & (place < high)).reshape([-1 if e == d else 1 for e in range(3)])
        values[inside] = n
    named = NamedMap("a", LabelMap(values, Grid(values.shape, affine, "f"), {n: s for n, (s, _) in enumerate(drawn, start=1)}))
    grid = Grid((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]), "f")
    everywhere = np.argwhere(np.ones(grid.shape)).astype(np.int32)
    apart: npt.NDArray[np.float64] = np.linalg.norm(grid.world(everywhere) - np.array(centre), axis=1)
    pet = Volume(np.ones(grid.shape, dtype=np.float32), grid, Unit.SUVBW, Modality.PT, "p")
    candidate = Candidate("C1", everywhere[apart <= 7.0], grid, Modality.PT, "test", Measures(volume_ml=volume_ml))
    study = Study("s", PatientFacts(), Tracer.FDG, (), pet, None)
    (located,) = localize.run([candidate], study, Anatomy((named,)), config.load(preset).settings.localize)
    return dict(located.site.organ_probabilities)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("x", "first"), [(80.0, Organ.LYMPH_NODE), (70.0, Organ.LYMPH_NODE), (44.0, Organ.LUNG), (120.0, Organ.LUNG)]
)
def test_a_focus_of_the_narrow_mediastinum_is_a_node_and_one_of_the_lung_is_not(x: float, first: Organ, flip: bool) -> None:
    chest: list[tuple[Structure, Box]] = [
        (LUNG_RIGHT, ((10, 68), (20, 140), (20, 140))),
        (LUNG_LEFT, ((92, 150), (20, 140), (20, 140))),
        (MEDIASTINUM, ((68, 92), (20, 140), (20, 140))),
    ]
    found = organs((x, 80.0, 80.0), chest, flip)
    assert max(found, key=lambda o: found[o]) is first
    assert found[first] >= 0.5


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("held", [MEDIASTINUM, HEART], ids=["mediastinum", "heart"])
@pytest.mark.parametrize(("lung_from", "first"), [(92.0, Organ.LUNG), (116.0, None)])
def test_what_has_lung_on_most_of_its_sides_is_of_the_lung(
    held: Structure, lung_from: float, first: Organ | None, flip: bool
) -> None:
    """A soft lesion is a hole in the map of its lung, which the mediastinum or the heart fills."""
    chest: list[tuple[Structure, Box]] = [
        (LUNG_RIGHT, ((10, 68), (20, 140), (20, 140))),
        (held, ((68, lung_from), (20, 140), (20, 140))),
        (LUNG_LEFT, ((lung_from, 150), (20, 140), (20, 140))),
        (held, ((104, 120), (72, 88), (72, 88))),
    ]
    large = organs((112.0, 80.0, 80.0), chest, flip, volume_ml=40.0)
    found = organs((112.0, 80.0, 80.0), chest, flip)
    own = Organ.HEART if held is HEART else Organ.LYMPH_NODE
    assert max(found, key=lambda o: found[o]) is (first or own)
    assert found[Organ.LUNG if first else own] >= 0.5
    assert max(large, key=lambda o: large[o]) is own  # too large to be judged by a sphere round it


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("names_nodes", "first"), [(False, Organ.LYMPH_NODE), (True, Organ.LUNG)])
def test_a_node_that_the_map_of_the_lung_takes_in_stays_a_node(names_nodes: bool, first: Organ, flip: bool) -> None:
    """A voxel of margin gives the larger part of a node above the collar bone to the lung, which lies on one side of it."""
    chest: list[tuple[Structure, Box]] = [
        (LUNG_LEFT, ((20, 140), (20, 140), (10, 72))),
        (CLAVICLE, ((20, 140), (40, 52), (96, 108))),
    ]
    if names_nodes:
        chest.append((Structure("lymph_node", StructureKind.ORGAN, Organ.LYMPH_NODE), ((20, 30), (20, 30), (20, 30))))
    found = organs((80.0, 80.0, 76.0), chest, flip)
    assert max(found, key=lambda o: found[o]) is first, found


@pytest.mark.parametrize("flip", [False, True])
def test_a_focus_above_the_lung_that_touches_it_is_no_lung_lesion(flip: bool) -> None:
    """A supraclavicular node: a voxel of margin reaches the lung, its own voxels do not."""
    drawn: list[tuple[Structure, Box]] = [
        (LUNG_LEFT, ((20, 140), (20, 140), (10, 72))),
        (CLAVICLE, ((20, 140), (40, 52), (96, 108))),
    ]
    found = organs((80.0, 80.0, 79.0), drawn, flip)
    assert max(found, key=lambda o: found[o]) is Organ.LYMPH_NODE
    assert 0 < found.get(Organ.LUNG, 0.0) < 0.3


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("preset", "y", "edge", "first"),
    [
        ("fdg-petct", 80.0, 80.0, Organ.LYMPH_NODE),
        ("fdg-petct", 80.0, 96.0, Organ.GI),
        ("fdg-petct", 30.0, 30.0, Organ.GI),
        ("dotatate-petct", 80.0, 80.0, Organ.GI),
    ],
    ids=["before the spine", "deep in the bowel", "in front", "neuroendocrine"],
)
def test_the_edge_of_the_bowel_before_the_spine_may_hold_a_node(
    preset: str, y: float, edge: float, first: Organ, flip: bool
) -> None:
    """The bowel's map is coarse there, and nodes are far likelier to hold a metastasis; other bowel is bowel."""
    belly: list[tuple[Structure, Box]] = [
        (BOWEL, ((20, 140), (10, edge), (20, 140))),
        (L3, ((60, 100), (104, 144), (60, 100))),
    ]
    found = organs((80.0, y, 80.0), belly, flip, preset)
    assert max(found, key=lambda o: found[o]) is first
    assert found[Organ.GI] > 0.25


@pytest.mark.parametrize(("y", "node"), [(90.0, True), (150.0, False)])
def test_a_node_lies_before_the_spine_and_not_in_the_muscles_behind_it(y: float, node: bool) -> None:
    spine: list[tuple[Structure, Box]] = [(L3, ((60, 100), (104, 134), (60, 100)))]
    found = organs((100.0, y, 80.0), spine, flip=False)
    assert (found[Organ.LYMPH_NODE] > found[Organ.SOFT_TISSUE]) == node
