"""One study's results as a folder: everything is written under a temporary name and appears when it is complete."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lesion_pipeline import __version__
from lesion_pipeline.domain.result import Result, StageRun
from lesion_pipeline.report import count_json, label_maps, layout, overlay, table

#: Packages whose version can change a number.
_COUNTING_PACKAGES = (
    "pydicom",
    "SimpleITK",
    "numpy",
    "scipy",
    "scikit-image",
    "nibabel",
    "connected-components-3d",
    "edt",
    "python-gdcm",
    "pyjpegls",
    "pylibjpeg-openjpeg",
)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _COUNTING_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def provenance(result: Result, runs: Sequence[StageRun]) -> dict[str, object]:
    """What made this answer: versions, config and input hashes, plug-ins, time and memory of each stage.

    ``run`` holds what differs from run to run; everything else is the same for the same input and config.
    """
    return {
        "software": {"name": "lesion-pipeline", "version": __version__, "packages": _versions()},
        "preset": result.preset,
        "config_sha256": result.config_sha256,
        "settings": result.settings,
        "plugins": [{"group": g, "name": n, "version": v} for g, n, v in result.plugins],
        "models": {name: dict(facts) for name, facts in result.plugin_facts.items()},
        "inputs": [
            {"series": s.key, "kind": s.kind, "chosen": s.chosen, "instances": s.instances, "sha256": s.input_sha256}
            for s in result.study.series
        ],
        "run": {
            "platform": platform.platform(),
            "stages": [
                {"stage": r.stage, "seconds": round(r.seconds, 3), "peak_rss_mb": round(r.peak_rss_mb, 1)} for r in runs
            ],
        },
    }


def write(
    result: Result,
    runs: Callable[[], Sequence[StageRun]],
    log: Sequence[Mapping[str, object]],
    out: Path,
    *,
    overwrite: bool = False,
) -> Path:
    """Write the folder of one study below ``out`` and return it.

    Raises ConfigError (OUTPUT_EXISTS) when something else lies under its name.
    """
    with layout.staged(out, result.study.key, overwrite=overwrite) as folder:
        layout.count_json(folder).write_text(count_json.dumps(count_json.count_json(result, runs())), encoding="utf-8")
        layout.lesion_table(folder).write_text(table.lesion_tsv(result), encoding="utf-8")
        label_maps.write_label_maps(result, folder)
        overlay.write_overlays(result, folder)
        document = provenance(result, runs())
        layout.provenance(folder).write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        lines = "".join(json.dumps(line, allow_nan=False) + "\n" for line in log)
        layout.log(folder).write_text(lines, encoding="utf-8")
    return layout.study_folder(out, result.study.key)
