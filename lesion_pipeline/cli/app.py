"""Puts the commands together and turns what they raise into exit codes."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import cast

import typer

from lesion_pipeline import __version__
from lesion_pipeline.cli import about, anatomy, cohorts, console, study, tables
from lesion_pipeline.domain.errors import ConfigError, LesionPipelineError, PluginNotFoundError

#: typer may bring a click of its own, so its error classes are reached through the one typer exports.
UsageError = cast(type[typer.BadParameter], typer.BadParameter.__bases__[0])

DONE, REFUSED, USAGE, CRASHED, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="lesion-pipeline",
    help=f"Count metastases in PET-CT and spine MRI, and check an oligometastatic criterion.\n\n{console.RESEARCH_USE}",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(study.run)
app.command()(anatomy.anatomy)
app.command()(study.inspect)
app.command()(study.convert)
app.command()(tables.count)
app.command()(tables.explain)
app.command()(cohorts.simulate)
app.command()(cohorts.evaluate)
app.command()(about.plugins)
app.command()(about.schema)
app.command()(about.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"lesion-pipeline {__version__}\n")
        raise typer.Exit


@app.callback()
def _common(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
) -> None:
    """Options before the command."""


def _invoke(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        status = command.main(args=arguments, prog_name="lesion-pipeline", standalone_mode=False)
    except UsageError as error:
        error.show()
        return USAGE
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except LesionPipelineError as error:
        console.show_refusal(error, as_json="--json" in arguments)
        return USAGE if isinstance(error, ConfigError | PluginNotFoundError) else REFUSED
    except Exception as error:  # noqa: BLE001  # the last door: anything untyped is a defect of ours
        return _defect(error, arguments)
    return status if isinstance(status, int) else DONE


def _defect(error: Exception, arguments: list[str]) -> int:
    if isinstance(error, BrokenPipeError):
        # the reader of our output went away (`| head`): results are on disk, and there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    console.show_crash(_log_folder(arguments))
    return CRASHED


def _log_folder(arguments: list[str]) -> Path | None:
    for flag in ("--out", "-o"):
        if flag in arguments[:-1]:
            return Path(arguments[arguments.index(flag) + 1])
    return None


def main(arguments: list[str] | None = None) -> None:
    """The entry point of the console script."""
    # Libraries warn about headers of the user's files; what matters of it is a caveat, the rest would only bury the answer.
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    raise SystemExit(_invoke(sys.argv[1:] if arguments is None else arguments))
