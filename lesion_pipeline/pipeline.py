"""The whole pipeline on one page: every line eats what earlier lines made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesion_pipeline import registry
from lesion_pipeline.config import Config
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.clinical import ClinicalFacts
from lesion_pipeline.domain.protocols import AnatomySegmenter, LesionDetector, Registrar
from lesion_pipeline.domain.result import Charted, Result
from lesion_pipeline.domain.study import Assembly
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.stages import assemble, calibrate, coregister, delineate, detect, localize, match, screen, tally, verdict


@dataclass(frozen=True, slots=True)
class Plugins:
    """The guests of one run, loaded and checked before the first file is read."""

    segmenters: tuple[AnatomySegmenter, ...]
    detectors: tuple[LesionDetector, ...]
    registrars: tuple[Registrar, ...]
    names: tuple[tuple[str, str, str], ...]  # (group, name, version)

    @property
    def facts(self) -> Mapping[str, Mapping[str, object]]:
        """What plug-ins with a ``facts`` attribute say of the model they run."""
        guests: tuple[Any, ...] = (*self.segmenters, *self.detectors, *self.registrars)
        return {guest.name: guest.facts for guest in guests if hasattr(guest, "facts")}


def load_plugins(config: Config, *, detectors: bool = True) -> Plugins:
    """Every plug-in the preset names, with its own table as options; without detectors where none is asked.

    Raises PluginError or ConfigError.
    """
    engines, tables = config.settings.engines, config.settings.plugins
    names: list[tuple[str, str, str]] = []

    def loaded(group: str, name: str) -> Any:
        plugin = registry.load(group, name, tables.get(name.replace("-", "_"), {}))
        names.append((group.rpartition(".")[2], plugin.name, plugin.version))
        return plugin

    return Plugins(
        segmenters=tuple(loaded(registry.segmenter_group(name), name) for name in engines.segmenters),
        detectors=tuple(loaded(registry.DETECTORS, name) for name in engines.detectors if detectors),
        registrars=tuple(loaded(registry.REGISTRARS, name) for name in engines.registrars),
        names=tuple(names),
    )


def read(source: Path, config: Config, recorder: Recorder) -> Assembly:
    """Files -> series with checked geometry, PET in SUVbw."""
    do, settings = recorder.run, config.settings
    found = do("assemble", assemble.run, source, settings.assemble)
    return do("calibrate", calibrate.run, found, settings.calibrate)


def run(source: Path, config: Config, plugins: Plugins, recorder: Recorder, clinical: ClinicalFacts | None = None) -> Result:
    """One study in, one answer out. Raises a LesionPipelineError when the study is refused."""
    do, settings = recorder.run, config.settings
    series = read(source, config, recorder)
    study = do("coregister", coregister.run, series, settings.coregister, plugins.registrars)
    anatomy = do("delineate", delineate.run, study, plugins.segmenters, settings.delineate)
    candidates = do("detect", detect.run, study, anatomy, plugins.detectors, settings.detect)
    located = do("localize", localize.run, candidates, study, anatomy, settings.localize)
    findings = do("match", match.run, located, study, anatomy, settings.match)
    screened = do("screen", screen.run, findings, study, anatomy, settings.screen)
    counts = do("tally", tally.run, screened, study, anatomy, config.rules)
    of_detection = detect.caveats(study, plugins.detectors, settings.detect)
    of_coverage = screen.caveats(study, anatomy, settings.screen)
    caveats = _distinct((*study.caveats, *anatomy.caveats, *of_detection, *of_coverage))
    answer = do("verdict", verdict.run, counts, study, config.criteria, caveats, clinical)
    return Result(
        study=study,
        anatomy=anatomy,
        screened=screened,
        tally=counts,
        verdict=answer,
        preset=settings.name,
        settings=config.as_json,
        config_sha256=config.sha256,
        plugins=plugins.names,
        caveats=caveats,
        plugin_facts=plugins.facts,
    )


def anatomy(source: Path, config: Config, plugins: Plugins, recorder: Recorder, *, nifti_ct: bool = False) -> Charted:
    """The same story up to the anatomy. nifti_ct: ``source`` is one NIfTI file that the caller says is a CT in HU."""
    do, settings = recorder.run, config.settings
    series = do("assemble", assemble.from_nifti_ct, source) if nifti_ct else read(source, config, recorder)
    study = do("coregister", coregister.run, series, settings.coregister, plugins.registrars)
    known = do("delineate", delineate.run, study, plugins.segmenters, settings.delineate)
    return Charted(
        study=study,
        anatomy=known,
        preset=settings.name,
        settings=config.as_json,
        config_sha256=config.sha256,
        plugins=plugins.names,
        caveats=_distinct((*study.caveats, *known.caveats)),
    )


def _distinct(caveats: Sequence[Caveat]) -> tuple[Caveat, ...]:
    return tuple(dict.fromkeys(caveats))
