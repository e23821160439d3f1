"""docs/validation.md from finished reports: what was reached, what was wanted, where it fails and why."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion_pipeline.evaluate import page
from lesion_pipeline.evaluate.cohort import run_folders
from lesion_pipeline.report import layout
from scripts.validation_why import story

Report = Mapping[str, Any]
WORST = 6

#: Pages with figures of their own, and what stands there.
OTHERS = {
    "validation_spine.md": "vertebral levels and numbering, on simulated and real spines",
    "organs_model.md": "the organ segmenters, organ by organ",
    "detectors.md": "detectors beside the built-in one",
    "performance.md": "time and memory",
    "suv.md": "SUV against independent references",
}


@dataclass(frozen=True)
class Cohort:
    """What the page is about. seed: of the cohort; name: what the command says of scanners; work: where all of it lies."""

    seed: int
    studies: int
    full: bool
    work: Path


@dataclass(frozen=True)
class Goal:
    """A figure that is wanted: at least (or at most) so much."""

    words: str
    path: str
    bound: float
    at_least: bool = True
    rate: bool = True


#: Of the issue that asks for the built-in detector.
GOALS = (
    Goal("lesion sensitivity, counted or uncertain", "detection.sensitivity.reported", 0.90),
    Goal("... counted alone", "detection.sensitivity.counted", 0.90),
    Goal("sensitivity above 1 ml and SUVmax 5 (twice 2.5)", "detection.sensitivity_clear.suv_5.reported", 0.97),
    Goal("sensitivity above 1 ml and SUVmax 8 (twice 4.0)", "detection.sensitivity_clear.suv_8.reported", 0.97),
    Goal("false positives per patient, counted", "detection.false_positives_per_patient.counted", 1.0, False, False),
    Goal("false positives per patient, uncertain", "detection.false_positives_per_patient.uncertain", 3.0, False, False),
    Goal("studies without a metastasis: none counted", "physiologic_only.none_counted", 0.90),
    Goal("count exact, patients with at most 8 lesions", "few_lesions.lesions.exact", 0.60),
    Goal("count within one, patients with at most 8 lesions", "few_lesions.lesions.within_one", 0.85),
    Goal('wrong "meets" (INC4), of all studies', "criteria.INC4.wrong_meets", 0.02, at_least=False),
    Goal("expected calibration error of lesions", "calibration.lesion.all.ece", 0.07, False, False),
)


def write_page(cohort: Cohort, doc: Path, reports: Mapping[str, Report]) -> None:
    """The page and its pictures. reports: ``all`` and one a tracer's cohort, as evaluation.json holds them."""
    report = reports["all"]
    pictures = doc.parent / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in pictures.glob("validation-*.png"):
        old.unlink()
    real = cohort.work / "real.md"
    parts = [
        _head(report, cohort),
        _goals(reports),
        _figures(reports),
        _strata(report),
        _criteria(report),
        _where_lost(report),
        _resources(cohort, [study["name"] for study in report["studies"]]),
        _worst(report, cohort, pictures),
        real.read_text(encoding="utf-8").strip() if real.is_file() else _REAL_MISSING,
        _others(doc.parent),
        _LIMITS,
    ]
    doc.write_text("\n\n".join(p for p in parts if p) + "\n", encoding="utf-8")


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    columns = list(head)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _head(report: Report, at: Cohort) -> str:
    cohort = report["cohort"]
    tracers = ", ".join(f"{n} {name}" for name, n in cohort["tracers"].items())
    scanners = "as the presets draw them" if at.full else "light: PET of 4 x 4 x 3 mm, CT of 3 x 3 x 5 mm, no MR"
    lost = f" {len(cohort['without_result'])} gave no result." if cohort["without_result"] else ""
    command = f"python -m scripts.validate --work .cache/validation --seed {at.seed} --studies {at.studies}"
    few = "" if cohort["studies"] >= 60 else f"\n\n**{cohort['studies']} studies are few**: read the intervals, not the points."
    return f"""# Validation on simulated studies

Research use only - not a medical device. These figures come from synthetic patients (`lesion-pipeline simulate`): they show
what the pipeline does with known answers, not what it would do in a clinic. The simulator shares no code with detection or
anatomy beyond domain types. No detector or segmenter was fitted to this cohort's answers: its seed was drawn before the run and
is used for nothing else.

    {command}{" --full" if at.full else ""}

Cohort: seed {at.seed}, {cohort["studies"]} studies ({tracers}), presets {", ".join(cohort["presets"])}.{lost}
Scanners: {scanners}; metal, contrast medium, motion and mimics at the presets' rates (simulation.md).
Intervals are 95 % bootstrap intervals over patients. Rules of matching are stated at the end of `evaluation.html`; in short:
one to one by overlap or by centroids at most {report["rules"]["match_distance_mm"]:g} mm apart.{few}"""


