"""How a spine that was found is judged against the true centres: names, centres, and what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.plugins.builtin_spine import LAST_RIB
from lesion_pipeline.plugins.builtin_spine.engine import Spine
from scripts.spine_cases import Points

PRESET = "fdg-petct"
NEAR_MM, NEAR_CUT_MM, SACRUM_MM = 14.0, 9.0, 25.0
COUNTED: list[Level] = [level for level in Level if level not in (Level.T13, Level.L6)]


@dataclass
class Score:
    """Running counts over cases. errors: mm between reported and true centres of whole vertebrae."""

    cases: int = 0
    visible: int = 0
    named: int = 0
    wrong: int = 0
    far: int = 0
    anchored: int = 0
    anchored_named: int = 0
    missed: int = 0
    errors: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def add(self, other: Score) -> None:
        """Take another's counts in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def row(self, title: str) -> list[str]:
        exact = 1 - self.wrong / self.named if self.named else float("nan")
        where = self.anchored_named / self.anchored if self.anchored else float("nan")
        median, p95 = (np.percentile(self.errors, q) for q in (50, 95)) if self.errors else (np.nan, np.nan)
        right = f"{self.named - self.wrong}/{self.named} ({exact:.1%})"
        cost = f"{np.median(self.seconds):.1f}" if self.seconds else "-"
        centres = f"{median:.1f} / {p95:.1f}"
        return [
            title,
            str(self.cases),
            str(self.visible),
            right,
            str(self.far),
            f"{where:.1%}" if self.anchored else "-",
            str(self.missed),
            centres,
            cost,
        ]


HEAD = [
    "set",
    "CTs",
    "levels visible",
    "named exactly / named",
    "wrong by more than one",
    "named where an anchor is in view",
    "not segmented",
    "centre error median / p95 (mm)",
    "CPU s (median)",
]


def anchor_in_view(truth: Points, low: float, high: float) -> bool:
    """Sacrum, skull, the last rib with a whole L1, or the first with a whole C7, by the truth."""
    z = {key: float(value[2]) for key, value in truth.items()}
    sacrum = "S" in z and z["S"] - low > 20
    last = next((f"T{n}" for n in (13, 12, 11) if f"T{n}" in z), "")
    twelfth = last in z and "L1" in z and z["L1"] - low > 40 and z[last] + 20 < high
    first = "T1" in z and "C7" in z and z["T1"] - low > 20 and z["C7"] + 15 < high
    return sacrum or twelfth or first or ("C1" in z and z["C1"] + 45 < high)


def name_from(anchors: Sequence[str]) -> float:
    """Lowest probability at which the preset names a vertebra of a spine whose landmarks are ``anchors``."""
    options = config.load(PRESET).settings.plugins["builtin_spine"]
    return float(str(options["last_rib_name_from" if tuple(anchors) == LAST_RIB else "name_from"]))


def judge(score: Score, title: str, spine: Spine | None, truth: Points, view: tuple[float, float], *, sure: float) -> None:
    """Match every reported vertebra to the nearest true centre and compare names; ``sure``: what is named at all."""
    visible = {k for k, p in truth.items() if view[0] + 8 < p[2] < view[1] - 8}
    score.cases += 1
    score.visible += len(visible)
    anchored = anchor_in_view(truth, *view)
    score.anchored += len(visible) if anchored else 0
    if spine is None:
        score.missed += len(visible)
        print(f"  {title}: no spine found ({len(visible)} visible)")
        return
    keys = list(truth)
    centres = np.array([truth[k] for k in keys])
    seen: set[str] = set()
    notes: list[str] = []
    usable = bool(spine.reading.anchors) and not spine.doubts
    for vertebra, centre in zip(spine.reading.vertebrae, spine.parts.centres, strict=True):
        distance = np.linalg.norm(centres - centre, axis=1)
        key = keys[int(distance.argmin())]
        near = SACRUM_MM if key == "S" else NEAR_CUT_MM if vertebra.cut else NEAR_MM
        if distance.min() > near:
            continue
        seen.add(key)
        if not vertebra.cut:
            score.errors.append(float(distance.min()))
        if not usable or vertebra.probability < sure:
            continue
        score.named += 1
        score.anchored_named += int(anchored and key in visible)
        if vertebra.level.name != key:
            score.wrong += 1
            step = _index(vertebra.level) - _index(Level[key])
            score.far += int(abs(step) > 1)
            notes.append(f"{key} named {vertebra.level.name} (p {vertebra.probability:.2f})")
    score.missed += len(visible - seen)
    if notes or visible - seen:
        anchors = ",".join(spine.reading.anchors) or "-"
        print(f"  {title}: anchors {anchors}; {len(notes)} wrong {notes[:3]}; missed {sorted(visible - seen)}")


def _index(level: Level) -> int:
    nearest = Level.T12 if level is Level.T13 else Level.L5 if level is Level.L6 else level
    return COUNTED.index(nearest)
