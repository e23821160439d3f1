"""Pixels of the projection pictures, asked back in millimetres."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.lesion import (
    Candidate,
    Decision,
    Evidence,
    Finding,
    LesionClass,
    Located,
    Measures,
    Screened,
    Site,
)
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.report.furniture import INK
from lesion_pipeline.report.labelling import Box, place_labels
from lesion_pipeline.report.overlay import Window, render
from lesion_pipeline.report.projection import Plane, project

SPACING = np.array([4.0, 5.0, 3.0])
SHAPE = (40, 30, 60)
HOT_MM = np.array([-48.0, 25.0, 36.0])  # right, posterior, cranial of the middle
COLD_MM = np.array([36.0, -30.0, -48.0])

Turn = tuple[tuple[int, int, int], tuple[int, int, int]]
TURNS: list[Turn] = [
    (order, signs)
    for order, signs in itertools.product(((0, 1, 2), (2, 1, 0), (1, 2, 0)), ((1, 1, 1), (-1, 1, -1), (1, -1, 1)))
]


def _grid(turn: Turn = ((0, 1, 2), (1, 1, 1)), frame: str = "f") -> Grid:
    """A grid round the origin whose array axes run as the turn says."""
    order, signs = turn
    affine = np.eye(4)
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, axis] = 0.0
        affine[world, axis] = sign * SPACING[world]
    shape = (SHAPE[order[0]], SHAPE[order[1]], SHAPE[order[2]])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine, frame)


def _ball(grid: Grid, centre: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.bool_]:
    points = grid.world(np.argwhere(np.ones(grid.shape, dtype=bool)))
    return np.asarray((np.linalg.norm(points - centre, axis=1) <= radius).reshape(grid.shape))


def _lesion(grid: Grid, centre: npt.NDArray[np.float64], decision: Decision, key: str, radius: float = 9.0) -> Screened:
    voxels = np.argwhere(_ball(grid, centre, radius)).astype(np.int32)
    candidate = Candidate(f"C-{key}", voxels, grid, Modality.PT, "test", Measures(1.0))
    site = Site(((Organ.BONE, 1.0),), "vertebra_L3", True)
    return Screened(Finding(key, (Located(candidate, site),), Evidence()), decision, 0.9, LesionClass.METASTASIS, ())


def _pet(grid: Grid) -> Volume:
    values = np.full(grid.shape, 0.2, dtype=np.float32)
    values[_ball(grid, HOT_MM, 12.0)] = 20.0
    values[_ball(grid, COLD_MM, 12.0)] = 3.5
    return Volume(values, grid, Unit.SUVBW, Modality.PT, "PT-test")


def _pixels_of(picture: Image.Image, decision: Decision) -> npt.NDArray[np.int64]:
    """(n, 2) column, row of pixels in a decision's colour."""
    rgb = np.asarray(picture, dtype=np.int64)
    row, column = np.nonzero(np.abs(rgb - np.array(INK[decision])).max(axis=2) <= 12)
    return np.stack([column, row], axis=1)


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("plane", list(Plane))
def test_a_point_lands_on_the_same_pixel_whatever_way_the_array_runs(plane: Plane, turn: Turn) -> None:
    view = project(_pet(_grid(turn)), plane, fit_px=(400, 400))
    row, column = np.unravel_index(int(np.argmax(view.values)), view.values.shape)
    expected_column, expected_row = view.pixels(HOT_MM[None])[0]
    assert abs(column - expected_column) * view.mm_per_px <= 12.0
    assert abs(row - expected_row) * view.mm_per_px <= 12.0
    straight = project(_pet(_grid()), plane, fit_px=(400, 400))
    np.testing.assert_allclose(view.values, straight.values, atol=1e-4)
    assert view.corner == pytest.approx(straight.corner)
    # the right of the patient is at the left of a coronal picture, the front at the left of a sagittal one
    assert (expected_column < view.values.shape[1] / 2) == (plane is Plane.CORONAL)
    assert expected_row < view.values.shape[0] / 2


