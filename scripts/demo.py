"""What `make demo` runs: make the sample study, read it, print the summary, and hold it against the answer key."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "sample_data" / "study"
ANSWER = ROOT / "sample_data" / "truth" / "answer.json"
OUT = ROOT / "demo_out"


def make_study() -> None:
    """Generate the sample study anew: it costs seconds, and an old copy would outlive a change of the simulator."""
    print("Making the sample study (synthetic, deterministic) ...", flush=True)
    subprocess.run([sys.executable, str(ROOT / "scripts" / "make_sample_data.py"), "--out", str(STUDY)], check=True)


NUMBERS = ("lesions", "organs", "spinal_lesions", "involved_vertebrae")


def compare(count: dict[str, Any], key: dict[str, Any]) -> list[str]:
    """Sentences for whatever differs from the answer key: counts, organs, levels, criterion."""
    differs = []
    for name in NUMBERS:
        found, truth = count["counts"][name]["best"], key["counts"][name]
        if found != truth:
            differs.append(f"{name}: counted {found}, the answer key says {truth}")
    counted = [lesion for lesion in count["lesions"] if lesion["decision"] == "counted"]
    organs = dict(Counter(lesion["organ"] for lesion in counted))
    if organs != key["counts"]["by_organ"]:
        differs.append(f"organs: counted {organs}, the answer key says {key['counts']['by_organ']}")
    levels = dict(Counter(lesion["spinal_level"] for lesion in counted if lesion["spinal_level"]))
    if levels != key["counts"]["by_level"]:
        differs.append(f"levels: counted {levels}, the answer key says {key['counts']['by_level']}")
    answer = next(c["status"] for c in count["criteria"] if c["id"] == count["headline"])
    truth = key["criteria"][count["headline"]]["answer"]
    if answer != truth:
        differs.append(f"{count['headline']}: answered {answer}, the answer key says {truth}")
    return differs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    make_study()
    command = [sys.executable, "-m", "lesion_pipeline", "run", str(STUDY), "--out", str(args.out)]
    if subprocess.run(command, check=False).returncode:
        return 1
    newest = max(args.out.glob("*/lesioncount.json"), key=lambda path: path.stat().st_mtime)
    key = json.loads(ANSWER.read_text(encoding="utf-8"))
    differs = compare(json.loads(newest.read_text(encoding="utf-8")), key)
    for sentence in differs:
        print(f"DIFFERS FROM THE ANSWER KEY: {sentence}")
    if not differs:
        print("Agrees with the answer key of the sample study: counts, organs, levels and criterion.")
    return 1 if differs else 0


if __name__ == "__main__":
    raise SystemExit(main())
