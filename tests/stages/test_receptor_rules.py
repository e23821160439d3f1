"""Rules of receptor tracers: glands, bile, kidneys, bowel, prostate that no map names, and the lesions they must spare."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Candidate, Evidence, Finding, LesionClass, Measures
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.stages import localize, screen
from lesion_pipeline.stages.screen import abdomen, glands, pelvis, soft
from lesion_pipeline.stages.screen.case import Case, Scene
from lesion_pipeline.stages.screen.outcome import Fired, NotAsked, Outcome

PRESET: dict[str, Any] = tomllib.loads((Path(__file__).resolve().parents[2] / "configs" / "fdg-petct.toml").read_text("utf-8"))
OPTIONS = screen.Options(**PRESET["screen"])
SHAPE = (75, 55, 200)  # 4 mm: 300 x 220 x 800 mm, LPS: i to the left, j to the back, k to the head
GRID = Grid(SHAPE, np.diag([4.0, 4.0, 4.0, 1.0]), "pet")
Box = tuple[tuple[float, float, float], tuple[float, float, float]]
Mask = npt.NDArray[np.bool_]
AXES = [np.arange(n) * 4.0 for n in SHAPE]
HEIGHTS = {"C1": 720.0, "C3": 680.0, "C5": 640.0, "C7": 600.0, "T12": 360.0, "L1": 330.0, "L2": 300.0, "L3": 270.0, "L5": 210.0}
MIDDLE = 150.0

LIVER: Box = ((80, 90, 370), (60, 60, 60))
SKULL: Box = ((150, 100, 770), (60, 80, 24))
SACRUM: Box = ((150, 150, 160), (36, 24, 36))


def _inside(box: Box) -> Mask:
    (x, y, z), (a, b, c) = box
    i, j, k = (np.abs(axis - at) <= half for axis, at, half in zip(AXES, (x, y, z), (a, b, c), strict=True))
    return np.asarray(i[:, None, None] & j[None, :, None] & k[None, None, :])


def _anatomy(*more: tuple[Structure, Box]) -> Anatomy:
    bone, organ = StructureKind.BONE, StructureKind.ORGAN
    drawn: list[tuple[Structure, Box]] = [
        (Structure("liver", organ, Organ.LIVER), LIVER),
        (Structure("skull", bone, Organ.BONE), SKULL),
        (Structure("sacrum", bone, Organ.BONE), SACRUM),
        (Structure("hip_left", bone, Organ.BONE), ((240, 130, 130), (16, 40, 60))),
        (Structure("hip_right", bone, Organ.BONE), ((60, 130, 130), (16, 40, 60))),
        (Structure("femur_left", bone, Organ.BONE), ((250, 110, 50), (20, 24, 50))),
        (Structure("femur_right", bone, Organ.BONE), ((50, 110, 50), (20, 24, 50))),
        (Structure("urinary_bladder", organ, Organ.BLADDER), ((150, 80, 130), (28, 28, 20))),
        *(
            (
                Structure(f"vertebra_{name}", StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[name], n + 1),
                ((MIDDLE, 140, z), (20, 16, 12)),
            )
            for n, (name, z) in enumerate(HEIGHTS.items())
        ),
        *more,
    ]
    values = np.ones(SHAPE, dtype=np.uint16)
    names = {1: Structure("body", StructureKind.REGION)}
    for n, (structure, box) in enumerate(drawn, start=2):
        values[_inside(box)] = n
        names[n] = structure
    vertebrae = tuple(
        VertebraInstance(n + 1, VertebralLevel[name], 0.9, (MIDDLE, 140.0, z)) for n, (name, z) in enumerate(HEIGHTS.items())
    )
    return Anatomy((NamedMap("toy", LabelMap(values, GRID, names)),), vertebrae)


PLAIN = _anatomy()


def _cases(*foci: tuple[Box, float], hu: float | None = 40.0, liver_hu: float = 55.0, anatomy: Anatomy = PLAIN) -> list[Case]:
    """Findings of even uptake in the toy patient, on a CT of one density but for the liver."""
    suv = np.full(SHAPE, 0.6, dtype=np.float32)
    suv[_inside(LIVER)] = 5.0
    spots = [(_inside(box), height) for box, height in foci]
    for mask, height in spots:
        suv[mask] = height
    ct = None
    if hu is not None:
        density = np.full(SHAPE, hu, dtype=np.float32)
        density[_inside(LIVER) & ~np.any([mask for mask, _ in spots], axis=0)] = liver_hu
        ct = Volume(density, GRID, Unit.HU, Modality.CT, "CT-1")
    study = Study("toy", PatientFacts(), Tracer.PSMA_11, (), Volume(suv, GRID, Unit.SUVBW, Modality.PT, "PT-1"), ct)
    found = tuple(
        Candidate(f"C{n}", np.argwhere(mask).astype(np.int32), GRID, Modality.PT, "toy",
                  Measures(float(mask.sum()) * GRID.voxel_ml, suv_max=height, suv_peak=0.9 * height, background=0.6))
        for n, (mask, height) in enumerate(spots)
    )  # fmt: skip
    located = localize.run(found, study, anatomy, localize.Options(**PRESET["localize"]))
    scene = Scene(study, anatomy, OPTIONS)
    cases = [Case(Finding(f"L{n}", (one,), Evidence(pet="positive")), scene) for n, one in enumerate(located)]
    for case in cases:
        case.siblings = cases
    return cases


def _ball(x: float, y: float, z: float, half: float = 8.0) -> Box:
    return (x, y, z), (half, half, half)


def _fired(answer: Outcome, code: str) -> Fired:
    assert isinstance(answer, Fired)
    assert answer.code == code
    assert answer.odds < 1.0
    return answer


PAROTIDS = ((210.0, 100.0, 690.0), (86.0, 104.0, 696.0))


def test_two_alike_on_both_sides_of_the_head_are_glands() -> None:
    left, right = (_ball(*where) for where in PAROTIDS)
    one, other = _cases((left, 16.0), (right, 14.0))
    said = _fired(glands.head_glands(one), "GLANDS_PAIR")
    assert "L1 on the other side with SUVmax 14.0 against 16.0" in said.text
    assert said.klass is LesionClass.PHYSIOLOGIC
    _fired(glands.head_glands(other), "GLANDS_PAIR")


def test_a_much_hotter_focus_has_no_partner_and_is_only_doubted() -> None:
    left, right = (_ball(*where) for where in PAROTIDS)
    hot, _ = _cases((left, 40.0), (right, 14.0))
    single = _fired(glands.head_glands(hot), "GLANDS_SINGLE")
    assert single.odds > OPTIONS.glands.odds


def test_glands_of_a_turned_head_are_still_a_pair() -> None:
    turned = ((222.0, 90.0, 690.0), (100.0, 108.0, 690.0))
    one, _ = _cases(*((_ball(*where), 15.0) for where in turned))
    _fired(glands.head_glands(one), "GLANDS_PAIR")


def test_foci_in_dense_bone_of_the_skull_are_no_glands_unless_one_is_the_others_image() -> None:
    left, right = _ball(200, 60, 760, 6), _ball(100, 60, 760, 6)
    (alone,) = _cases((_ball(200, 100, 760, 6), 9.0), hu=600.0)
    assert glands.head_glands(alone) is None
    unlike, _ = _cases((_ball(200, 100, 760, 6), 9.0), (_ball(100, 100, 760, 6), 6.0), hu=600.0)
    assert glands.head_glands(unlike) is None
    lacrimal, _ = _cases((left, 9.0), (right, 8.6), hu=600.0)
    _fired(glands.head_glands(lacrimal), "GLANDS_PAIR")


def test_a_single_small_focus_at_the_corner_of_an_orbit_is_doubted_as_a_lacrimal_gland() -> None:
    place = _ball(194, 62, 770, 4)
    (gland,) = _cases((place, 6.0), hu=600.0)
    said = _fired(glands.head_glands(gland), "GLANDS_LACRIMAL")
    assert said.odds == OPTIONS.glands.lacrimal_odds
    assert "44 mm beside the midline, 78 mm before and 50 mm above the atlas" in said.text
    (large,) = _cases((_ball(194, 62, 770, 12), 6.0), hu=600.0)
    assert glands.head_glands(large) is None
    brain = _anatomy((Structure("brain", StructureKind.ORGAN, Organ.BRAIN), ((190, 62, 770), (24, 24, 20))))
    (overlapped,) = _cases((place, 6.0), anatomy=brain)
    _fired(glands.head_glands(overlapped), "GLANDS_LACRIMAL")
    (temple,) = _cases((_ball(206, 100, 770, 4), 6.0), hu=600.0)
    assert glands.head_glands(temple) is None


def test_mucosa_of_the_midline_and_what_is_below_the_head() -> None:
    (palate,) = _cases((_ball(152, 60, 690), 5.0))
    _fired(glands.head_glands(palate), "GLANDS_MIDLINE")
    low, _ = _cases((_ball(210, 100, 560), 9.0), (_ball(90, 100, 560), 9.0))
    assert glands.head_glands(low) is None  # supraclavicular nodes may come in pairs
    (vertebra,) = _cases((_ball(MIDDLE, 140, 680), 9.0))
    assert glands.head_glands(vertebra) is None
    lungs = NamedMap("toy", LabelMap(np.where(_inside(((90, 110, 510), (50, 50, 60))), 1, 0).astype(np.uint16), GRID,
                                     {1: Structure("lung_right", StructureKind.ORGAN, Organ.LUNG)}))  # fmt: skip
    unnamed = Anatomy((lungs, NamedMap("head", LabelMap(_inside(SKULL).astype(np.uint16), GRID,
                                                        {1: Structure("skull", StructureKind.BONE, Organ.BONE)}))))  # fmt: skip
    one, _ = _cases(*((_ball(*where), 15.0) for where in PAROTIDS), anatomy=unnamed)
    _fired(glands.head_glands(one), "GLANDS_PAIR")
    (nowhere,) = _cases((_ball(210, 100, 690), 9.0), anatomy=Anatomy())
    assert isinstance(glands.head_glands(nowhere), NotAsked)


GALLBLADDER = _ball(90, 40, 318, 12)


def test_fluid_under_the_liver_is_bile_and_a_denser_focus_in_the_liver_is_not() -> None:
    (bladder,) = _cases((GALLBLADDER, 40.0), hu=8.0)
    said = _fired(abdomen.bile(bladder), "BILE")
    assert "8 HU against 55 HU of the liver" in said.text
    assert said.odds == OPTIONS.bile.odds
    (metastasis,) = _cases((GALLBLADDER, 40.0), hu=38.0)
    assert abdomen.bile(metastasis) is None
    (duct,) = _cases((_ball(80, 110, 400, 8), 30.0), hu=8.0)
    assert _fired(abdomen.bile(duct), "BILE").odds == OPTIONS.bile.elsewhere_odds
    (far,) = _cases((_ball(220, 60, 318, 12), 40.0), hu=8.0)
    assert abdomen.bile(far) is None
    (coeliac,) = _cases((_ball(146, 90, 350, 8), 30.0), hu=8.0)  # 6 mm beside the liver, in the midline
    assert abdomen.bile(coeliac) is None
    (blind,) = _cases((GALLBLADDER, 40.0), hu=None)
    assert isinstance(abdomen.bile(blind), NotAsked)


def test_a_kidney_is_known_by_size_place_and_uptake() -> None:
    kidney: Box = ((208, 150, 310), (20, 20, 40))
    (organ,) = _cases((kidney, 40.0))
    assert "beside the spine at L2" in _fired(abdomen.kidneys(organ), "KIDNEYS").text
    (node,) = _cases((_ball(180, 120, 310, 8), 40.0))
    assert abdomen.kidneys(node) is None
    (faint,) = _cases((kidney, 5.0))
    assert abdomen.kidneys(faint) is None


KIDNEY: Box = ((208, 150, 310), (20, 20, 40))
WITH_KIDNEY = _anatomy((Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY), KIDNEY))


def test_what_lies_against_a_kidney_and_is_as_bright_is_a_piece_of_it_that_stays_a_doubt() -> None:
    above = _ball(208, 150, 360)
    piece, kidney = _cases((above, 30.0), (KIDNEY, 40.0), anatomy=WITH_KIDNEY)
    said = _fired(abdomen.kidneys(piece), "KIDNEY_PIECE")
    assert said.floor == OPTIONS.kidneys.piece_floor >= OPTIONS.decide.excluded_below
    assert "from its map, SUVmax 30 against 40 of the kidney" in said.text
    _fired(abdomen.kidneys(kidney), "KIDNEYS")
    faint, _ = _cases((above, 15.0), (KIDNEY, 40.0), anatomy=WITH_KIDNEY)
    assert abdomen.kidneys(faint) is None
    far, _ = _cases((_ball(208, 150, 384), 30.0), (KIDNEY, 40.0), anatomy=WITH_KIDNEY)
    assert abdomen.kidneys(far) is None


def test_a_rib_beside_a_kidney_is_no_piece_of_it_unless_the_uptake_lies_inside() -> None:
    rib = Structure("rib_left_12", StructureKind.BONE, Organ.BONE)
    anatomy = _anatomy(
        (Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY), KIDNEY), (rib, ((208, 180, 310), (24, 6, 6)))
    )
    lesion, _ = _cases((((208, 180, 310), (8, 6, 6)), 38.0), (KIDNEY, 40.0), anatomy=anatomy)
    assert abdomen.kidneys(lesion) is None
    across, _ = _cases((((208, 172, 310), (8, 14, 6)), 38.0), (((208, 140, 310), (20, 10, 40)), 40.0), anatomy=anatomy)
    _fired(abdomen.kidneys(across), "KIDNEY_PIECE")


def test_a_hot_focus_of_the_stomach_above_the_front_of_a_kidney_may_be_an_adrenal() -> None:
    stomach = Structure("stomach", StructureKind.ORGAN, Organ.GI), ((200, 110, 350), (40, 28, 40))
    anatomy = _anatomy((Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY), KIDNEY), stomach)
    loops = [_ball(*where, 6) for where in ((190, 90, 380), (230, 90, 380), (170, 90, 380))]
    for where, suv, code in (
        ((206, 126, 352), 20.0, "R11_BOWEL_OR_ADRENAL"),
        ((206, 126, 352), 6.0, "R11_BOWEL_STRETCHES"),
        ((206, 98, 352), 20.0, "R11_BOWEL_STRETCHES"),
    ):
        case, *_ = _cases((_ball(*where, 6), suv), *((loop, suv) for loop in loops), anatomy=anatomy)
        _fired(abdomen.gut(case), code)


@pytest.mark.parametrize(
    ("box", "suv", "code"),
    [
        (((200.0, 60.0, 250.0), (30.0, 10.0, 10.0)), 9.0, "R11_BOWEL_FORM"),
        (_ball(200, 60, 250), 9.0, "R11_BOWEL_UNMAPPED"),
        (_ball(150, 110, 170, 12), 5.0, "R11_BOWEL_FAINT"),  # a loop on the sacrum
    ],
)
def test_loops_of_bowel_that_no_map_names(box: Box, suv: float, code: str) -> None:
    (loop,) = _cases((box, suv))
    _fired(abdomen.gut(loop), code)


@pytest.mark.parametrize(
    ("what", "box", "suv"),
    [
        ("a node beside the aorta", _ball(178, 116, 270), 12.0),
        ("a node at the pelvic wall", _ball(206, 110, 150), 12.0),
        ("a small faint node before the sacrum", _ball(150, 112, 170, 6), 5.0),
        ("a node of the groin", _ball(230, 60, 60), 12.0),
        ("a focus in a vertebra", _ball(MIDDLE, 140, 270), 12.0),
        ("a focus in the liver", _ball(90, 80, 350), 12.0),
        ("a node of the mediastinum", _ball(170, 90, 500), 12.0),
    ],
)
def test_no_bowel(what: str, box: Box, suv: float) -> None:
    (case,) = _cases((box, suv))
    assert abdomen.gut(case) is None, what


def test_mapped_bowel_is_believed() -> None:
    loop: Box = ((200, 60, 250), (40, 12, 12))
    mapped = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), loop))
    (case,) = _cases((loop, 6.0), anatomy=mapped)
    _fired(abdomen.gut(case), "R11_BOWEL")


LOOPS: Box = ((200, 60, 250), (60, 24, 60))
LOOPED = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), LOOPS))


def test_foci_alike_along_the_bowel_are_stretches_of_it_and_a_single_one_keeps_its_floor() -> None:
    places = [_ball(*where, 6) for where in ((190, 60, 210), (230, 60, 250), (190, 60, 290))]
    for suv, code in ((7.0, "R11_BOWEL_STRETCHES"), (20.0, "R11_BOWEL_FOCUS")):
        case, *_ = _cases(*zip(places, (suv, 5.0, 5.0), strict=True), anatomy=LOOPED)
        said = _fired(abdomen.gut(case), code)
        assert ("2 places in the bowel have" in said.text) == (code == "R11_BOWEL_STRETCHES")
        assert said.floor == (OPTIONS.bowel.focal_floor if code == "R11_BOWEL_FOCUS" else None)


def test_what_lies_in_bone_is_no_stretch_of_bowel_and_beside_the_map_it_is_less_sure() -> None:
    likes = [(_ball(*where, 6), 6.0) for where in ((200, 60, 250), (230, 60, 250), (170, 60, 290))]
    beside, *_ = _cases((_ball(200, 60, 178), 6.0), *likes, anatomy=LOOPED)
    assert _fired(abdomen.gut(beside), "R11_BOWEL_STRETCHES").odds == OPTIONS.gut.beside_odds
    rectum = _anatomy(
        (Structure("bowel", StructureKind.ORGAN, Organ.GI), LOOPS),
        (Structure("small_bowel", StructureKind.ORGAN, Organ.GI), ((150, 120, 160), (16, 12, 16))),
    )
    sacral, *_ = _cases((((150, 134, 160), (6, 10, 6)), 6.0), *likes, anatomy=rectum)
    said = abdomen.gut(sacral)
    assert said is None or (isinstance(said, Fired) and said.code != "R11_BOWEL_STRETCHES")


def test_beside_the_bowels_map_a_place_of_nodes_is_doubted_less() -> None:
    likes = [(_ball(*where, 6), 6.0) for where in ((190, 60, 250), (170, 60, 290), (200, 60, 290))]
    loops = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), ((180, 60, 270), (40, 40, 40))))
    node, *_ = _cases((_ball(178, 112, 270, 4), 6.0), *likes, anatomy=loops)
    said = _fired(abdomen.gut(node), "R11_BOWEL_STRETCHES")
    assert node.site.organ is Organ.LYMPH_NODE
    assert said.odds == OPTIONS.gut.station_odds
    loop, *_ = _cases((_ball(214, 60, 250, 4), 6.0), *likes, anatomy=loops)
    assert _fired(abdomen.gut(loop), "R11_BOWEL_STRETCHES").odds == OPTIONS.gut.many_odds


def test_a_hot_round_focus_of_a_node_station_is_not_dismissed_as_bowel() -> None:
    around = (Structure("bowel", StructureKind.ORGAN, Organ.GI), ((180, 76, 270), (40, 36, 40)))
    beside = [_ball(178, 116, 270), _ball(190, 60, 250), _ball(150, 60, 290), _ball(200, 60, 300)]
    for suv, code in ((12.0, "R11_BOWEL_OR_NODE"), (5.0, "R11_BOWEL_STRETCHES")):
        node, *_ = _cases(*((box, suv) for box in beside), anatomy=_anatomy(around))
        _fired(abdomen.gut(node), code)


@pytest.mark.parametrize(
    ("what", "at", "suv", "background", "code"),
    [
        ("mostly outside", (200, 60, 180), 14.0, 1.0, "R11_BOWEL_OR_NODE"),
        ("what lies round it is bright too", (200, 60, 180), 14.0, 2.0, "R11_BOWEL_STRETCHES"),
        ("on its flat side", (200, 60, 188), 14.0, 1.0, "R11_BOWEL_STRETCHES"),
        ("inside", (200, 60, 200), 14.0, 1.0, "R11_BOWEL_STRETCHES"),
    ],
)
def test_what_far_outshines_its_surroundings_at_the_edge_of_the_bowels_map_may_be_a_node(
    what: str, at: tuple[float, float, float], suv: float, background: float, code: str
) -> None:
    likes = [(_ball(*where, 6), suv) for where in ((190, 60, 290), (230, 60, 250), (170, 60, 290))]
    case, *_ = _cases((_ball(*at, 8), suv), *likes, anatomy=LOOPED)
    one = case.finding.located
    measures = replace(case.measures, suv_peak=suv, background=background)
    sighted = replace(case.finding, sightings=(replace(one, candidate=replace(one.candidate, measures=measures)),))
    seen = Case(sighted, case.scene)
    seen.siblings = [seen, *case.siblings[1:]]
    said = _fired(abdomen.gut(seen), code)
    assert ("at the edge of its map and 14 times as bright" in said.text) == (code == "R11_BOWEL_OR_NODE"), what
    assert said.floor == (OPTIONS.gut.node_floor if code == "R11_BOWEL_OR_NODE" else None)


def test_what_lies_in_bone_at_the_edge_of_the_bowels_map_is_no_node() -> None:
    rib = Structure("rib_left_12", StructureKind.BONE, Organ.BONE), ((200.0, 60.0, 174.0), (12.0, 12.0, 10.0))
    likes = [(_ball(*where, 6), 14.0) for where in ((190, 60, 290), (230, 60, 250), (170, 60, 290))]
    loops = Structure("bowel", StructureKind.ORGAN, Organ.GI), LOOPS
    for more, node in (((), True), ((rib,), False)):
        case, *_ = _cases((_ball(200, 60, 180, 8), 14.0), *likes, anatomy=_anatomy(loops, *more))
        said = abdomen.gut(case)
        assert (isinstance(said, Fired) and said.code == "R11_BOWEL_OR_NODE") == node
        asked = abdomen._at_the_edge(case, Fired("R11_BOWEL", "bowel"))  # whatever else spoke of bowel there
        assert (asked is not None) == node


def test_on_the_wing_of_the_hip_bone_a_focus_of_the_bowel_is_no_node() -> None:
    around = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), ((192, 94, 150), (30, 15, 30))))
    likes = [(_ball(*where, 6), 12.0) for where in ((190, 90, 130), (175, 90, 150), (200, 90, 170))]
    for x, code in ((217, "R11_BOWEL_STRETCHES"), (210, "R11_BOWEL_OR_NODE")):
        case, *_ = _cases((_ball(x, 110, 150, 6), 12.0), *likes, anatomy=around)
        _fired(abdomen.gut(case), code)


def test_a_large_uptake_of_bowel_beside_the_great_vessels_is_a_question() -> None:
    bowel = _anatomy((Structure("bowel", StructureKind.ORGAN, Organ.GI), ((178, 88, 270), (30, 16, 30))))
    large: Box = ((178, 118, 270), (16, 18, 16))
    (case,) = _cases((large, 8.0), anatomy=bowel)
    assert case.site.structure == "bowel"
    said = _fired(abdomen.gut(case), "R11_BOWEL_OR_NODE")
    assert said.odds == OPTIONS.gut.node_odds
    assert said.floor == OPTIONS.gut.node_floor >= OPTIONS.decide.excluded_below
    (elsewhere,) = _cases((large, 8.0))
    assert abdomen.gut(elsewhere) is None


def test_a_large_uptake_that_is_like_blood_on_the_whole_is_a_vessel() -> None:
    aorta = _anatomy((Structure("aorta", StructureKind.ORGAN, Organ.OTHER), ((165, 110, 440), (16, 16, 120))))
    long: Box = ((200, 90, 560), (8, 8, 32))
    (vein,) = _cases((long, 0.8), anatomy=aorta)
    assert _fired(soft.blood_pool(vein), "BLOOD_POOL_VESSEL").odds == OPTIONS.blood_pool.vessel_odds
    (node,) = _cases((long, 3.0), anatomy=aorta)
    assert soft.blood_pool(node) is None
    mixed, _ = _cases((long, 0.7), (_ball(200, 90, 560, 6), 5.0), anatomy=aorta)
    hot = replace(mixed.measures, suv_max=5.0)  # a small node that took a stretch of its vessel along
    located = mixed.finding.located
    case = Case(
        replace(mixed.finding, sightings=(replace(located, candidate=replace(located.candidate, measures=hot)),)), mixed.scene
    )
    assert soft.blood_pool(case) is None


def test_what_is_no_brighter_than_the_blood_is_doubted() -> None:
    aorta = _anatomy((Structure("aorta", StructureKind.ORGAN, Organ.OTHER), ((165, 110, 440), (16, 16, 120))))
    vessel, node = _cases((_ball(200, 90, 560, 6), 0.7), (_ball(100, 90, 560, 6), 3.0), anatomy=aorta)
    assert "1.2 times the mean of the aorta" in _fired(soft.blood_pool(vessel), "BLOOD_POOL").text
    assert soft.blood_pool(node) is None
    (blind,) = _cases((_ball(200, 90, 560), 0.7))
    assert isinstance(soft.blood_pool(blind), NotAsked)


def test_what_lies_in_the_bed_of_the_prostate_is_no_metastasis() -> None:
    (gland,) = _cases((_ball(154, 90, 50, 16), 8.0))
    assert _fired(pelvis.prostate(gland), "PROSTATE").klass is LesionClass.PRIMARY
    (node,) = _cases((_ball(206, 110, 80), 8.0))
    assert pelvis.prostate(node) is None
    (sacral,) = _cases((_ball(150, 150, 160), 8.0))
    assert pelvis.prostate(sacral) is None
    (blind,) = _cases((_ball(154, 90, 50), 8.0), anatomy=Anatomy())
    assert isinstance(pelvis.prostate(blind), NotAsked)


@pytest.mark.parametrize(("before_mm", "asked"), [(8.0, False), (20.0, True)])
def test_what_lies_before_the_sacrum_is_behind_the_prostate(before_mm: float, asked: bool) -> None:
    """The rectum lies between: a node on the sacrum is no local disease, though it lies at the height of the hip joints."""
    low = (Structure("sacrum", StructureKind.BONE, Organ.BONE), ((150, 150, 100), (20, 12, 40)))
    heads = tuple(
        (Structure(f"femur_{side}", StructureKind.BONE, Organ.BONE), ((x, 110, 50), (20, 24, 50)))
        for side, x in (("left", 250), ("right", 50))
    )
    (focus,) = _cases((_ball(150, 144 - before_mm - 8, 90, 8), 8.0), anatomy=_anatomy(low, *heads))
    assert isinstance(pelvis.prostate(focus), Fired) is asked
