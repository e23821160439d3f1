"""Each rule by itself: when it fires, what it says, and that it says so when it cannot be asked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Candidate, Decision, Evidence, Finding, LesionClass, Measures, Screened
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.imaging.focality import Focality
from lesion_pipeline.imaging.reference_regions import OrganUptake
from lesion_pipeline.stages import localize, screen
from lesion_pipeline.stages.screen import artefact, bone, focus, limb, limits, marrow, organs, soft, spine, urinary
from lesion_pipeline.stages.screen import heart as heart_rules
from lesion_pipeline.stages.screen.case import Case, Scene
from lesion_pipeline.stages.screen.combine import base_log_odds, probability
from lesion_pipeline.stages.screen.corroboration import corroborate
from lesion_pipeline.stages.screen.door import decision
from lesion_pipeline.stages.screen.node_stations import at_a_node_station
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

PRESET: dict[str, Any] = tomllib.loads((Path(__file__).resolve().parents[2] / "configs" / "fdg-petct.toml").read_text("utf-8"))
OPTIONS = screen.Options(**PRESET["screen"])
SHAPE = (60, 50, 100)  # 4 mm: 240 x 200 x 400 mm
GRID = Grid(SHAPE, np.diag([4.0, 4.0, 4.0, 1.0]), "pet")
Mask = npt.NDArray[np.bool_]
LEVELS = {"C7": 380.0, "T1": 350.0, "T12": 320.0, "L1": 290.0, "L2": 260.0, "L3": 230.0, "L4": 200.0, "L5": 170.0}


def _world() -> npt.NDArray[np.float64]:
    return GRID.world(np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1).reshape(-1, 3)).reshape(
        *SHAPE, 3
    )


POINTS = _world()


@cache
def _plain() -> Anatomy:
    """The toy patient without anything added, made once."""
    return _anatomy()


def _box(centre: tuple[float, float, float], half: tuple[float, float, float]) -> Mask:
    return np.asarray(np.all(np.abs(POINTS - np.array(centre)) <= np.array(half), axis=-1))


def _anatomy(*more: tuple[Structure, Mask]) -> Anatomy:
    values = np.zeros(SHAPE, dtype=np.uint16)
    values[3:-3, 3:-3, :] = 1
    names = {1: Structure("body", StructureKind.REGION)}
    drawn: list[tuple[Structure, Mask]] = [
        (Structure("spinal_canal", StructureKind.REGION), _box((120, 164, 200), (10, 8, 200))),
        (Structure("liver", StructureKind.ORGAN, Organ.LIVER), _box((60, 90, 310), (40, 40, 40))),
        (Structure("urinary_bladder", StructureKind.ORGAN, Organ.BLADDER), _box((120, 80, 40), (24, 20, 16))),
        (Structure("lung_right", StructureKind.ORGAN, Organ.LUNG), _box((60, 90, 375), (40, 40, 22))),
        (Structure("humerus_left", StructureKind.BONE, Organ.BONE), _box((222, 100, 300), (4, 8, 60))),
        (Structure("muscle", StructureKind.TISSUE, Organ.SOFT_TISSUE), _box((180, 170, 100), (30, 16, 60))),
        (Structure("muscle", StructureKind.TISSUE, Organ.SOFT_TISSUE), _box((60, 170, 100), (30, 16, 60))),
        *(
            (
                Structure(f"vertebra_{name}", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[name], n + 1),
                _box((120, 136, z), (20, 16, 10 if name == "L4" else 14)),
            )
            for n, (name, z) in enumerate(LEVELS.items())
        ),
        *more,
    ]
    keys: dict[str, int] = {}
    for structure, mask in drawn:
        label = keys.setdefault(structure.key, len(keys) + 2)
        values[mask] = label
        names[label] = structure
    instances = tuple(
        VertebraInstance(n + 1, VertebralLevel[name], 0.9, (120.0, 136.0, z)) for n, (name, z) in enumerate(LEVELS.items())
    )
    return Anatomy((NamedMap("toy", LabelMap(values, GRID, names)),), instances)


def _case(
    mask: Mask,
    suv: float,
    anatomy: Anatomy | None = None,
    *,
    hu: float | Volume | None = 40.0,
    others: tuple[tuple[Mask, float], ...] = (),
    tracer: Tracer = Tracer.FDG,
    evidence: Evidence | None = None,
    options: screen.Options = OPTIONS,
    background: float = 1.0,
) -> Case:
    """A finding (the mask, of even uptake) in the toy patient; others are further findings."""
    anatomy = anatomy if anatomy is not None else _plain()
    values = np.full(SHAPE, background, dtype=np.float32)
    spots = [(mask, suv), *others]
    for where, height in spots:
        values[where] = height
    pet = Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1")
    ct = hu if isinstance(hu, Volume) or hu is None else _ct(hu)
    study = Study("toy", PatientFacts(), tracer, (), pet, ct)
    candidates = tuple(
        Candidate(f"C{n}", np.argwhere(where).astype(np.int32), GRID, Modality.PT, "toy",
                  Measures(float(where.sum()) * 0.064, suv_max=height, suv_peak=height * 0.9, background=background))
        for n, (where, height) in enumerate(spots)
    )  # fmt: skip
    located = localize.run(candidates, study, anatomy, localize.Options(**PRESET["localize"]))
    scene = Scene(study, anatomy, options)
    said = evidence or Evidence(pet="positive")
    cases = [Case(Finding(f"L{n}", (one,), said), scene) for n, one in enumerate(located)]
    for one in cases:
        one.siblings = cases
    return cases[0]


def _ct(hu: float) -> Volume:
    return Volume(np.full(SHAPE, hu, dtype=np.float32), GRID, Unit.HU, Modality.CT, "CT-1")


def _fired(answer: Outcome, code: str) -> Fired:
    assert isinstance(answer, Fired)
    assert answer.code == code
    return answer


L1, SPOT = (120.0, 136.0, 290.0), (8.0, 8.0, 8.0)


def test_r1_brown_fat_needs_fat_and_is_surer_with_a_mirror_image() -> None:
    right, left = _box((84, 140, 346), SPOT), _box((156, 140, 346), SPOT)
    alone = _fired(soft.brown_fat(_case(left, 5.0, hu=-90.0)), "R1_BROWN_FAT")
    paired = _fired(soft.brown_fat(_case(left, 5.0, hu=-90.0, others=((right, 5.0),))), "R1_BROWN_FAT")
    assert paired.odds < alone.odds < 1.0
    assert "mirror image L1" in paired.text
    assert soft.brown_fat(_case(left, 5.0, hu=40.0)) is None
    assert isinstance(soft.brown_fat(_case(left, 5.0, hu=None)), NotAsked)
    chance = _fired(soft.brown_fat(_case(left, 5.0, hu=-40.0, others=((right, 5.0),))), "R1_BROWN_FAT")
    assert chance.odds == alone.odds  # half fat, as a node in it is: its mirror image says nothing
    assert "mirror image L1; but its median of -40 HU" in chance.text


def test_r2_muscle_is_long_and_paired() -> None:
    left, right = _box((180, 170, 100), (4, 4, 40)), _box((60, 170, 100), (4, 4, 40))
    assert "mirror image" in _fired(soft.muscle(_case(left, 4.0, others=((right, 4.0),))), "R2_MUSCLE").text
    assert soft.muscle(_case(left, 4.0)) is None
    assert soft.muscle(_case(_box((180, 170, 100), SPOT), 4.0, others=((_box((60, 170, 100), SPOT), 4.0),))) is None


def _with_marrow(case: Case, levels: dict[str, float], *more: tuple[Mask, float], liver: float = 1.6) -> Case:
    """The same finding on a PET whose vertebrae take up what ``levels`` says."""
    values = np.full(SHAPE, 1.0, dtype=np.float32)
    values[_box((60, 90, 310), (40, 40, 40))] = liver
    for name, suv in levels.items():
        values[_box((120, 136, LEVELS[name]), (20, 16, 14))] = suv
    spots = ((_mask_of(case), case.suv_max), *more)
    for where, suv in spots:
        values[where] = suv
    study = replace(case.scene.study, pet=Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1"))
    return Case(case.finding, Scene(study, case.scene.anatomy, OPTIONS))


def _mask_of(case: Case) -> Mask:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(case.finding.located.candidate.voxels.T)] = True
    return mask


def test_r3_activated_marrow_must_be_exceeded() -> None:
    even = dict.fromkeys(LEVELS, 2.6)
    faint, clear = _case(_box(L1, SPOT), 4.0), _case(_box(L1, SPOT), 6.5)
    assert marrow.activation(_with_marrow(faint, dict.fromkeys(LEVELS, 1.2))) is None  # ordinary marrow
    said = _fired(marrow.activation(_with_marrow(faint, even)), "R3_MARROW")
    assert "100 % of the vertebrae" in said.text
    assert "1.5 times the marrow beside it" in said.text
    assert marrow.activation(_with_marrow(clear, even)) is None  # a lesion in active marrow
    assert marrow.activation(_with_marrow(faint, dict.fromkeys(("L4", "L5"), 2.6))) is None  # two diseased vertebrae
    lower = {"C7": 1.0, "T1": 1.5, "T12": 1.5} | dict.fromkeys(("L1", "L2", "L3", "L4", "L5"), 2.6)
    assert "71 % of the vertebrae" in _fired(marrow.activation(_with_marrow(faint, lower)), "R3_MARROW").text
    chest = _case(_box((120, 136, 350), SPOT), 3.0)
    assert marrow.activation(_with_marrow(chest, lower, liver=2.2)) is None  # its own neighbourhood is quiet


def test_a_focus_is_held_against_the_marrow_of_its_own_neighbourhood() -> None:
    below = {"C7": 1.0, "T1": 1.0} | dict.fromkeys(("T12", "L1", "L2", "L3", "L4", "L5"), 2.0)
    lumbar, cervical = _case(_box(L1, SPOT), 3.6), _case(_box((120, 136, 380), SPOT), 3.6)
    uneven = _fired(marrow.beside_its_neighbours(_with_marrow(lumbar, below)), "MARROW_UNEVEN")
    assert uneven.odds < 1
    above = {"C7": 1.0, "T1": 1.0, "T12": 1.2, "L1": 1.3}
    exceeded = _fired(marrow.beside_its_neighbours(_with_marrow(cervical, above)), "MARROW_EXCEEDED")
    assert "2.7 times the marrow of the neighbouring bones (1.2)" in exceeded.text
    assert exceeded.odds == OPTIONS.marrow.most_odds
    diseased = {**below, "L2": 9.0}  # one diseased neighbour changes nothing
    assert _fired(marrow.beside_its_neighbours(_with_marrow(lumbar, diseased)), "MARROW_UNEVEN").odds == uneven.odds
    assert marrow.beside_its_neighbours(_case(_box((222, 100, 300), (4, 8, 8)), 6.0)) is None  # an arm has no neighbours


def test_r4_asks_the_canal_the_level_the_uptake_and_the_shape() -> None:
    cord = _box((120, 164, 290), (3, 3, 20))
    assert "at L1" in _fired(spine.spinal_cord(_case(cord, 3.0)), "R4_SPINAL_CORD").text
    assert spine.spinal_cord(_case(cord, 4.5)) is None
    assert spine.spinal_cord(_case(_box((120, 164, 230), (3, 3, 20)), 3.0)) is None  # L3: no enlargement there
    assert spine.spinal_cord(_case(_box(L1, SPOT), 3.0)) is None
    assert isinstance(spine.spinal_cord(_case(cord, 3.0, Anatomy())), NotAsked)


def test_r5_degeneration_is_dense_faint_and_at_the_endplate() -> None:
    edge = _box((120, 136, 302), (12, 12, 3))
    assert "endplate" in _fired(spine.degeneration(_case(edge, 2.4, hu=420.0, background=1.2)), "R5_DEGENERATIVE").text
    assert spine.degeneration(_case(edge, 9.0, hu=420.0)) is None
    assert spine.degeneration(_case(edge, 2.4, hu=150.0, background=1.2)) is None


def test_a_mirror_image_is_sought_in_the_midline_of_its_own_height() -> None:
    """A patient who lies askew, or a spine that bends: the midline of the neck is not that of the loins."""
    case = _case(_box((152, 130, 350), (6, 6, 6)), 5.0, hu=-90.0, others=((_box((72, 130, 350), (6, 6, 6)), 5.0),))
    assert "no mirror image" in _fired(soft.brown_fat(case), "R1_BROWN_FAT").text
    bent = {f"vertebra_{name}": 120.0 + (260.0 - z) / 10 for name, z in LEVELS.items()}
    for key, x in bent.items():
        mark = case.scene.landmarks[key]
        case.scene.landmarks[key] = replace(mark, centre=(x, mark.centre[1], mark.centre[2]))
    assert case.scene.midline_at(380.0) == pytest.approx(111.0)  # C7, T1, T12
    assert case.scene.midline_at(170.0) == pytest.approx(126.0)  # L5, L4, L3
    assert "mirror image L1" in _fired(soft.brown_fat(case), "R1_BROWN_FAT").text


@pytest.mark.parametrize("shift", [0.0, 15.0])
def test_r5_a_dense_faint_focus_all_in_the_arches_is_a_facet_joint(shift: float) -> None:
    """Between the arches of two vertebrae or in one; a hotter one, one of usual density or one of the body too is none."""
    arches = _anatomy(
        *(
            (
                Structure(f"vertebra_{name}_posterior", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[name]),
                _box((132, 180, LEVELS[name]), (12, 8, 14)),
            )
            for name in ("L2", "L3")
        )
    )
    joint = _box((132, 180, 230 + shift), (4, 4, 4))
    said = _fired(spine.degeneration(_case(joint, 4.0, arches, hu=380.0)), "R5_FACET")
    assert said.klass is LesionClass.BENIGN
    assert said.odds == OPTIONS.degeneration.facet_odds
    assert said.ceiling == OPTIONS.degeneration.facet_ceiling < 0.5  # however clear its edge: a doubt, not counted
    assert spine.degeneration(_case(joint, 4.6, arches, hu=380.0)) is None
    assert spine.degeneration(_case(joint, 4.0, arches, hu=250.0)) is None
    through = _box((120, 164, 230), (4, 24, 4))
    assert spine.degeneration(_case(through, 4.0, arches, hu=380.0)) is None


def test_r6_a_band_in_a_low_vertebra_is_a_fracture() -> None:
    band = _box((120, 136, 200), (18, 14, 2))
    assert "of the height lost" in _fired(spine.fracture(_case(band, 4.0)), "R6_FRACTURE").text
    assert spine.fracture(_case(_box((120, 136, 230), (18, 14, 2)), 4.0)) is None  # L3 has its height


def test_a_focus_at_the_bladders_wall_with_a_peak_of_its_own_may_be_a_node() -> None:
    at_the_wall, bladder = _box((98, 80, 40), (10, 8, 8)), (_box((124, 80, 40), (12, 16, 12)), 30.0)
    said = _fired(organs.ordinary_uptake(_case(at_the_wall, 24.0, others=(bladder,))), "ORGAN_URINARY_BLADDER_OR_NODE")
    assert said.odds == OPTIONS.masks.beside_odds
    assert said.klass is None
    assert "apart from its own uptake" in said.text
    fainter_bladder = (bladder[0], 20.0)  # then it is the bladder's own hottest part
    _fired(organs.ordinary_uptake(_case(at_the_wall, 24.0, others=(fainter_bladder,))), "ORGAN_URINARY_BLADDER")
    _fired(organs.ordinary_uptake(_case(at_the_wall, 24.0)), "ORGAN_URINARY_BLADDER")
    inside = _box((104, 80, 40), (6, 8, 8))
    _fired(organs.ordinary_uptake(_case(inside, 24.0, others=(bladder,))), "ORGAN_URINARY_BLADDER")


SMALL_SPOT = (3.0, 3.0, 3.0)
NOTHING_ON_CT = Evidence(pet="positive", ct="none")


def _ubu(mask: Mask, suv: float = 5.0, tracer: Tracer = Tracer.PSMA_1007, evidence: Evidence = NOTHING_ON_CT) -> Outcome:
    return bone.unspecific_bone(_case(mask, suv, tracer=tracer, evidence=evidence))


def test_r7_only_speaks_of_psma_without_a_correlate() -> None:
    where = _box((222, 100, 300), SMALL_SPOT)
    assert _fired(_ubu(where), "R7_UNSPECIFIC_BONE").ceiling == 0.15
    assert _ubu(where, evidence=Evidence(pet="positive", ct="lytic")) is None
    assert _ubu(where, tracer=Tracer.FDG) is None


@pytest.mark.parametrize("tracer", [Tracer.PSMA_1007, Tracer.PSMA_11, Tracer.DCFPYL])
def test_r7_leaves_a_warm_small_focus_outside_the_spine_open(tracer: Tracer) -> None:
    where = _box((222, 100, 300), (3.0, 3.0, 5.0))
    warm = _fired(_ubu(where, 9.0, tracer), "R7_UNSPECIFIC_WARM")
    assert warm.ceiling is not None
    assert OPTIONS.unspecific_bone.ceiling < warm.ceiling < OPTIONS.decide.counted_from
    assert warm.klass is None
    assert (_fired(_ubu(where, 5.0, tracer), _ubu_code(tracer))).ceiling is not None
    assert _ubu(where, 11.0, tracer) is None
    assert _ubu(_box(L1, SMALL_SPOT), 9.0, tracer) is None
    assert _ubu(_box((222, 100, 300), SPOT), 9.0, tracer) is None
    assert _ubu(_box((222, 102, 302), (3.0, 3.0, 7.0)), 9.0, tracer) is None  # 1.02 ml as drawn: unspecific ones are smaller
    for ct in ("sclerotic", "not_assessable"):
        assert _ubu(where, 9.0, tracer, Evidence(pet="positive", ct=ct)) is None


def test_r7_doubts_a_small_focus_the_less_the_hotter_and_the_larger_it_is() -> None:
    rule = OPTIONS.unspecific_bone

    def ceiling(suv: float, ml: float) -> float:
        case = _case(_box((222, 100, 300), SMALL_SPOT), suv, tracer=Tracer.PSMA_11, evidence=NOTHING_ON_CT)
        located = case.finding.located
        measured = replace(located.candidate, measures=replace(located.candidate.measures, volume_ml=ml))
        finding = Finding("L0", (replace(located, candidate=measured),), NOTHING_ON_CT)
        fired = _fired(bone.unspecific_bone(Case(finding, case.scene)), "R7_UNSPECIFIC_WARM")
        assert fired.ceiling is not None
        return fired.ceiling

    assert ceiling(rule.below_suv, rule.usual_ml) == pytest.approx(0.5, abs=0.01)
    assert ceiling(5.0, 0.4) == rule.ceiling
    assert rule.ceiling < ceiling(6.5, 0.8) < 0.5 < ceiling(8.9, 0.5) < ceiling(9.5, 0.5) < ceiling(9.5, 0.6)
    assert ceiling(10.5, 0.95) == rule.large_ceiling


def _ubu_code(tracer: Tracer) -> str:
    return "R7_UNSPECIFIC_BONE" if tracer is Tracer.PSMA_1007 else "R7_UNSPECIFIC_WARM"


def test_r7_leaves_a_small_focus_open_where_no_ct_can_show_a_correlate() -> None:
    unseen = _fired(_ubu(_box((222, 100, 300), SMALL_SPOT), evidence=Evidence(pet="positive")), "R7_UNSPECIFIC_UNSEEN")
    assert unseen.ceiling is not None
    assert OPTIONS.unspecific_bone.ceiling < unseen.ceiling < OPTIONS.decide.counted_from


def test_r7_lets_a_large_focus_count_with_a_doubt() -> None:
    large = _fired(_ubu(_box((222, 100, 300), SPOT)), "R7_UNSPECIFIC_LARGE")
    assert large.ceiling is not None
    assert OPTIONS.decide.counted_from < large.ceiling < 0.9
    assert "but 5.4 ml" in large.text


@pytest.mark.parametrize(("drawn", "half_ml"), [(SMALL_SPOT, 5.0), (SPOT, 0.5)])
def test_r7_calls_large_only_what_is_large_by_both_measures(drawn: tuple[float, float, float], half_ml: float) -> None:
    """What joins a focus above half its height may be its surroundings, and a low threshold draws too much."""
    case = _case(_box((222, 100, 300), drawn), 5.0, tracer=Tracer.PSMA_1007, evidence=NOTHING_ON_CT)
    case.__dict__["focality"] = Focality(contrast=5.0, half_ml=half_ml, half_mm=5.0)
    _fired(bone.unspecific_bone(case), "R7_UNSPECIFIC_BONE")


def test_r7_doubts_a_vertebra_less_than_other_bones() -> None:
    def ceiling(where: Mask, suv: float, code: str) -> float:
        said = _fired(_ubu(where, suv), code)
        assert ("rarer than in ribs and pelvis" in said.text) == (code == "R7_UNSPECIFIC_SPINE")
        assert said.ceiling is not None
        return said.ceiling

    arm, vertebra = _box((222, 100, 300), (3, 3, 5)), _box(L1, (3, 5, 5))
    assert arm.sum() == vertebra.sum()
    assert ceiling(vertebra, 4.0, "R7_UNSPECIFIC_SPINE") == ceiling(arm, 4.0, "R7_UNSPECIFIC_BONE") == 0.15
    half = OPTIONS.decide.counted_from
    assert ceiling(arm, 7.0, "R7_UNSPECIFIC_BONE") < half < ceiling(vertebra, 7.0, "R7_UNSPECIFIC_SPINE")


def test_a_small_faint_focus_of_a_rib_may_be_a_fracture() -> None:
    rib = Structure("rib_left", StructureKind.BONE, Organ.BONE), _box((200, 60, 300), (12, 12, 12))
    anatomy = _anatomy(rib)
    small, large = _box((200, 60, 300), (5, 3, 3)), _box((200, 60, 300), (9, 9, 9))
    assert _fired(bone.rib_fracture(_case(small, 4.0, anatomy)), "RIB_FRACTURE").ceiling == OPTIONS.fracture.rib_ceiling
    assert bone.rib_fracture(_case(small, 5.0, anatomy)) is None
    assert bone.rib_fracture(_case(large, 4.0, anatomy)) is None
    assert bone.rib_fracture(_case(small, 4.0, anatomy, evidence=Evidence(pet="positive", ct="lytic"))) is None
    assert bone.rib_fracture(_case(_box(L1, (5, 5, 5)), 4.0, anatomy)) is None


def test_a_focus_of_the_lung_beside_the_spine_no_brighter_than_marrow_is_the_head_of_a_rib() -> None:
    lung = Structure("lung_left", StructureKind.ORGAN, Organ.LUNG), _box((168, 130, 340), (24, 40, 50))
    anatomy = _anatomy(lung)
    vertebrae = tuple((_box((120, 136, z), (20, 16, 14)), 1.5) for z in LEVELS.values())

    def said(mask: Mask, suv: float) -> Outcome:
        return marrow.rib_head(_case(mask, suv, anatomy, others=vertebrae))

    beside = _box((152, 140, 340), (5, 5, 5))
    fired = _fired(said(beside, 2.2), "RIB_HEAD")
    assert fired.odds == OPTIONS.marrow.rib_head_odds
    assert "only 1.5 times the marrow" in fired.text
    assert said(beside, 3.5) is None
    assert said(_box((186, 140, 340), (5, 5, 5)), 2.2) is None
    assert said(_box(L1, (5, 5, 5)), 2.2) is None


def test_r8_a_single_faint_rib() -> None:
    rib = Structure("rib_left_7", StructureKind.BONE, Organ.BONE)
    where = _box((200, 100, 250), (12, 4, 4))
    anatomy = _anatomy((rib, where))
    assert isinstance(bone.rib_focus(_case(where, 4.0, anatomy)), Fired)
    assert bone.rib_focus(_case(where, 12.0, anatomy)) is None


def test_r9_a_ganglion_is_faint_long_and_beside_the_spine() -> None:
    beside = _box((148, 130, 290), (2, 2, 9))
    assert "from the spine at L1" in _fired(soft.ganglion(_case(beside, 3.0)), "R9_GANGLION").text
    assert soft.ganglion(_case(beside, 8.0)) is None
    assert soft.ganglion(_case(_box((148, 130, 290), SPOT), 3.0)) is None


def test_r10_ureter_renal_bed_and_what_cannot_be_asked() -> None:
    tube = _box((158, 121, 215), (2, 2, 16))
    assert "left ureter" in _fired(urinary.ureter(_case(tube, 12.0)), "R10_URETER").text
    assert urinary.ureter(_case(_box((200, 60, 215), (2, 2, 16)), 12.0)) is None
    assert _fired(urinary.ureter(_case(tube, 12.0)), "R10_URETER").odds == OPTIONS.ureter.odds
    assert urinary.ureter(_case(tube, 12.0, options=OPTIONS.model_copy(update={"urinary_excretion": False}))) is None
    assert isinstance(urinary.ureter(_case(tube, 12.0, Anatomy())), NotAsked)
    kidney = _box((175, 140, 290), SPOT)
    assert "no map names this kidney" in _fired(urinary.renal_bed(_case(kidney, 20.0)), "R10_RENAL_BED").text


def test_r10_a_compact_focus_in_the_ureters_course_may_be_a_node_and_a_thick_one_more_likely_is() -> None:
    """A ureter is a tube of a few mm: what is no longer than wide is a drop of urine at most, and never as wide as a node."""
    thin, thick = _box((158, 121, 215), (3, 3, 3)), _box((158, 121, 215), (6, 6, 6))
    drop = _fired(urinary.ureter(_case(thin, 12.0)), "R10_URETER_OR_NODE")
    node = _fired(urinary.ureter(_case(thick, 12.0)), "R10_URETER_OR_NODE")
    assert OPTIONS.ureter.odds < drop.odds < node.odds < 1.0
    assert drop.klass is node.klass is None  # neither is called urine
    assert "too thick" in node.text
    assert "too thick" not in drop.text
    assert _fired(urinary.ureter(_case(_box((158, 121, 215), (3, 3, 16)), 12.0)), "R10_URETER").odds < drop.odds
    assert urinary.ureter(_case(_box((158, 121, 215), (12, 12, 12)), 12.0)) is None  # 14 ml: no piece of a ureter


def test_r10_what_is_hot_at_the_height_of_a_kidney_is_urine_and_what_lies_above_it_may_be_an_adrenal() -> None:
    anatomy = _anatomy((Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY), _box((190, 140, 280), (16, 20, 24))))
    hot = _fired(urinary.renal_bed(_case(_box((168, 140, 280), (4, 6, 6)), 20.0, anatomy)), "R10_RENAL_PELVIS")
    faint = _fired(urinary.renal_bed(_case(_box((168, 140, 280), (4, 6, 6)), 5.0, anatomy)), "R10_RENAL_BED")
    above = _fired(urinary.renal_bed(_case(_box((180, 140, 310), (4, 6, 4)), 20.0, anatomy)), "R10_RENAL_BED")
    assert hot.odds < faint.odds == above.odds


def test_r10_a_thread_beside_the_usual_course_is_a_ureter_and_a_round_node_there_is_none() -> None:
    beside = (182, 121, 215)
    thread = _fired(urinary.ureter(_case(_box(beside, (2, 2, 16)), 30.0)), "R10_URETER")
    assert thread.odds > OPTIONS.ureter.odds
    assert urinary.ureter(_case(_box(beside, (6, 6, 6)), 30.0)) is None


def test_r11_bowel_is_physiologic_a_small_hot_focus_in_it_is_not_dismissed() -> None:
    loop = _box((120, 70, 230), (60, 12, 12))
    anatomy = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), loop))
    assert isinstance(organs.bowel(_case(loop, 4.0, anatomy)), Fired)
    focus = _fired(organs.bowel(_case(_box((120, 70, 230), (6, 6, 6)), 9.0, anatomy)), "R11_BOWEL_FOCUS")
    assert focus.floor is not None
    unmapped = _fired(organs.bowel(_case(_box((120, 70, 230), (6, 6, 6)), 9.0)), "R11_BOWEL_UNMAPPED")
    assert "no map names the bowel" in unmapped.text


def test_r11_many_alike_foci_along_the_bowel_are_its_own_pattern_and_one_beside_the_vessels_may_be_a_node() -> None:
    loop = _box((120, 60, 230), (90, 20, 20))
    anatomy = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), loop))
    focus, spots = _box((60, 56, 230), (6, 6, 6)), [_box((x, 56, 230), (6, 6, 6)) for x in (100, 140, 180)]
    several = _fired(organs.bowel(_case(focus, 9.0, anatomy, others=tuple((spot, 8.0) for spot in spots))), "R11_BOWEL_SEVERAL")
    assert several.floor is None
    assert "L1, L2, L3" in several.text
    assert several.odds < OPTIONS.bowel.odds
    fainter = organs.bowel(_case(focus, 9.0, anatomy, others=tuple((spot, 4.0) for spot in spots)))
    assert _fired(fainter, "R11_BOWEL_FOCUS").floor is not None  # one that outshines the rest is no pattern
    beside_the_vessels = _box((132, 110, 230), (6, 6, 6))
    edge = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((120, 110, 230), (60, 4, 20))))
    node = _fired(organs.bowel(_case(beside_the_vessels, 9.0, edge)), "R11_BOWEL_OR_NODE")
    assert node.odds > OPTIONS.bowel.odds
    thick = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((120, 108, 230), (60, 12, 20))))
    _fired(organs.bowel(_case(beside_the_vessels, 9.0, thick)), "R11_BOWEL_FOCUS")  # more bowel on most of its sides


@pytest.mark.parametrize(
    ("x", "y", "node"),
    [(120, 124, True), (120, 112, False), (164, 118, True), (188, 118, False)],
    ids=["on the sacrum", "before it", "at the vessels", "on the wing of the hip bone"],
)
def test_r11_in_the_pelvis_nodes_lie_on_the_sacrum_and_along_the_vessels(x: float, y: float, *, node: bool) -> None:
    anatomy = _anatomy(
        (Structure("sacrum", StructureKind.BONE, Organ.BONE), _box((120, 150, 110), (30, 20, 40))),
        (Structure("femur_left", StructureKind.BONE, Organ.BONE), _box((210, 100, 40), (12, 12, 20))),
        (Structure("hip_left", StructureKind.BONE, Organ.BONE), _box((180, 140, 110), (12, 12, 40))),
        (Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((160, 100, 130), (70, 28, 4))),
    )
    said = organs.bowel(_case(_box((x, y, 130), (6, 6, 6)), 9.0, anatomy))
    assert isinstance(said, Fired)
    assert (said.code == "R11_BOWEL_OR_NODE") == node, said.text


@pytest.mark.parametrize(("hu", "code"), [(-700.0, "R11_BOWEL_GAS"), (-80.0, "R11_BOWEL_LUMEN"), (40.0, None)])
@pytest.mark.parametrize("beside_mm", [0.0, 24.0])
def test_r11_gas_on_ct_is_a_lumen_and_no_lesion(hu: float, code: str | None, beside_mm: float) -> None:
    loop = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((120, 60, 230), (40, 16, 20))))
    said = organs.lumen(_case(_box((120, 60 - beside_mm, 230), (6, 6, 6)), 9.0, loop, hu=hu))
    if code is None:
        assert said is None
        return
    fired = _fired(said, code)
    assert f"{hu:.0f} HU" in fired.text
    assert fired.klass is LesionClass.PHYSIOLOGIC
    settled = probability(3.0, [fired, Fired("R11_BOWEL_FOCUS", "", odds=0.02, floor=0.3)], OPTIONS.logistic)
    assert (settled < OPTIONS.decide.excluded_below) == (code == "R11_BOWEL_GAS")


def test_r11_asks_the_ct_of_no_place_but_the_bowels() -> None:
    focus = _box((120, 60, 230), (6, 6, 6))
    loop = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((120, 60, 230), (40, 16, 20))))
    assert isinstance(organs.lumen(_case(focus, 9.0, loop, hu=None)), NotAsked)
    assert organs.lumen(_case(focus, 9.0, hu=-700.0)) is None  # no bowel is mapped
    assert organs.lumen(_case(_box(L1, SPOT), 9.0, loop, hu=-700.0)) is None  # bone
    assert organs.lumen(_case(_box((60, 90, 375), SPOT), 9.0, loop, hu=-700.0)) is None  # lung


def test_a_pair_in_the_pelvis_is_doubted_as_ovaries_but_not_in_a_man_nor_at_the_pelvic_wall() -> None:
    sacrum = Structure("sacrum", StructureKind.BONE, Organ.BONE), _box((120, 150, 110), (30, 20, 40))
    hip = Structure("hip_left", StructureKind.BONE, Organ.BONE), _box((196, 100, 110), (8, 40, 40))
    anatomy = _anatomy(sacrum, hip)
    left, right = _box((160, 90, 110), (8, 8, 8)), _box((80, 90, 110), (8, 8, 8))
    pair = _case(left, 4.5, anatomy, others=((right, 4.0),))
    assert "mirror image L1" in _fired(soft.ovaries(pair), "OVARIES").text
    man = replace(pair.scene.study, patient=PatientFacts(sex="M"))
    assert soft.ovaries(Case(pair.finding, Scene(man, anatomy, OPTIONS), pair.siblings)) is None
    assert soft.ovaries(_case(left, 4.5, anatomy)) is None
    assert soft.ovaries(_case(left, 9.0, anatomy, others=((right, 4.0),))) is None
    wall = _box((178, 90, 110), (8, 8, 8)), _box((62, 90, 110), (8, 8, 8))
    assert soft.ovaries(_case(wall[0], 4.5, anatomy, others=((wall[1], 4.0),))) is None


def test_r12_injection_is_extreme_and_under_the_skin_of_the_arm() -> None:
    where = _box((204, 100, 300), (4, 4, 8))
    assert _fired(artefact.injection(_case(where, 60.0)), "R12_INJECTION").excluded
    assert artefact.injection(_case(where, 5.0)) is None


def test_r13_outside_and_beyond() -> None:
    assert _fired(limits.outline(_case(_box((8, 100, 100), (4, 4, 4)), 9.0)), "R13_OUTSIDE_BODY").excluded
    assert limits.outline(_case(_box(L1, SPOT), 9.0)) is None
    assert isinstance(limits.outline(_case(_box(L1, SPOT), 9.0, Anatomy())), NotAsked)


def test_r14_lung_at_the_dome_without_a_nodule() -> None:
    where = _box((60, 90, 360), (6, 6, 6))
    assert "lung or in the liver" in _fired(artefact.respiration(_case(where, 4.0, hu=-800.0)), "R14_RESPIRATION").text
    assert artefact.respiration(_case(where, 4.0, hu=30.0)) is None


def test_r15_metal_close_by() -> None:
    ct = _ct(40.0)
    values = ct.values.copy()
    values[30, 34, 75] = 2900.0
    metal = Volume(values, GRID, Unit.HU, Modality.CT, "CT-1")
    assert "2900 HU" in _fired(artefact.metal(_case(_box((120, 136, 300), (4, 4, 4)), 6.0, hu=metal)), "R15_METAL").text
    assert artefact.metal(_case(_box((120, 136, 200), (4, 4, 4)), 6.0, hu=metal)) is None


def test_r15_dense_bone_is_no_contrast_medium() -> None:
    sternum = Structure("sternum", StructureKind.BONE, Organ.BONE)
    where = _box((120, 40, 330), (12, 8, 20))
    dense = _ct(40.0).values.copy()
    dense[where] = 500.0
    ct = Volume(dense, GRID, Unit.HU, Modality.CT, "CT-1")
    assert artefact.metal(_case(where, 6.0, _anatomy((sternum, where)), hu=ct)) is None
    assert "500 HU" in _fired(artefact.metal(_case(where, 6.0, hu=ct)), "R15_CONTRAST").text


def test_r16_haemangioma_is_coarse_and_faint() -> None:
    rng = np.random.default_rng(1)
    coarse = Volume(rng.choice([-40.0, 220.0], SHAPE).astype(np.float32), GRID, Unit.HU, Modality.CT, "CT-1")
    assert isinstance(spine.haemangioma(_case(_box(L1, SPOT), 2.6, hu=coarse)), Fired)
    assert spine.haemangioma(_case(_box(L1, SPOT), 6.0, hu=coarse)) is None
    assert spine.haemangioma(_case(_box(L1, SPOT), 2.6, hu=100.0)) is None


def test_pairs_and_midline_of_the_neck() -> None:
    left, right = _box((150, 90, 390), (6, 6, 6)), _box((90, 90, 390), (6, 6, 6))
    assert isinstance(soft.head_and_neck_pair(_case(left, 5.0, others=((right, 4.5),))), Fired)
    assert soft.head_and_neck_pair(_case(left, 9.0, others=((right, 3.0),))) is None
    assert _fired(soft.head_and_neck_pair(_case(_box((120, 80, 390), (6, 6, 6)), 4.0)), "MIDLINE_HEAD_NECK").odds < 1


def test_a_tonsil_beside_the_midline_is_never_counted_and_a_node_of_the_neck_is_no_tonsil() -> None:
    counted_from = OPTIONS.decide.counted_from
    tonsil = _fired(soft.head_and_neck_pair(_case(_box((138, 80, 390), (6, 6, 6)), 12.0)), "MIDLINE_HEAD_NECK")
    assert tonsil.ceiling is not None and tonsil.ceiling < counted_from
    assert soft.head_and_neck_pair(_case(_box((154, 80, 390), (6, 6, 6)), 12.0)) is None  # beside the great vessels
    assert soft.head_and_neck_pair(_case(_box((142, 140, 390), (6, 6, 6)), 12.0)) is None  # beside the spine, not before it


def test_the_neck_begins_above_t1_where_c7_has_no_name() -> None:
    midline = _box((120, 80, 390), (6, 6, 6))
    nameless = _anatomy()
    (named,) = nameless.maps
    names = {v: s for v, s in named.label_map.names.items() if s.key != "vertebra_C7"}
    values = np.where(np.isin(named.label_map.values, list(names)), named.label_map.values, 0).astype(np.uint16)
    nameless = Anatomy((NamedMap("toy", LabelMap(values, GRID, names)),), nameless.vertebrae)
    assert isinstance(soft.head_and_neck_pair(_case(midline, 4.0, nameless)), Fired)
    assert soft.head_and_neck_pair(_case(_box((120, 80, 340), (6, 6, 6)), 4.0, nameless)) is None


def test_uptake_beside_the_heart_is_doubted_but_not_in_bone_or_lung() -> None:
    heart = Structure("heart", StructureKind.ORGAN, Organ.HEART), _box((150, 90, 370), (20, 20, 20))
    anatomy = _anatomy(heart)
    beside = _fired(heart_rules.heart_wall(_case(_box((150, 120, 370), (6, 6, 6)), 8.0, anatomy)), "HEART_WALL")
    assert beside.odds < 1
    assert not beside.excluded
    assert "mm from the heart" in beside.text
    assert heart_rules.heart_wall(_case(_box((200, 90, 370), (6, 6, 6)), 8.0, anatomy)) is None  # farther away
    assert heart_rules.heart_wall(_case(_box((120, 136, 350), (6, 6, 6)), 8.0, anatomy)) is None  # in T1
    assert heart_rules.heart_wall(_case(_box((150, 90, 370), (6, 6, 6)), 8.0, anatomy)) is None  # the heart's own rule speaks
    assert isinstance(heart_rules.heart_wall(_case(_box((150, 120, 370), (6, 6, 6)), 8.0)), NotAsked)


def test_a_focus_in_bone_is_told_against_the_patients_own_marrow() -> None:
    marrow = tuple((_box((120, 136, z), (20, 16, 14)), 2.0) for z in LEVELS.values())
    values = np.full(SHAPE, 1.0, dtype=np.float32)
    for where, suv in (*marrow, (_box(L1, SPOT), 7.0)):
        values[where] = suv
    case = _case(_box(L1, SPOT), 7.0)
    study = replace(case.scene.study, pet=Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1"))
    (told,) = screen.run([case.finding], study, case.scene.anatomy, OPTIONS)
    assert "SUVmax 3.5 times the patient's own marrow" in told.reasons[0].text


def test_a_part_of_a_neighbour_is_no_likelier_a_lesion_than_it_is_one_of_its_own() -> None:
    case = _case(_box(L1, SPOT), 20.0)
    assert limits.own_lesion(case) is None
    one = case.finding.located
    part = replace(one, candidate=replace(one.candidate, own_probability=0.4))
    said = _fired(limits.own_lesion(Case(replace(case.finding, sightings=(part,)), case.scene)), "SPLIT")
    assert "with probability 0.40" in said.text
    assert probability(5.0, [said], OPTIONS.logistic) == 0.4
    assert probability(-1.0, [said], OPTIONS.logistic) < probability(-1.0, [], OPTIONS.logistic)


def test_r20_small_and_edge() -> None:
    tiny = _box(L1, (2, 2, 2))
    assert _fired(limits.sub_resolution(_case(tiny, 6.0)), "R20_SUB_RESOLUTION").ceiling is not None
    assert limits.sub_resolution(_case(_box(L1, SPOT), 6.0)) is None
    last = _box((120, 100, 396), (3, 3, 3))
    assert "0 slices from the end" in _fired(artefact.field_edge(_case(last, 5.0)), "FIELD_EDGE").text


def _blob(centre: tuple[float, float, float], suv: float, fwhm_mm: float, anatomy: Anatomy | None = None) -> Case:
    """A finding of its hottest voxels only, in uptake that falls off like a Gaussian over a background of 1."""
    away = np.linalg.norm(POINTS - np.array(centre), axis=-1)
    values = (1.0 + (suv - 1.0) * np.exp(-4 * np.log(2) * (away / fwhm_mm) ** 2)).astype(np.float32)
    case = _case(values >= 0.98 * float(values.max()), suv, anatomy)
    scene = Scene(
        replace(case.scene.study, pet=Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1")), case.scene.anatomy, OPTIONS
    )
    return Case(case.finding, scene)


def test_a_focus_of_bone_with_an_edge_is_likelier_than_one_that_fades() -> None:
    sharp = _fired(focus.edge(_blob(L1, 4.0, 10.0)), "FOCUS_EDGE")
    assert sharp.odds > 2
    assert sharp.klass is None
    fading = _fired(focus.edge(_blob(L1, 4.0, 30.0)), "FOCUS_FADING")
    assert fading.odds == OPTIONS.focus.least_odds
    assert fading.klass is LesionClass.PHYSIOLOGIC


def test_what_stands_out_clearly_is_not_doubted_for_its_size() -> None:
    """A lesion of 8 ml has a half radius of 12 mm whatever its edge: 5 times its surroundings, it is no uneven marrow."""
    large = _blob(L1, 4.0, 30.0)
    large.__dict__["focality"] = Focality(contrast=5.0, half_ml=8.2, half_mm=12.5)
    assert focus.edge(large) is None
    large.__dict__["focality"] = Focality(contrast=2.5, half_ml=8.2, half_mm=12.5)
    assert _fired(focus.edge(large), "FOCUS_FADING").odds < 1


def test_the_edge_of_what_is_smaller_than_a_scanner_shows_says_nothing() -> None:
    """A single voxel of noise ends more sharply than any lesion."""
    assert focus.edge(_case(_box(L1, (3, 3, 3)), 5.0)) is None


def test_a_large_uptake_is_not_doubted_for_a_missing_edge() -> None:
    whole = _case(_box(L1, (20, 16, 14)), 3.0)
    assert whole.measures.volume_ml > OPTIONS.focus.large_ml
    assert focus.edge(whole) is None


def test_an_edge_speaks_in_lung_and_mediastinum_and_nowhere_else() -> None:
    lung, fat = (60.0, 90.0, 375.0), (180.0, 100.0, 200.0)
    assert _fired(focus.edge(_blob(lung, 3.0, 10.0)), "FOCUS_EDGE").odds > 1
    assert focus.edge(_blob(lung, 3.0, 30.0)) is None
    assert focus.edge(_blob(fat, 3.0, 10.0)) is None
    chest = _anatomy((Structure("mediastinum", StructureKind.REGION), _box(fat, (20, 20, 20))))
    assert _fired(focus.edge(_blob(fat, 3.0, 10.0, chest)), "FOCUS_EDGE").odds > 1


def test_a_nodule_on_ct_under_a_focus_of_the_lung_speaks_for_it() -> None:
    at = (60.0, 90.0, 375.0)
    ball = np.linalg.norm(POINTS - at, axis=-1) <= 10
    hu = np.where(ball, 30.0, -850.0).astype(np.float32)
    nodule, air = (Volume(v, GRID, Unit.HU, Modality.CT, "CT-1") for v in (hu, np.full(SHAPE, -850.0, np.float32)))
    said = _fired(focus.nodule(_case(ball, 3.0, hu=nodule)), "LUNG_NODULE")
    assert said.odds == OPTIONS.lung_nodule.odds > 1
    assert "a nodule of 3.7 ml on CT" in said.text
    assert focus.nodule(_case(ball, 3.0, hu=air)) is None
    assert focus.nodule(_case(_box(L1, SPOT), 3.0, hu=nodule)) is None  # bone has CT rules of its own
    assert isinstance(focus.nodule(_case(ball, 3.0, hu=None)), NotAsked)


def test_the_tip_of_a_faint_lesion_is_not_below_the_resolution() -> None:
    """Two voxels exceed the threshold, but half the uptake's height is reached over more than a millilitre."""
    tip = _blob(L1, 4.0, 12.0)
    assert len(tip.points) < OPTIONS.sub_resolution.voxels
    assert limits.sub_resolution(tip) is None
    speck = _case(_box(L1, (2, 2, 2)), 6.0)
    assert _fired(limits.sub_resolution(speck), "R20_SUB_RESOLUTION").ceiling == OPTIONS.sub_resolution.ceiling


