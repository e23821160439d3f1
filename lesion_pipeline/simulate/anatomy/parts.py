"""Parts of a body, in painting order: later parts lie over earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.simulate.anatomy.solids import Field, Lattice, Solid


@dataclass(frozen=True)
class Layer:
    """A shell of a part: everything deeper than ``depth`` mm below the surface is of this material.

    key: the structure it belongs to in label maps; None leaves the label beneath.
    """

    material: str
    key: str | None = None
    depth: float = 0.0


@dataclass(frozen=True)
class Part:
    """A solid and its layers, outermost first."""

    solid: Solid
    layers: tuple[Layer, ...]


def part(solid: Solid, material: str, key: str | None = None, *inner: Layer) -> Part:
    """A part whose outermost layer starts at the surface."""
    return Part(solid, (Layer(material, key), *inner))


def paint(
    parts: Iterable[Part],
    lattice: Lattice,
    values: Mapping[str, Sequence[float]],
    outside: Sequence[float],
    into: list[Field] | None = None,
) -> list[Field]:
    """One float32 array per quantity; voxels that a surface cuts hold a mixture (partial volume).

    values: material -> one number per quantity; a material that is absent is not painted. outside: value where nothing is.
    """
    shape = lattice.grid.shape
    out = [np.full(shape, v, dtype=np.float32) for v in outside] if into is None else into
    ramp = np.float32(1 / lattice.softness)
    for one in parts:
        layers = [(layer.depth, values[layer.material]) for layer in one.layers if layer.material in values]
        if not layers:
            continue
        for window, distance in one.solid.pieces(lattice):
            deepest = float(distance.min())
            for depth, numbers in layers:
                if deepest + depth > lattice.softness / 2:
                    continue
                alpha = np.clip(np.float32(0.5 - depth / lattice.softness) - distance * ramp, 0, 1)
                for array, number in zip(out, numbers, strict=True):
                    view = array[window]
                    view += alpha * (np.float32(number) - view)
    return out


def paint_labels(parts: Iterable[Part], lattice: Lattice, values: Mapping[str, int]) -> npt.NDArray[np.uint16]:
    """uint16 labels: a voxel belongs to the last part that holds its centre. Keys that are absent are not painted."""
    out = np.zeros(lattice.grid.shape, dtype=np.uint16)
    for one in parts:
        layers = [(layer.depth, values[layer.key]) for layer in one.layers if layer.key is not None and layer.key in values]
        if not layers:
            continue
        for window, distance in one.solid.pieces(lattice):
            view = out[window]
            for depth, value in layers:
                np.copyto(view, np.uint16(value), where=distance < -depth)
    return out
