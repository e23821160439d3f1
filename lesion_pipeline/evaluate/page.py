"""The report as one HTML page that carries its own plots and reads nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lesion_pipeline.evaluate import charts
from lesion_pipeline.evaluate.comparison import Comparison
from lesion_pipeline.evaluate.reads import COUNT_NAMES

Report = Mapping[str, Any]

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .8em;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}th{border-bottom:2px solid #888}
caption{text-align:left;font-weight:600;white-space:nowrap}
.plots{display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start}figure{margin:0}figcaption{font-size:13px;max-width:430px}
.warn{border-left:4px solid #d55e00;padding:.4em 1em;background:#fdf3ec}.harm{background:#fdf3ec;font-weight:600}
.small{font-size:13px;color:#555}
"""

#: What a stratum is called, and what it means.
_STRATA = {
    "volume_ml": ("volume, ml", "volume by the reference"),
    "suv_max": ("SUVmax", "SUVmax by the reference"),
    "organ": ("organ", "organ by the reference"),
    "region": ("spinal region", "region of the vertebra by the reference"),
    "spinal": ("spine or elsewhere", "spinal by the reference"),
    "site": ("site", "site as it was simulated"),
    "tracer": ("tracer", "tracer of the study"),
    "ct_change": ("change on CT", "what the CT was made to show of the lesion"),
    "ct_contrast": ("contrast medium on CT", "phase of the study's CT"),
    "near_uptake": ("neighbour with uptake", "organ that the lesion was put beside"),
}
_COUNT_TITLES = {
    "lesions": "Lesions",
    "organs": "Metastatic organs",
    "spinal_lesions": "Spinal lesions",
    "involved_vertebrae": "Involved vertebrae",
}


_FOUND = "Reference metastases with a partner, excluded ones too; Dice: of those counted or uncertain"
_FROC = (
    "Free-response ROC: sensitivity against false positives per patient for the lesions at or above a falling probability, "
    "whatever was decided on them."
)
_INTERVALS = "Values in brackets: 95 % bootstrap interval over patients."
_HOW_FOUND = (
    '<p class="small">Sensitivity: share of the reference metastases that have a partner in the run. False positive: a '
    f"reported lesion without one. {_INTERVALS}</p>"
)
_HOW_COUNTED = (
    '<p class="small">Error: count of the run less that of the reference, per patient. The interval is the one that the run '
    f"states. Kappa: quadratic weights; counts above the largest category are one category. {_INTERVALS}</p>"
)
_HOW_CALIBRATED = (
    '<p class="small">Brier score: mean squared distance of probability and outcome. ECE: expected calibration error over '
    "equal-mass bins. Slope and intercept: logistic regression of the outcome on the logit, 1 and 0 when calibrated; a dash "
    f"where it cannot be fitted. Probabilities of lesions: every lesion of the run, excluded ones too. {_INTERVALS}</p>"
)


