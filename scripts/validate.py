"""Make docs/validation.md: a seeded cohort through the pipeline as it stands, judged, worst cases with pictures.

    python -m scripts.validate --work .cache/validation [--seed N] [--studies 32] [--jobs 2] [--full]

Scanners are light unless ``--full``: CT of 3 x 3 x 5 mm, no MR, which halves the time. The script makes ``--studies`` FDG and
as many PSMA studies, runs and judges them. ``--make-only`` makes them and runs none, so that a cohort can lie ready;
``--from-runs`` judges what is there and writes the page; ``--real`` measures the real answers first. Interrupted, it goes on
where it stopped; a study's DICOM files are removed once it was run (its answer key stays). Studies of another seed in the same
folder are left alone.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lesion_pipeline.evaluate import evaluate
from lesion_pipeline.evaluate.cohort import run_folders
from lesion_pipeline.simulate.cohort import plan_study
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import load_preset
from lesion_pipeline.simulate.study import make_study
from scripts import validation_real
from scripts.simulated_studies import PRESETS, light
from scripts.validation_page import Cohort, Report, write_page

ROOT = Path(__file__).resolve().parent.parent
COHORTS = ("fdg", "psma")
SEED = 20240601
REFUSED = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for studies, runs and the report")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the cohort, stated on the page (default: {SEED})")
    parser.add_argument("--studies", type=int, default=32, help="studies per cohort (default: 32, i.e. 64 in all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--doc", type=Path, default=ROOT / "docs" / "validation.md")
    parser.add_argument("--full", action="store_true", help="scanners as the cohort's preset draws them, MR included")
    parser.add_argument("--make-only", action="store_true", help="make the studies and run none of them")
    parser.add_argument("--from-runs", action="store_true", help="make no study; judge the runs that are there")
    parser.add_argument("--real", action="store_true", help="measure the real answers too")
    parser.add_argument("--shared", type=Path, default=ROOT / ".cache" / "shared-data", help="real data, unpacked")
    parser.add_argument("--one", nargs=2, metavar=("COHORT", "NUMBER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    at = Cohort(given.seed, given.studies, given.full, given.work.resolve())
    if given.one:
        return one(at, given.one[0], int(given.one[1]), make_only=given.make_only)
    if not given.from_runs:
        failures = everything(at, given.jobs, ["--make-only"] if given.make_only else [])
        if failures:
            print(f"{len(failures)} studies broke: {', '.join(failures)}", file=sys.stderr)
    if given.make_only:
        return 0
    if given.real:
        validation_real.write(at.work, given.shared.resolve())
    reports = {part: report for part in ("all", *COHORTS) if (report := judged(at, part)) is not None}
    if "all" not in reports:
        print("no study was run", file=sys.stderr)
        return 1
    write_page(at, given.doc.resolve(), reports)
    print(f"{given.doc} written")
    return 0


def everything(at: Cohort, jobs: int, flags: Sequence[str]) -> list[str]:
    """Every study in its own process, FDG and PSMA in turn; returns the names of those that broke."""
    wanted = [(cohort, number) for number in range(1, at.studies + 1) for cohort in COHORTS]
    more = [*flags, *(["--full"] if at.full else [])]

    def start(item: tuple[str, int]) -> tuple[str, int]:
        cohort, number = item
        command = [sys.executable, "-m", "scripts.validate", "--work", str(at.work), "--seed", str(at.seed), *more]
        command += ["--one", cohort, str(number)]
        done = subprocess.run(command, check=False, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return f"{cohort}-{number}", done.returncode

    broken = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, status in pool.map(start, wanted):
            print(name, "done" if not status else f"ended with {status}", flush=True)
            if status:
                broken.append(name)
    return broken


def planned(cohort: str, seed: int, number: int, *, full: bool) -> StudyPlan:
    """The plan of one study; light scanners unless ``full``."""
    plan = plan_study(load_preset(cohort), seed, number)
    return plan if full else light(plan)


def one(at: Cohort, cohort: str, number: int, *, make_only: bool) -> int:
    """Make, run and clear away one study. A refusal is a result; it shows as a study without one."""
    plan = planned(cohort, at.seed, number, full=at.full)
    work = at.work
    truth, runs, dicom = work / "truth" / plan.name, work / "runs" / plan.name, work / "dicom" / plan.name
    if not (truth / "answer.json").is_file():
        for stale in (runs, dicom):
            shutil.rmtree(stale, ignore_errors=True)
        part = truth.with_name(f".{truth.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        began = time.process_time()
        make_study(plan, dicom, part)
        _note(work, plan.name, simulate_cpu_s=time.process_time() - began)
        part.rename(truth)
    if make_only:
        return 0
    if run_folders(runs) or (runs / "refused.txt").is_file():
        shutil.rmtree(dicom, ignore_errors=True)
        return 0
    if not dicom.is_dir():
        make_study(plan, dicom, truth)
    preset = PRESETS[str(plan.tracer)]
    command = [sys.executable, "-m", "lesion_pipeline", "run", str(dicom), "--out", str(runs), "--config", preset, "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    _note(work, plan.name, run_cpu_s=used.ru_utime + used.ru_stime)
    if done.returncode == REFUSED:
        runs.mkdir(parents=True, exist_ok=True)
        (runs / "refused.txt").write_text(done.stderr, encoding="utf-8")
    elif done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        return done.returncode
    shutil.rmtree(dicom, ignore_errors=True)
    return 0


def _note(work: Path, name: str, **costs: float) -> None:
    path = work / "cost" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**known, **{k: round(v, 2) for k, v in costs.items()}}), encoding="utf-8")


def judged(at: Cohort, part: str) -> Report | None:
    """Judge the studies of one cohort or of all that were run (refused ones too), through copies of their answer keys.

    None when none of them was run.
    """
    names = f"*-{at.seed}-*" if part == "all" else f"{part}-{at.seed}-*"
    chosen = sorted(p for p in (at.work / "truth").glob(names) if (at.work / "runs" / p.name).is_dir() and p.name[0] != ".")
    if not any(run_folders(at.work / "runs" / path.name) for path in chosen):
        return None
    view, out = at.work / f"truth-{part}", at.work / f"report-{part}"
    shutil.rmtree(view, ignore_errors=True)
    for path in chosen:
        shutil.copytree(path, view / path.name)
    evaluate(at.work / "runs", view, out, seed=0)
    report: Report = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    return report


if __name__ == "__main__":
    sys.exit(main())
