"""Uptake that is not the same everywhere in a tissue: marrow in patches, bowel in stretches, liver a little mottled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.simulate.anatomy.solids import Field

#: Spread of the logarithm of true uptake inside one tissue [D]; measured spreads are greater by the noise of the image.
#: Marrow varies between and inside vertebrae, bowel along its length; what is not named takes the last.
SPREAD: Mapping[str, float] = {
    "spongiosa": 0.18, "spongiosa_rib": 0.20, "spongiosa_pelvis": 0.20, "spongiosa_limb": 0.25, "liver": 0.05, "spleen": 0.06,
    "blood": 0.02, "blood_chamber": 0.02, "bowel_wall": 0.40, "bowel_hot": 0.35, "duodenum_wall": 0.30, "stomach": 0.30,
    "mucosa": 0.20, "muscle": 0.12, "kidney_cortex": 0.12, "kidney_medulla": 0.20, "myocardium": 0.20, "urine": 0.0,
    "ureter_hot": 0.0, "scar": 0.30, "metal": 0.0,
}  # fmt: skip
OTHER_SPREAD = 0.08
#: Of tumours [D].
LESION_SPREAD = 0.20
#: Width (sigma, mm) of a patch.
PATCH_MM = 6.0
#: The field is drawn on a lattice this many times coarser than the patches are wide, then interpolated.
_STEP_MM = 6.0


def spread_of(material: str) -> float:
    """Spread of the logarithm of uptake inside a material."""
    return LESION_SPREAD if material.startswith("lesion:") else SPREAD.get(material, OTHER_SPREAD)


def patches(grid: Grid, rng: np.random.Generator) -> Field:
    """A smooth random field (float32, spread 1) on a grid."""
    spacing = grid.spacing_mm
    coarse = [int(np.ceil(n * s / _STEP_MM)) + 2 for n, s in zip(grid.shape, spacing, strict=True)]
    field = rng.standard_normal(coarse, dtype=np.float32)
    for axis, (n, s) in enumerate(zip(grid.shape, spacing, strict=True)):
        # rows of a Gaussian kernel: smoothing and interpolation in one product
        apart = np.arange(n)[:, None] * s - (np.arange(coarse[axis]) - 0.5)[None, :] * _STEP_MM
        kernel = np.exp(-0.5 * (apart / PATCH_MM) ** 2)
        kernel /= np.sqrt((kernel**2).sum(axis=1, keepdims=True))
        field = np.moveaxis(np.tensordot(kernel.astype(np.float32), field, axes=(1, axis)), 0, axis)
    return np.asarray(field, dtype=np.float32)


def mottle(image: Field, spread: Field, grid: Grid, rng: np.random.Generator) -> None:
    """In place: multiply uptake by a log-normal field of mean 1. spread: of the logarithm, voxel by voxel."""
    field = patches(grid, rng)
    field *= spread
    field -= np.float32(0.5) * spread**2
    np.exp(field, out=field)
    image *= field
