"""Commands for cohorts with known answers: simulate and evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lesion_pipeline import evaluate as judge
from lesion_pipeline.cli import console
from lesion_pipeline.cli.options import AsJson, Quiet
from lesion_pipeline.simulate.cohort import cohort

Out = Annotated[Path, typer.Option("--out", "-o", help="Output folder.", show_default=False)]
Studies = Annotated[int, typer.Option(help="How many studies.", min=1)]
Seed = Annotated[int, typer.Option(help="The same seed gives the same studies, byte for byte.", min=0)]
CohortPreset = Annotated[str, typer.Option(help="Cohort: a name under configs/simulate or a TOML file.")]
Labels = Annotated[bool, typer.Option("--labels", help="Write the label map of the whole anatomy too.")]
RunOut = Annotated[Path, typer.Argument(help="Output folder of `run`, one subfolder a study.", exists=True, file_okay=False)]
Truth = Annotated[
    Path, typer.Argument(help="A simulated cohort, or a folder of reference reads (docs/evaluation.md).", exists=True)
]
Pairs = Annotated[Path | None, typer.Option(help="TSV with columns reference and run, where names do not tell.", exists=True)]
Distance = Annotated[float, typer.Option(help="Lesions whose centroids are closer than this (mm) may be matched.", min=0)]


def simulate(
    out: Out, studies: Studies = 6, seed: Seed = 1, preset: CohortPreset = "fdg", labels: Labels = False, quiet: Quiet = False
) -> None:
    """Make a cohort of synthetic studies as DICOM, each with its answer key."""

    def tell(name: str, done: int, total: int) -> None:
        if not quiet:
            typer.echo(f"{done}/{total} {name}", err=True)

    for folder in cohort(out, studies, seed, preset, labels=labels, progress=tell):
        typer.echo(str(folder))


def evaluate(
    run_out: RunOut, truth: Truth, out: Out, pairs: Pairs = None, distance_mm: Distance = 10.0, as_json: AsJson = False
) -> None:
    """Judge runs against known answers: lesions, organs, levels, counts, criteria, calibration."""
    page = judge.evaluate(run_out, truth, out, pairs=pairs, distance_mm=distance_mm)
    if as_json:
        console.print_json(json.loads((page.parent / "evaluation.json").read_text(encoding="utf-8")))
    else:
        typer.echo(f"Report: {page}")