def test_the_hotter_half_of_a_brain_is_no_focus_in_it() -> None:
    """Where the field of view ends in the skull, white matter or cerebellum alone is most of what is seen."""
    at = (60.0, 60.0, 200.0)
    anatomy = _anatomy((Structure("brain", StructureKind.ORGAN, Organ.BRAIN), _box(at, (40, 40, 40))))
    hotter = (_box((60, 85, 200), (40, 13, 40)), 8.0)
    noise = np.random.default_rng(1).normal(5.0, 0.2, SHAPE).astype(np.float32)
    for suv, code in ((9.0, "ORGAN_BRAIN"), (14.0, "ORGAN_BRAIN_FOCUS")):
        case = _case(_box((60, 48, 200), (8, 8, 8)), suv, anatomy, others=(hotter,), background=5.0)
        values = np.where(case.scene.study.pet.values == 5.0, noise, case.scene.study.pet.values)  # type: ignore[union-attr]  # there is one
        pet = Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1")
        again = Case(case.finding, Scene(replace(case.scene.study, pet=pet), anatomy, OPTIONS))
        assert _fired(organs.ordinary_uptake(again), code)


@pytest.mark.parametrize(("background", "spill"), [(1.0, False), (3.0, True)])
def test_a_clear_focus_at_the_adrenals_place_is_no_spill_of_the_kidney(background: float, spill: bool) -> None:
    at = (70.0, 140.0, 251.0)
    kidney = _box((70, 140, 220), (16, 16, 24))
    anatomy = _anatomy(
        (Structure("kidney_right", StructureKind.ORGAN, Organ.KIDNEY), kidney),
        (Structure("adrenal_right", StructureKind.ORGAN, Organ.ADRENAL), _box(at, (8, 8, 6))),
    )
    case = _case(_box(at, (8, 8, 6)), 5.5, anatomy, others=((kidney, 30.0),), background=background)
    cases = []
    for one in case.siblings:
        located = one.finding.located
        part = replace(located, candidate=replace(located.candidate, parent="U001"))
        cases.append(Case(replace(one.finding, sightings=(part,)), case.scene))
    for one in cases:
        one.siblings = cases
    said = organs.spill(cases[0])
    assert (said is not None) is spill


