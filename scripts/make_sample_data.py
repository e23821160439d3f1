"""Write the sample study: an FDG PET-CT from skull base to mid-thigh and a sagittal MR of the spine, with its answer key.

    python scripts/make_sample_data.py --out sample_data/study [--seed 20240314]

The DICOM files go to OUT, the answer key (answer.json, lesions.nii.gz) to OUT/../truth unless --truth says otherwise.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from lesion_pipeline.simulate.sample import SAMPLE_SEED, sample_plan
from lesion_pipeline.simulate.study import make_study


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the DICOM files; replaced if it exists")
    parser.add_argument("--truth", type=Path, help="folder for the answer key (default: 'truth' beside OUT)")
    parser.add_argument("--seed", type=int, default=SAMPLE_SEED)
    parser.add_argument("--labels", action="store_true", help="write the anatomy's label map too")
    given = parser.parse_args()
    truth = given.truth or given.out.parent / "truth"
    if given.out.exists():
        shutil.rmtree(given.out)
    began = time.monotonic()
    key = make_study(sample_plan(given.seed), given.out, truth, labels=given.labels)
    size = sum(p.stat().st_size for p in given.out.rglob("*") if p.is_file()) / 1e6
    print(f"{given.out}: {size:.0f} MB in {time.monotonic() - began:.0f} s, counts {key['counts']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
