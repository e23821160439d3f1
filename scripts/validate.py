"""Make docs/validation.md: a fixed, seeded cohort through the pipeline as it stands, judged, worst cases with pictures.

    python scripts/validate.py --work .cache/validation [--studies 32] [--jobs 2] [--full]

Scanners are light unless ``--full``: CT of 3 x 3 x 5 mm, no MR, which halves the time. The script makes ``--studies`` FDG and
as many PSMA studies, runs and judges them. Interrupted, it goes on where it stopped; a study's DICOM files are removed once it
was run (its answer key stays). ``--from-runs`` judges what is there and writes the page.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesion_pipeline.evaluate import evaluate, page
from lesion_pipeline.evaluate.cohort import run_folders
from lesion_pipeline.report import layout
from lesion_pipeline.simulate.cohort import plan_study
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import load_preset
from lesion_pipeline.simulate.scanner import ScannerSettings
from lesion_pipeline.simulate.study import make_study

ROOT = Path(__file__).resolve().parent.parent
COHORTS = ("fdg", "psma")
SEED = 20240601
#: Which preset reads which tracer.
PRESETS = {"FDG": "fdg-petct", "PSMA-11": "psma-petct", "DCFPyL": "psma-petct", "PSMA-1007": "psma1007-petct"}
WORST = 6
REFUSED = 1

Report = Mapping[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for studies, runs and the report")
    parser.add_argument("--studies", type=int, default=32, help="studies per cohort (default: 32, i.e. 64 in all)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--doc", type=Path, default=ROOT / "docs" / "validation.md")
    parser.add_argument("--full", action="store_true", help="scanners as the cohort's preset draws them, MR included")
    parser.add_argument("--make-only", action="store_true", help="make the studies and run none of them")
    parser.add_argument("--from-runs", action="store_true", help="make no study; judge the runs that are there")
    parser.add_argument("--one", nargs=2, metavar=("COHORT", "NUMBER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return one(given.work, given.one[0], int(given.one[1]), full=given.full, make_only=given.make_only)
    if not given.from_runs:
        flags = [flag for flag, on in (("--full", given.full), ("--make-only", given.make_only)) if on]
        failures = everything(given.work, given.studies, given.jobs, flags)
        if failures:
            print(f"{len(failures)} studies broke: {', '.join(failures)}", file=sys.stderr)
    if not given.make_only:
        if not judged(given.work, "*"):
            print("no study was run", file=sys.stderr)
            return 1
        write_page(given.work, given.doc, full=given.full)
    return 0


def everything(work: Path, studies: int, jobs: int, flags: Sequence[str]) -> list[str]:
    """Every study in its own process, FDG and PSMA in turn; returns the names of those that broke."""
    wanted = [(cohort, number) for number in range(1, studies + 1) for cohort in COHORTS]

    def start(item: tuple[str, int]) -> tuple[str, int]:
        cohort, number = item
        command = [sys.executable, str(Path(__file__).resolve()), "--work", str(work), *flags]
        command += ["--one", cohort, str(number)]
        done = subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
        return f"{cohort}-{number}", done.returncode

    broken = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for name, status in pool.map(start, wanted):
            print(name, "done" if not status else f"ended with {status}", flush=True)
            if status:
                broken.append(name)
    return broken


def planned(cohort: str, number: int, *, full: bool) -> StudyPlan:
    """The plan of one study; light scanners unless ``full``."""
    plan = plan_study(load_preset(cohort), SEED, number)
    if full:
        return plan
    drawn = plan.scanner
    light = ScannerSettings(
        pet_fwhm=drawn.pet_fwhm,
        pet_noise=drawn.pet_noise,
        breath_mm=drawn.breath_mm,
        ct_spacing=(3.0, 3.0, 5.0),
        ct_matrix=166,
        ct_noise=drawn.ct_noise,
        top=drawn.top,
        bottom=drawn.bottom,
    )
    return replace(plan, scanner=light, mr=None)


def one(work: Path, cohort: str, number: int, *, full: bool, make_only: bool) -> int:
    """Make, run and clear away one study. A refusal is a result; it shows as a study without one."""
    plan = planned(cohort, number, full=full)
    truth, runs, dicom = work / "truth" / plan.name, work / "runs" / plan.name, work / "dicom" / plan.name
    if not (truth / "answer.json").is_file():
        for stale in (runs, dicom):
            shutil.rmtree(stale, ignore_errors=True)
        part = truth.with_name(f".{truth.name}.part")
        make_study(plan, dicom, part)
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
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode == REFUSED:
        runs.mkdir(parents=True, exist_ok=True)
        (runs / "refused.txt").write_text(done.stderr, encoding="utf-8")
    elif done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        return done.returncode
    shutil.rmtree(dicom, ignore_errors=True)
    return 0


def write_page(work: Path, doc: Path, *, full: bool) -> None:
    """docs/validation.md and its pictures from a finished report."""
    report = json.loads((work / "report-all" / "evaluation.json").read_text(encoding="utf-8"))
    pictures = doc.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("validation-*.png"):
        old.unlink()
    by_tracer = {
        cohort: json.loads((work / f"report-{cohort}" / "evaluation.json").read_text(encoding="utf-8"))
        for cohort in COHORTS
        if judged(work, f"{cohort}-*")
    }
    text = "\n\n".join(
        [
            _head(report, full=full),
            _figures(report, by_tracer),
            _criteria(report),
            _where_lost(report),
            _resources(work),
            _worst(report, work, pictures),
            _limits(),
        ]
    )
    doc.write_text(text + "\n", encoding="utf-8")
    print(f"{doc} written")


def judged(work: Path, names: str) -> bool:
    """Judge the studies of a name pattern that were run (refused ones too), through copies of their answer keys."""
    part = "all" if names == "*" else names.split("-", maxsplit=1)[0]
    chosen = sorted(p for p in (work / "truth").glob(names) if (work / "runs" / p.name).is_dir() and not p.name.startswith("."))
    view = work / f"truth-{part}"
    shutil.rmtree(view, ignore_errors=True)
    for path in chosen:
        shutil.copytree(path, view / path.name)
    if not any(run_folders(work / "runs" / path.name) for path in chosen):
        return False
    evaluate(work / "runs", view, work / f"report-{part}", seed=0)
    return True


def _head(report: Report, *, full: bool) -> str:
    cohort = report["cohort"]
    tracers = ", ".join(f"{n} {name}" for name, n in cohort["tracers"].items())
    scanners = "as the presets draw them" if full else "light: PET of 4 x 4 x 3 mm, CT of 3 x 3 x 5 mm, no MR"
    lost = f" {len(cohort['without_result'])} gave no result." if cohort["without_result"] else ""
    return f"""# Validation on simulated studies

