"""Time of counting and answering for many uncertain lesions. Prints seconds.

    python scripts/bench_tally.py [--lesions 200] [--repeats 5] [--seed 200]

Every lesion has a probability and two possible organs, some have two vertebrae or a doubtful split: too much for the exact
table, so every reading of the default rules is sampled with a fixed seed.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import VertebralLevel
from lesion_pipeline.domain.verdict import CountableLesion
from lesion_pipeline.stages import tally, verdict

ORGANS = ("bone", "liver", "lung", "lymph_node", "adrenal", "kidney", "spleen", "pleura")


def lesions(count: int, seed: int) -> list[CountableLesion]:
    """Lesions drawn at random."""
    rng = np.random.default_rng(seed)
    levels = [level.name for level in VertebralLevel if level <= VertebralLevel.L5]
    drawn = []
    for index in range(count):
        first, second = (str(organ) for organ in rng.choice(ORGANS, 2, replace=False))
        share = float(rng.uniform(0.5, 0.95))
        hit = tuple(str(level) for level in rng.choice(levels, 2, replace=False)) if first == "bone" else ()
        split = float(rng.choice([0.0, 0.0, 0.3]))
        organs = ((first, share), (second, 1.0 - share))
        probability = float(rng.uniform(0.01, 0.6))
        drawn.append(CountableLesion(f"L{index}", probability, organs, bool(hit), hit, split_probability=split))
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lesions", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=200)
    args = parser.parse_args()
    conf, drawn, spent = config.load(), lesions(args.lesions, args.seed), []
    for _ in range(args.repeats):
        began = time.perf_counter()
        counts = tally.count(drawn, conf.rules)
        verdict.run(counts, None, conf.criteria, [])
        spent.append(time.perf_counter() - began)
    print(f"{args.lesions} lesions: median {statistics.median(spent):.2f} s, best {min(spent):.2f} s of {args.repeats}")


if __name__ == "__main__":
    main()
