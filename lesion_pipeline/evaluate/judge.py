"""The door: runs against references, as JSON, tables and a page."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

from lesion_pipeline import __version__
from lesion_pipeline.domain.errors import ConfigError, InputError
from lesion_pipeline.evaluate import page, tables
from lesion_pipeline.evaluate.cohort import pair
from lesion_pipeline.evaluate.comparison import Comparison, compare
from lesion_pipeline.evaluate.matching import SPLIT_SHARE
from lesion_pipeline.evaluate.reads import Read
from lesion_pipeline.evaluate.run_reader import read_run
from lesion_pipeline.evaluate.summary import CAPS, Json, Summary, number
from lesion_pipeline.report.furniture import RESEARCH_USE

SCHEMA = {"name": "lesion-evaluation", "version": "1.0"}
#: Centroids closer than this are one lesion even where outlines do not touch (clinical specification, 7.3).
DISTANCE_MM = 10.0
REPETITIONS = 2000


def evaluate(
    run_out: Path,
    truth: Path,
    out: Path,
    *,
    pairs: Path | None = None,
    distance_mm: float = DISTANCE_MM,
    repetitions: int = REPETITIONS,
    seed: int = 0,
) -> Path:
    """Judge every study of ``truth`` by the runs below ``run_out``; returns the path of the page.

    Writes ``evaluation.json``, ``evaluation.html``, ``studies.tsv``, ``reference_lesions.tsv`` and ``run_lesions.tsv`` into
    ``out``. pairs: TSV with the columns reference and run where names do not tell (see ``cohort.pair``). The same input gives
    the same bytes. Raises InputError (NO_TRUTH, NO_RUNS, NOTHING_PAIRED, BAD_RUN, and what the readers raise) and ConfigError
    (OUTPUT_EXISTS) when ``out`` holds something else.
    """
    _refuse_foreign(out)
    comparisons, leftover = judge(run_out, truth, pairs=pairs, distance_mm=distance_mm)
    report = document(comparisons, leftover, distance_mm=distance_mm, repetitions=repetitions, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "studies.tsv", tables.studies(comparisons))
    _write(out / "reference_lesions.tsv", tables.reference_lesions(comparisons))
    _write(out / "run_lesions.tsv", tables.run_lesions(comparisons))
    _write(out / "evaluation.html", page.html(report, comparisons))
    _write(out / "evaluation.json", json.dumps(report, indent=1, allow_nan=False) + "\n")
    return out / "evaluation.html"


def judge(
    run_out: Path, truth: Path, *, pairs: Path | None = None, distance_mm: float = DISTANCE_MM
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Comparisons in the order of the references' names, and the runs no reference speaks of. Raises as ``evaluate``."""
    paired, leftover = pair(run_out, truth, pairs)
    out = []
    for name, reference, folder in paired:
        run = read_run(folder) if folder is not None else None
        read = reference.read()
        judged = compare(name, read, run, distance_mm=distance_mm)
        # label maps are the weight of a read, and everything that was asked of them is known now
        bare = dataclasses.replace(run, maps=()) if run is not None else None
        out.append(dataclasses.replace(judged, reference=_bare(read), run=bare))
    if all(c.run is None for c in out):
        raise InputError(
            "NOTHING_PAIRED",
            "no run belongs to any of the references",
            advice="Name the run folders as the references are named, or give a table of pairs.",
        )
    return tuple(out), leftover


def document(
    comparisons: Sequence[Comparison], leftover: Sequence[str], *, distance_mm: float, repetitions: int, seed: int
) -> Json:
    """What ``evaluation.json`` holds."""
    tracers: dict[str, int] = {}
    for c in comparisons:
        tracers[c.reference.tracer] = tracers.get(c.reference.tracer, 0) + 1
    return {
        "schema": SCHEMA,
        "research_use_only": f"{RESEARCH_USE}. Figures hold for this cohort and these rules only.",
        "software": {"name": "lesion-pipeline", "version": __version__},
        "rules": _rules(distance_mm, repetitions, seed),
        "cohort": {
            "studies": len(comparisons),
            "with_result": sum(c.run is not None for c in comparisons),
            "without_result": [c.name for c in comparisons if c.run is None],
            "runs_without_reference": list(leftover),
            "tracers": dict(sorted(tracers.items())),
            "headline": next((c.run.headline for c in comparisons if c.run is not None and c.run.headline), ""),
            "presets": sorted({c.run.preset for c in comparisons if c.run is not None}),
        },
        "figures": Summary(comparisons, repetitions=repetitions, seed=seed).document(),
        "studies": [study_row(c) for c in worst_first(comparisons)],
    }


