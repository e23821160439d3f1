"""Dice of an exported network: python -m scripts.organ_training.measure MODEL.onnx [--ct CT --labels MAP] [--bodies FOLDER]

--labels: a label map of the CT with TotalSegmentator class ids. --bodies: bodies of make_bodies; the held-out ones are painted.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from lesion_pipeline.domain.volume import Modality, Unit
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins.builtin_organs.lattice import lattice_over, on_lattice
from scripts.organ_training.paint import CLASSES, PATCH, PATCH_MM, TARGET, channels, crop, is_held_out, paint

_BONES = [*range(25, 51), *range(69, 79), *range(91, 118)]
TOTAL_IDS: dict[str, list[int]] = {
    "spleen": [1], "kidney": [2, 3], "liver": [5], "stomach": [6], "lung": [10, 11, 12, 13, 14], "bowel": [18, 19, 20],
    "urinary_bladder": [21], "heart": [51], "aorta": [52], "bone": _BONES,
}  # fmt: skip


def predict(session: Any, hu: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Classes on a 6 mm lattice: windows of 48 slices with Hann weights, as the network was trained."""
    pad = [(0, -n % 16) for n in hu.shape[:2]] + [(0, max(PATCH[2] - hu.shape[2], 0))]
    x = channels(np.pad(hu, pad, constant_values=-1024))
    total = np.zeros((len(CLASSES), *x.shape[1:]), dtype=np.float32)
    hann = (np.hanning(PATCH[2] + 2)[1:-1] + 0.05).astype(np.float32)
    last = x.shape[3] - PATCH[2]
    for start in sorted({*range(0, last, PATCH[2] // 2), last}):
        logits = session.run(None, {"ct": x[None, :, :, :, start : start + PATCH[2]]})[0][0]
        p = np.exp(logits - logits.max(0))
        total[:, :, :, start : start + PATCH[2]] += p / p.sum(0) * hann
    i, j, k = hu.shape
    return np.asarray(total.argmax(0)[:i, :j, :k], dtype=np.uint8)


def dice(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--bodies", type=Path)
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(args.model), options, providers=["CPUExecutionProvider"])
    if args.ct and args.labels:
        ct = read_volume(args.ct, Unit.HU, Modality.CT, "f")
        truth = read_volume(args.labels, Unit.ARBITRARY, Modality.OTHER, "f")
        lattice = lattice_over(ct.grid, PATCH_MM)
        found = predict(session, on_lattice(ct, lattice, -1024.0))
        points = lattice.index(truth.grid.world(np.argwhere(np.ones(truth.grid.shape, dtype=bool))))
        index = np.clip(np.rint(points).astype(int), 0, np.array(lattice.shape) - 1)
        at = found[tuple(index.T)].reshape(truth.grid.shape)
        print({k: round(dice(at == CLASSES.index(k), np.isin(truth.values, ids)), 3) for k, ids in TOTAL_IDS.items()})
    if args.bodies:
        rng = np.random.default_rng(1)
        pairs = []
        for path in sorted(p for p in args.bodies.glob("*.npz") if is_held_out(p.name)):
            with np.load(path) as held:
                patches = [crop(held["tissues"], rng) for _ in range(4)]
            pairs += [(predict(session, paint(p, rng)), TARGET[p]) for p in patches]
        a, b = (np.stack(side) for side in zip(*pairs, strict=True))
        print({c: round(dice(a == n, b == n), 3) for n, c in enumerate(CLASSES) if n})


if __name__ == "__main__":
    main()
