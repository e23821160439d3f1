"""Plug-in name -> plug-in, by entry point. Built-ins come in by the same door as guests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from lesion_pipeline.domain.errors import (
    ConfigError,
    LesionPipelineError,
    PluginContractError,
    PluginFailedError,
    PluginNotFoundError,
)
from lesion_pipeline.domain.protocols import AnatomySegmenter, LesionDetector, Registrar

VERTEBRA_SEGMENTERS = "lesion_pipeline.vertebra_segmenters"
ORGAN_SEGMENTERS = "lesion_pipeline.organ_segmenters"
DETECTORS = "lesion_pipeline.lesion_detectors"
REGISTRARS = "lesion_pipeline.registrars"

PROTOCOLS: Mapping[str, type] = {
    VERTEBRA_SEGMENTERS: AnatomySegmenter,
    ORGAN_SEGMENTERS: AnatomySegmenter,
    DETECTORS: LesionDetector,
    REGISTRARS: Registrar,
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A plug-in that is installed, not yet loaded."""

    group: str
    name: str
    module: str
    distribution: str
    version: str


def _entries(group: str) -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda e: e.name)}


def offers() -> Iterator[Offer]:
    """Every installed plug-in, by group and name; nothing is imported."""
    for group in PROTOCOLS:
        for entry in _entries(group).values():
            dist = entry.dist
            yield Offer(group, entry.name, entry.value, dist.name if dist else "?", dist.version if dist else "?")


def segmenter_group(name: str) -> str:
    """The group a segmenter is registered in; that of the organ segmenters for an unknown name, whose loading then fails."""
    return VERTEBRA_SEGMENTERS if name in _entries(VERTEBRA_SEGMENTERS) else ORGAN_SEGMENTERS


def load(group: str, name: str, options: Mapping[str, object]) -> Any:
    """Build a plug-in: the entry point is a factory that takes its table of the preset.

    Raises PluginNotFoundError (PLUGIN_NOT_FOUND), ConfigError (BAD_PLUGIN_OPTIONS), PluginFailedError (PLUGIN_FAILED) or
    PluginContractError (PLUGIN_CONTRACT); each names the plug-in.
    """
    known = _entries(group)
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Installed: {', '.join(known) or 'none'}."
        raise PluginNotFoundError("PLUGIN_NOT_FOUND", f"no plug-in named {name!r} in {group}", advice=hint)
    try:
        plugin = known[name].load()(options)
    except LesionPipelineError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError("BAD_PLUGIN_OPTIONS", f"options of plug-in {name!r}: {where}: {first['msg']}") from error
    except Exception as error:
        raise PluginFailedError(
            "PLUGIN_FAILED", f"plug-in {name!r} could not be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(plugin, PROTOCOLS[group]):
        raise PluginContractError("PLUGIN_CONTRACT", f"plug-in {name!r} does not fulfil {PROTOCOLS[group].__name__}")
    return plugin
