"""Fit the logistic of the screening stage on simulated studies, and print it as the preset's table [screen.logistic].

    python -m scripts.fit_screen --cohort fdg --preset fdg-petct --seed 11 --studies 20 [--light] [--pipeline-anatomy]

``--light``: a coarser CT, as scripts/validate.py has it, which takes a fifth of the time. ``--pipeline-anatomy``: organs and
vertebrae as the preset's own segmenters find them, their mistakes included, in place of the anatomy that the simulator knows;
half a minute a study. The studies are made in memory and are never the ones that docs/validation.md reports: a seed that stands
on that page is refused. A study is read with the preset of its tracer. Rules keep the odds that the preset gives them; only the
six numbers of the logistic move, held near what the preset says by a quadratic penalty, because a simulator is not a clinic.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Finding
from lesion_pipeline.domain.study import Study
from lesion_pipeline.pipeline import load_plugins
from lesion_pipeline.simulate import answer
from lesion_pipeline.simulate.cohort import plan_study
from lesion_pipeline.simulate.presets import load_preset
from lesion_pipeline.stages import delineate, detect, localize, match
from lesion_pipeline.stages.screen.case import Case, Scene
from lesion_pipeline.stages.screen.combine import features
from lesion_pipeline.stages.screen.corroboration import corroborate
from lesion_pipeline.stages.screen.door import ask
from scripts.simulated_studies import PRESETS, light, simulated

VALIDATION_PAGE = Path(__file__).resolve().parent.parent / "docs" / "validation.md"
NAMES = ("intercept", "uptake", "contrast", "noise", "volume", "bone")
#: Weight of the penalty: the intercept is almost free, the slopes are held.
PENALTY = np.array([0.05, 2.0, 2.0, 2.0, 2.0, 2.0])
NEAR_MM = 10.0

Numbers = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint16]
Truths = Sequence[answer.Truth]


@dataclass(frozen=True)
class Row:
    """One finding: is it a metastasis that counts, what the logistic sees of it, and the log-odds of the rules that fired."""

    counts: bool
    seen: tuple[float, ...]
    offset: float


def of_truth(finding: Finding, truth: Truths, labels: Labels) -> answer.Truth | None:
    """The planted lesion that a finding is: most of its labelled voxels, else the nearest one within reach."""
    candidate = finding.located.candidate
    hit = labels[tuple(candidate.voxels.T)]
    if hit.any():
        return truth[int(np.argmax(np.bincount(hit[hit > 0]))) - 1]
    away = [float(np.linalg.norm(np.subtract(t.centroid_lps_mm, candidate.centroid_lps_mm))) for t in truth]
    nearest = int(np.argmin(away)) if away else -1
    if nearest < 0 or away[nearest] > max(NEAR_MM, truth[nearest].lesion.plan.diameter_mm / 2 + 4.0):
        return None
    return truth[nearest]


def charted(study: Study, preset: config.Config) -> Anatomy:
    """Organs and vertebrae as the preset's own segmenters find them."""
    return delineate.run(study, load_plugins(preset, detectors=False).segmenters, preset.settings.delineate)


def rows_of(
    study: Study, anatomy: Anatomy, truth: Sequence[answer.Truth], labels: Labels, preset: config.Config
) -> Iterator[Row]:
    """Every finding of one study that a rule has not settled outright."""
    settings = preset.settings
    found = detect.run(study, anatomy, load_plugins(preset).detectors, settings.detect)
    located = localize.run(found, study, anatomy, settings.localize)
    scene = Scene(study, anatomy, settings.screen)
    cases = [Case(finding, scene) for finding in match.run(located, study, anatomy, settings.match)]
    for case in cases:
        case.siblings = cases
    for case in cases:
        fired, _ = ask(case, settings.screen)
        fired += corroborate(case, settings.screen.corroboration)
        if any(f.excluded or (f.ceiling is not None and f.ceiling < settings.screen.decide.counted_from) for f in fired):
            continue
        planted = of_truth(case.finding, truth, labels)
        seen = features(case, settings.screen.logistic)
        offset = sum(log(max(f.odds, 1e-6)) for f in fired)
        yield Row(planted is not None and planted.counts, (1.0, *(seen[name] for name in NAMES[1:])), offset)