def _at(report: Report, path: str) -> Any:
    figure: Any = report["figures"]
    for key in path.split("."):
        figure = figure.get(key) if isinstance(figure, Mapping) else None
    return figure


def _shown(figure: Any, *, rate: bool) -> str:
    if figure is None:
        return "–"
    return page.percent(figure) if rate else page.shown(figure)


def _goals(reports: Mapping[str, Report]) -> str:
    names = [name for name in reports if name != "all"] or ["all"]
    rows = []
    for goal in GOALS:
        bound = f"{goal.bound * 100:g} %" if goal.rate else f"{goal.bound:g}"
        row = [goal.words, f"{'>=' if goal.at_least else '<='} {bound}"]
        for name in names:
            figure = _at(reports[name], goal.path)
            value = figure["value"] if figure else None
            holds = value is not None and (value >= goal.bound if goal.at_least else value <= goal.bound)
            verdict = "" if value is None else " reached" if holds else " **missed**"
            row.append(_shown(figure, rate=goal.rate) + verdict)
        rows.append(row)
    return "## What was wanted\n\n" + table(["figure", "wanted", *(n.upper() for n in names)], rows)


def _figures(reports: Mapping[str, Report]) -> str:
    columns = {name if name == "all" else name.upper(): r for name, r in reports.items()}
    rows = [
        ("studies", [str(r["cohort"]["studies"]) for r in columns.values()]),
        ("reference lesions", [str(r["figures"]["detection"]["reference_lesions"]) for r in columns.values()]),
    ]

    def add(label: str, path: str, *, rate: bool) -> None:
        rows.append((label, [_shown(_at(r, path), rate=rate) for r in columns.values()]))

    add("sensitivity, counted", "detection.sensitivity.counted", rate=True)
    add("sensitivity, counted or uncertain", "detection.sensitivity.reported", rate=True)
    add("sensitivity, any candidate", "detection.sensitivity.candidate", rate=True)
    add("false positives per patient, counted", "detection.false_positives_per_patient.counted", rate=False)
    add("false positives per patient, uncertain", "detection.false_positives_per_patient.uncertain", rate=False)
    add("uncertain lesions per patient, true or false", "detection.uncertain_per_patient", rate=False)
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
        add(f"{words}: quadratic kappa", f"counts.{name}.kappa_quadratic", rate=False)
    for key, words in (("loa_low", "lower"), ("loa_high", "upper")):
        add(f"lesion count: {words} limit of agreement", f"counts.lesions.bland_altman.intervals.{key}", rate=False)
    add("at most 8 lesions: organ count exact", "few_lesions.organs.exact", rate=True)
    add("patients near the limits: lesions exact", "key_patients.lesions_exact", rate=True)
    add("lesion probabilities: Brier", "calibration.lesion.all.brier", rate=False)
    add("lesion probabilities: ECE", "calibration.lesion.all.ece", rate=False)
    add("criterion probabilities (INC4): Brier", "calibration.criterion.INC4.brier", rate=False)
    return "## Figures\n\n" + table(["figure", *columns], [[label, *cells] for label, cells in rows])


def _strata(report: Report) -> str:
    strata = report["figures"]["detection"]["sensitivity_by"]
    wanted = ("volume_ml", "suv_max", "site", "tracer", "ct_change", "near_uptake", "ct_contrast")
    rows = [
        [f"{dimension}: {stratum}", page.percent(v["reported"]), page.percent(v["counted"]), str(v["reported"]["n"])]
        for dimension in wanted
        for stratum, v in strata.get(dimension, {}).items()
    ]
    return "## Sensitivity by stratum\n\n" + table(["stratum", "counted or uncertain", "counted", "lesions"], rows)