def worst_first(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Wrong criterion first, then counts, then lesions; ties by name."""
    return sorted(comparisons, key=lambda c: (-c.badness(), c.name))


def study_row(c: Comparison) -> Json:
    """One study of the report."""
    counts: Json = {}
    for name in sorted(set(c.reference.counts) | set(c.run.counts if c.run else ())):
        truth, given = c.reference.counts.get(name), c.run.counts.get(name) if c.run else None
        counts[name] = {
            "reference": truth.best if truth else None,
            "run": given.best if given else None,
            "run_interval": [given.low, given.high] if given else None,
        }
    criteria: Json = {}
    for key, answer in c.reference.criteria.items():
        other = c.run.criteria.get(key) if c.run else None
        criteria[key] = {
            "reference": answer.status,
            "run": other.status if other else "no_result",
            "probability": number(other.probability) if other and other.probability is not None else None,
        }
    return {
        "name": c.name,
        "run": c.run.key if c.run else None,
        "tracer": c.reference.tracer,
        "counts": counts,
        "criteria": criteria,
        "missed": [
            {
                "id": o.reference.id,
                "outcome": o.outcome,
                "organ": o.reference.organ,
                "level": o.reference.level,
                "volume_ml": number(o.reference.volume_ml) if o.reference.volume_ml is not None else None,
                "suv_max": number(o.reference.suv_max) if o.reference.suv_max is not None else None,
                "reasons": list(o.run.reasons) if o.run else [],
                "run_lesion": o.run.id if o.run else None,
            }
            for o in c.outcomes
            if o.outcome in ("excluded", "not_detected")
        ],
        "false_positives": [
            {
                "id": r.lesion.id,
                "decision": r.lesion.decision.value,
                "organ": r.lesion.organ,
                "level": r.lesion.level,
                "probability": number(r.lesion.probability),
                "lies_on": r.mimic,
            }
            for r in c.run_lesions
            if r.false_positive
        ],
    }


def _rules(distance_mm: float, repetitions: int, seed: int) -> Json:
    return {
        "match_distance_mm": distance_mm,
        "split_share": SPLIT_SHARE,
        "bootstrap_repetitions": repetitions,
        "seed": seed,
        "kappa_categories_above": CAPS,
        "sentences": [
            "A reference lesion and a run lesion may be matched when their outlines share volume, when one is a point inside "
            f"the other, or when their centroids lie at most {distance_mm:g} mm apart; lesions are matched one to one, most "
            "pairs first, then most overlap (Hungarian method).",
            "Reported means counted or uncertain. Lesions the run excluded are matched only with reference lesions that no "
            "reported lesion took; they show where a lesion was lost and do not add to sensitivity (reported).",
            "A reported lesion without a partner is a false positive, also when it lies on a reference lesion that must not "
            "be counted (benign uptake, primary tumour).",
            f"A lesion is split or merged when several lesions of the other side each share at least {SPLIT_SHARE:.0%} of the "
            "smaller volume with it.",
            "Level: a lesion of several vertebrae accepts any of them; a level that was not named is wrong; T13 and L6 stand "
            "half a step below T12 and L5.",
            "Criterion answers are never collapsed; probabilities are compared with references that meet or do not meet.",
            "ECE and reliability tables use equal-mass bins, 10 from 500 cases on, else 5. ECE is biased upward for few cases.",
            f"Intervals: 2.5th to 97.5th percentile of {repetitions} draws of patients with replacement (seed {seed}).",
            "Studies without a result keep their reference lesions as missed and their criterion answers as no_result.",
        ],
    }


def _bare(read: Read) -> Read:
    return dataclasses.replace(read, maps=())


def _refuse_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError("OUTPUT_EXISTS", "the report folder is a file", advice="Choose another folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "evaluation.json").is_file():
        raise ConfigError(
            "OUTPUT_EXISTS", "the report folder holds something that is not an evaluation", advice="Choose another folder."
        )


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