def test_proportions_are_true() -> None:
    view = project(_pet(_grid()), Plane.CORONAL, fit_px=(1000, 360))
    rows, columns = view.values.shape
    assert view.mm_per_px == pytest.approx(0.5)
    assert (columns, rows) == (320, 360)  # 40 x 4 mm, 60 x 3 mm
    bright = np.argwhere(view.values > 10.0)
    height, width = (bright.max(axis=0) - bright.min(axis=0)) * view.mm_per_px
    assert height == pytest.approx(width, abs=6.0)  # a ball stays round on voxels of 4 x 3 mm


def test_an_oblique_grid_is_seen_from_the_front_of_the_patient_not_of_the_array() -> None:
    turn = np.eye(4)
    angle = np.radians(25.0)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = _grid()
    grid = Grid(straight.shape, turn @ straight.affine, "f")
    view = project(_pet(grid), Plane.SAGITTAL, fit_px=(400, 400))
    peak = np.argwhere(view.values > 15.0).mean(axis=0)[::-1]
    np.testing.assert_allclose(peak, view.pixels(HOT_MM[None])[0], atol=3.0 / view.mm_per_px)
    shadow = view.shadow(np.argwhere(_ball(grid, HOT_MM, 12.0)).astype(np.int32), grid, np.eye(4))
    assert shadow.sum() * view.mm_per_px**2 == pytest.approx(np.pi * 12.0**2, rel=0.25)
    np.testing.assert_allclose(np.argwhere(shadow).mean(axis=0)[::-1], view.pixels(HOT_MM[None])[0], atol=3.0)


@pytest.mark.parametrize("turn", TURNS[:4], ids=str)
def test_the_shadow_of_one_voxel_is_one_voxel(turn: Turn) -> None:
    grid = _grid(turn)
    view = project(_pet(grid), Plane.CORONAL, fit_px=(640, 720))
    index = np.rint(grid.index(HOT_MM)).astype(np.int32)[None]
    shadow = view.shadow(index, grid, np.eye(4))
    assert view.mm_per_px == pytest.approx(0.25)
    assert shadow.sum() == pytest.approx(16 * 12, abs=0)  # 4 x 3 mm
    np.testing.assert_allclose(np.argwhere(shadow).mean(axis=0)[::-1], view.pixels(grid.world(index))[0], atol=0.51)


@pytest.mark.parametrize("plane", list(Plane))
def test_lesions_are_outlined_where_they_are_in_the_colour_of_their_decision(plane: Plane) -> None:
    pet = _pet(_grid())
    counted = _lesion(pet.grid, HOT_MM, Decision.COUNTED, "L001")
    uncertain = _lesion(pet.grid, COLD_MM, Decision.UNCERTAIN, "L002")
    picture = render(pet, [counted, uncertain], plane, tracer=Tracer.FDG)
    bare = render(pet, [], plane, tracer=Tracer.FDG)
    view = project(pet, plane)  # the finished picture's own scale
    left = (picture.size[0] - view.values.shape[1]) / 2
    for decision, centre in ((Decision.COUNTED, HOT_MM), (Decision.UNCERTAIN, COLD_MM)):
        column, row = view.pixels(centre[None])[0]
        found = _pixels_of(picture, decision) - np.array([left, 60.0])
        ring = found[np.hypot(found[:, 0] - column, found[:, 1] - row) * view.mm_per_px <= 14.0]
        assert len(ring) > 20
        radius = np.hypot(ring[:, 0] - column, ring[:, 1] - row) * view.mm_per_px
        assert np.median(radius) == pytest.approx(9.5, abs=2.5)
    assert len(_pixels_of(picture, Decision.COUNTED)) > 3 * len(_pixels_of(bare, Decision.COUNTED))


