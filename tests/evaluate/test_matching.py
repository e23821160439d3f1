"""Who is matched with whom, on grids that differ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.domain.anatomy import Structure, StructureKind
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Decision
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.evaluate.comparison import compare, level_distance
from lesion_pipeline.evaluate.matching import match, overlap
from lesion_pipeline.evaluate.reads import Point, Read, ReadLesion, derived_counts

Ball = tuple[str, Point, float]


def _grid(spacing: float, turn: tuple[int, int, int] = (1, 1, 1)) -> Grid:
    n = int(120 / spacing)
    affine = np.diag([*(spacing * np.array(turn)), 1.0])
    affine[:3, 3] = -affine[:3, :3] @ np.full(3, (n - 1) / 2)
    return Grid((n, n, n), affine, "any")


def _read(balls: list[Ball], spacing: float = 2.0, turn: tuple[int, int, int] = (1, 1, 1), **more: object) -> Read:
    grid = _grid(spacing, turn)
    points = grid.world(np.argwhere(np.ones(grid.shape, dtype=bool)))
    values = np.zeros(grid.shape, dtype=np.uint16)
    names, lesions = {}, []
    for n, (key, centre, radius) in enumerate(balls, start=1):
        values[(np.linalg.norm(points - np.array(centre), axis=1) <= radius).reshape(grid.shape)] = n
        names[n] = Structure(key, StructureKind.REGION)
        lesions.append(ReadLesion(key, centre))
    return Read("s", tuple(lesions), (LabelMap(values, grid, names),))


def _points(*points: Point, **more: str) -> Read:
    return Read("s", tuple(ReadLesion(f"P{n}", p) for n, p in enumerate(points)))


def _decided(read: Read, **decisions: Decision) -> Read:
    lesions = [ReadLesion(x.id, x.centroid_lps_mm, decision=decisions.get(x.id, Decision.COUNTED)) for x in read.lesions]
    return Read(read.key, tuple(lesions), read.maps)


@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (2.0, 5.0), (5.0, 2.0), (3.0, 4.0)])
@pytest.mark.parametrize("turn", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_dice_holds_across_grids(a: float, b: float, turn: tuple[int, int, int]) -> None:
    reference = _read([("A", (0.0, 0.0, 0.0), 20.0)], a)
    run = _read([("X", (8.0, 0.0, 0.0), 20.0)], b, turn)
    # two balls of radius r, centres d apart: lens = pi (4r+d)(2r-d)^2 / 12
    lens = np.pi * (4 * 20 + 8) * (2 * 20 - 8) ** 2 / 12
    expected = lens / (4 / 3 * np.pi * 20**3)
    assert overlap(reference, run).dice[0, 0] == pytest.approx(expected, abs=0.04)  # voxels of 5 mm


def test_one_to_one_even_when_greedy_would_lose_a_pair() -> None:
    reference = _points((0.0, 0.0, 0.0), (8.0, 0.0, 0.0))
    run = _points((7.0, 0.0, 0.0), (16.0, 0.0, 0.0))
    found, _ = match(reference, run, distance_mm=10.0)
    assert {(p.reference, p.run) for p in found.pairs} == {(0, 0), (1, 1)}
    near, _ = match(reference, run, distance_mm=3.0)
    assert {(p.reference, p.run) for p in near.pairs} == {(1, 0)}
    assert near.missed == (0,)
    assert near.false_positives == (1,)


def test_a_point_inside_a_large_lesion_is_that_lesion() -> None:
    run = _read([("X", (0.0, 0.0, 0.0), 30.0)])
    found, _ = match(_points((25.0, 0.0, 0.0)), run, distance_mm=5.0)
    assert len(found.pairs) == 1
    assert found.pairs[0].dice is None
    two, _ = match(_points((25.0, 0.0, 0.0), (-20.0, 0.0, 0.0)), run, distance_mm=5.0)
    assert len(two.pairs) == 1
    assert two.merges == (0,)


def test_splits_and_merges_need_a_real_share() -> None:
    whole = [("A", (0.0, 0.0, 0.0), 24.0)]
    halves = [("X", (-12.0, 0.0, 0.0), 11.0), ("Y", (12.0, 0.0, 0.0), 11.0)]
    split, _ = match(_read(whole), _read(halves), distance_mm=10.0)
    assert split.splits == (0,)
    assert len(split.pairs) == 1
    assert len(split.false_positives) == 1
    merged, _ = match(_read(halves), _read(whole), distance_mm=10.0)
    assert merged.merges == (0,)
    assert len(merged.missed) == 1
    graze, _ = match(_read(whole), _read([("X", (0.0, 0.0, 0.0), 20.0), ("Y", (42.0, 0.0, 0.0), 19.0)]), distance_mm=10.0)
    assert graze.splits == ()


def test_what_the_run_excluded_says_where_a_lesion_was_lost() -> None:
    reference = _points((0.0, 0.0, 0.0), (50.0, 0.0, 0.0))
    run = _decided(_points((0.0, 0.0, 0.0), (50.0, 0.0, 0.0), (-50.0, 0.0, 0.0)), P1=Decision.EXCLUDED, P2=Decision.EXCLUDED)
    judged = compare("s", reference, run, distance_mm=10.0)
    assert [o.outcome for o in judged.outcomes] == ["counted", "excluded"]
    assert [r.true for r in judged.run_lesions] == [True, True, False]
    assert not any(r.false_positive for r in judged.run_lesions)


def test_a_reported_lesion_on_a_benign_one_is_false_and_named() -> None:
    benign = ReadLesion("B", (0.0, 0.0, 0.0), kind="benign")
    judged = compare("s", Read("s", (benign,)), _points((1.0, 0.0, 0.0)), distance_mm=10.0)
    assert judged.outcomes == ()
    assert [(r.false_positive, r.mimic) for r in judged.run_lesions] == [(True, "benign")]


def test_empty_reads() -> None:
    nothing = Read("s", ())
    assert compare("s", nothing, nothing, distance_mm=10.0).outcomes == ()
    assert compare("s", _points((0.0, 0.0, 0.0)), nothing, distance_mm=10.0).outcomes[0].outcome == "not_detected"
    assert compare("s", nothing, _points((0.0, 0.0, 0.0)), distance_mm=10.0).run_lesions[0].false_positive
    assert compare("s", _points((0.0, 0.0, 0.0)), None, distance_mm=10.0).outcomes[0].outcome == "not_detected"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("T12", "L1", 1.0),
        ("L5", "S", 1.0),
        ("L5", "S1", 1.0),
        ("T12", "T13", 0.5),
        ("L6", "S", 0.5),
        ("C7", "T2", 2.0),
        ("S1", "S", 0),
    ],
)
def test_levels_are_neighbours_whatever_the_numbering_variant(a: str, b: str, expected: float) -> None:
    assert level_distance(a, b) == level_distance(b, a) == expected


def test_level_and_organ_of_a_matched_pair() -> None:
    at = (0.0, 0.0, 0.0)

    def judge(run: ReadLesion, reference: ReadLesion) -> tuple[bool | None, ...]:
        outcome = compare("s", Read("s", (reference,)), Read("s", (run,)), distance_mm=10.0).outcomes[0]
        return (outcome.organ_right, outcome.level_right, outcome.level_near)

    truth = ReadLesion("A", at, organ="bone", spinal=True, level="L3", levels=("L3", "L4"))
    assert judge(ReadLesion("X", at, organ="bone", level="L4"), truth) == (True, True, True)
    assert judge(ReadLesion("X", at, organ="bone", level="L5"), truth) == (True, False, True)
    assert judge(ReadLesion("X", at, organ="liver"), truth) == (False, False, False)
    assert judge(ReadLesion("X", at, organ="liver"), ReadLesion("A", at)) == (None, None, None)


def test_counts_that_follow_from_a_reference() -> None:
    at = (0.0, 0.0, 0.0)
    spine = ReadLesion("A", at, organ="bone", spinal=True, level="L3", levels=("L3", "L4"))
    liver = ReadLesion("B", at, organ="liver", spinal=False)
    benign = ReadLesion("C", at, kind="benign")
    counts = derived_counts((spine, liver, benign))
    assert {k: v.best for k, v in counts.items()} == {"lesions": 2, "organs": 2, "spinal_lesions": 1, "involved_vertebrae": 2}
    assert set(derived_counts((ReadLesion("A", at),))) == {"lesions"}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-40, 40)] * 3), max_size=5),
    st.lists(st.tuples(*[st.floats(-40, 40)] * 3), max_size=5),
)
def test_no_assignment_has_more_pairs(a: list[Point], b: list[Point]) -> None:
    found, shared = match(_points(*a), _points(*b), distance_mm=25.0)
    allowed = shared.distance_mm <= 25.0
    small, large = (allowed, range(len(b))) if len(a) <= len(b) else (allowed.T, range(len(a)))
    best = max(
        (sum(bool(small[i, j]) for i, j in enumerate(order)) for order in itertools.permutations(large, len(small))), default=0
    )
    assert len(found.pairs) == best
    assert len({p.run for p in found.pairs}) == len({p.reference for p in found.pairs}) == len(found.pairs)
    assert len(found.pairs) + len(found.missed) == len(a)
    assert len(found.pairs) + len(found.false_positives) == len(b)
