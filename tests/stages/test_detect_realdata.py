"""Candidates on real PETs and on the phantom behind the broken studies, read as the pipeline reads them, without anatomy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy
from lesion_pipeline.domain.lesion import Decision, Screened
from lesion_pipeline.plugins.threshold_detector import factory
from lesion_pipeline.stages import assemble, calibrate, coregister, detect, localize, match, screen

pytestmark = pytest.mark.realdata


def _screened(source: Path) -> tuple[Screened, ...]:
    settings = config.load("fdg-petct").settings
    series = calibrate.run(assemble.run(source, settings.assemble), settings.calibrate)
    study = coregister.run(series, settings.coregister, ())
    nothing = Anatomy()
    found = detect.run(study, nothing, [factory(settings.plugins["tracer_threshold"])], settings.detect)
    located = localize.run(found, study, nothing, settings.localize)
    return screen.run(match.run(located, study, nothing, settings.match), study, nothing, settings.screen)


def _nearest(found: tuple[Screened, ...], point: tuple[float, float, float]) -> tuple[float, Screened]:
    away = [float(np.linalg.norm(np.subtract(s.finding.located.candidate.centroid_lps_mm, point))) for s in found]
    return min(away), found[int(np.argmin(away))]


@pytest.mark.parametrize("case", ["G01_clean_pet", "G19_head_first_prone", "G31_non_square_pixels", "P01_slope_per_slice"])
def test_five_balls_are_five_lesions_at_their_places(real_data: Callable[[str], Path], case: str) -> None:
    folder = real_data("bad_inputs")
    truth = json.loads((folder / "cases.json").read_text(encoding="utf-8"))["lesions_lps_mm"]
    found = _screened(folder / case)
    assert len(found) == len(truth) == 5
    for x, y, z, suv in truth:
        away, one = _nearest(found, (x, y, z))
        assert away < 2.5
        assert one.finding.located.candidate.measures.suv_max == pytest.approx(suv, rel=0.02)
        assert one.decision is Decision.UNCERTAIN  # nobody can say where it lies


@pytest.mark.slow
def test_the_thigh_mass_is_one_lesion_and_the_usual_pattern_is_left_out_in_words(real_data: Callable[[str], Path]) -> None:
    found = _screened(real_data("sts_001"))
    likely = [s for s in found if s.probability >= 0.5]
    assert 1 <= len(likely) <= 3
    mass = max(likely, key=lambda s: s.finding.located.candidate.measures.volume_ml)
    assert mass.finding.located.candidate.measures.suv_max == pytest.approx(7.91, abs=0.05)
    assert mass.finding.located.candidate.measures.volume_ml > 100
    assert [s for s in found if s.decision is Decision.COUNTED] == [
        mass
    ]  # legs hold no organ that is hot: it counts without a CT
    assert any(r.code == "LIMB_WITHOUT_CT" and "at which the legs part" in r.text for r in mass.reasons)
    usual = [s for s in found if any(r.code == "PATTERN" for r in s.reasons)]
    assert len(usual) > 10
    assert all(s.decision is Decision.EXCLUDED for s in usual)
    assert len([s for s in found if s.decision is Decision.UNCERTAIN]) <= 2
