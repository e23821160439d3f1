"""Real organ label maps (NIfTI) to 4 mm arrays: python -m scripts.organ_training.read_maps FOLDER OUT

OUT gets one .npz a map with ``labels`` (uint8; axes to the left, the back, the head), cropped to the organs and 180 mm around.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel
import numpy as np

from scripts.organ_training.bodies import STEP

nibabel: Any = untyped_nibabel
_MARGIN = 45


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(args.folder.glob("*.nii.gz")):
        target = args.out / (path.name.split(".")[0][:14] + ".npz")
        if target.exists():
            continue
        image = nibabel.as_closest_canonical(nibabel.load(path))
        labels = np.asanyarray(image.dataobj).astype(np.uint8)[::-1, ::-1]  # RAS to LPS
        zooms = [float(z) for z in image.header.get_zooms()[:3]]
        index = [
            np.clip(np.rint(np.arange(int(n * z / STEP)) * STEP / z).astype(int), 0, n - 1)
            for n, z in zip(labels.shape, zooms, strict=True)
        ]
        coarse = labels[np.ix_(*index)]
        seen = np.argwhere(coarse.any(axis=2))
        padded = np.pad(coarse, [(_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)])
        low, high = seen.min(axis=0), seen.max(axis=0) + 2 * _MARGIN + 1
        np.savez_compressed(target, labels=padded[low[0] : high[0], low[1] : high[1]])


if __name__ == "__main__":
    main()
