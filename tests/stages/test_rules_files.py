"""Rules and criteria files: every shipped one loads and counts, and a mistake gets one sentence with the right key."""

from __future__ import annotations

from pathlib import Path

import pytest

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.domain.verdict import CountableLesion, CriterionStatus
from lesion_pipeline.stages import tally, verdict

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RULES = sorted((CONFIGS / "counting").glob("*.toml"))
CRITERIA = sorted((CONFIGS / "criteria").glob("*.toml"))
MEETS, FAILS = CriterionStatus.MEETS, CriterionStatus.DOES_NOT_MEET


def lesion(name: str, organ: str, *vertebrae: str, structure: str = "", regional: bool | None = None) -> CountableLesion:
    return CountableLesion(name, 1.0, ((organ, 1.0),), bool(vertebrae), vertebrae, structure=structure, regional=regional)


def answer(convention: str, criteria: str, *lesions: CountableLesion) -> CriterionStatus:
    rules = tally.load_rules(CONFIGS / "counting" / f"{convention}.toml")
    found = verdict.run(tally.count(lesions, rules), None, verdict.load_criteria(CONFIGS / "criteria" / f"{criteria}.toml"), [])
    headline = found.answer(found.headline)
    assert headline is not None
    return headline.status


@pytest.mark.parametrize("path", RULES, ids=lambda p: p.stem)
def test_every_convention_loads_and_cites(path: Path) -> None:
    rules = tally.load_rules(path)
    assert rules.name == path.stem
    assert rules.citation
    counts = tally.count([lesion("L1", "bone", "T7"), lesion("L2", "lung")], rules)
    assert counts.rules["name"] == path.stem


@pytest.mark.parametrize("path", CRITERIA, ids=lambda p: p.stem)
def test_every_criteria_file_loads_and_cites(path: Path) -> None:
    criteria = verdict.load_criteria(path)
    assert criteria.name == path.stem
    assert criteria.citation


def _spoiled(tmp_path: Path, source: Path, old: str, new: str) -> Path:
    text = source.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "spoiled.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("organ_mode = ", "organ_modes = ", "UNKNOWN_KEY", "Did you mean 'organ_mode'?"),
        ("lesion_unit = ", "lesoin_unit = ", "UNKNOWN_KEY", "Did you mean 'lesion_unit'?"),
        ("mri_only = ", "mr_only = ", "UNKNOWN_KEY", "Did you mean 'mri_only'?"),
        ('"bone.organ_mode" = ', '"bone.organs_mode" = ', "UNKNOWN_KEY", "variant spine_and_other_bone_two_organs"),
        ("frailty_sigma = 0.5", "", "MISSING_KEY", "numerics.frailty_sigma"),
        ("split_below = 0.60", "split_below = 0.90", "BAD_VALUE", "split_below must be smaller"),
        ('profile_type = "census"', 'profile_type = "target_selection"', "BAD_VALUE", "profile_type"),
        ("seed = ", "seed = nonsense", "BAD_TOML", "spoiled.toml"),
    ],
)
def test_a_bad_rules_file_gets_one_sentence(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    path = _spoiled(tmp_path, CONFIGS / "counting" / "trial-default.toml", old, new)
    with pytest.raises(ConfigError) as refused:
        tally.load_rules(path)
    assert refused.value.code == code
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("lesions_max = 5", "lesion_max = 5", "UNKNOWN_KEY", "Did you mean 'lesions_max'?"),
        ('kind = "age"', 'kind = "aged"', "BAD_VALUE", "items"),
        ('headline = "INC4"', 'headline = "INC9"', "BAD_VALUE", "INC9"),
        ("p_meets = 0.95", "p_meets = 0.01", "BAD_VALUE", "p_fails must be smaller"),
        ("min_years = 18", "", "MISSING_KEY", "min_years"),
    ],
)
def test_a_bad_criteria_file_gets_one_sentence(tmp_path: Path, old: str, new: str, code: str, said: str) -> None:
    path = _spoiled(tmp_path, CONFIGS / "criteria" / "spinal-oligomet.toml", old, new)
    with pytest.raises(ConfigError) as refused:
        verdict.load_criteria(path)
    assert refused.value.code == code
    assert said in str(refused.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="NO_SETTINGS_FILE"):
        tally.load_rules(Path("nowhere.toml"))


def test_sabr_comet_allows_three_in_one_organ() -> None:
    three = [lesion(f"L{i}", "lung") for i in range(3)]
    assert answer("sabr-comet", "sabr-comet", *three) is MEETS
    assert answer("sabr-comet", "sabr-comet", *three, lesion("L4", "lung")) is FAILS
    assert answer("sabr-comet", "sabr-comet", *three, lesion("L4", "liver"), lesion("L5", "bone", "T7")) is MEETS


def test_nrg_br002_tells_spine_from_other_bone() -> None:
    rules = tally.load_rules(CONFIGS / "counting" / "nrg-br002.toml")
    counts = tally.count([lesion("L1", "bone", "T7"), lesion("L2", "bone"), lesion("L3", "adrenal")], rules)
    assert {key for key, *_ in counts.by_organ} == {"spine", "osseous", "abdominal_pelvic"}


def test_eortc_lcg_does_not_count_mediastinal_nodes() -> None:
    rules = tally.load_rules(CONFIGS / "counting" / "eortc-lcg.toml")
    counts = tally.count([lesion("L1", "bone", "T7"), lesion("L2", "lymph_node", structure="mediastinum")], rules)
    assert (counts.lesions.best, counts.organs.best) == (1, 1)
    assert answer("eortc-lcg", "eortc-lcg", lesion("L1", "brain")) is MEETS


def test_rtog_0631_counts_sites_of_two_vertebrae_and_no_sacrum() -> None:
    assert answer("rtog-0631", "rtog-0631", lesion("L1", "bone", "T7", "T8")) is MEETS
    long = lesion("L1", "bone", "T6", "T7", "T8", "T9", "T10", "T11", "T12")
    assert answer("rtog-0631", "rtog-0631", long) is FAILS
    assert answer("rtog-0631", "rtog-0631", lesion("L1", "bone", "S1")) is FAILS


def test_chaarted_high_volume_is_visceral_or_four_in_bone_with_one_beyond() -> None:
    spine = [lesion(f"L{i}", "bone", level) for i, level in enumerate(("T7", "T9", "L1", "L3"))]
    pelvis = lesion("L8", "bone", structure="hip_left")
    rib = lesion("L9", "bone", structure="rib_left_7")
    assert answer("chaarted", "chaarted", *spine, pelvis) is FAILS
    assert answer("chaarted", "chaarted", *spine, rib) is MEETS
    assert answer("chaarted", "chaarted", spine[0], spine[1], rib) is FAILS
    assert answer("chaarted", "chaarted", lesion("L1", "liver")) is MEETS
    assert answer("chaarted", "chaarted", lesion("L1", "lymph_node")) is FAILS
