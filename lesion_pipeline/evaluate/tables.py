"""The tables of a report: what a statistician would load next. Tab separated, UTF-8, one header line, empty for unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lesion_pipeline.evaluate.comparison import Comparison
from lesion_pipeline.evaluate.picks import NO_RESULT
from lesion_pipeline.evaluate.reads import COUNT_NAMES


def tsv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """One table as text."""
    lines = ["\t".join(head), *("\t".join(_cell(c) for c in row) for row in rows)]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace("\t", " ").replace("\n", " ")


def studies(comparisons: Sequence[Comparison]) -> str:
    """One row a study: counts of both sides, what was missed and invented, every criterion."""
    criteria = sorted({key for c in comparisons for key in c.reference.criteria})
    head = ["study", "run", "tracer", "preset"]
    head += [f"{name}_{side}" for name in COUNT_NAMES for side in ("reference", "run", "run_low", "run_high")]
    head += ["found", "missed", "false_positives"]
    head += [f"{key}_{side}" for key in criteria for side in ("reference", "run", "run_probability")]
    rows = []
    for c in comparisons:
        row: list[object] = [c.name, c.run.key if c.run else None, c.reference.tracer, c.run.preset if c.run else None]
        for name in COUNT_NAMES:
            truth = c.reference.counts.get(name)
            given = c.run.counts.get(name) if c.run else None
            row += [truth.best if truth else None]
            row += [given.best, given.low, given.high] if given else [None, None, None]
        reported = sum(o.outcome in ("counted", "uncertain") for o in c.outcomes)
        row += [reported, len(c.outcomes) - reported, sum(r.false_positive for r in c.run_lesions)]
        for key in criteria:
            truth_answer = c.reference.criteria.get(key)
            answer = c.run.criteria.get(key) if c.run else None
            row += [truth_answer.status if truth_answer else None]
            row += [answer.status, answer.probability] if answer else [NO_RESULT, None]
        rows.append(row)
    return tsv(head, rows)


def reference_lesions(comparisons: Sequence[Comparison]) -> str:
    """One row a reference metastasis: what became of it."""
    head = ["study", "lesion", "outcome", "run_lesion", "probability", "reasons", "organ_reference", "organ_run"]
    head += ["level_reference", "level_run", "level_within_one", "volume_ml_reference", "volume_ml_run"]
    head += ["suv_max_reference", "suv_max_run", "distance_mm", "dice", "split", "x_mm", "y_mm", "z_mm"]
    rows = []
    for c in comparisons:
        for o in c.outcomes:
            a, b = o.reference, o.run
            row: list[object] = [c.name, a.id, o.outcome, b.id if b else None, b.probability if b else None]
            row += [" ".join(b.reasons) if b else None, a.organ, b.organ if b else None]
            row += [" ".join(dict.fromkeys(x for x in (a.level, *a.levels) if x)) or None, b.level if b else None]
            row += [o.level_near, a.volume_ml, b.volume_ml if b else None, a.suv_max, b.suv_max if b else None]
            row += [o.distance_mm, o.dice, o.split, *a.centroid_lps_mm]
            rows.append(row)
    return tsv(head, rows)


def run_lesions(comparisons: Sequence[Comparison]) -> str:
    """One row a lesion of the run: decision, probability, whether it is a reference metastasis."""
    head = ["study", "lesion", "decision", "probability", "true", "false_positive", "lies_on", "merges_several", "organ"]
    head += ["level", "volume_ml", "suv_max", "reasons", "x_mm", "y_mm", "z_mm"]
    rows = []
    for c in comparisons:
        for r in c.run_lesions:
            x = r.lesion
            row: list[object] = [c.name, x.id, x.decision.value, x.probability, r.true, r.false_positive, r.mimic, r.merged]
            row += [x.organ, x.level, x.volume_ml, x.suv_max, " ".join(x.reasons), *x.centroid_lps_mm]
            rows.append(row)
    return tsv(head, rows)
