"""TOML files that hold settings, checked against their model: an unknown key is refused with the nearest right one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lesion_pipeline.domain.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, object]:
    """A TOML file as plain values. Raises ConfigError (NO_SETTINGS_FILE, BAD_TOML) naming the file."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError("NO_SETTINGS_FILE", f"{path.name} cannot be read", advice="Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("BAD_TOML", f"{path.name} is not TOML: {error}") from error


def validated(model: type[Model], values: Mapping[str, object], source: str) -> Model:
    """The values as a model. ``source`` names them in the refusal: a file or a preset table.

    Raises ConfigError: UNKNOWN_KEY with the nearest right key, MISSING_KEY, or BAD_VALUE; one sentence on the first mistake.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        # a misspelt key is told before the key that is missing because of it
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        where = tuple(part for part in first["loc"] if part != "__root__")
        dotted = ".".join(str(part) for part in where)
        if first["type"] == "extra_forbidden":
            raise _unknown_key(model, where, source) from error
        if first["type"] == "missing":
            raise ConfigError("MISSING_KEY", f"{source}: the key {dotted!r} is missing", advice="It has no default.") from error
        said = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise ConfigError("BAD_VALUE", f"{source}: {dotted or 'the table'}: {said}") from error


def load_settings(model: type[Model], path: Path) -> Model:
    """A TOML file as a model; refusals as in ``read_toml`` and ``validated``."""
    return validated(model, read_toml(path), path.name)


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known key that looks most like ``key``; None when none does."""
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def _unknown_key(model: type[BaseModel], where: tuple[object, ...], source: str) -> ConfigError:
    known = sorted({name for part in _models_at(model, where[:-1]) for name in part.model_fields})
    key = str(where[-1])
    guess = nearest(key, known)
    advice = f"Did you mean {guess!r}?" if guess else f"Known keys: {', '.join(known)}."
    return ConfigError("UNKNOWN_KEY", f"{source}: the key {'.'.join(map(str, where))!r} is not known", advice=advice)


def _models_at(model: type[BaseModel], where: tuple[object, ...]) -> list[type[BaseModel]]:
    """The models that a path of keys can lead to; list positions and union tags lead nowhere new."""
    models: list[type[BaseModel]] = [model]
    for step in where:
        deeper = [
            found
            for part in models
            if isinstance(step, str) and step in part.model_fields
            for found in _models_in(part.model_fields[step].annotation)
        ]
        tagged = [part for part in models if _has_tag(part, step)]
        models = deeper or tagged or models
    return models


def _has_tag(model: type[BaseModel], step: object) -> bool:
    kind = model.model_fields.get("kind")
    return kind is not None and step in get_args(kind.annotation)


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
