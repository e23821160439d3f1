"""Solids as signed distances, evaluated on the part of a lattice they touch.

A distance is in millimetres, negative inside, and only has to be true near the surface. Coordinates come as three arrays that
broadcast against one another: on a lattice whose axes run along the body's, each of them holds one axis only, so that most of
the arithmetic is done on lines and planes instead of volumes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.geometry import Grid, Matrix, inverse_affine

Field = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Coordinates = tuple[Field, Field, Field]
Window = tuple[slice, slice, slice]

#: Windows are cut along their last axis into pieces of about this many voxels, which keeps temporaries in the cache.
PIECE_VOXELS = 400_000
#: Distance (mm) that stands for "far outside".
FAR = 99.0


class Lattice:
    """The voxel centres of a grid in body coordinates (mm, +x left, +y posterior, +z to the head)."""

    def __init__(self, grid: Grid, body_from_world: Matrix) -> None:
        self.grid = grid
        self._matrix = body_from_world @ grid.affine
        self._inverse = inverse_affine(self._matrix)
        #: width of the ramp (mm) over which a surface passes from outside to inside: the side of a cube of one voxel
        self.softness = float(abs(np.linalg.det(self._matrix[:3, :3])) ** (1 / 3))

    def window(self, low: Vector, high: Vector) -> Window | None:
        """Index ranges that hold the box low..high (body mm) and one ramp around it; None when the box lies outside."""
        low, high = low - self.softness, high + self.softness
        corners = np.array([[a, b, c, 1.0] for a in (low[0], high[0]) for b in (low[1], high[1]) for c in (low[2], high[2])])
        index = (corners @ self._inverse.T)[:, :3]
        first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
        last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, self.grid.shape)
        if (first >= last).any():
            return None
        return (slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2]))

    def coordinates(self, window: Window) -> Coordinates:
        """x, y, z (float32) of a window; each array is as thin as the orientation of the grid allows."""
        out = []
        for row in range(3):
            total = np.full((1, 1, 1), self._matrix[row, 3])
            for axis, part in enumerate(window):
                factor = self._matrix[row, axis]
                if abs(factor) > 1e-9:
                    shape = [1, 1, 1]
                    shape[axis] = part.stop - part.start
                    total = total + factor * np.arange(part.start, part.stop, dtype=np.float64).reshape(shape)
            out.append(total.astype(np.float32))
        return out[0], out[1], out[2]


def pieces_of(window: Window) -> Iterator[Window]:
    """Cut a window along its last axis into pieces of bounded size."""
    i, j, k = window
    plane = (i.stop - i.start) * (j.stop - j.start)
    step = max(1, PIECE_VOXELS // plane)
    for start in range(k.start, k.stop, step):
        yield (i, j, slice(start, min(start + step, k.stop)))


class Solid(ABC):
    """Something with an inside. ``low`` and ``high`` bound it in body coordinates."""

    low: Vector
    high: Vector

    @abstractmethod
    def distance(self, at: Coordinates) -> Field:
        """Signed distance (mm) at the coordinates, broadcast."""

    def pieces(self, lattice: Lattice) -> Iterator[tuple[Window, Field]]:
        """(window, distance with the window's full shape) pieces that together hold the solid."""
        window = lattice.window(self.low, self.high)
        if window is None:
            return
        for piece in pieces_of(window):
            shape = tuple(s.stop - s.start for s in piece)
            yield piece, np.broadcast_to(self.distance(lattice.coordinates(piece)), shape)


@dataclass
class Implicit(Solid):
    """A solid given by a function of the coordinates and a box."""

    low: Vector
    high: Vector
    function: Callable[[Coordinates], Field]

    def distance(self, at: Coordinates) -> Field:
        return self.function(at)


@dataclass(frozen=True)
class Ripple:
    """Gentle unevenness of a surface: amplitude (mm), wavelength (mm), three phases."""

    amplitude: float
    wavelength: float
    phases: tuple[float, float, float]

    @classmethod
    def drawn(cls, rng: np.random.Generator, amplitude: float, wavelength: float) -> Ripple:
        a, b, c = rng.uniform(0, 2 * np.pi, 3)
        return cls(amplitude, wavelength, (float(a), float(b), float(c)))

    def at(self, at: Coordinates) -> Field:
        turn = np.float32(2 * np.pi / self.wavelength)
        waves = [np.sin(turn * c + np.float32(p)) for c, p in zip(at, self.phases, strict=True)]
        return np.asarray(np.float32(self.amplitude) * waves[0] * waves[1] * waves[2], dtype=np.float32)


class Ellipsoid(Solid):
    """An ellipsoid; rotation columns are the directions of its axes."""

    def __init__(
        self,
        centre: npt.ArrayLike,
        radii: npt.ArrayLike,
        rotation: Matrix | None = None,
        ripple: Ripple | None = None,
    ) -> None:
        self.centre = np.asarray(centre, dtype=np.float64)
        self.radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), (3,))
        self.rotation = rotation
        self.ripple = ripple
        axes = np.eye(3) if rotation is None else rotation
        reach = np.sqrt(((axes * self.radii) ** 2).sum(axis=1)) + (ripple.amplitude if ripple else 0.0)
        self.low, self.high = self.centre - reach, self.centre + reach

    def distance(self, at: Coordinates) -> Field:
        d = [c - np.float32(o) for c, o in zip(at, self.centre, strict=True)]
        if self.rotation is not None:
            d = [sum(np.float32(self.rotation[r, c]) * d[r] for r in range(3)) for c in range(3)]  # type: ignore[misc]  # sum of arrays
        q = [u / np.float32(r) for u, r in zip(d, self.radii, strict=True)]
        k0 = np.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2)
        g = [u / np.float32(r) for u, r in zip(q, self.radii, strict=True)]
        k1 = np.sqrt(g[0] ** 2 + g[1] ** 2 + g[2] ** 2)
        # k0 / k1 is the distance to the centre over k0; at the centre itself it is taken as the shortest radius
        tiny = np.float32(1e-4)
        out = (k0 - 1) * (k0 + tiny) / (k1 + tiny / np.float32(self.radii.min()))
        if self.ripple is not None:
            out = out + self.ripple.at(at)
        return np.asarray(out, dtype=np.float32)