@pytest.mark.parametrize(
    ("ct", "mri", "check"),
    [
        ("lytic", "not_available", lambda said: said[0].odds > 1),
        ("none", "not_available", lambda said: said[0].odds <= 1),
        ("not_assessable", "positive", lambda said: said[0].floor == 0.95),
        ("not_assessable", "negative", lambda said: said[0].ceiling == 0.6),
        ("not_available", "not_available", lambda said: said == []),
    ],
)
def test_other_modalities_speak(ct: str, mri: str, check: Callable[[list[Fired]], bool]) -> None:
    case = _case(_box(L1, SPOT), 6.0, evidence=Evidence(pet="positive", ct=ct, mri=mri))
    assert check(corroborate(case, OPTIONS.corroboration))


def test_floors_of_doubts_add_nothing_and_ceilings_have_the_last_word() -> None:
    rule = OPTIONS.logistic
    doubt = Fired("X", "", odds=0.01, floor=0.3)
    assert probability(2.0, [doubt], rule) == pytest.approx(0.3)
    assert probability(-3.0, [doubt], rule) < 0.06
    confirmed = Fired("Y", "", odds=6.0, floor=0.95)
    assert probability(0.0, [confirmed], rule) == pytest.approx(0.95)
    assert probability(0.0, [confirmed, Fired("Z", "", ceiling=0.15)], rule) == 0.15


