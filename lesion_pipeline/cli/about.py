"""Commands that speak of the installation: plugins, schema, doctor."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

from rich.table import Table

from lesion_pipeline import __version__, config, registry
from lesion_pipeline.cli import console
from lesion_pipeline.cli.options import AsJson
from lesion_pipeline.report import schema as count_schema

CORE = (
    "pydicom",
    "SimpleITK",
    "numpy",
    "scipy",
    "scikit-image",
    "nibabel",
    "connected-components-3d",
    "edt",
    "pydantic",
    "typer",
    "rich",
    "pillow",
    "pyjpegls",
    "pylibjpeg-openjpeg",
    "python-gdcm",
)

#: (module, distribution, what it would add)
EXTRAS = (
    (
        "TotalSegmentator",
        "totalsegmentator",
        "TotalSegmentator",
        "trained organ and vertebra masks (pip install lesion-pipeline[totalsegmentator])",
    ),
)


def plugins(as_json: AsJson = False) -> None:
    """List presets and installed plug-ins."""
    offers = list(registry.offers())
    if as_json:
        rows = [
            {"group": o.group, "name": o.name, "module": o.module, "distribution": o.distribution, "version": o.version}
            for o in offers
        ]
        console.print_json({"presets": list(config.preset_names()), "plugins": rows})
        return
    table = Table(title="Plug-ins", title_justify="left")
    for column in ("kind", "name", "from"):
        table.add_column(column)
    for offer in offers:
        table.add_row(offer.group.rpartition(".")[2], offer.name, f"{offer.distribution} {offer.version}")
    screen = console.out()
    screen.print(table)
    screen.print(f"Presets: {', '.join(config.preset_names())} (default: {config.DEFAULT_PRESET})")


def schema() -> None:
    """Print the JSON Schema of the count JSON (lesion-count)."""
    console.print_json(count_schema.schema_json())


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def doctor(as_json: AsJson = False) -> None:
    """Show what is installed, and what each extra would add."""
    core = {name: _version(name) for name in CORE}
    extras = [
        {"name": name, "installed": importlib.util.find_spec(module) is not None, "version": _version(dist), "adds": adds}
        for name, module, dist, adds in EXTRAS
    ]
    missing = [name for name, found in core.items() if found is None]
    disk = shutil.disk_usage(os.curdir)
    facts = {
        "lesion_pipeline": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "free_disk_gb": round(disk.free / 1e9, 1),
        "core": core,
        "missing": missing,
        "extras": extras,
    }
    if as_json:
        console.print_json(facts)
        return
    table = Table(title=f"lesion-pipeline {__version__}, Python {platform.python_version()}", title_justify="left")
    for column in ("package", "version", "what it is for"):
        table.add_column(column)
    for name, found in core.items():
        table.add_row(name, found or "MISSING", "core")
    for extra in extras:
        table.add_row(str(extra["name"]), str(extra["version"] or "not installed"), f"extra: {extra['adds']}")
    screen = console.out()
    screen.print(table)
    if missing:
        screen.print(f"Missing core packages: {', '.join(missing)}. Reinstall with: pip install lesion-pipeline")
    else:
        screen.print("Everything the core needs is installed.")