def capsule(at: Coordinates, a: npt.ArrayLike, b: npt.ArrayLike, ra: float, rb: float) -> Field:
    """Distance to a segment a..b whose radius runs from ra to rb (mm)."""
    start, end = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    along = end - start
    squared = float(along @ along) or 1e-6
    d = [c - np.float32(o) for c, o in zip(at, start, strict=True)]
    t = sum(u * np.float32(v / squared) for u, v in zip(d, along, strict=True))
    t = np.clip(t, 0, 1)
    rest = [u - t * np.float32(v) for u, v in zip(d, along, strict=True)]
    return np.asarray(np.sqrt(rest[0] ** 2 + rest[1] ** 2 + rest[2] ** 2) - (ra + t * np.float32(rb - ra)), dtype=np.float32)


class Tube(Solid):
    """A bent tube through points (n, 3) with a radius at each."""

    def __init__(self, points: npt.ArrayLike, radii: npt.ArrayLike) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self.radii = np.broadcast_to(np.asarray(radii, dtype=np.float64), (len(self.points),))
        # the wider radius of a segment's two ends, as in ``pieces``, so that no segment's box leaves the tube's
        widest = float(self.radii.max())
        self.low, self.high = self.points.min(axis=0) - widest, self.points.max(axis=0) + widest

    def distance(self, at: Coordinates) -> Field:
        out: Field | None = None
        for n in range(len(self.points) - 1):
            d = capsule(at, self.points[n], self.points[n + 1], self.radii[n], self.radii[n + 1])
            out = d if out is None else np.minimum(out, d)
        assert out is not None  # noqa: S101  # a tube has two points
        return out

    def pieces(self, lattice: Lattice) -> Iterator[tuple[Window, Field]]:
        """One window for the whole tube; every segment is evaluated only in its own box."""
        whole = lattice.window(self.low, self.high)
        if whole is None:
            return
        out = np.full([s.stop - s.start for s in whole], FAR, dtype=np.float32)
        for n in range(len(self.points) - 1):
            ends, radius = self.points[n : n + 2], max(self.radii[n], self.radii[n + 1])
            window = lattice.window(ends.min(axis=0) - radius, ends.max(axis=0) + radius)
            if window is None:
                continue
            local = tuple(slice(w.start - o.start, w.stop - o.start) for w, o in zip(window, whole, strict=True))
            d = capsule(lattice.coordinates(window), ends[0], ends[1], self.radii[n], self.radii[n + 1])
            np.minimum(out[local], d, out=out[local])
        yield whole, out