def test_measurements_may_fall_lower_where_no_rule_speaks_for_a_lesion() -> None:
    rule = OPTIONS.logistic
    faint = _case(_box(L1, SPOT), 1.0)
    against = Fired("X", "", odds=0.5)
    assert base_log_odds(faint, [against], rule) == -rule.least
    assert base_log_odds(faint, [against, Fired("Y", "", odds=1.1)], rule) == -rule.most
    hot = _case(_box(L1, SPOT), 90.0)
    assert base_log_odds(hot, [], rule) == rule.most
    assert rule.most < rule.least


def test_a_nodule_in_lung_is_no_heart_though_the_hearts_map_takes_it_in() -> None:
    chamber = Structure("heart", StructureKind.ORGAN, Organ.HEART), _box((140, 90, 300), (60, 60, 60))
    anatomy = _anatomy(chamber)
    nodule = _box((185, 60, 330), (8, 8, 8))
    density = np.full(SHAPE, 40.0, dtype=np.float32)
    density[_box((205, 40, 330), (36, 36, 30))] = -850.0
    density[nodule] = 30.0
    in_lung = Volume(density, GRID, Unit.HU, Modality.CT, "CT-1")
    said = _fired(organs.ordinary_uptake(_case(nodule, 6.0, anatomy, hu=in_lung)), "ORGAN_HEART_IN_LUNG")
    assert said.odds == 1.0
    muscle = _box((140, 90, 300), (52, 40, 40)), 6.0
    patch = _fired(organs.ordinary_uptake(_case(nodule, 6.0, anatomy, others=(muscle,))), "ORGAN_HEART")
    assert patch.odds == OPTIONS.masks.organs["heart"].odds


