"""Frozen values as JSON and back: what the child process sends is plain text, never a pickle."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin


def to_plain(value: Any) -> Any:
    """Dataclasses to objects, tuples to lists, times to ISO text, enums to their value. Raises TypeError for anything else."""
    if value is None or isinstance(value, str | int | float | bool):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, datetime | time):
        return value.isoformat()
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"{type(value).__name__} is no plain value")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _tuple(kinds: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(from_plain(kinds[0], item) for item in value)
    return tuple(from_plain(k, item) for k, item in zip(kinds, value, strict=True))


def _scalar(kind: Any, value: Any) -> Any:
    if kind in {datetime, time}:
        return kind.fromisoformat(value)
    if kind is float and isinstance(value, int):
        return float(value)
    if issubclass(kind, Enum):
        return kind(value)
    if isinstance(value, kind):
        return value
    raise TypeError(f"{value!r} is no {kind}")


def from_plain(kind: Any, value: Any) -> Any:
    """The value of a declared type from what ``to_plain`` made of it. Raises TypeError, ValueError, KeyError."""
    origin = get_origin(kind)
    if origin in {typing.Union, types.UnionType}:
        return None if value is None else from_plain(next(k for k in get_args(kind) if k is not type(None)), value)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        return typing.cast(Any, kind)(**{name: from_plain(hints[name], item) for name, item in value.items()})
    return _scalar(kind, value)
