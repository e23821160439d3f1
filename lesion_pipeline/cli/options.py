"""Options that several commands share, and how they become overrides of a preset."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from lesion_pipeline.domain.errors import ConfigError

Source = Annotated[
    Path,
    typer.Argument(
        help="Folder (any names, any depth), zip or tar with one study's DICOM files.", exists=True, show_default=False
    ),
]
Preset = Annotated[str, typer.Option("--config", "-c", help="Preset name (see `plugins`) or a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
PetSeries = Annotated[str | None, typer.Option(help="Use this PET series (key as shown by `inspect`).", show_default=False)]
CtSeries = Annotated[str | None, typer.Option(help="Use this CT series (key as shown by `inspect`).", show_default=False)]
Weight = Annotated[
    float | None, typer.Option(help="Body weight in kg, where the header has none.", min=2, max=400, show_default=False)
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one preset value, e.g. --set detect.connectivity=26.", show_default=False),
]


def overrides(
    settings: list[str] | None = None,
    *,
    pet_series: str | None = None,
    ct_series: str | None = None,
    weight: float | None = None,
) -> dict[str, Any]:
    """Nested tables to lay over the preset. Raises ConfigError (BAD_SETTING)."""
    tables: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError("BAD_SETTING", f"--set wants table.key=value, not {setting!r}")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        put(tables, key.strip(), parsed)
    for key, given in (("assemble.pet_series", pet_series), ("assemble.ct_series", ct_series), ("calibrate.weight_kg", weight)):
        if given is not None:
            put(tables, key, given)
    return tables


def put(tables: dict[str, Any], dotted: str, value: object) -> None:
    """tables["a"]["b"] = value for "a.b"."""
    *path, last = dotted.split(".")
    for part in path:
        tables = tables.setdefault(part, {})
    tables[last] = value
