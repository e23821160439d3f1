"""The stage asks, checks, blames and orders; fakes play the segmenters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import (
    Organ,
    Segmentation,
    Structure,
    StructureKind,
    VertebraInstance,
    VertebralLevel,
)
from lesion_pipeline.domain.errors import InputError, PluginContractError, PluginFailedError, PluginNotFoundError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.stages import delineate

OPTIONS = delineate.Options(when_unavailable="go_on", same_vertebra_mm=12.0, same_vertebra_across_mm=40.0)
LIVER = Structure("liver", StructureKind.ORGAN, Organ.LIVER)


def grid(frame: str = "f", shift: float = 0.0) -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = shift
    return Grid((4, 4, 4), affine, frame)


def study(ct: bool = True) -> Study:
    values = np.zeros((4, 4, 4), dtype=np.float32)
    image = Volume(values, grid(), Unit.HU, Modality.CT, "CT-1") if ct else None
    pet = Volume(values, grid(), Unit.SUVBW, Modality.PT, "PT-1")
    return Study("s", PatientFacts(), Tracer.FDG, (), pet, image)


def segmentation(
    where: Grid | None = None, names: dict[int, Structure] | None = None, vertebrae: tuple[VertebraInstance, ...] = ()
) -> Segmentation:
    where = where or grid()
    return Segmentation(LabelMap(np.ones(where.shape, dtype=np.uint16), where, names or {1: LIVER}), vertebrae)


@dataclass
class Fake:
    answer: Callable[[], Any]
    name: str = "fake"
    version: str = "0"
    needs: frozenset[Modality] = field(default_factory=lambda: frozenset({Modality.CT}))

    def segment(self, study: Study) -> Segmentation:
        del study
        return self.answer()  # type: ignore[no-any-return]  # some fakes answer nonsense on purpose


def vertebra(instance: int, level: VertebralLevel | None, z: float, confidence: float = 0.9) -> VertebraInstance:
    return VertebraInstance(instance, level, confidence, (0.0, 0.0, z), ambiguous=level is None)


def test_order_is_precedence() -> None:
    first, second = (
        Fake(segmentation, "a"),
        Fake(lambda: segmentation(names={1: Structure("spleen", StructureKind.ORGAN)}), "b"),
    )
    anatomy = delineate.run(study(), [first, second], OPTIONS)
    assert [m.source for m in anatomy.maps] == ["a", "b"]
    assert anatomy.find("liver") is not None
    assert anatomy.caveats == ()


def test_a_segmenter_without_its_image_is_skipped_and_named() -> None:
    anatomy = delineate.run(study(ct=False), [Fake(segmentation)], OPTIONS)
    assert anatomy.maps == ()
    assert [c.code for c in anatomy.caveats] == ["SEGMENTER_SKIPPED", "NO_ANATOMY"]
    assert "fake" in anatomy.caveats[0].message
    assert "CT" in anatomy.caveats[0].message


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: None, "NoneType"),
        (lambda: segmentation(grid("elsewhere")), "frame of reference"),
        (lambda: segmentation(grid(shift=500.0)), "beside every image"),
        (lambda: segmentation(names={1: LIVER, 2: LIVER}), "two labels"),
        (lambda: segmentation(names={1: Structure("Liver!", StructureKind.ORGAN)}), "lower_snake_case"),
        (
            lambda: segmentation(vertebrae=(vertebra(1, VertebralLevel.L1, 0), vertebra(1, VertebralLevel.L2, -30))),
            "same instance",
        ),
        (lambda: segmentation(vertebrae=(vertebra(1, VertebralLevel.L1, 0, confidence=1.5),)), "out of range"),
        (
            lambda: segmentation(names={1: Structure("vertebra_l1", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel.L1, 7)}),
            "does not list",
        ),
    ],
)
def test_a_broken_answer_is_blamed_by_name(answer: Callable[[], Any], says: str) -> None:
    with pytest.raises(PluginContractError, match=says) as caught:
        delineate.run(study(), [Fake(answer, "culprit")], OPTIONS)
    assert caught.value.code == "BAD_SEGMENTATION"
    assert "culprit" in caught.value.message


def _raise(error: Exception) -> Callable[[], Segmentation]:
    def answer() -> Segmentation:
        raise error

    return answer


def test_a_crash_is_a_plugin_failure_and_a_refusal_passes() -> None:
    with pytest.raises(PluginFailedError, match="ZeroDivisionError"):
        delineate.run(study(), [Fake(_raise(ZeroDivisionError()))], OPTIONS)
    with pytest.raises(InputError, match="NO_CT"):
        delineate.run(study(), [Fake(_raise(InputError("NO_CT", "no CT")))], OPTIONS)


def test_missing_weights_stop_the_study_or_not() -> None:
    absent = Fake(_raise(PluginNotFoundError("WEIGHTS_ABSENT", "the weights are not there", advice="Install them.")))
    anatomy = delineate.run(study(), [absent, Fake(segmentation, "built-in")], OPTIONS)
    assert [c.code for c in anatomy.caveats] == ["SEGMENTER_UNAVAILABLE"]
    assert "Install them." in anatomy.caveats[0].message
    with pytest.raises(PluginNotFoundError):
        delineate.run(study(), [absent], OPTIONS.model_copy(update={"when_unavailable": "refuse"}))


def test_disagreeing_names_halve_the_confidence() -> None:
    first = (vertebra(1, VertebralLevel.T12, 30.0), vertebra(2, VertebralLevel.L1, 0.0))
    second = (vertebra(1, VertebralLevel.T12, 31.0), vertebra(2, VertebralLevel.L2, 2.0))
    fakes = [Fake(lambda: segmentation(vertebrae=first), "a"), Fake(lambda: segmentation(vertebrae=second), "b")]
    anatomy = delineate.run(study(), fakes, OPTIONS)
    assert [v.confidence for v in anatomy.vertebrae] == [0.9, 0.45]
    assert anatomy.vertebrae[1].alternatives == ((VertebralLevel.L1, 0.45), (VertebralLevel.L2, 0.45))
    assert [c.code for c in anatomy.caveats] == ["VERTEBRA_NAMES_DISAGREE"]


def test_the_first_that_names_vertebrae_is_believed_even_if_it_comes_second() -> None:
    named = Fake(lambda: segmentation(vertebrae=(vertebra(1, VertebralLevel.L1, 0.0),)), "b")
    anatomy = delineate.run(study(), [Fake(segmentation, "a"), named], OPTIONS)
    assert [v.level for v in anatomy.vertebrae] == [VertebralLevel.L1]


def numbered(names: tuple[VertebralLevel, ...], zs: tuple[float, ...], y: float = 0.0) -> Segmentation:
    """A map whose voxel n holds vertebra n, and its list; centres at (0, y, z)."""
    values = np.zeros((4, 4, 4), dtype=np.uint16)
    values.reshape(-1)[: len(names)] = np.arange(1, len(names) + 1)
    structures = {
        n: Structure(f"vertebra_{level.name}", StructureKind.VERTEBRA, Organ.BONE, level, n) for n, level in enumerate(names, 1)
    }
    found = tuple(
        VertebraInstance(n, level, 0.9, (0.0, y, z)) for n, (level, z) in enumerate(zip(names, zs, strict=True), start=1)
    )
    return Segmentation(LabelMap(values, grid(), structures), found)


def test_a_vertebra_has_one_number_in_every_layer() -> None:
    """The second tool gives the centre of body and arch, 20 mm behind, and sees one vertebra more above."""
    level = VertebralLevel
    first = numbered((level.T12, level.L1), (30.0, 0.0))
    second = numbered((level.T11, level.T12, level.L1), (55.0, 31.0, 2.0), y=20.0)
    anatomy = delineate.run(study(), [Fake(lambda: first, "a"), Fake(lambda: second, "b")], OPTIONS)
    assert [(v.instance, v.level) for v in anatomy.vertebrae] == [(1, level.T11), (2, level.T12), (3, level.L1)]
    assert anatomy.vertebrae[1].centroid_lps_mm == (0.0, 0.0, 30.0)
    for layer in anatomy.maps:
        assert {s.level: s.instance for s in layer.label_map.names.values()} == {
            v.level: v.instance for v in anatomy.vertebrae if layer.source == "b" or v.level is not level.T11
        }
    assert anatomy.caveats == ()


def test_layers_that_name_a_vertebra_otherwise_share_its_number() -> None:
    level = VertebralLevel
    first, second = numbered((level.T12, level.L1), (30.0, 0.0)), numbered((level.L1, level.L2), (30.0, 0.0))
    anatomy = delineate.run(study(), [Fake(lambda: first, "a"), Fake(lambda: second, "b")], OPTIONS)
    assert [(v.instance, v.level, v.confidence) for v in anatomy.vertebrae] == [(1, level.T12, 0.45), (2, level.L1, 0.45)]
    assert [s.instance for s in anatomy.maps[1].label_map.names.values()] == [1, 2]
    assert "T12/L1, L1/L2" in anatomy.caveats[0].message


def test_vertebrae_from_one_and_organs_from_another() -> None:
    spine = numbered((VertebralLevel.L1, VertebralLevel.L2), (30.0, 0.0))
    anatomy = delineate.run(study(), [Fake(lambda: spine, "spine"), Fake(segmentation, "organs")], OPTIONS)
    assert [m.source for m in anatomy.maps] == ["spine", "organs"]
    assert [v.level for v in anatomy.vertebrae] == [VertebralLevel.L1, VertebralLevel.L2]
    assert anatomy.find("liver") is not None
