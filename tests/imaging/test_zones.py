"""Distance and probability against a ball whose border is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind
from lesion_pipeline.domain.geometry import Frames, Grid, RigidTransform
from lesion_pipeline.domain.volume import LabelMap
from lesion_pipeline.imaging.zones import Zone, organ_zone

RADIUS = 20.0
CENTRE = np.array([30.0, -10.0, 200.0])


def anatomy() -> Anatomy:
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = CENTRE + np.array([30.0, -30.0, -30.0])
    grid = Grid((31, 31, 31), affine, "ct")
    points = grid.world(np.argwhere(np.ones(grid.shape, dtype=bool))).reshape(*grid.shape, 3)
    inside = np.linalg.norm(points - CENTRE, axis=-1) <= RADIUS
    names = {4: Structure("urinary_bladder", StructureKind.ORGAN, Organ.BLADDER)}
    return Anatomy((NamedMap("a", LabelMap(inside.astype(np.uint16) * 4, grid, names)),))


def zone(frames: Frames | None = None, frame: str = "ct") -> Zone:
    found = organ_zone(anatomy(), frames or Frames(), frame, ("urinary_bladder",), sigma_mm=5.0)
    assert found is not None
    return found


ZONE = zone()


@settings(deadline=None, max_examples=60)
@given(st.floats(0.0, 34.0), st.floats(0.0, np.pi), st.floats(0.0, 2 * np.pi))
def test_distance_is_that_of_the_ball(r: float, theta: float, phi: float) -> None:
    point = CENTRE + r * np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    assert ZONE.distance(point)[0] == pytest.approx(r - RADIUS, abs=1.8)


def test_probability_falls_over_the_border() -> None:
    p = ZONE.probability(CENTRE + np.array([[0, 0, 0], [0, 0, 20], [0, 0, 30], [0, 0, 300]]))
    assert p[0] > 0.999
    assert p[1] == pytest.approx(0.5, abs=0.13)
    assert p[2] == pytest.approx(0.023, abs=0.02)
    assert p[3] < 1e-4


def test_points_of_another_frame_are_moved() -> None:
    matrix = np.eye(4)
    matrix[:3, 3] = (0.0, 0.0, 50.0)
    frames = Frames((RigidTransform("pet", "ct", matrix),))
    assert zone(frames, "pet").distance(CENTRE - (0, 0, 50))[0] < -15


def test_an_unknown_organ_has_no_zone() -> None:
    assert organ_zone(anatomy(), Frames(), "ct", ("brain",), 5.0) is None