def fit(rows: Sequence[Row], start: Numbers, most: float, strength: float) -> Numbers:
    """Coefficients of least penalised negative log-likelihood; the measured part is held within ``most``, as in the stage.

    No slope falls below 0: a few studies may have it that bowel is larger than lesions, but size speaks against no lesion.
    """
    seen = np.array([r.seen for r in rows])
    sign = np.where([r.counts for r in rows], 1.0, -1.0)
    offset = np.array([r.offset for r in rows])

    def held(weights: Numbers) -> Numbers:
        return np.concatenate([weights[:1], np.maximum(weights[1:], 0.0)])

    def loss(weights: Numbers) -> float:
        raw = seen @ held(weights)
        # a little of what is cut off keeps the slope from vanishing there
        total = np.clip(raw, -most, most) + 0.02 * (raw - np.clip(raw, -most, most)) + offset
        return float(np.logaddexp(0.0, -sign * total).sum() + strength * (PENALTY * (weights - start) ** 2).sum())

    options = {"maxiter": 8000, "maxfev": 8000}
    return held(np.asarray(minimize(loss, start, method="Nelder-Mead", options=options).x, dtype=np.float64))


def report(rows: Sequence[Row], weights: Numbers, most: float) -> None:
    """How the fitted logistic does on the studies that it was fitted on."""
    total = np.clip(np.array([r.seen for r in rows]) @ weights, -most, most) + np.array([r.offset for r in rows])
    p = 1.0 / (1.0 + np.exp(-total))
    counts = np.array([r.counts for r in rows])
    print(f"# {len(rows)} findings, {int(counts.sum())} of them metastases")
    print(f"# counted: {int((counts & (p >= 0.5)).sum())} right, {int((~counts & (p >= 0.5)).sum())} wrong")
    for low, high in ((0.0, 0.15), (0.15, 0.5), (0.5, 0.75), (0.75, 1.0)):
        held = (p >= low) & (p < high)
        if held.any():
            print(f"# said {p[held].mean():.2f}, was {counts[held].mean():.2f} ({int(held.sum())} findings)")


def reported_seeds(page: str) -> set[int]:
    """Seeds of the cohorts that a validation page names."""
    return {int(seed) for seed in re.findall(r"seed (\d+)", page)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cohort", default="fdg", help="a preset under configs/simulate")
    parser.add_argument("--preset", default="fdg-petct", help="the preset whose logistic is fitted")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--studies", type=int, default=20)
    parser.add_argument("--light", action="store_true", help="coarse scanners, much faster")
    parser.add_argument("--pipeline-anatomy", action="store_true", help="organs as the preset's segmenters find them")
    parser.add_argument("--strength", type=float, default=1.0, help="how firmly the preset's own numbers hold")
    asked = parser.parse_args()
    if asked.seed in reported_seeds(VALIDATION_PAGE.read_text(encoding="utf-8")):
        parser.error("that seed makes the studies that docs/validation.md reports; fit on others")
    presets = {name: config.load(name) for name in {asked.preset, *PRESETS.values()}}
    cohort = load_preset(asked.cohort)
    rows: list[Row] = []
    for n in range(asked.studies):
        plan = plan_study(cohort, asked.seed, n)
        study, anatomy, truth, labels = simulated(light(plan) if asked.light else plan)
        preset = presets[PRESETS[str(plan.tracer)]]
        if asked.pipeline_anatomy:
            anatomy = charted(study, preset)
        rows += rows_of(study, anatomy, truth, labels, preset)
        print(f"# {plan.name}, {plan.tracer}: {len(rows)} findings so far", flush=True)
    rule = presets[asked.preset].settings.screen.logistic
    start = np.array([float(getattr(rule, name)) for name in NAMES])
    weights = fit(rows, start, rule.most, asked.strength)
    report(rows, weights, rule.most)
    print("[screen.logistic]")
    for name, value in zip(NAMES, weights, strict=True):
        print(f"{name} = {value:.2f}")


if __name__ == "__main__":
    main()
