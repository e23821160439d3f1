"""CTs of the simulator's own bodies for training: python -m scripts.organ_training.make_simulated OUT --bodies N [--first SEED]

Each .npz holds ``hu`` (float16) and ``target`` (uint8 class, order of ``paint.CLASSES``) on a lattice of STEP mm, axes to the
left, the back, the head. Seeds of bodies start at ``--first``: keep them away from the seeds that are measured on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.plugins.builtin_organs.network import CLASSES
from lesion_pipeline.simulate.anatomy import build_body
from lesion_pipeline.simulate.anatomy.params import draw_params
from scripts.organ_training.bodies import STEP

#: Class by the beginning of the structure's name; what is not named here is background, like fat and muscle.
_CLASS_OF = {
    "spleen": "spleen", "kidney": "kidney", "liver": "liver", "bladder": "urinary_bladder", "lung": "lung", "brain": "brain",
    "cerebellum": "brain", "heart": "heart", "stomach": "stomach", "duodenum": "bowel", "small_bowel": "bowel",
    "colon": "bowel", "aorta": "aorta", "parotid": "head_glands", "submandibular": "head_glands", "prostate": "prostate",
    "vertebra": "bone", "rib": "bone", "sternum": "bone", "clavicle": "bone", "scapula": "bone", "humerus": "bone",
    "femur": "bone", "hip_left": "bone", "hip_right": "bone", "skull": "bone", "mandible": "bone", "coccyx": "bone",
    "forearm": "bone",
}  # fmt: skip
_HALF_WIDTH_MM, _ABOVE_MM, _BELOW_MM = (270.0, 210.0), 900.0, 420.0


def class_of(key: str) -> int:
    """Index into CLASSES of a structure of the simulator (0 for what the network does not name)."""
    for start, name in _CLASS_OF.items():
        if key == start or key.startswith(start + "_"):
            return CLASSES.index(name)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bodies", type=int, required=True)
    parser.add_argument("--first", type=int, default=500_000)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    affine = np.diag([STEP, STEP, STEP, 1.0])
    affine[:3, 3] = -_HALF_WIDTH_MM[0], -_HALF_WIDTH_MM[1] - 40, -_BELOW_MM
    shape = tuple(int(n / STEP) for n in (2 * _HALF_WIDTH_MM[0], 2 * _HALF_WIDTH_MM[1], _ABOVE_MM + _BELOW_MM))
    grid = Grid((shape[0], shape[1], shape[2]), affine, "simulated")
    for seed in range(args.first, args.first + args.bodies):
        target = args.out / f"body-{seed}.npz"
        if target.exists():
            continue
        rng = np.random.default_rng(seed)
        body = build_body(draw_params(rng))
        labels = body.labels(grid)
        lut = np.zeros(int(labels.values.max()) + 1, dtype=np.uint8)
        for value, structure in labels.names.items():
            if value < len(lut):
                lut[value] = class_of(structure.key)
        hu = body.sample_ct(grid, rng, noise_hu=6.0).values
        partial = target.with_suffix(".tmp.npz")
        np.savez_compressed(partial, hu=hu.astype(np.float16), target=lut[labels.values])
        partial.rename(target)


if __name__ == "__main__":
    main()
