"""The command anatomy: every vertebra and organ of a study, without looking for lesions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lesion_pipeline import config, pipeline
from lesion_pipeline.cli import console
from lesion_pipeline.cli.options import AsJson, CtSeries, PetSeries, Preset, Quiet, Settings, Weight, overrides
from lesion_pipeline.cli.study import AnatomyFile, Out, Overwrite, check_writable, plugin_files
from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.report import anatomy_folder

AnySource = Annotated[
    Path,
    typer.Argument(
        help="Folder, zip or tar with one study's DICOM files; or one NIfTI file, with --modality CT.",
        exists=True,
        show_default=False,
    ),
]
SaidModality = Annotated[
    str | None, typer.Option("--modality", help="What a NIfTI file shows; only CT, taken as HU.", show_default=False)
]
_NIFTI = (".nii", ".nii.gz")


def _is_nifti_ct(source: Path, modality: str | None) -> bool:
    """Raises ConfigError: MODALITY_NOT_SAID, MODALITY_NOT_CT, MODALITY_OF_DICOM."""
    nifti = source.is_file() and source.name.lower().endswith(_NIFTI)
    if modality is None:
        if nifti:
            raise ConfigError(
                "MODALITY_NOT_SAID",
                "a NIfTI file says neither what it shows nor in which unit",
                advice="Say --modality CT if it is a CT in HU.",
            )
        return False
    if modality.upper() != "CT":
        raise ConfigError("MODALITY_NOT_CT", f"a NIfTI file can be taken as a CT only, not as {modality}")
    if not nifti:
        raise ConfigError("MODALITY_OF_DICOM", "--modality is for a NIfTI file; DICOM says itself what it shows")
    return True


def anatomy(
    source: AnySource,
    out: Out,
    preset: Preset = config.DEFAULT_PRESET,
    modality: SaidModality = None,
    pet_series: PetSeries = None,
    ct_series: CtSeries = None,
    weight: Weight = None,
    anatomy_file: AnatomyFile = None,
    settings: Settings = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Name every vertebra and find every organ of a study (CT, PET-CT or MR), without looking for lesions.

    Writes OUT/<study key>/ with anatomy.json, anatomy.png and labels/.
    """
    nifti_ct = _is_nifti_ct(source, modality)
    tables = overrides(settings, pet_series=pet_series, ct_series=ct_series, weight=weight)
    plugin_files(tables, preset, anatomy_file, None)
    conf = config.load(preset, tables)
    plugins = pipeline.load_plugins(conf, detectors=False)
    check_writable(out)
    log: list[dict[str, object]] = []
    with console.progress(quiet=quiet) as bar:
        recorder = Recorder("study", (bar, lambda event, fields: log.append({"event": event, **fields})))
        charted = pipeline.anatomy(source, conf, plugins, recorder, nifti_ct=nifti_ct)
        folder, document = recorder.run(
            "report", anatomy_folder.write, charted, lambda: recorder.runs, log, out, overwrite=overwrite
        )
    if as_json:
        console.print_json({"status": "done", "folder": str(folder), "anatomy": document})
        return
    screen = console.out()
    screen.print(_table(document))
    screen.print(console.RESEARCH_USE)
    screen.print(f"Files: {folder}", soft_wrap=True)


def _table(document: dict[str, Any]) -> Table:
    """Levels, then organs, then what is in doubt."""
    table = Table(title="Anatomy", title_justify="left", caption_justify="left")
    for column in ("what", "confidence or volume", "centre (LPS mm)"):
        table.add_column(column)
    for row in document["levels"]:
        name = row["level"] or f"vertebra {row['instance']} (name not sure)"
        table.add_row(name, f"{row['confidence']:.2f}", _point(row))
    for row in document["organs"]:
        table.add_row(row["name"], f"{row['volume_ml']:.0f} ml", _point(row))
    table.caption = "\n".join(f"{c['code']}: {c['message']}" for c in document["caveats"])
    return table


def _point(row: dict[str, Any]) -> str:
    return ", ".join(f"{c:.0f}" for c in row["centroid_lps_mm"])
