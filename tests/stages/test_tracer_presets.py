"""Every tracer's preset is complete, and its thresholds are the ones of the clinical specification."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lesion_pipeline import config
from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.imaging.reference_regions import Marrow, Reference, References
from lesion_pipeline.plugins.threshold_detector.options import ThresholdOptions
from lesion_pipeline.plugins.threshold_detector.thresholds import Thresholds, thresholds

PRESETS = {
    "fdg-petct": {Tracer.FDG},
    "psma-petct": {Tracer.PSMA_11, Tracer.DCFPYL},
    "psma1007-petct": {Tracer.PSMA_1007},
    "dotatate-petct": {Tracer.DOTATATE},
    "naf-petct": {Tracer.NAF},
    "choline-petct": {Tracer.CHOLINE},
}


def _plugin(preset: str) -> ThresholdOptions:
    tables: dict[str, Any] = config.load(preset).settings.plugins
    return ThresholdOptions.model_validate(tables["tracer_threshold"])


def _references(liver: tuple[float, float] | None, blood: float | None = None, marrow: float | None = None) -> References:
    def region(mean: float, sd: float) -> Reference:
        return Reference(mean, sd, mean, 200, (0.0, 0.0, 0.0))

    return References(
        liver=region(*liver) if liver else None,
        blood=region(blood, 0.1) if blood is not None else None,
        marrow=Marrow(marrow, 0.1, ()) if marrow is not None else None,
        organs={},
        notes=(),
    )


def _thresholds(preset: str, references: References) -> Thresholds:
    options = _plugin(preset)
    return thresholds(references, options.soft_tissue, options.bone, bones_known=True)


@pytest.mark.parametrize(("preset", "tracers"), PRESETS.items())
def test_a_preset_is_complete_and_names_its_tracers(preset: str, tracers: set[Tracer]) -> None:
    loaded = config.load(preset)
    assert set(loaded.settings.detect.tracers) == tracers
    assert _plugin(preset).connectivity == 26


@pytest.mark.parametrize("preset", ["psma-petct", "dotatate-petct"])
def test_a_fit_of_fdg_does_not_move_another_tracer(preset: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "configs" / f"{preset}.toml").read_text("utf-8")
    stated = tomllib.loads(text)["screen"]["logistic"]
    assert {"intercept", "uptake", "reference_suv", "contrast", "noise", "volume", "bone"} <= set(stated)


@pytest.mark.parametrize("preset", PRESETS)
def test_only_fdg_takes_a_kidneys_cortex_for_even(preset: str) -> None:
    assert _plugin(preset).soft_masks.hollow == (("kidney",) if preset == "fdg-petct" else ())


def test_fdg_bone_must_exceed_the_patients_own_marrow_and_its_unevenness() -> None:
    def limit(median: float, mad: float) -> float:
        return _thresholds("fdg-petct", replace(_references((1.9, 0.2)), marrow=Marrow(median, 0.1, (), mad))).bone

    assert limit(1.2, 0.1) == pytest.approx(2.5)  # the floor
    assert limit(2.4, 0.1) == pytest.approx(3.6)  # 1.5 times
    assert limit(2.4, 0.4) == pytest.approx(4.8)  # 6 MAD above


def test_every_tracer_has_exactly_one_preset() -> None:
    named = [tracer for tracers in PRESETS.values() for tracer in tracers]
    assert sorted(named) == sorted(set(Tracer) - {Tracer.UNKNOWN})


def test_fdg_soft_tissue_is_percist_between_2_5_and_4() -> None:
    assert _thresholds("fdg-petct", _references((2.0, 0.2))).soft == pytest.approx(3.4)
    assert _thresholds("fdg-petct", _references((1.2, 0.1))).soft == 2.5
    assert _thresholds("fdg-petct", _references((2.8, 0.3))).soft == 4.0
    assert _thresholds("fdg-petct", _references(None, blood=1.4)).soft == pytest.approx(3.0)
    without = _thresholds("fdg-petct", _references(None))
    assert (without.soft, without.basis) == (2.5, "no reference region")


def test_fdg_bone_must_stand_out_of_the_patients_own_marrow() -> None:
    assert _thresholds("fdg-petct", _references(None, marrow=1.2)).bone == 2.5
    assert _thresholds("fdg-petct", _references(None, marrow=2.4)).bone == pytest.approx(3.6)
    for marrow in (None, 0.8):  # the blood of PSMA-1007 reaches the floor of bone
        assert _thresholds("psma1007-petct", _references(None, blood=3.0, marrow=marrow)).bone == pytest.approx(3.6)
        assert _thresholds("psma1007-petct", _references(None, blood=2.0, marrow=marrow)).bone == 3.0


def test_psma_soft_tissue_depends_on_the_livers_variation_only() -> None:
    dim, bright = (_thresholds("psma-petct", _references((m, 0.1 * m))).soft for m in (4.0, 8.0))
    assert dim == bright == pytest.approx(4.73)
    assert _thresholds("psma-petct", _references(None)).soft == 4.30
    assert _thresholds("psma-petct", _references(None)).bone == 3.0


def test_psma_1007_never_asks_its_bright_liver() -> None:
    assert _thresholds("psma1007-petct", _references((11.7, 1.5))).soft == 4.0


def test_dotatate_is_the_livers_mean_and_naf_twice_the_skeleton() -> None:
    assert _thresholds("dotatate-petct", _references((4.8, 0.6), marrow=1.0)).soft == pytest.approx(4.8)
    assert _thresholds("dotatate-petct", _references((4.8, 0.6), marrow=1.5)).bone == pytest.approx(3.0)
    assert _thresholds("naf-petct", _references(None, marrow=7.0)).bone == pytest.approx(14.0)
    assert _thresholds("choline-petct", _references(None, blood=2.0)).soft == pytest.approx(3.0)
