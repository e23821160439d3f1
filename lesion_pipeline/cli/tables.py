"""Commands that need no image: count a lesion table, explain a count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from lesion_pipeline import config
from lesion_pipeline.cli import console
from lesion_pipeline.cli.options import AsJson
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.io import clinical_table, lesion_table
from lesion_pipeline.report import count_json
from lesion_pipeline.report import explain as explaining
from lesion_pipeline.report import table as tables
from lesion_pipeline.stages import tally, verdict

Table = Annotated[
    Path, typer.Argument(help="CSV, TSV or JSON table, one lesion a row (docs/lesion_table.md).", exists=True, dir_okay=False)
]
CountJson = Annotated[Path, typer.Argument(help="A lesioncount.json.", exists=True, dir_okay=False)]
Rules = Annotated[str, typer.Option(help="Counting rules: a name under configs/counting or a TOML file.")]
CriteriaName = Annotated[str, typer.Option("--criteria", help="Criteria: a name under configs/criteria or a TOML file.")]
Clinical = Annotated[Path | None, typer.Option(help="CSV or JSON with clinical items (docs/clinical_table.md).", exists=True)]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write the count JSON to this file.", show_default=False)]


def count(
    table: Table,
    rules: Rules = "trial-default",
    criteria: CriteriaName = "spinal-oligomet",
    clinical: Clinical = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Count a table of lesions read by hand, with the same rules and criteria as `run`."""
    counting = tally.load_rules(config.find_rules(rules))
    criterion = verdict.load_criteria(config.find_criteria(criteria))
    facts = clinical_table.read(clinical) if clinical else None
    lesions = lesion_table.read(table)
    counts = tally.count(lesions.lesions, counting)
    answer = verdict.run(counts, None, criterion, lesions.caveats, facts)
    document = count_json.table_json(counts, answer, lesions.sha256, lesions.caveats)
    if out is not None:
        out.write_text(count_json.dumps(document), encoding="utf-8")
    if as_json:
        console.print_json(document)
    else:
        console.out().print(tables.summary(document))


def explain(count_json_file: CountJson) -> None:
    """Say the answer of a count JSON in plain sentences, with numbers and reasons."""
    typer.echo(explaining.explain(_read(count_json_file)), nl=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("NOT_A_COUNT", f"{path.name} is no JSON file", advice="Give the lesioncount.json of a run.") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, dict) or schema.get("name") != "lesion-count":
        raise InputError("NOT_A_COUNT", f"{path.name} is no count JSON", advice="Give the lesioncount.json of a run.")
    return dict(document)