Research use only - not a medical device. These figures come from synthetic patients (`lesion-pipeline simulate`): they show
what the pipeline does with known answers, not what it would do in a clinic. The simulator shares no code with detection or
anatomy beyond domain types. No detector or segmenter was fitted to this cohort's answers; its seed is fixed in the script.

    python scripts/validate.py --work .cache/validation --studies {cohort["studies"] // 2}{" --full" if full else ""}

Scanners: {scanners}. Cohort: {cohort["studies"]} studies ({tracers}), presets {", ".join(cohort["presets"])}.{lost}
Intervals are 95 % bootstrap intervals over patients. Rules of matching are stated at the end of `evaluation.html`; in short:
one to one by overlap or by centroids at most {report["rules"]["match_distance_mm"]:g} mm apart."""


def _figures(report: Report, parts: Mapping[str, Report]) -> str:
    columns = {"all": report, **{name.upper(): part for name, part in parts.items()}}
    rows = [
        ("studies", [str(r["cohort"]["studies"]) for r in columns.values()]),
        ("reference lesions", [str(r["figures"]["detection"]["reference_lesions"]) for r in columns.values()]),
    ]

    def add(label: str, path: str, *, rate: bool) -> None:
        cells = []
        for r in columns.values():
            figure: Any = r["figures"]
            for key in path.split("."):
                figure = figure[key]
            cells.append(page.percent(figure) if rate else page.shown(figure))
        rows.append((label, cells))

    add("sensitivity, counted", "detection.sensitivity.counted", rate=True)
    add("sensitivity, counted or uncertain", "detection.sensitivity.reported", rate=True)
    add("sensitivity, any candidate", "detection.sensitivity.candidate", rate=True)
    add("false positives per patient, counted", "detection.false_positives_per_patient.counted", rate=False)
    add("false positives per patient, counted or uncertain", "detection.false_positives_per_patient.reported", rate=False)
    add("reference lesions split", "detection.splits", rate=True)
    add("reported lesions that merge several", "detection.merges", rate=True)
    add("organ right, of lesions found", "location.organ_right", rate=True)
    add("vertebral level exact", "location.level_exact", rate=True)
    add("vertebral level within one", "location.level_within_one", rate=True)
    add("Dice, mean", "delineation.dice_mean", rate=False)
    for name, words in (("lesions", "lesion count"), ("organs", "organ count"), ("spinal_lesions", "spinal lesion count")):
        add(f"{words}: mean error", f"counts.{name}.error_mean", rate=False)
        add(f"{words}: exact", f"counts.{name}.exact", rate=True)
        add(f"{words}: within one", f"counts.{name}.within_one", rate=True)
        add(f"{words}: interval holds the reference", f"counts.{name}.interval_holds_reference", rate=True)
    add("lesion count: quadratic kappa", "counts.lesions.kappa_quadratic", rate=False)
    add("patients near the limits: lesions exact", "key_patients.lesions_exact", rate=True)
    add("lesion probabilities: Brier", "calibration.lesion.all.brier", rate=False)
    add("lesion probabilities: ECE", "calibration.lesion.all.ece", rate=False)
    strata = report["figures"]["detection"]["sensitivity_by"]
    out = _table(["figure", *columns], [[label, *cells] for label, cells in rows])
    by = [
        [f"{dimension}: {stratum}", page.percent(v["reported"]), str(v["reported"]["n"])]
        for dimension in ("volume_ml", "suv_max", "site", "ct_change")
        for stratum, v in strata.get(dimension, {}).items()
    ]
    by_table = _table(["stratum", "sensitivity (counted or uncertain)", "lesions"], by)
    return f"## Figures\n\n{out}\n\n## Sensitivity by stratum\n\n{by_table}"


def _criteria(report: Report) -> str:
    out = ["## Criterion"]
    for key, c in report["figures"]["criteria"].items():
        answers = list(next(iter(c["table"].values())))
        rows = [[truth, *(str(n) for n in row.values())] for truth, row in c["table"].items() if sum(row.values())]
        out.append(f"{key}, rows the reference, columns the run:\n\n" + _table(["", *answers], rows))
        wrong = f'Wrong "meets": {page.percent(c["wrong_meets"])} of all studies, '
        wrong += f'{page.percent(c["wrong_meets_among_meets"])} of the run\'s "meets". '
        wrong += f'"Does not meet" where the reference meets: {page.percent(c["wrong_does_not_meet"])}. '
        out.append(wrong + f"No clear answer: {page.percent(c['undecided'])}.")
    return "\n\n".join(out)


def _where_lost(report: Report) -> str:
    found = report["figures"]["detection"]
    lost: dict[str, int] = {}
    for study in report["studies"]:
        for lesion in study["missed"]:
            why = " ".join(lesion["reasons"]) or "no candidate"
            lost[f"{lesion['outcome'].replace('_', ' ')}: {why}"] = (
                lost.get(f"{lesion['outcome'].replace('_', ' ')}: {why}", 0) + 1
            )
    rows = [[why, str(n)] for why, n in sorted(lost.items(), key=lambda item: -item[1])[:12]]
    on = [[what, str(n)] for what, n in found["false_positives_on"].items()]
    return (
        "## Where lesions are lost, and what is taken for one\n\n"
        + _table(["reference metastases lost (step: codes)", "lesions"], rows)
        + "\n\n"
        + _table(["false positives lie on", "lesions"], on)
    )


def _resources(work: Path) -> str:
    seconds, memory = [], []
    for folder in run_folders(work / "runs"):
        stages = json.loads(layout.provenance(folder).read_text(encoding="utf-8"))["run"]["stages"]
        seconds.append(sum(s["seconds"] for s in stages))
        memory.append(max(s["peak_rss_mb"] for s in stages))
    if not seconds:
        return ""
    return (
        f"Time per study: median {statistics.median(seconds):.0f} s, longest {max(seconds):.0f} s; peak memory "
        f"{max(memory):.0f} MB (on the machine that made this page, with other work beside it)."
    )


def _worst(report: Report, work: Path, pictures: Path) -> str:
    out = ["## Worst cases", "Sorted by a wrong answer to the headline criterion, then by the count's error, then by lesions."]
    for rank, study in enumerate(report["studies"][:WORST], start=1):
        folders = run_folders(work / "runs" / study["name"])
        lines = [f"### {rank}. {study['name']} ({study['tracer']})", *_story(study, report["cohort"]["headline"])]
        if folders:
            name = f"validation-{rank}.png"
            shutil.copyfile(layout.overlay(folders[0], "coronal"), pictures / name)
            lines.append(f"![Coronal projection of {study['name']}: what the run decided](pictures/{name})")
        out += lines
    return "\n\n".join(out)


def _story(study: Report, headline: str) -> list[str]:
    n = study["counts"]["lesions"]
    answer = study["criteria"].get(headline, {"reference": "-", "run": "-"})
    lines = [
        f"Lesions {n['reference']}, the run says {n['run']} ({_span(n['run_interval'])}). {headline}: {answer['reference']}, "
        f"the run says {answer['run']}."
    ]
    for lesion in study["missed"]:
        where = " ".join(str(x) for x in (lesion["organ"], lesion["level"]) if x)
        size = f"{lesion['volume_ml']:.1f} ml, SUVmax {lesion['suv_max']:.1f}" if lesion["suv_max"] is not None else ""
        why = f"excluded by {', '.join(lesion['reasons'])}" if lesion["outcome"] == "excluded" else "no candidate was found"
        lines.append(f"- lost {lesion['id']} ({where}, {size}): {why}")
    for lesion in study["false_positives"]:
        where = " ".join(str(x) for x in (lesion["organ"], lesion["level"]) if x) or "nowhere named"
        on = f"lies on: {lesion['lies_on']}" if lesion["lies_on"] else "lies on nothing planted"
        lines.append(f"- false {lesion['id']} ({lesion['decision']}, {where}, p {lesion['probability']:.2f}): {on}")
    return ["\n".join([lines[0], "", *lines[1:]])] if len(lines) > 1 else lines


def _span(interval: Sequence[int] | None) -> str:
    return f"{interval[0]} to {interval[1]}" if interval else "no result"


def _limits() -> str:
    return """## What these figures do not say

Synthetic anatomy is smoother and more regular than people are, its noise and scatter are simple, and its lesions are drawn
from distributions that somebody chose. Contrast-enhanced CT, metal, prior surgery, attenuation-correction artefacts and
misregistration between PET and CT are rare or absent. No paper with limits of agreement on patient-level lesion counts near
five was found to compare with."""


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    columns = list(head)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


if __name__ == "__main__":
    sys.exit(main())
