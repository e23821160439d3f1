"""The body as a whole: its parts in painting order, its place in the scanner, and the doors to images and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.anatomy import Structure
from lesion_pipeline.domain.geometry import Grid, Matrix, Points, apply_affine, inverse_affine
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.simulate.anatomy import abdomen, head, pelvis, spine, thorax, trunk
from lesion_pipeline.simulate.anatomy.params import BodyParams
from lesion_pipeline.simulate.anatomy.parts import Part, paint, paint_labels
from lesion_pipeline.simulate.anatomy.solids import Field, Lattice
from lesion_pipeline.simulate.anatomy.structures import structure_of
from lesion_pipeline.simulate.materials import CT_OUTSIDE, ct_values


@dataclass(frozen=True, eq=False)
class Body:
    """parts: painting order. world_from_body: (4, 4), LPS mm of the scanner. frame: landmarks that organs hang on."""

    params: BodyParams
    parts: tuple[Part, ...]
    frame: trunk.Frame
    world_from_body: Matrix
    extra: tuple[Part, ...] = field(default=())

    @property
    def spine(self) -> spine.Spine:
        return self.frame.spine

    def lattice(self, grid: Grid) -> Lattice:
        return Lattice(grid, inverse_affine(self.world_from_body))

    def world(self, points: npt.ArrayLike) -> Points:
        """Body coordinates to LPS mm of the scanner."""
        return apply_affine(self.world_from_body, points)

    def fields(
        self, grid: Grid, values: Mapping[str, Sequence[float]], outside: Sequence[float], more: Sequence[Part] = ()
    ) -> list[Field]:
        """One float32 array per quantity: every material has one number per quantity; ``more`` is painted last."""
        return paint((*self.parts, *more), self.lattice(grid), values, outside)

    def owners(self, points: npt.ArrayLike) -> npt.NDArray[np.object_]:
        """Key of the structure that shows at points (n, 3) in body coordinates: the last part that holds each; "" is none."""
        at = np.asarray(points, dtype=np.float32).reshape(-1, 3)
        out = np.full(len(at), "", dtype=object)
        for one in self.parts:
            near = np.flatnonzero(((at >= one.solid.low) & (at <= one.solid.high)).all(axis=1))
            if not len(near) or all(layer.key is None for layer in one.layers):
                continue
            x, y, z = (at[near, axis].reshape(-1, 1, 1) for axis in range(3))
            distance = np.broadcast_to(one.solid.distance((x, y, z)), (len(near), 1, 1)).reshape(-1)
            for layer in one.layers:
                if layer.key is not None:
                    out[near[distance < -layer.depth]] = layer.key
        return out

    def labels(self, grid: Grid) -> LabelMap:
        """Every structure by name on a grid; a voxel belongs to what holds its centre."""
        keys = sorted({layer.key for one in self.parts for layer in one.layers if layer.key})
        values = {key: n for n, key in enumerate(keys, start=1)}
        instances = {v.key: v.instance for v in self.spine.vertebrae}
        instances["vertebra_S"] = len(instances) + 1
        names: dict[int, Structure] = {values[key]: structure_of(key, instances.get(key)) for key in keys}
        return LabelMap(paint_labels(self.parts, self.lattice(grid), values), grid, names)

    def sample_ct(
        self,
        grid: Grid,
        rng: np.random.Generator,
        noise_hu: float = 14.0,
        more: Sequence[Part] = (),
        extra: Mapping[str, float] | None = None,
    ) -> Volume:
        """CT in HU with noise of the given spread in soft tissue; ``more`` and ``extra``: parts and HU painted on top."""
        values = ct_values(self.params.age)
        values.update({name: (hu,) for name, hu in (extra or {}).items()})
        (image,) = self.fields(grid, values, (CT_OUTSIDE,), more)
        add_ct_noise(image, grid, rng, noise_hu)
        return Volume(image, grid, Unit.HU, Modality.CT, "CT-simulated")


def add_ct_noise(image: Field, grid: Grid, rng: np.random.Generator, noise_hu: float) -> None:
    """In place: the blur of a soft kernel, grain of spongy bone, and noise that a soft kernel leaves correlated."""
    sigma = [0.55 / s for s in grid.spacing_mm]  # about 1.3 mm full width
    ndimage.gaussian_filter(image, sigma, output=image)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    ndimage.gaussian_filter(noise, [0.9 / grid.spacing_mm[0], 0.9 / grid.spacing_mm[1], 0.0], output=noise)
    scale = np.float32(1 / float(noise[::4, ::4, ::4].std()))
    grain = np.clip((image - 90) * np.float32(1 / 120), 0, 1) * np.float32(16)
    noise *= scale * (np.float32(noise_hu) + grain)
    image += noise
    np.clip(image, -1024, 3071, out=image)


def pose_matrix(params: BodyParams, offset: Sequence[float]) -> Matrix:
    """Turn about the long axis, then shift into the scanner."""
    a = np.radians(params.rotation_deg)
    out = np.eye(4)
    out[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    out[:3, 3] = offset
    return out


def build_body(params: BodyParams, offset_lps_mm: Sequence[float] = (0.0, 0.0, 0.0)) -> Body:
    """A body whose lumbosacral disc lies at ``offset_lps_mm`` in the scanner. Deterministic in ``params``."""
    rng = np.random.default_rng(params.seed)
    column = spine.build_spine(params)
    f = trunk.build_frame(params, column)
    parts = [
        trunk.couch(f),
        *trunk.soft_parts(f, rng),
        *head.head_parts(f),
        *thorax.lungs(f, rng),
        *thorax.heart(f, rng),
        *thorax.great_vessels(f),
        *abdomen.abdomen_parts(f, rng),
        *pelvis.pelvic_organs(f, rng),
        *thorax.ribs(f),
        thorax.sternum(f),
        *thorax.girdle(f),
        *pelvis.pelvis_parts(f),
        *spine.disc_parts(column),
        *(spine.vertebra_parts(v) for v in column.vertebrae[::-1]),
        *spine.canal_parts(column),
    ]
    return Body(params, tuple(parts), f, pose_matrix(params, offset_lps_mm))
