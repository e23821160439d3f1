"""What lies at a point: the label maps of an anatomy asked at points of any linked frame.

Points move, voxels stay: no label map is resampled. Of several maps the earlier one wins, with one exception: a named vertebra
wins over a bone that is only called bone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Anatomy, Structure, StructureKind
from lesion_pipeline.domain.errors import FrameMismatchError
from lesion_pipeline.domain.geometry import Frames, RigidTransform
from lesion_pipeline.domain.volume import LabelMap, Volume

Codes = npt.NDArray[np.int16]

_SOLID = frozenset({StructureKind.ORGAN, StructureKind.VERTEBRA, StructureKind.BONE})
#: Structures that say "inside the patient" and nothing about where.
_WHOLE = frozenset({"body"})
#: Regions with a wall of their own: a point inside one is in no organ.
_VESSELS = ("aorta", "inferior_vena_cava", "superior_vena_cava", "iliac_artery", "iliac_vein", "pulmonary_vein", "portal_vein")


@dataclass(frozen=True, slots=True)
class Landmark:
    """Centre and extent of a structure in LPS mm of the frame asked in, from an evenly thinned map."""

    centre: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def height_of(self, z: float) -> float:
        """Height of LPS z in the structure: 0 at its foot, 1 at its top."""
        return (z - self.low[2]) / max(self.high[2] - self.low[2], 1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One label map, the way into its frame, and its label values as codes; 0 where it does not speak on a layer."""

    label_map: LabelMap
    transform: RigidTransform
    solid: Codes
    tissue: Codes
    region: Codes

    def labels(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
        return self.label_map.at(self.transform.apply(points))


class Places:
    """The structures of an anatomy by code. Code 0 is "nothing named here"; ``structures[0]`` is None.

    frame: the frame the questions are asked in. Maps whose frame nothing links to it are left out and named in ``unlinked``.
    """

    def __init__(self, anatomy: Anatomy, frames: Frames, frame: str) -> None:
        self.structures: list[Structure | None] = [None]
        self.unlinked: list[str] = []
        self.frame = frame
        self._layers: list[_Layer] = []
        self._codes: dict[str, int] = {}
        self._landmarks: dict[str, Landmark] | None = None
        self._by_prefix: dict[tuple[str, ...], frozenset[int]] = {}
        for named in anatomy.maps:
            try:
                transform = frames.between(frame, named.label_map.grid.frame)
            except FrameMismatchError:
                self.unlinked.append(named.source)
                continue
            self._layers.append(self._layer(named.label_map, transform))

    def _layer(self, label_map: LabelMap, transform: RigidTransform) -> _Layer:
        size = max(label_map.names, default=0) + 1
        tables = {kind: np.zeros(size, dtype=np.int16) for kind in ("solid", "tissue", "region")}
        for value, structure in label_map.names.items():
            if structure.key in _WHOLE:
                continue
            solid = structure.kind in _SOLID or structure.key.startswith(_VESSELS)
            kind = "solid" if solid else "tissue" if structure.kind is StructureKind.TISSUE else "region"
            tables[kind][value] = self._code(structure)
        return _Layer(label_map, transform, tables["solid"], tables["tissue"], tables["region"])

    def _code(self, structure: Structure) -> int:
        if structure.key not in self._codes:
            self._codes[structure.key] = len(self.structures)
            self.structures.append(structure)
        return self._codes[structure.key]

    @property
    def known(self) -> bool:
        """Is there any structure at all?"""
        return len(self.structures) > 1

    def code(self, key: str) -> int | None:
        """Code of a structure, None if no map names it."""
        return self._codes.get(key)

    def codes(self, *prefixes: str) -> frozenset[int]:
        """Codes of every structure whose key is one of ``prefixes`` or goes on from it with an underscore."""
        known = self._by_prefix.get(prefixes)
        if known is None:
            known = frozenset(c for key, c in self._codes.items() if any(key == p or key.startswith(p + "_") for p in prefixes))
            self._by_prefix[prefixes] = known
        return known

    def codes_of_kind(self, *kinds: StructureKind) -> frozenset[int]:
        return frozenset(c for c, s in enumerate(self.structures) if s is not None and s.kind in kinds)

    def solid(self, points: npt.NDArray[np.float64]) -> Codes:
        """Code of the organ, bone or vertebra at each LPS point (n, 3) of ``frame``; tissues where there is none of them."""
        out = np.zeros(len(points), dtype=np.int16)
        tissue = np.zeros(len(points), dtype=np.int16)
        bones = np.zeros(len(self.structures), dtype=bool)
        vertebrae = np.zeros(len(self.structures), dtype=bool)
        bones[sorted(self.codes_of_kind(StructureKind.BONE))] = True
        vertebrae[sorted(self.codes_of_kind(StructureKind.VERTEBRA))] = True
        for layer in self._layers:
            if not (layer.solid.any() or layer.tissue.any()):
                continue
            labels = layer.labels(points)
            said = layer.solid[labels]
            take = (said > 0) & ((out == 0) | (bones[out] & vertebrae[said]))
            out[take] = said[take]
            said = layer.tissue[labels]
            take = (said > 0) & (tissue == 0)
            tissue[take] = said[take]
        return np.where(out > 0, out, tissue)

    def opinions(self, points: npt.NDArray[np.float64]) -> Iterator[Codes]:
        """What each map that names organs, bones or vertebrae says by itself at each LPS point (n, 3) of ``frame``."""
        for layer in self._layers:
            if layer.solid.any():
                yield layer.solid[layer.labels(points)]

    def region(self, key: str, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_] | None:
        """Is each point inside a region such as ``spinal_canal``? None if no map knows that region."""
        code = self._codes.get(key)
        if code is None:
            return None
        out = np.zeros(len(points), dtype=bool)
        for layer in self._layers:
            for table in (layer.region, layer.solid, layer.tissue):
                if (table == code).any():
                    out |= table[layer.labels(points)] == code
        return out

    def body(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_] | None:
        """Is each point inside the patient? None if no map draws the patient's outline."""
        for layer in self._layers:
            if layer.label_map.value_of("body") is not None:
                return layer.labels(points) > 0
        return None

    def covered(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Does any label map reach each point?"""
        out = np.zeros(len(points), dtype=bool)
        for layer in self._layers:
            out |= layer.label_map.grid.contains(layer.transform.apply(points))
        return out

    def landmarks(self) -> dict[str, Landmark]:
        """Centre and extent of every structure, by key; worked out once."""
        if self._landmarks is None:
            self._landmarks = {}
            for structure, points in self._thinned(limit=5_000):
                middle, low, high = points.mean(axis=0), points.min(axis=0), points.max(axis=0)
                self._landmarks[structure.key] = Landmark(_triple(middle), _triple(low), _triple(high))
        return self._landmarks

    def _thinned(self, limit: int) -> Iterator[tuple[Structure, npt.NDArray[np.float64]]]:
        """LPS points (n, 3) of every structure of every map, thinned evenly to about ``limit`` of a large one's voxels."""
        seen: set[str] = set()
        for layer in self._layers:
            values = layer.label_map.values
            step = max(1, int((values.size / (200.0 * limit)) ** (1 / 3)))
            thin = values[::step, ::step, ::step]
            spoken = layer.solid + layer.region + layer.tissue
            where = np.flatnonzero(spoken[thin.reshape(-1)])
            found = thin.reshape(-1)[where]
            indices = np.stack(np.unravel_index(where, thin.shape), axis=1) * step
            points = layer.transform.inverse().apply(layer.label_map.grid.world(indices))
            order = np.argsort(found, kind="stable")
            counts = np.bincount(found)
            ends = np.cumsum(counts)
            for value in np.flatnonzero(counts):
                structure = layer.label_map.names[int(value)]
                if structure.key not in seen:
                    seen.add(structure.key)
                    chosen = points[order[ends[value] - counts[value] : ends[value]]]
                    yield structure, chosen[:: max(1, len(chosen) // limit)]

    def samples(self, volume: Volume, limit: int) -> Iterator[tuple[Structure, npt.NDArray[np.float32]]]:
        """For each structure: values of ``volume`` (in ``frame``) at about ``limit`` of its map's voxels at most.

        The map is thinned evenly, so the answer is the same on every machine. Structures outside the volume are left out.
        """
        for structure, points in self._thinned(limit):
            at = np.rint(volume.grid.index(points)).astype(np.int64)
            inside = np.all((at >= 0) & (at < np.array(volume.grid.shape)), axis=1)
            if inside.any():
                yield structure, volume.values[tuple(at[inside].T)]


def _triple(point: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(c) for c in point)
    return (x, y, z)
