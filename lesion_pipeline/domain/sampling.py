"""Seeded sampling of the four counts, for patients whose organ mixtures or shared vertebrae are too many for the exact table.

Every lesion has a random stream of its own, named by its id: the same lesion falls the same way under every reading of the
rules and in whatever order the lesions come, so readings differ by the rules and not by chance.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.counting import (
    Caps,
    CountingUnit,
    Floats,
    JointTable,
    Numerics,
    exact_joint,
    frailty_nodes,
    shifted,
)

#: Fewest draws that a node of the frailty quadrature gets, however small its weight.
DRAWS_PER_NODE = 32

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int32]


class Sampler:
    """Draws for one patient, kept so that every reading of the rules sees the same ones."""

    def __init__(self, numerics: Numerics) -> None:
        self.numerics = numerics
        self.z, node_weights = frailty_nodes(numerics)
        per_node = np.maximum(np.rint(node_weights * numerics.draws), DRAWS_PER_NODE).astype(np.int64)
        self.per_node = per_node
        self.weights: Floats = np.repeat(node_weights / per_node, per_node)
        self.draws = len(self.weights)
        self._seen: dict[tuple[str, float, float, tuple[float, ...]], tuple[Bytes, Bytes]] = {}
        self._last: tuple[tuple[CountingUnit, ...], Integers] | None = None

    def lesion(self, unit: CountingUnit) -> tuple[Bytes, Bytes]:
        """(0 absent, 1 one lesion, 2 split in two; which of the unit's organs), both (draws,)."""
        shares = tuple(share for _, share in unit.organs)
        key = (unit.id, unit.probability, unit.split_probability, shares)
        if key not in self._seen:
            rng = np.random.default_rng([self.numerics.seed, zlib.crc32(unit.id.encode())])
            chance = shifted(unit.probability, self.z, self.numerics.frailty_sigma).astype(np.float32)
            number = (rng.random(self.draws, dtype=np.float32) < np.repeat(chance, self.per_node)).view(np.uint8)
            if unit.split_probability > 0.0:
                number += number * (rng.random(self.draws, dtype=np.float32) < np.float32(unit.split_probability))
            edges = np.cumsum(shares[:-1]).astype(np.float32)
            organ = np.zeros(self.draws, dtype=np.uint8)
            if len(edges):
                place = rng.random(self.draws, dtype=np.float32)
                for edge in edges:
                    organ += place >= edge
            self._seen[key] = (number, organ)
        return self._seen[key]

    def counts(self, units: Sequence[CountingUnit]) -> Integers:
        """(5, draws): lesions, organs, spinal lesions, involved vertebrae, most lesions in one organ."""
        asked = tuple(units)
        if self._last is None or self._last[0] != asked:
            self._last = (asked, self._counted(asked))
        return self._last[1]

    def _counted(self, units: Sequence[CountingUnit]) -> Integers:
        out = np.zeros((5, self.draws), dtype=np.int32)
        by_organ: dict[str, npt.NDArray[np.int16]] = {}
        by_vertebra: dict[str, npt.NDArray[np.bool_]] = {}
        lesion_like: set[str] = set()
        for unit in units:
            number, organ = self.lesion(unit)
            present = number > 0
            extra = number == 2
            split = unit.split_probability > 0.0
            for axis, each in ((0, unit.lesions), (2, unit.spinal)):
                if each:
                    out[axis] += present if each == 1 else present * np.uint8(each)
                if split and (each or axis == 0):
                    out[axis] += extra
            for index, (key, share) in enumerate(unit.organs):
                if key and share > 0.0:
                    total = by_organ.setdefault(key, np.zeros(self.draws, dtype=np.int16))
                    total += number if len(unit.organs) == 1 else number * (organ == index)
            for key in unit.vertebrae:
                hit = by_vertebra.setdefault(key, np.zeros(self.draws, dtype=np.bool_))
                hit |= present
            if unit.vertebrae_are_lesions:
                lesion_like |= set(unit.vertebrae)
        for total in by_organ.values():
            out[1] += total > 0
            np.maximum(out[4], total, out=out[4])
        for key, hit in by_vertebra.items():
            out[3] += hit
            if key in lesion_like:
                out[0] += hit
                out[2] += hit
        return out

    def joint(self, units: Sequence[CountingUnit], caps: Caps) -> Floats:
        """The sampled joint table, same axes as the exact one."""
        sizes = [n + 1 for n in (caps.lesions, caps.organs, caps.spinal, caps.vertebrae, caps.per_organ)]
        counts = self.counts(units)
        flat = np.zeros(self.draws, dtype=np.int64)
        for size, count in zip(sizes, counts, strict=True):
            flat = flat * size + np.minimum(count, size - 1)
        table = np.bincount(flat, weights=self.weights, minlength=int(np.prod(sizes)))
        return np.asarray(table.reshape(sizes) / table.sum())


def joint_table(units: Sequence[CountingUnit], caps: Caps, sampler: Sampler) -> JointTable:
    """The joint distribution: exact where the table is small enough, else sampled."""
    values = exact_joint(units, caps, sampler.numerics)
    return JointTable(values, True) if values is not None else JointTable(sampler.joint(units, caps), False)