class Loft(Solid):
    """Rounded cross-sections stacked along z: knots of (z, centre x, centre y, half width, half depth), mm.

    The outline is |x/a|^p + |y/b|^p = 1 with p = 2.5: between an ellipse and a box, as trunks are.
    """

    def __init__(self, knots: npt.ArrayLike, ripple: Ripple | None = None) -> None:
        table = np.asarray(knots, dtype=np.float64)
        self.knots = table[np.argsort(table[:, 0])]
        self.ripple = ripple
        z, cx, cy, a, b = self.knots.T
        self.low = np.array([(cx - a).min(), (cy - b).min(), z[0]])
        self.high = np.array([(cx + a).max(), (cy + b).max(), z[-1]])

    def section(self, z: npt.ArrayLike) -> tuple[Field, Field, Field, Field]:
        """Centre x, centre y, half width, half depth at heights z, smooth between knots."""
        heights = np.asarray(z, dtype=np.float64)
        knots = self.knots
        step = np.clip(np.searchsorted(knots[:, 0], heights, side="right") - 1, 0, len(knots) - 2)
        z0, z1 = knots[step, 0], knots[step + 1, 0]
        t = np.clip((heights - z0) / np.maximum(z1 - z0, 1e-6), 0, 1)
        # Catmull-Rom between knots: tangents from the neighbours, so that outlines have no kinks
        before, after = np.maximum(step - 1, 0), np.minimum(step + 2, len(knots) - 1)
        out = []
        for column in range(1, 5):
            v = knots[:, column]
            m0 = (v[step + 1] - v[before]) / np.maximum(z1 - knots[before, 0], 1e-6) * (z1 - z0)
            m1 = (v[after] - v[step]) / np.maximum(knots[after, 0] - z0, 1e-6) * (z1 - z0)
            h = (2 * t**3 - 3 * t**2 + 1) * v[step] + (t**3 - 2 * t**2 + t) * m0
            out.append((h + (3 * t**2 - 2 * t**3) * v[step + 1] + (t**3 - t**2) * m1).astype(np.float32))
        return out[0], out[1], np.maximum(out[2], 0.5), np.maximum(out[3], 0.5)

    def distance(self, at: Coordinates) -> Field:
        x, y, z = at
        cx, cy, a, b = self.section(z)
        u, v = np.abs((x - cx) / a), np.abs((y - cy) / b)
        s = u * u * np.sqrt(u) + v * v * np.sqrt(v)
        # near the outline s = 1 the radius changes by (s - 1) / 2.5 of itself
        out = (s - 1) * (np.minimum(a, b) * np.float32(0.4))
        if self.ripple is not None:
            out = out + self.ripple.at(at)
        ends = np.maximum(np.float32(self.knots[0, 0]) - z, z - np.float32(self.knots[-1, 0]))
        return np.asarray(np.maximum(out, ends), dtype=np.float32)


class Plate(Solid):
    """A bent plate: triangles over corner points, with half a thickness at each corner."""

    def __init__(self, corners: npt.ArrayLike, half_thickness: npt.ArrayLike, triangles: npt.ArrayLike) -> None:
        self.corners = np.asarray(corners, dtype=np.float64)
        self.half = np.broadcast_to(np.asarray(half_thickness, dtype=np.float64), (len(self.corners),))
        self.triangles = np.asarray(triangles, dtype=np.int64)
        self.low = self.corners.min(axis=0) - self.half.max()
        self.high = self.corners.max(axis=0) + self.half.max()

    def distance(self, at: Coordinates) -> Field:
        out: Field | None = None
        for triangle in self.triangles:
            d = self._triangle(at, triangle)
            out = d if out is None else np.minimum(out, d)
        assert out is not None  # noqa: S101  # a plate has a triangle
        return out

    def _triangle(self, at: Coordinates, triangle: npt.NDArray[np.int64]) -> Field:
        a, b, c = self.corners[triangle]
        ha, hb, hc = (float(h) for h in self.half[triangle])
        ab, ac = b - a, c - a
        d11, d12, d22 = float(ab @ ab), float(ab @ ac), float(ac @ ac)
        scale = d11 * d22 - d12 * d12
        p = [q - np.float32(o) for q, o in zip(at, a, strict=True)]
        e1 = sum(u * np.float32(v) for u, v in zip(p, ab, strict=True))
        e2 = sum(u * np.float32(v) for u, v in zip(p, ac, strict=True))
        s = (e1 * d22 - e2 * d12) / scale
        t = (e2 * d11 - e1 * d12) / scale
        # inside the triangle this is the nearest point; outside, clamping is near enough for plates that share edges
        s, t = np.clip(s, 0, 1), np.clip(t, 0, 1)
        over = np.maximum(s + t - 1, 0) / 2
        s, t = np.clip(s - over, 0, 1).astype(np.float32), np.clip(t - over, 0, 1).astype(np.float32)
        rest = [u - s * np.float32(v) - t * np.float32(w) for u, v, w in zip(p, ab, ac, strict=True)]
        half = ha + s * np.float32(hb - ha) + t * np.float32(hc - ha)
        return np.asarray(np.sqrt(rest[0] ** 2 + rest[1] ** 2 + rest[2] ** 2) - half, dtype=np.float32)


def spline(points: npt.ArrayLike, count: int) -> Vector:
    """(count, 3) points of a Catmull-Rom curve through points (n, 3), evenly spread over its chord length."""
    knots = np.asarray(points, dtype=np.float64)
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    where = np.linspace(0, chord[-1], count)
    n = np.clip(np.searchsorted(chord, where, side="right") - 1, 0, len(knots) - 2)
    t = ((where - chord[n]) / np.maximum(chord[n + 1] - chord[n], 1e-9))[:, None]
    p0, p1, p2, p3 = padded[n], padded[n + 1], padded[n + 2], padded[n + 3]
    return np.asarray(
        0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    )