def html(report: Report, comparisons: Sequence[Comparison]) -> str:
    """The page, UTF-8 text. report: what evaluation.json holds."""
    cohort = report["cohort"]
    sections = [
        f"<h1>Evaluation of {cohort['studies']} studies</h1>",
        f'<p class="warn">{escape(report["research_use_only"])}</p>',
        _cohort(report),
        _detection(report["figures"]["detection"]),
        _location(report["figures"]),
        _counts(report["figures"], comparisons),
        _criteria(report["figures"]["criteria"]),
        _calibration(report["figures"]["calibration"]),
        _studies(report["studies"], cohort["headline"]),
        _methods(report),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Lesion count evaluation</title>'
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def percent(estimate: Mapping[str, Any]) -> str:
    """``87 % (79 to 93)``."""
    return shown(estimate, scale=100.0, digits=0, unit=" %")


def shown(estimate: Mapping[str, Any], *, scale: float = 1.0, digits: int = 2, unit: str = "") -> str:
    """A figure with its interval, a dash for what is undefined."""
    if estimate["value"] is None:
        return "–"
    value = f"{estimate['value'] * scale:.{digits}f}{unit}"
    if estimate["low"] is None:
        return value
    return f"{value} ({estimate['low'] * scale:.{digits}f} to {estimate['high'] * scale:.{digits}f})"


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _cohort(report: Report) -> str:
    cohort = report["cohort"]
    tracers = ", ".join(f"{name} {n}" for name, n in cohort["tracers"].items())
    out = f"<p>{cohort['studies']} reference studies ({escape(tracers)}), {cohort['with_result']} with a result.</p>"
    if cohort["without_result"]:
        names = escape(", ".join(cohort["without_result"]))
        number = len(cohort["without_result"])
        out += f'<p class="warn">No result for {number}: {names}. Their lesions count as missed.</p>'
    if cohort["runs_without_reference"]:
        names = ", ".join(cohort["runs_without_reference"])
        out += f'<p class="warn">Runs without a reference, left out: {escape(names)}.</p>'
    return out


def _detection(figures: Report) -> str:
    s, f = figures["sensitivity"], figures["false_positives_per_patient"]
    rows = [
        ("counted", percent(s["counted"]), shown(f["counted"])),
        ("counted or uncertain (reported)", percent(s["reported"]), shown(f["reported"])),
        ("any candidate, excluded ones too", percent(s["candidate"]), "–"),
    ]
    clear = [
        (f"above 1 ml and SUVmax {key.removeprefix('suv_')}", percent(v["counted"]), percent(v["reported"]), v["reported"]["n"])
        for key, v in figures["sensitivity_clear"].items()
    ]
    table = _table(
        f"Detection of {figures['reference_lesions']} reference lesions",
        ("operating point", "sensitivity", "false positives per patient"),
        rows,
    )
    more = _table(
        "Errors of kind",
        ("figure", "value"),
        [
            ("uncertain lesions per patient, true or false", shown(figures["uncertain_per_patient"])),
            ("precision (reported)", percent(figures["precision_reported"])),
            ("F1 (reported)", shown(figures["f1_reported"])),
            ("reference lesions split", percent(figures["splits"])),
            ("reported lesions that merge several", percent(figures["merges"])),
            *((f"reference lesions {k.replace('_', ' ')}", v) for k, v in figures["outcomes"].items()),
            *((f"false positives on: {k.replace('_', ' ')}", v) for k, v in figures["false_positives_on"].items()),
        ],
    )
    plots = []
    for dimension, strata in figures["sensitivity_by"].items():
        rows_by = [(k, v["reported"]) for k, v in strata.items() if v["reported"]["value"] is not None]
        marks = [(k.replace("_", " "), e["value"], _nan(e["low"]), _nan(e["high"]), e["n"]) for k, e in rows_by]
        title, meaning = _STRATA.get(dimension, (dimension.replace("_", " "), dimension.replace("_", " ")))
        caption = f"Sensitivity (counted or uncertain) by {meaning}; lines: 95 % interval over patients; n: lesions."
        plots.append(_figure(charts.intervals(marks, f"sensitivity by {title}"), caption))
    curve = [(p["false_positives_per_patient"], p["sensitivity"]) for p in figures["froc"]]
    if curve:
        plots.append(_figure(charts.froc(curve), _FROC))
    bright = _table(
        "Sensitivity for clear lesions: SUVmax at least twice 2.5 and twice 4.0",
        ("lesions", "counted", "counted or uncertain", "n"),
        clear,
    )
    return f'<h2>Detection</h2>{_HOW_FOUND}{table}{bright}<div class="plots">{"".join(plots)}</div>{more}'


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _location(figures: Report) -> str:
    where, shape = figures["location"], figures["delineation"]
    rows = [
        ("organ right", percent(where["organ_right"]), where["organ_right"]["n"]),
        ("vertebral level exact", percent(where["level_exact"]), where["level_exact"]["n"]),
        ("vertebral level within one", percent(where["level_within_one"]), where["level_within_one"]["n"]),
        ("vertebral level named", percent(where["level_named"]), where["level_named"]["n"]),
        ("Dice, mean", shown(shape["dice_mean"]), shape["dice_mean"]["n"]),
    ]
    wrong = [(k.replace("_", " "), n) for k, n in where["organ_confusion"].items() if len(set(k.split(" -> "))) == 2]
    extra = _table("Organ given instead (reference -> run)", ("pair", "lesions"), wrong) if wrong else ""
    return "<h2>Place and outline of the lesions found</h2>" + _table(_FOUND, ("figure", "value", "lesions"), rows) + extra


def _counts(figures: Report, comparisons: Sequence[Comparison]) -> str:
    head = ("count", "studies", "mean error", "exact", "within one", "interval holds reference", "quadratic kappa", "ICC(2,1)")
    rows = []
    for name in COUNT_NAMES:
        c = figures["counts"][name]
        rows.append(
            (
                _COUNT_TITLES[name],
                c["studies"],
                shown(c["error_mean"]),
                percent(c["exact"]),
                percent(c["within_one"]),
                percent(c["interval_holds_reference"]),
                shown(c["kappa_quadratic"]),
                shown(c["icc_2_1"]),
            )
        )
    plots = []
    for name in ("lesions", "organs"):
        pairs = [
            (c.reference.counts[name].best, c.run.counts[name].best)
            for c in comparisons
            if c.run is not None and c.error(name) is not None
        ]
        b = figures["counts"][name]["bland_altman"]
        limits = None if b["sd"] is None else (b["bias"], b["loa_low"], b["loa_high"])
        plots += [charts.count_scatter(pairs, _COUNT_TITLES[name]), charts.bland_altman(pairs, limits, _COUNT_TITLES[name])]
    captions = (
        "{} per patient. Dashed: equality. The area of a dot grows with the number of patients.",
        "{} per patient, Bland-Altman. Orange: mean difference and limits of agreement (1.96 standard deviations).",
    )
    named = [captions[n % 2].format(_COUNT_TITLES[("lesions", "organs")[n // 2]]) for n in range(len(plots))]
    figs = "".join(_figure(p, words) for p, words in zip(plots, named, strict=True))
    table = _table("Agreement of counts", head, rows)
    plotted = f'<div class="plots">{figs}</div>'
    return f"<h2>Counts per patient</h2>{_HOW_COUNTED}{table}{plotted}{_subgroups(figures)}"


def _criteria(figures: Report) -> str:
    out = ["<h2>Criteria</h2>"]
    for key, c in figures.items():
        columns = list(next(iter(c["table"].values())))
        body = ""
        for truth, row in c["table"].items():
            cells = "".join(
                f"<td{' class=harm' if g == 'meets' and truth != 'meets' and n else ''}>{n}</td>" for g, n in row.items()
            )
            body += f"<tr><td>{_words(truth)}</td>{cells}</tr>"
        head = "".join(f"<th>{_words(g)}</th>" for g in ("reference \\ run", *columns))
        out.append(
            f"<table><caption>{escape(key)}: answers in {c['studies']} studies, rows the reference</caption>"
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )
        rows = [
            ("same answer", percent(c["agreement"])),
            ("wrong “meets”, of all studies", percent(c["wrong_meets"])),
            ("wrong among the run's “meets”", percent(c["wrong_meets_among_meets"])),
            ("“does not meet” where the reference meets", percent(c["wrong_does_not_meet"])),
            ("no clear answer", percent(c["undecided"])),
            ("Cohen's kappa", shown(c["kappa"])),
            ("Gwet's AC1", shown(c["gwet_ac1"])),
        ]
        out.append(_table(f"{key}: agreement", ("figure", "value"), rows))
    return "".join(out) if figures else "<h2>Criteria</h2><p>The reference answers no criterion.</p>"


def _subgroups(figures: Report) -> str:
    """Limits of agreement, and counts where they matter most."""
    limits_rows = [
        (
            _COUNT_TITLES[name],
            *(shown(figures["counts"][name]["bland_altman"]["intervals"][k]) for k in ("bias", "loa_low", "loa_high")),
        )
        for name in COUNT_NAMES
    ]
    agreement = _table("Bland-Altman", ("count", "bias", "lower limit of agreement", "upper limit of agreement"), limits_rows)
    few, alone = figures["few_lesions"], figures["physiologic_only"]
    few_rows = [
        (_COUNT_TITLES[n], shown(few[n]["error_mean"]), percent(few[n]["exact"]), percent(few[n]["within_one"]))
        for n in COUNT_NAMES
    ]
    fewer = _table(
        f"Patients with at most {few['lesions_at_most']} lesions by the reference: {few['studies']}",
        ("count", "mean error", "exact", "within one"),
        few_rows,
    )
    empty = _table(
        f"Patients without a metastasis by the reference: {alone['studies']}",
        ("figure", "value"),
        [
            ("nothing counted", percent(alone["none_counted"])),
            ("nothing counted or uncertain", percent(alone["none_reported"])),
        ],
    )
    key = figures["key_patients"]
    near = _table(
        f"Near the limits: {key['studies']} patients with 4 to 6 lesions or 3 to 4 organs",
        ("figure", "value"),
        [
            ("lesions exact", percent(key["lesions_exact"])),
            ("lesions within one", percent(key["lesions_within_one"])),
            ("organs exact", percent(key["organs_exact"])),
            *((f"{k}: same answer", percent(v)) for k, v in key["criteria"].items()),
        ],
    )
    return agreement + fewer + empty + near


def _words(key: str) -> str:
    return escape(key.replace("_", " "))


def _calibration(figures: Report) -> str:
    groups = [(f"lesions, {k}", v) for k, v in figures["lesion"].items()]
    groups += [(f"criterion {k}", v) for k, v in figures["criterion"].items()]
    head = ("probabilities of", "cases", "events", "Brier", "ECE", "log loss", "slope", "intercept")
    rows = []
    for name, c in groups:
        r = c["recalibration"]
        plain = [("–" if v is None else f"{v:.2f}") for v in (c["log_loss"], r["slope"], r["intercept"])]
        rows.append((name, c["n"], c["events"], shown(c["brier"], digits=3), shown(c["ece"], digits=3), *plain))
    drawn = [("lesions, all", figures["lesion"]["all"]), *((f"criterion {k}", v) for k, v in figures["criterion"].items())]
    plots = "".join(
        _figure(
            charts.reliability([(b["n"], b["mean_probability"], b["observed"]) for b in c["reliability"]], name),
            f"Reliability, {name}: observed frequency in bins of predicted probability. Dashed: perfect calibration.",
        )
        for name, c in drawn
        if c["reliability"]
    )
    bins = [
        (name, f"{b['low']:.2f} to {b['high']:.2f}", b["n"], f"{b['mean_probability']:.2f}", f"{b['observed']:.2f}")
        for name, c in drawn
        for b in c["reliability"]
    ]
    table = _table("Calibration of probabilities", head, rows)
    rely = _table("Reliability", ("probabilities of", "bin", "cases", "mean predicted", "observed"), bins)
    return f'<h2>Calibration</h2>{_HOW_CALIBRATED}{table}<div class="plots">{plots}</div>{rely}'


def _studies(rows: Sequence[Report], headline: str) -> str:
    head = ("study", "tracer", "lesions ref", "run", "organs ref", "run", "missed", "false", f"{headline} ref", "run")
    body = []
    for r in rows:
        answers = r["criteria"]
        key = headline if headline in answers else next(iter(answers), None)
        given = answers[key] if key else {"reference": "–", "run": "–"}
        n, o = r["counts"].get("lesions", {}), r["counts"].get("organs", {})
        body.append(
            (
                r["name"],
                r["tracer"],
                *(x if x is not None else "–" for x in (n.get("reference"), n.get("run"), o.get("reference"), o.get("run"))),
                len(r["missed"]),
                len(r["false_positives"]),
                str(given["reference"]).replace("_", " "),
                str(given["run"]).replace("_", " "),
            )
        )
    return "<h2>Studies, worst first</h2>" + _table("", head, body)


def _methods(report: Report) -> str:
    rules = "".join(f"<li>{escape(sentence)}</li>" for sentence in report["rules"]["sentences"])
    return f'<h2>Methods</h2><ul>{rules}</ul><p class="small">lesion-pipeline {escape(report["software"]["version"])}</p>'