HEART = Structure("heart", StructureKind.ORGAN, Organ.HEART), _box((140, 90, 300), (60, 60, 60))


@pytest.mark.parametrize(("height", "odds"), [(340.0, OPTIONS.masks.upper_odds), (290.0, OPTIONS.masks.apart_odds)])
def test_a_focus_that_falls_off_on_every_side_is_no_muscle_though_the_hearts_map_takes_it_in(
    height: float, odds: float
) -> None:
    anatomy = _anatomy(HEART)
    node, hotter = _box((110, 100, height), SPOT), (_box((160, 70, 270), (24, 24, 12)), 14.0)
    said = _fired(organs.ordinary_uptake(_case(node, 8.0, anatomy, others=(hotter,))), "ORGAN_HEART_APART")
    assert said.odds == odds
    assert "falls below half of that on 100 % of its sides" in said.text
    values = np.full(SHAPE, 1.0, dtype=np.float32)
    values[_box((110, 100, height), (40, 12, 40))] = 6.0  # a wall of muscle, uneven
    values[node] = 8.0
    case = _case(node, 8.0, anatomy, others=(hotter,))
    study = replace(case.scene.study, pet=Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1"))
    wall = Case(case.finding, Scene(study, anatomy, OPTIONS), case.siblings)
    assert _fired(organs.ordinary_uptake(wall), "ORGAN_HEART").odds == OPTIONS.masks.organs["heart"].odds


def test_a_focus_over_a_kidney_is_rather_an_adrenal_and_what_the_map_calls_bowel_there_may_count() -> None:
    kidney = Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY), _box((175, 140, 265), (16, 20, 24))
    stomach = Structure("stomach", StructureKind.ORGAN, Organ.GI), _box((170, 100, 295), (24, 12, 24))
    anatomy = _anatomy(kidney, stomach)
    adrenal = _case(_box((165, 104, 294), (6, 6, 6)), 9.0, anatomy)
    assert adrenal.site.organ_probabilities[0][0] is Organ.ADRENAL
    _fired(organs.bowel(adrenal), "R11_BOWEL_OR_ADRENAL")
    assert urinary.renal_bed(adrenal) is None
    before = _case(_box((165, 92, 266), (6, 4, 6)), 9.0, anatomy)  # too low and too far before the spine
    assert before.probability_of(Organ.ADRENAL) == 0.0
    named = _anatomy(
        kidney, stomach, (Structure("adrenal_right", StructureKind.ORGAN, Organ.ADRENAL), _box((70, 120, 290), SPOT))
    )
    elsewhere = _case(_box((165, 104, 294), (6, 6, 6)), 9.0, named)
    assert elsewhere.probability_of(Organ.ADRENAL) == 0.0  # a map that names adrenals is believed


