"""Presets state everything, and a wrong one gets one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesion_pipeline import config
from lesion_pipeline.domain.errors import ConfigError


@pytest.mark.parametrize("name", config.preset_names())
def test_every_preset_loads_and_says_its_name(name: str) -> None:
    loaded = config.load(name)
    assert loaded.settings.name == name
    assert loaded.sha256 == config.load(name).sha256


def test_overrides_change_the_hash_and_nothing_else() -> None:
    plain = config.load()
    heavier = config.load(overrides={"calibrate": {"weight_kg": 71.5}})
    assert heavier.settings.calibrate.weight_kg == 71.5
    assert heavier.sha256 != plain.sha256
    assert heavier.settings.detect == plain.settings.detect


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("name = ", "CONFIG_NOT_TOML", "toml"),
        ('extends = "fdg-petct"\n[assembel]\n', "UNKNOWN_KEY", "'assemble'"),
        ('extends = "fdg-petct"\n[calibrate]\nweight_kgs = 3\n', "UNKNOWN_KEY", "'weight_kg'"),
        ('extends = "fdg-petct"\n[engines]\ndetectors = 3\n', "BAD_VALUE", "engines.detectors"),
        ('extends = "no-such-thing"\n', "CONFIG_NOT_FOUND", "no-such-thing"),
        ('extends = "fdg-petct"\n[tally]\nrules = "trial-defalt"\n', "CONFIG_NOT_FOUND", "'trial-default'"),
    ],
)
def test_bad_presets(text: str, code: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(str(path))
    assert caught.value.code == code
    assert words.lower() in str(caught.value).lower()


def test_a_preset_that_extends_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "{path}"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(str(path))
    assert caught.value.code == "CONFIG_LOOP"


def test_settings_are_repeated_whole() -> None:
    repeated = config.load().as_json
    assert set(repeated) == {"preset", "counting_rules", "criteria"}
    preset = repeated["preset"]
    assert isinstance(preset, dict)
    assert preset["engines"]["detectors"]
