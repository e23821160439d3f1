"""Composes the stages' own Options into one Config, from a preset file that states every number.

A preset is TOML: one table a stage, ``[engines]`` naming the plug-ins in order of precedence, ``[plugins.<name>]`` with a table
for each. ``extends = "other"`` takes another preset's tables as the ground; ``[tally] rules`` and ``[verdict] criteria``
name files under configs/counting and configs/criteria, or give a path.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.stages import assemble, calibrate, coregister, delineate, detect, localize, match, screen, tally, verdict

DEFAULT_PRESET = "fdg-petct"
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Engines(_Strict):
    """Plug-in names. Where two anatomy segmenters speak of one place, the earlier one wins."""

    segmenters: tuple[str, ...]
    detectors: tuple[str, ...] = Field(min_length=1)
    registrars: tuple[str, ...] = ()


class RulesName(_Strict):
    rules: str


class CriteriaName(_Strict):
    criteria: str


class Settings(_Strict):
    """A preset as it is written."""

    name: str
    description: str
    engines: Engines
    assemble: assemble.Options
    calibrate: calibrate.Options
    coregister: coregister.Options
    delineate: delineate.Options
    detect: detect.Options
    localize: localize.Options
    match: match.Options
    screen: screen.Options
    tally: RulesName
    verdict: CriteriaName
    plugins: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one run was told, and a hash of it."""

    settings: Settings
    rules: tally.CountingRules
    criteria: verdict.Criteria
    sha256: str

    @property
    def as_json(self) -> dict[str, object]:
        """Plain values, for the result."""
        return _plain(self.settings, self.rules, self.criteria)


def _plain(settings: Settings, rules: BaseModel, criteria: BaseModel) -> dict[str, object]:
    return {
        "preset": settings.model_dump(mode="json"),
        "counting_rules": rules.model_dump(mode="json"),
        "criteria": criteria.model_dump(mode="json"),
    }


def configs_folder() -> Path:
    """configs/ inside an installed wheel, or beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "configs"
    return installed if installed.is_dir() else here.parent / "configs"


def preset_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in configs_folder().glob("*.toml")))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("CONFIG_UNREADABLE", f"{path.name} cannot be read: {error.__class__.__name__}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("CONFIG_NOT_TOML", f"{path.name}: {error}") from error


def _find(name: str, folder: Path, what: str) -> Path:
    """A path the user gave, or a name under a folder of configs/."""
    if name.endswith(".toml") or "/" in name:
        given = Path(name)
        if given.is_file():
            return given
        raise ConfigError("CONFIG_NOT_FOUND", f"no {what} file at {name}")
    path = folder / f"{name}.toml"
    if path.is_file():
        return path
    known = sorted(p.stem for p in folder.glob("*.toml"))
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
    raise ConfigError("CONFIG_NOT_FOUND", f"no {what} named {name!r}", advice=hint)


def find_rules(name: str) -> Path:
    """Counting rules by name or path. Raises ConfigError (CONFIG_NOT_FOUND)."""
    return _find(name, configs_folder() / "counting", "counting rules")


def find_criteria(name: str) -> Path:
    """Criteria by name or path. Raises ConfigError (CONFIG_NOT_FOUND)."""
    return _find(name, configs_folder() / "criteria", "criteria")


def _merge(ground: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ground)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return merged


def _tables(name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    path = _find(name, configs_folder(), "preset")
    if path.stem in seen:
        raise ConfigError("CONFIG_LOOP", f"preset {path.stem!r} extends itself: {' -> '.join((*seen, path.stem))}")
    tables = _read_toml(path)
    ground = tables.pop("extends", None)
    return _merge(_tables(str(ground), (*seen, path.stem)), tables) if ground else tables


def _first_problem(model: type[BaseModel], error: ValidationError) -> tuple[str, str, str]:
    """(code, sentence, advice) for the first thing wrong, with the nearest right key for an unknown one."""
    problem = error.errors()[0]
    loc = [str(part) for part in problem["loc"]]
    where = ".".join(loc)
    if problem["type"] != "extra_forbidden":
        return "BAD_VALUE", f"{where}: {problem['msg']}", ""
    owner: Any = model
    for part in loc[:-1]:
        field = getattr(owner, "model_fields", {}).get(part)
        owner = field.annotation if field is not None else None
    near = get_close_matches(loc[-1], list(getattr(owner, "model_fields", {})), n=1)
    return "UNKNOWN_KEY", f"unknown key {where}", f"Did you mean {near[0]!r}?" if near else ""


def _validated(model: type[M], values: object, what: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        code, sentence, advice = _first_problem(model, error)
        raise ConfigError(code, f"{what}: {sentence}", advice=advice) from error


def load(preset: str = DEFAULT_PRESET, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a preset by name or path, lay ``overrides`` (nested like the preset) over it, and check everything.

    Raises ConfigError: CONFIG_NOT_FOUND, CONFIG_UNREADABLE, CONFIG_NOT_TOML, CONFIG_LOOP, UNKNOWN_KEY, BAD_VALUE.
    """
    settings = _validated(Settings, _merge(_tables(preset), overrides or {}), f"preset {preset!r}")
    rules = tally.load_rules(find_rules(settings.tally.rules))
    criteria = verdict.load_criteria(find_criteria(settings.verdict.criteria))
    canonical = json.dumps(_plain(settings, rules, criteria), sort_keys=True, allow_nan=False)
    return Config(settings, rules, criteria, hashlib.sha256(canonical.encode()).hexdigest())