def test_a_focus_at_the_front_of_a_kidneys_top_may_be_an_adrenal_that_its_map_holds() -> None:
    kidney = Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY), _box((170, 120, 265), (20, 24, 30))
    anatomy = _anatomy(kidney)
    adrenal = _case(_box((162, 104, 286), (6, 6, 6)), 9.0, anatomy)
    assert adrenal.site.organ_probabilities[0][0] is Organ.ADRENAL
    said = _fired(organs.ordinary_uptake(adrenal), "ORGAN_KIDNEY_OR_ADRENAL")
    assert said.klass is None
    assert said.odds == OPTIONS.masks.adrenal_odds
    assert organs.bowel(adrenal) is None  # no bowel in sight: one doubt is enough
    for behind_or_low in ((162, 136, 286), (162, 104, 250)):
        calyx = _case(_box(behind_or_low, (6, 6, 6)), 9.0, anatomy)
        assert _fired(organs.ordinary_uptake(calyx), "ORGAN_KIDNEY").odds == OPTIONS.masks.organs["kidney"].odds


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_under_the_hip_joints_nodes_lie_in_the_groins_and_not_in_the_midline(flip: float) -> None:
    femurs = [
        (Structure(f"femur_{side}", StructureKind.BONE, Organ.BONE), _box((x, 100, 60), (16, 16, 60)))
        for side, x in (("right", 50), ("left", 190))
    ]
    floor = Structure("sacrum", StructureKind.BONE, Organ.BONE), _box((120, 150, 90), (40, 8, 60))
    bowel = Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((120, 132, 90), (70, 4, 70))
    anatomy = _anatomy(*femurs, floor, bowel)
    for x, z, is_station in ((120 + flip * 26, 84, False), (120 + flip * 36, 84, True), (120 + flip * 26, 104, True)):
        case = _case(_box((x, 132, z), (6, 6, 6)), 6.0, anatomy)
        assert at_a_node_station(case) is is_station
    unseen = _case(_box((120 + flip * 26, 132, 84), (6, 6, 6)), 6.0, _anatomy(femurs[0], floor, bowel))
    assert at_a_node_station(unseen)  # one hip joint alone does not tell the midline


