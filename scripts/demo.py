"""What `make demo` runs: make the sample study, read it, print the summary, and hold it against the answer key."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "sample_data" / "study"
ANSWER = ROOT / "sample_data" / "truth" / "answer.json"
OUT = ROOT / "demo_out"


def make_study() -> None:
    """Generate the sample study unless it is already there, complete."""
    if not ANSWER.is_file():
        print("Making the sample study (synthetic, deterministic) ...", flush=True)
        subprocess.run([sys.executable, str(ROOT / "scripts" / "make_sample_data.py"), "--out", str(STUDY)], check=True)


def compare(count: dict[str, Any], key: dict[str, Any]) -> list[str]:
    """Sentences for whatever differs from the answer key."""
    differs = []
    for name, truth in key["counts"].items():
        found = count["counts"][name]["best"]
        if found != truth:
            differs.append(f"{name}: counted {found}, the answer key says {truth}")
    organs = {organ: n["best"] for organ, n in count["counts"]["by_organ"].items() if n["best"]}
    if organs != key["by_organ"]:
        differs.append(f"organs: counted {organs}, the answer key says {key['by_organ']}")
    levels = sorted(level for level, n in count["counts"]["by_level"].items() if n["best"])
    if levels != sorted(key["by_level"]):
        differs.append(f"levels: counted {levels}, the answer key says {sorted(key['by_level'])}")
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
        print("Agrees with the answer key of the sample study: counts, organs and levels.")
    return 1 if differs else 0


if __name__ == "__main__":
    raise SystemExit(main())