def _criteria(report: Report) -> str:
    out = ["## Criteria", "Rows the reference, columns the run."]
    for key, c in report["figures"]["criteria"].items():
        answers = list(next(iter(c["table"].values())))
        rows = [[truth, *(str(n) for n in row.values())] for truth, row in c["table"].items() if sum(row.values())]
        out.append(table([key, *answers], rows))
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
            code = next((r for r in lesion["reasons"] if r not in ("UPTAKE", "NOT_ASKED")), "no candidate")
            what = f"{lesion['outcome'].replace('_', ' ')}: {code}"
            lost[what] = lost.get(what, 0) + 1
    rows = [[why, str(n)] for why, n in sorted(lost.items(), key=lambda item: -item[1])[:12]]
    on = [[what.replace("_", " "), str(n)] for what, n in found["false_positives_on"].items()]
    organs: dict[str, list[int]] = {}
    for study in report["studies"]:
        for row in study["false_positives"]:
            at = organs.setdefault(str(row["organ"] or "nowhere named").replace("_", " "), [0, 0])
            at[row["decision"] != "counted"] += 1
    by_organ = [[k, str(a), str(b)] for k, (a, b) in sorted(organs.items(), key=lambda item: -sum(item[1]))]
    return "\n\n".join(
        [
            "## Where lesions are lost, and what is taken for one",
            table(["reference metastases lost (step: first rule)", "lesions"], rows),
            table(["false positives lie on", "lesions"], on),
            table(["false positives, organ by the run", "counted", "uncertain"], by_organ),
        ]
    )


def _resources(cohort: Cohort, names: Sequence[str]) -> str:
    seconds, memory, made, used = [], [], [], []
    for name in names:
        for folder in run_folders(cohort.work / "runs" / name):
            stages = json.loads(layout.provenance(folder).read_text(encoding="utf-8"))["run"]["stages"]
            seconds.append(sum(s["seconds"] for s in stages))
            memory.append(max(s["peak_rss_mb"] for s in stages))
        cost = cohort.work / "cost" / f"{name}.json"
        if cost.is_file():
            row = json.loads(cost.read_text(encoding="utf-8"))
            made.append(row.get("simulate_cpu_s"))
            used.append(row.get("run_cpu_s"))
    if not seconds:
        return ""
    out = (
        f"Time per study: median {statistics.median(seconds):.0f} s, longest {max(seconds):.0f} s; peak memory "
        f"{max(memory):.0f} MB (on the machine that made this page, with other work beside it)."
    )
    for what, values in (("simulating", made), ("running", used)):
        known = [v for v in values if v is not None]
        if known:
            out += f" CPU seconds {what} a study: median {statistics.median(known):.0f}, most {max(known):.0f}."
    return out


def _worst(report: Report, cohort: Cohort, pictures: Path) -> str:
    out = [
        "## Worst cases",
        "Sorted by a wrong answer to the headline criterion, then by the count's error, then by lesions. The reasons are taken "
        "from the answer key and from what the run says of its lesions.",
    ]
    for rank, study in enumerate(report["studies"][:WORST], start=1):
        folders = run_folders(cohort.work / "runs" / study["name"])
        key = json.loads((cohort.work / "truth" / study["name"] / "answer.json").read_text(encoding="utf-8"))
        folder = folders[0] if folders else None
        out += [f"### {rank}. {study['name']} ({study['tracer']})", *story(study, report["cohort"]["headline"], key, folder)]
        if folder is not None:
            name = f"validation-{rank}.png"
            shutil.copyfile(layout.overlay(folder, "coronal"), pictures / name)
            out.append(f"![Coronal projection of {study['name']}: what the run decided](pictures/{name})")
    return "\n\n".join(out)


def _others(folder: Path) -> str:
    rows = [f"- [{name}]({name}): {what}" for name, what in OTHERS.items() if (folder / name).is_file()]
    return "## Measured elsewhere\n\n" + "\n".join(rows) if rows else ""


_REAL_MISSING = """## Real answers

Not measured on this machine. The command is `python -m scripts.validate --work .cache/validation --real`, with the real data at
hand."""

_LIMITS = """## What these figures do not say

Synthetic anatomy is smoother and more regular than people are, its noise and scatter are simple, and its lesions are drawn
from distributions that somebody chose. Arterial phases, prior surgery beyond implants, diffuse marrow disease, primary
tumours and infection are absent. No paper with limits of agreement on patient-level lesion counts near five was found to
compare with."""
