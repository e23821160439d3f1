"""From measurements and rules to one probability: a logistic whose coefficients stand in the preset."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

from lesion_pipeline.domain.anatomy import Organ
from lesion_pipeline.stages.screen.case import Case
from lesion_pipeline.stages.screen.options import Logistic
from lesion_pipeline.stages.screen.outcome import Fired


def features(case: Case, rule: Logistic) -> dict[str, float]:
    """What the logistic sees of a finding, each held within the preset's limit; 0 where it was not measured."""
    measures = case.measures

    def held(value: float) -> float:
        return max(-rule.limit, min(rule.limit, value))

    peak, background, noise = measures.suv_peak, measures.background, measures.contrast_to_noise
    return {
        "uptake": held(log(max(case.suv_max, 1e-3) / rule.reference_suv)) if measures.suv_max else 0.0,
        "contrast": held(log(max(peak, 1e-3) / max(background, case.usual, 0.1))) if peak and background is not None else 0.0,
        "noise": min(held(log(max(noise, 0.1) / 5.0)), rule.noise_limit) if noise is not None else 0.0,
        "volume": held(log(max(measures.volume_ml, 1e-3))),
        "bone": case.probability_of(Organ.BONE),
    }


def base_log_odds(case: Case, fired: Sequence[Fired], rule: Logistic) -> float:
    """Log-odds before any rule. A detector that gives its own probability is believed instead of the measurements.

    fired: asked only whether any of them speaks for a lesion, which decides how low the measurements may go.
    """
    own = case.finding.located.candidate.probability
    if own is not None:
        held = min(rule.highest, max(rule.lowest, own))
        return log(held / (1.0 - held))
    seen = features(case, rule)
    total = rule.intercept + sum(float(getattr(rule, name)) * value for name, value in seen.items())
    supported = any(f.odds > 1.0 for f in fired)
    return max(-rule.most if supported else -rule.least, min(rule.most, total))


def _logistic(log_odds: float) -> float:
    return 1.0 / (1.0 + exp(-max(-30.0, min(30.0, log_odds))))


def probability(base: float, fired: Sequence[Fired], rule: Logistic) -> float:
    """Logistic of the base and all rules' odds, then shrinking, floors and ceilings; a ceiling has the last word.

    The floor of a rule that speaks against a lesion keeps what the lesion had without that rule; it adds nothing.
    """
    p = _logistic(base + sum(log(max(f.odds, 1e-6)) for f in fired))
    for f in fired:  # a doubt makes a likely lesion less likely; it does not make noise more likely
        p = min(p, 0.5 + (p - 0.5) * (1.0 - f.shrink))
    for f in fired:
        if f.floor is not None:
            others = base + sum(log(max(o.odds, 1e-6)) for o in fired if o is not f)
            p = max(p, f.floor if f.odds >= 1.0 else min(f.floor, _logistic(others)))
    p = min(rule.highest, max(rule.lowest, p))
    return min([p, *(f.ceiling for f in fired if f.ceiling is not None)])
