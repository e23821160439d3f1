"""Build the bodies: python -m scripts.organ_training.make_bodies MAPS OUT [--part I/N]

MAPS holds .npz files with ``labels`` (see ``read_maps``); OUT gets one .npz with ``tissues``
for each map that can carry a body.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np

from scripts.organ_training.bodies import NoBodyError, build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("maps", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", default="0/1")
    args = parser.parse_args()
    part, parts = (int(n) for n in args.part.split("/"))
    args.out.mkdir(parents=True, exist_ok=True)
    files = sorted(args.maps.glob("*.npz"), key=lambda f: zlib.crc32(f.name.encode()))
    for path in files[part::parts]:
        target = args.out / path.name
        if target.exists():
            continue
        with np.load(path) as held:
            labels = held["labels"]
        try:
            tissues = build(labels, zlib.crc32(path.name.encode()))
        except (NoBodyError, IndexError) as unfit:
            print(path.stem, "left out:", unfit)
            continue
        partial = target.with_suffix(".tmp.npz")
        np.savez_compressed(partial, tissues=tissues)
        partial.rename(target)


if __name__ == "__main__":
    main()
