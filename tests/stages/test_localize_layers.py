"""Two layers of an anatomy that name one place otherwise: the earlier is believed, and less surely."""

from __future__ import annotations

import numpy as np
import pytest

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Candidate, Measures, Site
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.stages import localize

LIVER = Structure("liver", StructureKind.ORGAN, Organ.LIVER)
KIDNEY = Structure("kidney_right", StructureKind.ORGAN, Organ.KIDNEY)
L1 = Structure("vertebra_L1", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel.L1, 1)


def layer(source: str, structure: Structure, share: float, flip: bool) -> NamedMap:
    """A map of 2 mm voxels that names ``share`` of the lesion (from its foot up), x running either way."""
    affine = np.diag([-2.0 if flip else 2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = 78.0 if flip else 0.0
    values = np.zeros((40, 40, 40), dtype=np.uint16)
    values[:, :, : round(15 + 10 * share)] = 1
    return NamedMap(source, LabelMap(values, Grid((40, 40, 40), affine, "f"), {1: structure}))


def site(*layers: NamedMap, vertebrae: tuple[VertebraInstance, ...] = ()) -> Site:
    grid = Grid((20, 20, 20), np.diag([4.0, 4.0, 4.0, 1.0]), "f")
    pet = Volume(np.ones(grid.shape, dtype=np.float32), grid, Unit.SUVBW, Modality.PT, "p")
    voxels = np.argwhere(np.ones((5, 5, 5))).astype(np.int32) + 8
    candidate = Candidate("C1", voxels, grid, Modality.PT, "test", Measures(volume_ml=8.0))
    study = Study("s", PatientFacts(), Tracer.FDG, (), pet, None)
    (located,) = localize.run([candidate], study, Anatomy(layers, vertebrae), config.load().settings.localize)
    return located.site


@pytest.mark.parametrize("flip", [False, True])
def test_the_second_layers_organ_takes_a_part(flip: bool) -> None:
    found = site(layer("a", LIVER, 2.0, flip), layer("b", KIDNEY, 2.0, not flip))
    assert dict(found.organ_probabilities) == {Organ.LIVER: pytest.approx(0.7), Organ.KIDNEY: pytest.approx(0.3)}
    assert found.doubts == ("ORGAN_LAYERS_DISAGREE",)
    turned = site(layer("b", KIDNEY, 2.0, flip), layer("a", LIVER, 2.0, flip))
    assert dict(turned.organ_probabilities) == {Organ.KIDNEY: pytest.approx(0.7), Organ.LIVER: pytest.approx(0.3)}, (
        "precedence is the order of the layers"
    )


def test_layers_that_agree_or_say_nothing_leave_no_doubt() -> None:
    assert site(layer("a", LIVER, 2.0, False), layer("b", LIVER, 2.0, False)).organ_probabilities == ((Organ.LIVER, 1.0),)
    few = site(layer("a", LIVER, 2.0, False), layer("b", KIDNEY, 0.3, False))
    assert (few.organ_probabilities, few.doubts) == (((Organ.LIVER, 1.0),), ())


def test_a_level_that_layers_name_otherwise_keeps_its_halved_confidence() -> None:
    doubted = VertebraInstance(
        1, VertebralLevel.L1, 0.45, (40.0, 40.0, 40.0), ((VertebralLevel.L1, 0.45), (VertebralLevel.L2, 0.45))
    )
    (vertebra,) = site(layer("a", L1, 2.0, False), vertebrae=(doubted,)).vertebrae
    assert (vertebra.level, vertebra.confidence) == (VertebralLevel.L1, 0.45)
