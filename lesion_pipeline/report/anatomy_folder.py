"""The folder of the command ``anatomy``: written under a temporary name, it appears when it is complete."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lesion_pipeline.domain.result import Charted, StageRun
from lesion_pipeline.report import layout
from lesion_pipeline.report.anatomy_json import anatomy_json, parts
from lesion_pipeline.report.anatomy_picture import anatomy_page
from lesion_pipeline.report.count_json import dumps
from lesion_pipeline.report.label_maps import write_anatomy_maps


def write(
    charted: Charted,
    runs: Callable[[], Sequence[StageRun]],
    log: Sequence[Mapping[str, object]],
    out: Path,
    *,
    overwrite: bool = False,
) -> tuple[Path, dict[str, object]]:
    """Write the folder of one study below ``out``; return it and what anatomy.json says.

    Raises ConfigError (OUTPUT_EXISTS) when something else lies under its name, a run's results for instance.
    """
    key = charted.study.key
    organs = tuple(parts(charted.study, charted.anatomy))
    with layout.staged(out, key, overwrite=overwrite, answer=layout.anatomy_json) as folder:
        write_anatomy_maps(charted.anatomy, folder)
        page = anatomy_page(charted, organs)
        if page is not None:
            layout.anatomy_picture(folder).write_bytes(page)
        document = anatomy_json(charted, organs, runs())
        layout.anatomy_json(folder).write_text(dumps(document), encoding="utf-8")
        lines = "".join(json.dumps(line, allow_nan=False) + "\n" for line in log)
        layout.log(folder).write_text(lines, encoding="utf-8")
    return layout.study_folder(out, key), document
