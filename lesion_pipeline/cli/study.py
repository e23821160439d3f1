"""Commands on one study: run, inspect, convert."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from lesion_pipeline import config, pipeline
from lesion_pipeline.cli import console
from lesion_pipeline.cli.options import AsJson, CtSeries, PetSeries, Preset, Quiet, Settings, Source, Weight, overrides, put
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.io import clinical_table, nifti
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.report import count_json, inspection, layout, run_folder, table
from lesion_pipeline.stages import assemble, calibrate

Out = Annotated[Path, typer.Option("--out", "-o", help="Output folder; one subfolder a study.", show_default=False)]
AnatomyFile = Annotated[
    Path | None,
    typer.Option(
        "--anatomy",
        help="Anatomy that goes before the built-in: NIfTI with a names table, DICOM SEG, RTSTRUCT or a folder of masks.",
        exists=True,
        show_default=False,
    ),
]
Lesions = Annotated[
    Path | None,
    typer.Option(help="Lesion mask (NIfTI, DICOM SEG or RTSTRUCT) instead of detection.", exists=True, show_default=False),
]
Clinical = Annotated[
    Path | None, typer.Option(help="CSV or JSON with clinical items (see docs/clinical_table.md).", exists=True)
]
Overwrite = Annotated[bool, typer.Option(help="Replace whatever lies under the study's name in the output folder.")]


def check_writable(out: Path) -> None:
    """Refuse before computing, not after. Raises ConfigError (OUTPUT_NOT_WRITABLE)."""
    nearest = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError("OUTPUT_NOT_WRITABLE", f"nothing can be written to {out}", advice="Choose another output folder.")


def plugin_files(tables: dict[str, Any], preset: str, anatomy: Path | None, lesions: Path | None) -> None:
    """--anatomy and --lesions are plug-ins with a path; they go before, or instead of, what the preset names."""
    if anatomy:
        put(tables, "plugins.anatomy_from_file.path", str(anatomy))
        put(tables, "engines.segmenters", ["anatomy-from-file", *config.load(preset).settings.engines.segmenters])
    if lesions:
        put(tables, "plugins.lesions_from_file.path", str(lesions))
        put(tables, "engines.detectors", ["lesions-from-file"])


def run(
    source: Source,
    out: Out,
    preset: Preset = config.DEFAULT_PRESET,
    pet_series: PetSeries = None,
    ct_series: CtSeries = None,
    weight: Weight = None,
    anatomy: AnatomyFile = None,
    lesions: Lesions = None,
    clinical: Clinical = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Count the lesions of one study and check the criterion.

    Writes OUT/<study key>/ with lesioncount.json, lesions.tsv, overlays/, labels/ and provenance.json.
    """
    tables = overrides(settings, pet_series=pet_series, ct_series=ct_series, weight=weight)
    plugin_files(tables, preset, anatomy, lesions)
    conf = config.load(preset, tables)
    plugins = pipeline.load_plugins(conf)
    facts = clinical_table.read(clinical) if clinical else None
    check_writable(out)
    log: list[dict[str, object]] = []
    with console.progress(quiet=quiet) as bar:
        recorder = Recorder("study", (bar, lambda event, fields: log.append({"event": event, **fields})))
        result = pipeline.run(source, conf, plugins, recorder, facts)
        folder = recorder.run("report", run_folder.write, result, lambda: recorder.runs, log, out, overwrite=overwrite)
    document = count_json.count_json(result)
    if as_json:
        console.print_json({"status": "done", "folder": str(folder), "count": document})
        return
    screen = console.out()
    screen.print(table.summary(document))
    screen.print(f"Files: {folder}", soft_wrap=True)


def inspect(
    source: Source,
    preset: Preset = config.DEFAULT_PRESET,
    pet_series: PetSeries = None,
    ct_series: CtSeries = None,
    weight: Weight = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show every series of a study: what it is, its geometry and SUV status, what was chosen or rejected, and why."""
    conf = config.load(preset, overrides(settings, pet_series=pet_series, ct_series=ct_series, weight=weight))
    found = assemble.survey(source, conf.settings.assemble)
    assessed = calibrate.assess(found, conf.settings.calibrate)
    if as_json:
        console.print_json(inspection.inspection_json(assessed))
        return
    screen = console.out()
    screen.print(inspection.inspection_table(assessed))


def convert(
    source: Source,
    out: Out,
    preset: Preset = config.DEFAULT_PRESET,
    pet_series: PetSeries = None,
    ct_series: CtSeries = None,
    weight: Weight = None,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the chosen series as NIfTI: PET in SUVbw, CT in HU, MR as stored."""
    conf = config.load(preset, overrides(settings, pet_series=pet_series, ct_series=ct_series, weight=weight))
    check_writable(out)
    with console.progress(quiet=quiet) as bar:
        assembly = pipeline.read(source, conf, Recorder("study", (bar,)))
    written = []
    with layout.staged(out, "nifti", overwrite=True) as folder:
        for series in assembly.series:
            if series.chosen and series.volume is not None:
                name = f"{series.key}_{layout.safe_name(series.kind)}_{layout.safe_name(str(series.volume.unit))}.nii.gz"
                nifti.write_volume(series.volume, folder / name)
                written.append({"series": series.key, "kind": series.kind, "unit": str(series.volume.unit), "file": name})
    home = layout.study_folder(out, "nifti")
    if as_json:
        console.print_json({"status": "done", "folder": str(home), "volumes": written})
        return
    for line in written:
        console.out().print(f"{home / line['file']}  ({line['kind']}, {line['unit']})", soft_wrap=True)