def test_a_small_focus_high_in_the_hearts_map_is_rather_a_node_and_a_large_or_low_one_the_heart() -> None:
    anatomy = _anatomy(HEART)
    for mask, first in (
        (_box((110, 100, 340), SPOT), Organ.LYMPH_NODE),
        (_box((110, 100, 280), SPOT), Organ.HEART),
        (_box((140, 90, 335), (40, 40, 20)), Organ.HEART),
    ):
        assert _case(mask, 8.0, anatomy).site.organ_probabilities[0][0] is first


def test_what_no_rule_explains_is_shown_where_what_a_rule_explains_is_left_out() -> None:
    decide = OPTIONS.decide
    between = (decide.excluded_below + decide.explained_below) / 2
    explained = Fired("X", "", odds=0.9, klass=LesionClass.PHYSIOLOGIC)
    assert decision(between, [explained], known=True, options=OPTIONS) is Decision.EXCLUDED
    assert decision(between, [replace(explained, klass=None)], known=True, options=OPTIONS) is Decision.UNCERTAIN


def test_the_rectum_before_the_sacrum_is_no_node_station_and_the_pelvic_wall_is() -> None:
    sacrum = Structure("sacrum", StructureKind.BONE, Organ.BONE), _box((120, 150, 110), (40, 12, 40))
    bowel = Structure("bowel", StructureKind.ORGAN, Organ.GI), _box((120, 125, 90), (50, 6, 30))
    anatomy = _anatomy(sacrum, bowel)
    rectum = organs.bowel(_case(_box((124, 124, 84), (8, 8, 8)), 6.0, anatomy))
    assert isinstance(rectum, Fired)
    assert rectum.code != "R11_BOWEL_OR_NODE"
    _fired(organs.bowel(_case(_box((155, 126, 100), (8, 8, 8)), 6.0, anatomy)), "R11_BOWEL_OR_NODE")


