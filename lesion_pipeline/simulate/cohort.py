"""Many studies with known answers in one folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from lesion_pipeline.domain.errors import ConfigError
from lesion_pipeline.simulate.draws import draw_study
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.presets import Preset, load_preset, preset_path
from lesion_pipeline.simulate.study import make_study, stage_scene

#: A plan whose lesions find no room is drawn anew this often.
_ATTEMPTS = 20


def study_seed(preset: str, seed: int, number: int) -> int:
    """Seed of one study: depends on nothing but the cohort's seed, the preset's name and the study's number."""
    digest = hashlib.sha256(f"{preset}/{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


def plan_study(preset: Preset, seed: int, number: int) -> StudyPlan:
    """A plan that can be carried out. Raises ConfigError (NO_ROOM) when the preset asks for too much."""
    name = f"{preset.name}-{seed}-{number:04d}"
    for attempt in range(_ATTEMPTS):
        plan = draw_study(preset, name, study_seed(preset.name, seed, number), attempt)
        try:
            stage_scene(plan)
        except ValueError:
            continue
        return plan
    raise ConfigError(
        "NO_ROOM", f"the lesions of preset {preset.name!r} find no room in the body", advice="Ask for fewer or smaller."
    )


def cohort(
    out: Path,
    studies: int,
    seed: int,
    preset: str = "fdg",
    *,
    labels: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, ...]:
    """Write ``studies`` studies to ``out/<name>/{dicom,truth}`` and ``out/cohort.json``; returns their folders.

    A study appears under its name only when it is complete, and one that is there is not made again: an interrupted cohort
    goes on where it stopped. A folder made with another preset text is refused (CONFIG_MISMATCH). ``progress`` is told
    (name, studies done, studies in all). Raises ConfigError for a preset that cannot be used.
    """
    if studies < 1:
        raise ConfigError("BAD_VALUE", "a cohort needs at least one study")
    chosen = load_preset(preset)
    text = hashlib.sha256(preset_path(preset).read_bytes()).hexdigest()
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, {"preset": chosen.name, "preset_sha256": text, "seed": seed})
    folders = []
    for number in range(1, studies + 1):
        name = f"{chosen.name}-{seed}-{number:04d}"
        folder = out / name
        if not (folder / "truth" / "answer.json").is_file():
            _make(chosen, seed, number, folder, labels)
        folders.append(folder)
        if progress is not None:
            progress(name, number, studies)
    return tuple(folders)


def _claim(out: Path, identity: dict[str, object]) -> None:
    path = out / "cohort.json"
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != identity:
            raise ConfigError(
                "CONFIG_MISMATCH",
                "the folder holds a cohort of another preset or seed",
                advice="Give another folder, or remove it.",
            )
        return
    path.write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")


def _make(preset: Preset, seed: int, number: int, folder: Path, labels: bool) -> None:
    part = folder.with_name(f".{folder.name}.part")
    for stale in (part, folder):
        if stale.exists():
            shutil.rmtree(stale)
    make_study(plan_study(preset, seed, number), part / "dicom", part / "truth", labels=labels)
    part.replace(folder)