def test_styles_differ_without_colour() -> None:
    pet = _pet(_grid())
    covered = {}
    for decision in Decision:
        picture = render(pet, [_lesion(pet.grid, COLD_MM, decision, "L001", 20.0)], Plane.CORONAL)
        covered[decision] = len(_pixels_of(picture, decision)) - len(_pixels_of(render(pet, [], Plane.CORONAL), decision))
    assert covered[Decision.COUNTED] > 1.3 * covered[Decision.UNCERTAIN] > 1.3 * covered[Decision.EXCLUDED] > 0
    greys = sorted(sum(INK[d]) / 3 for d in Decision)
    assert greys[0] > 60  # none is mistaken for uptake


def test_uptake_is_dark_and_the_window_follows_the_tracer() -> None:
    pet = _pet(_grid())
    column, row = project(pet, Plane.CORONAL).pixels(COLD_MM[None])[0]
    values: dict[Tracer, int] = {}
    for tracer in (Tracer.FDG, Tracer.DOTATATE):
        picture = render(pet, [], Plane.CORONAL, tracer=tracer)
        left = (picture.size[0] - project(pet, Plane.CORONAL).values.shape[1]) / 2
        values[tracer] = int(np.asarray(picture.convert("L"))[round(60 + row), round(left + column)])
    assert values[Tracer.FDG] == pytest.approx(255 * (1 - 3.5 / 7.0), abs=4)
    assert values[Tracer.DOTATATE] == pytest.approx(255 * (1 - 3.5 / 15.0), abs=4)
    image = np.linspace(0.0, 10.0, 1001, dtype=np.float32)
    assert Window.of(image, pet, Tracer.UNKNOWN).high == pytest.approx(9.95)
    assert Window.of(np.zeros(5, dtype=np.float32), pet, Tracer.UNKNOWN).high == 1.0


def test_a_lesion_of_another_frame_is_drawn_through_its_transform_or_named_as_missing() -> None:
    pet = _pet(_grid())
    other = _grid(frame="mr")
    move = np.eye(4)
    move[:3, 3] = [80.0, 0.0, 0.0]
    frames = Frames((RigidTransform("mr", "f", move),))
    lesion = _lesion(other, HOT_MM, Decision.COUNTED, "L001")
    blind = render(pet, [lesion], Plane.CORONAL)
    linked = render(pet, [lesion], Plane.CORONAL, frames=frames)
    view = project(pet, Plane.CORONAL)
    column, row = view.pixels((HOT_MM + move[:3, 3])[None])[0]
    left = (linked.size[0] - view.values.shape[1]) / 2

    def near(picture: Image.Image) -> int:
        found = _pixels_of(picture, Decision.COUNTED)
        return int(np.sum(np.hypot(found[:, 0] - left - column, found[:, 1] - 60 - row) * view.mm_per_px < 14.0))

    assert near(linked) > 20
    assert near(blind) == 0
    assert blind.tobytes() != render(pet, [], Plane.CORONAL).tobytes()  # the note


def test_without_lesions_the_picture_still_says_so() -> None:
    picture = render(_pet(_grid()), [], "sagittal", tracer=Tracer.FDG)
    assert picture.mode == "RGB"
    footer = np.asarray(picture.convert("L"))[-60:]
    assert (footer < 100).sum() > 200  # the research-use sentence


def test_labels_never_overlap_and_stay_on_the_canvas() -> None:
    rng = np.random.default_rng(7)
    canvas = Box(100, 0, 500, 600)
    corners = rng.integers((110, 10), (480, 580), size=(80, 2))
    targets = [Box(int(x), int(y), int(x) + 10, int(y) + 10) for x, y in corners]
    busy = np.zeros((600, 600), dtype=np.bool_)
    for t in targets:
        busy[t.top : t.bottom, t.left : t.right] = True
    margins = (Box(0, 0, 95, 600), Box(505, 0, 600, 600))
    boxes = place_labels(targets, [(34, 16)] * len(targets), canvas, busy, margins)
    placed = [b for b in boxes if b is not None]
    assert len(placed) == len(targets)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(placed, 2))
    assert all(any(b.within(place) for place in (canvas, *margins)) for b in placed)
    full = place_labels(targets, [(390, 590)] * len(targets), canvas, busy, ())
    assert sum(b is not None for b in full) <= 1