@pytest.mark.parametrize(("suv_max", "suv_peak", "clear"), [(5.8, 4.5, True), (5.2, 4.5, False), (5.8, 3.8, False)])
def test_a_clear_focus_exceeds_an_uneven_organ_by_its_highest_voxel_and_by_its_peak(
    suv_max: float, suv_peak: float, clear: bool
) -> None:
    """A median of 2 and a MAD of 0.5: from 5.5 and 4.0 on."""
    case = _case(_box((60, 90, 310), (8, 8, 8)), suv_max)
    one = case.finding.located
    seen = replace(one, candidate=replace(one.candidate, measures=replace(case.measures, suv_peak=suv_peak)))
    focus = Case(replace(case.finding, sightings=(seen,)), case.scene)
    focus.siblings = [focus]
    focus.scene.references.organs["liver"] = OrganUptake(2.0, 0.5, 1000, 2.3)
    said = _fired(organs.ordinary_uptake(focus), "ORGAN_LIVER_FOCUS")
    assert said.odds == (OPTIONS.masks.clear_odds if clear else 1.0)


def test_a_clear_focus_of_the_liver_is_likely_and_a_bright_speck_of_noise_is_not() -> None:
    focus = _box((60, 90, 310), (8, 8, 8))
    case = _case(focus, 9.0)
    quiet = replace(case.measures, suv_peak=6.0, contrast_to_noise=3.0)
    one = case.finding.located
    clear = Case(replace(case.finding, sightings=(replace(one, candidate=replace(one.candidate, measures=quiet)),)), case.scene)
    clear.siblings = [clear]
    assert _fired(organs.ordinary_uptake(clear), "ORGAN_LIVER_FOCUS").odds == OPTIONS.masks.clear_odds
    noisy = replace(case.measures, suv_peak=1.0, contrast_to_noise=9.0)
    speck = Case(replace(case.finding, sightings=(replace(one, candidate=replace(one.candidate, measures=noisy)),)), case.scene)
    speck.siblings = [speck]
    assert _fired(organs.ordinary_uptake(speck), "ORGAN_LIVER_FOCUS").odds == 1.0


def _legs(*hot: tuple[Mask, float]) -> Volume:
    """A trunk of SUV 1 that falls in two legs below z = 140, with hot places."""
    values = np.zeros(SHAPE, dtype=np.float32)
    values[_box((120, 100, 280), (90, 60, 138))] = 1.0
    for x in (70, 170):
        values[_box((x, 100, 68), (36, 40, 72))] = 1.0
    for where, suv in hot:
        values[where] = suv
    return Volume(values, GRID, Unit.SUVBW, Modality.PT, "PT-1")


def _without_anatomy(mask: Mask, suv: float) -> Screened:
    pet = _legs((mask, suv))
    study = Study("toy", PatientFacts(), Tracer.FDG, (), pet, None)
    measures = Measures(float(mask.sum()) * 0.064, suv_max=suv, suv_peak=suv, background=1.0, contrast_to_noise=20.0)
    candidate = Candidate("C1", np.argwhere(mask).astype(np.int32), GRID, Modality.PT, "toy", measures)
    located = localize.run((candidate,), study, Anatomy(), localize.Options(**PRESET["localize"]))
    (said,) = screen.run((Finding("L1", located, Evidence(pet="positive")),), study, Anatomy(), OPTIONS)
    return said


def test_a_mass_of_a_thigh_counts_without_a_ct_and_one_of_the_trunk_does_not() -> None:
    thigh, trunk = _box((70, 100, 90), (16, 16, 20)), _box((70, 100, 300), (16, 16, 20))
    counted = _without_anatomy(thigh, 8.0)
    assert counted.decision is Decision.COUNTED
    assert any("where the legs part" in r.text or "at which the legs part" in r.text for r in counted.reasons)
    assert counted.probability <= OPTIONS.decide.unknown_place_ceiling
    assert _without_anatomy(trunk, 8.0).decision is Decision.UNCERTAIN
    assert limb.legs_part(Volume(np.ones(SHAPE, dtype=np.float32), GRID, Unit.SUVBW, Modality.PT, "PT-1"), OPTIONS.limb) is None
