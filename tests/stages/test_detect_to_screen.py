"""From a toy PET and a toy anatomy to decisions: the same values the pipeline passes on, small enough to know by heart."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.errors import PluginContractError, PluginFailedError
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.lesion import Candidate, Decision, Measures, Screened
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.plugins.threshold_detector import ThresholdDetector, factory
from lesion_pipeline.stages import detect, localize, match, screen

ROOT = Path(__file__).resolve().parents[2]
PRESET: dict[str, Any] = tomllib.loads((ROOT / "configs" / "fdg-petct.toml").read_text(encoding="utf-8"))
SPACING = 4.0
SHAPE = (60, 50, 100)  # 240 x 200 x 400 mm, origin at the right, front, foot corner
Spot = tuple[tuple[float, float, float], float, float]  # centre (mm), radius (mm), SUV

BONE, SOFT = StructureKind.BONE, StructureKind.ORGAN
LUMBAR = {"L1": 300.0, "L2": 265.0, "L3": 230.0, "L4": 195.0, "L5": 160.0}


def _grid(frame: str = "pet") -> Grid:
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    return Grid(SHAPE, affine, frame)


def _ball(centre: Sequence[float], radius: float) -> npt.NDArray[np.bool_]:
    axes = np.meshgrid(*[np.arange(n) * SPACING for n in SHAPE], indexing="ij")
    return np.asarray(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) <= radius**2)


def _pet(spots: Sequence[Spot], background: float = 1.0) -> Volume:
    values = np.zeros(SHAPE, dtype=np.float32)
    values[3:-3, 3:-3, :] = background
    for centre, radius, suv in spots:
        values[_ball(centre, radius)] = suv
    return Volume(values, _grid(), Unit.SUVBW, Modality.PT, "PT-00000001")


def _anatomy(frame: str = "pet") -> Anatomy:
    """Body, liver on the right, kidneys, bladder, five lumbar vertebrae with a canal behind them."""
    values = np.zeros(SHAPE, dtype=np.uint16)
    values[3:-3, 3:-3, :] = 1
    names = {1: Structure("body", StructureKind.REGION)}

    def draw(label: int, mask: npt.NDArray[np.bool_], structure: Structure) -> None:
        values[mask] = label
        names[label] = structure

    draw(2, _ball((60, 90, 340), 45), Structure("liver", SOFT, Organ.LIVER))
    draw(3, _ball((65, 130, 280), 24), Structure("kidney_right", SOFT, Organ.KIDNEY))
    draw(4, _ball((175, 130, 285), 24), Structure("kidney_left", SOFT, Organ.KIDNEY))
    draw(5, _ball((120, 80, 50), 28), Structure("urinary_bladder", SOFT, Organ.BLADDER))
    draw(6, np.zeros(SHAPE, dtype=bool), Structure("spinal_canal", StructureKind.REGION))
    values[28:33, 39:42, :] = 6
    for n, (level, z) in enumerate(LUMBAR.items()):
        body = np.zeros(SHAPE, dtype=bool)
        body[25:36, 30:39, int((z - 14) / SPACING) : int((z + 14) / SPACING)] = True
        name = VertebralLevel[level]
        draw(10 + n, body, Structure(f"vertebra_{level}", StructureKind.VERTEBRA, Organ.BONE, name, n + 1))
    vertebrae = tuple(
        VertebraInstance(n + 1, VertebralLevel[level], 0.9, (122.0, 138.0, z)) for n, (level, z) in enumerate(LUMBAR.items())
    )
    return Anatomy((NamedMap("toy", LabelMap(values, _grid(frame), names)),), vertebrae)


def _study(pet: Volume, tracer: Tracer = Tracer.FDG, frames: Frames | None = None) -> Study:
    return Study("toy", PatientFacts(), tracer, (), pet, None, frames=frames or Frames())


def _run(study: Study, anatomy: Anatomy) -> tuple[Screened, ...]:
    detector = factory(PRESET["plugins"]["tracer_threshold"])
    candidates = detect.run(study, anatomy, [detector], detect.Options(**PRESET["detect"]))
    located = localize.run(candidates, study, anatomy, localize.Options(**PRESET["localize"]))
    findings = match.run(located, study, anatomy, match.Options(**PRESET["match"]))
    return screen.run(findings, study, anatomy, screen.Options(**PRESET["screen"]))


def _at(found: Sequence[Screened], centre: Sequence[float], within: float = 8.0) -> Screened:
    near = [
        s for s in found
        if np.linalg.norm(np.subtract(s.finding.located.candidate.centroid_lps_mm, centre)) <= within
    ]  # fmt: skip
    assert len(near) == 1, f"{len(near)} findings at {centre}"
    return near[0]


def _codes(screened: Screened) -> set[str]:
    return {r.code for r in screened.reasons}


L3, L4 = (122.0, 138.0, 229.0), (122.0, 138.0, 194.0)


def test_a_vertebral_metastasis_is_counted_in_its_vertebra() -> None:
    found = _run(_study(_pet([(L3, 10, 8.0)])), _anatomy())
    lesion = _at(found, L3)
    assert lesion.decision is Decision.COUNTED
    site = lesion.finding.located.site
    assert site.organ is Organ.BONE
    assert site.level is VertebralLevel.L3
    assert site.spinal is True
    assert [v.instance for v in site.vertebrae if v.involved] == [3]
    assert site.vertebrae[0].part == "body"


def test_ordinary_organs_are_excluded_with_a_reason_and_kept() -> None:
    spots: list[Spot] = [((65, 130, 280), 20, 12.0), ((175, 130, 285), 20, 9.0), ((120, 80, 50), 24, 25.0)]
    found = _run(_study(_pet(spots)), _anatomy())
    for centre, code, organ in (
        (spots[0][0], "ORGAN_KIDNEY", Organ.KIDNEY),
        (spots[1][0], "ORGAN_KIDNEY", Organ.KIDNEY),
        (spots[2][0], "ORGAN_URINARY_BLADDER", Organ.BLADDER),
    ):
        one = _at(found, centre)
        assert one.decision is Decision.EXCLUDED
        assert code in _codes(one)
        assert one.finding.located.site.organ is organ


def test_a_hot_nodule_in_the_liver_survives_its_mask() -> None:
    node = (50.0, 90.0, 330.0)
    liver: Spot = ((60, 90, 340), 44, 2.0)
    found = _run(_study(_pet([liver, (node, 9, 9.0)])), _anatomy())
    lesion = _at(found, node)
    assert lesion.decision is Decision.COUNTED
    assert lesion.finding.located.site.organ is Organ.LIVER
    assert "ORGAN_LIVER_FOCUS" in _codes(lesion)


def test_a_node_beside_the_bladder_survives_it() -> None:
    node = (164.0, 80.0, 50.0)
    found = _run(_study(_pet([((120, 80, 50), 24, 25.0), (node, 8, 9.0)])), _anatomy())
    assert _at(found, node).decision is not Decision.EXCLUDED
    assert _at(found, (120, 80, 50)).decision is Decision.EXCLUDED


def test_confluent_uptake_of_two_vertebrae_is_one_lesion_with_both_named() -> None:
    bridge = [(122.0, 138.0, z) for z in (205.0, 212.0, 219.0)]
    found = _run(_study(_pet([(L3, 11, 8.0), (L4, 11, 8.0), *((b, 8, 6.5) for b in bridge)])), _anatomy())
    bone = [s for s in found if s.finding.located.site.organ is Organ.BONE]
    assert len(bone) == 1
    assert [v.instance for v in bone[0].finding.located.site.vertebrae if v.involved] == [3, 4]


def test_two_vertebrae_with_a_clear_valley_are_two_lesions() -> None:
    found = _run(_study(_pet([(L3, 10, 8.0), (L4, 10, 8.0)])), _anatomy())
    assert _at(found, L3).decision is Decision.COUNTED
    assert _at(found, L4).decision is Decision.COUNTED


def test_faint_uptake_along_the_cord_is_called_the_cord() -> None:
    values = _pet([]).values.copy()
    values[29:31, 40:41, 70:78] = 3.2  # behind L1, 300 mm up
    found = _run(_study(Volume(values, _grid(), Unit.SUVBW, Modality.PT, "PT-00000001")), _anatomy())
    (cord,) = found
    assert "R4_SPINAL_CORD" in _codes(cord)
    assert cord.decision is not Decision.COUNTED
    text = next(r.text for r in cord.reasons if r.code == "R4_SPINAL_CORD")
    assert "inside the canal at L1" in text
    assert "SUVmax 3.2" in text


def test_contamination_on_the_skin_is_excluded() -> None:
    found = _run(_study(_pet([((8, 100, 100), 9, 15.0)])), _anatomy())
    (spot,) = found
    assert spot.decision is Decision.EXCLUDED
    assert "R13_OUTSIDE_BODY" in _codes(spot)


def test_a_ureter_is_called_a_ureter() -> None:
    values = _pet([((65, 130, 280), 20, 12.0)]).values.copy()
    values[20:22, 31:33, 42:50] = 9.0  # right of the spine at L4
    found = _run(_study(Volume(values, _grid(), Unit.SUVBW, Modality.PT, "PT-00000001")), _anatomy())
    one = _at(found, (82, 126, 182))
    assert "R10_URETER" in _codes(one)
    assert one.decision is not Decision.COUNTED


def test_without_anatomy_nothing_is_counted_and_the_reason_is_said() -> None:
    found = _run(_study(_pet([(L3, 10, 8.0)])), Anatomy())
    (one,) = found
    assert one.decision is Decision.UNCERTAIN
    assert one.finding.located.site.organ is None
    assert one.finding.located.site.spinal is None
    assert "PLACE_UNKNOWN_NO_ANATOMY" in _codes(one)
    assert "NOT_ASKED" in _codes(one)


def test_the_anatomy_is_asked_through_the_transform_that_links_it() -> None:
    shift = np.eye(4)
    shift[:3, 3] = (0.0, 0.0, 35.0)
    frames = Frames((RigidTransform("pet", "ct", shift),))
    found = _run(_study(_pet([(L4, 10, 8.0)]), frames=frames), _anatomy("ct"))
    assert _at(found, L4).finding.located.site.level is VertebralLevel.L3


def test_an_anatomy_that_nothing_links_is_not_guessed() -> None:
    found = _run(_study(_pet([(L4, 10, 8.0)])), _anatomy("elsewhere"))
    (one,) = found
    assert one.finding.located.site.doubts == ("ANATOMY_NOT_LINKED",)
    assert one.decision is Decision.UNCERTAIN


def test_an_ambiguous_level_keeps_its_instance_and_loses_its_name() -> None:
    anatomy = _anatomy()
    unsure = tuple(replace(v, level=None, ambiguous=True, confidence=0.5) for v in anatomy.vertebrae)
    found = _run(_study(_pet([(L3, 10, 8.0)])), replace(anatomy, vertebrae=unsure))
    site = _at(found, L3).finding.located.site
    assert site.vertebrae[0].instance == 3
    assert site.level is None
    assert site.spinal is True


@pytest.mark.parametrize(
    ("tracer", "code"), [(Tracer.FDG, None), (Tracer.UNKNOWN, "TRACER_UNKNOWN"), (Tracer.PSMA_11, "TRACER_MISMATCH")]
)
def test_a_tracer_is_never_assumed(tracer: Tracer, code: str | None) -> None:
    detector = factory(PRESET["plugins"]["tracer_threshold"])
    said = detect.caveats(_study(_pet([]), tracer), [detector], detect.Options(**PRESET["detect"]))
    assert [c.code for c in said] == ([code] if code else [])


class _Other:
    """A detector that answers what it is told to."""

    name, version = "other", "0"
    needs: frozenset[Modality] = frozenset({Modality.PT})

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def detect(self, study: Study, anatomy: Anatomy) -> tuple[Candidate, ...]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # the point of the test


def _candidate(name: str, low: int, high: int) -> Candidate:
    voxels = np.argwhere(np.ones((high - low, 3, 3), dtype=bool)) + np.array([low, 20, 20])
    return Candidate(name, voxels.astype(np.int32), _grid(), Modality.PT, "other", Measures(1.0, suv_max=5.0))


def test_a_detector_that_breaks_its_contract_is_blamed_by_name() -> None:
    twin = _candidate("A", 10, 14)
    for answer in ([twin], (twin, twin), (replace(twin, probability=1.5),), (replace(twin, grid=_grid("mars")),)):
        with pytest.raises(PluginContractError, match="other"):
            detect.run(_study(_pet([])), Anatomy(), [_Other(answer)], detect.Options(**PRESET["detect"]))
    with pytest.raises(PluginFailedError, match="ZeroDivisionError"):
        detect.run(_study(_pet([])), Anatomy(), [_Other(ZeroDivisionError())], detect.Options(**PRESET["detect"]))


@pytest.mark.parametrize(
    ("combine", "first_alone", "second_alone"),
    [("union", 0.45, 0.45), ("intersection", 0.0, 0.0), ("second_reader", 1.0, 0.45)],
)
def test_two_readers_are_combined_as_the_preset_says(combine: str, first_alone: float, second_alone: float) -> None:
    one = _Other((_candidate("A", 10, 14), _candidate("B", 30, 34)))
    two = _Other((replace(_candidate("A", 11, 14), probability=0.8), _candidate("B", 45, 48)))
    two.name = "second"
    options = detect.Options(**{**PRESET["detect"], "combine": combine})
    found = detect.run(_study(_pet([])), Anatomy(), [one, two], options)
    assert [c.id for c in found] == ["C001", "C002", "C003"]
    both, first, second = sorted(found, key=lambda c: c.centroid_lps_mm[0])
    assert (both.seen_by, both.missed_by, both.ceiling, both.probability) == (("other", "second"), (), 1.0, 0.8)
    assert len(both.voxels) == 36  # as the first reader drew it
    assert (first.seen_by, first.missed_by, first.ceiling) == (("other",), ("second",), first_alone)
    assert (second.seen_by, second.missed_by, second.ceiling) == (("second",), ("other",), second_alone)


@pytest.mark.parametrize("finer", ["first", "second"])
def test_readers_that_disagree_on_the_number_leave_the_number_open(finer: str) -> None:
    whole = _Other((_candidate("A", 10, 20),))
    parts = _Other((_candidate("A", 10, 16), _candidate("B", 17, 20)))
    order = [parts, whole] if finer == "first" else [whole, parts]
    doubt = PRESET["detect"]["disagreed_split"]
    found = detect.run(_study(_pet([])), Anatomy(), order, detect.Options(**PRESET["detect"]))
    assert all(not c.missed_by for c in found)
    if finer == "first":
        large, small = sorted(found, key=lambda c: -len(c.voxels))
        assert large.own_probability == 1.0
        assert small.own_probability == pytest.approx(1 - doubt)
    else:
        (one,) = found
        assert one.split_probability == doubt


@pytest.mark.parametrize(
    ("combine", "decision"),
    [("union", Decision.UNCERTAIN), ("intersection", Decision.EXCLUDED), ("second_reader", Decision.COUNTED)],
)
def test_what_one_of_two_readers_missed_is_less_certain_and_says_so(combine: str, decision: Decision) -> None:
    study, anatomy = _study(_pet([(L3, 10, 8.0), (L4, 10, 8.0)])), _anatomy()
    first = factory(PRESET["plugins"]["tracer_threshold"])
    seen = next(c for c in first.detect(study, anatomy) if np.linalg.norm(np.subtract(c.centroid_lps_mm, L3)) < 8)
    options = detect.Options(**{**PRESET["detect"], "combine": combine})
    candidates = detect.run(study, anatomy, [first, _Other((seen,))], options)
    located = localize.run(candidates, study, anatomy, localize.Options(**PRESET["localize"]))
    findings = match.run(located, study, anatomy, match.Options(**PRESET["match"]))
    found = screen.run(findings, study, anatomy, screen.Options(**PRESET["screen"]))
    assert _at(found, L3).decision is Decision.COUNTED
    assert "READERS_DISAGREE" not in _codes(_at(found, L3))
    missed = _at(found, L4)
    assert missed.decision is decision
    (reason,) = (r for r in missed.reasons if r.code == "READERS_DISAGREE")
    assert reason.text == "seen by tracer-threshold, not by other"


def test_detectors_of_different_images_do_not_contradict_each_other() -> None:
    on_ct = _Other(())
    on_ct.needs = frozenset({Modality.CT})
    ct = Volume(np.zeros(SHAPE, dtype=np.float32), _grid(), Unit.HU, Modality.CT, "CT-1")
    study = replace(_study(_pet([])), ct=ct)
    options = detect.Options(**{**PRESET["detect"], "combine": "intersection"})
    (only,) = detect.run(study, Anatomy(), [_Other((_candidate("A", 10, 14),)), on_ct], options)
    assert (only.missed_by, only.ceiling) == ((), 1.0)


def test_the_detector_keeps_to_the_protocol() -> None:
    detector = factory(PRESET["plugins"]["tracer_threshold"])
    assert isinstance(detector, ThresholdDetector)
    assert detector.name == "tracer-threshold"
