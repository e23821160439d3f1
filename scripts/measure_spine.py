"""Measure builtin-spine: names and centres on real and simulated CT, on crops of both, on real keypoints, and refusals.

    python -m scripts.measure_spine --data UNPACKED --truth vertebra_truth.json [--parts full,crops,simulated,...]

Prints one line a row. ``--count`` sets the number of crops and simulated studies, ``--every`` takes every n-th keypoint set.
Crops and simulated studies are judged by names, with centres on the spine's axis; the full CTs by their label maps.
``--results FILE`` keeps the rows of every part measured so far; ``--out docs/validation_spine.md`` writes them as a page.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.plugins.builtin_spine.engine import Spine, analyse
from lesion_pipeline.plugins.builtin_spine.points import name_points
from lesion_pipeline.simulate.anatomy.body import build_body
from lesion_pipeline.simulate.anatomy.params import BodyParams
from scripts.spine_cases import Points, crop, load_ct, load_truth, simulated

Rows = list[list[str]]

NAME_FROM = 0.7
USUAL = "12T 5L 12 ribs"
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
            f"{where:.1%}",
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


def judge(score: Score, title: str, spine: Spine | None, truth: Points, view: tuple[float, float]) -> None:
    """Match every reported vertebra to the nearest true centre and compare names."""
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
        if not usable or vertebra.probability < NAME_FROM:
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


def run(score: Score, title: str, ct: Volume, truth: Points, painted: bool = False) -> None:
    low, high = ct.grid.bounds()
    began = time.process_time()
    spine = analyse(ct, painted)
    score.seconds.append(time.process_time() - began)
    judge(score, title, spine, truth, (float(low[2]), float(high[2])))


def full(data: Path, truths: dict[str, Points]) -> Rows:
    total, rows = Score(), []
    for name, truth in truths.items():
        score = Score()
        run(score, name, load_ct(data, name), truth, painted=True)
        total.add(score)
        rows.append(score.row(name))
    return [*rows, total.row("four real CTs")]


def real_crops(data: Path, truths: dict[str, Points], count: int, rng: np.random.Generator) -> Rows:
    score = Score()
    cts = {name: load_ct(data, name) for name in truths}
    for number in range(count):
        name = list(truths)[number % len(truths)]
        truth, ct = truths[name], cts[name]
        bounds = [float(b[2]) for b in ct.grid.bounds()]
        heights = [p[2] for p in truth.values()]
        low, high = max(bounds[0], min(heights) - 40), min(bounds[1], max(heights) + 60)
        length = min(float(rng.uniform(120, 300)), high - low - 10)
        start = float(rng.uniform(low, high - length))
        run(score, f"{name} {length:.0f} mm", crop(ct, start, start + length), truth)
    return [score.row("crops of real CTs, 120-300 mm")]


def kind_of(number: int, title: str) -> str:
    """Whole spine or window, usual anatomy or a numbering variant."""
    return (
        f"simulated, {'whole spines' if number % 4 == 0 else 'windows'}, {'usual' if USUAL in title else 'numbering variants'}"
    )


def simulations(count: int, seed: int) -> Rows:
    kinds: dict[str, Score] = {}
    for number in range(count):
        title, ct, truth = simulated(np.random.default_rng([seed, number]), number)
        run(kinds.setdefault(kind_of(number, title), Score()), title, ct, truth)
        sys.stdout.flush()
    return simulated_rows(kinds)


def simulated_rows(kinds: dict[str, Score]) -> Rows:
    total = Score()
    for score in kinds.values():
        total.add(score)
    return [*(kinds[name].row(name) for name in sorted(kinds)), total.row("all simulated")]


def speed(data: Path) -> Rows:
    """CPU and memory on 512 x 512 x 300 voxels: the ACRIN CT with slices interpolated."""
    ct = load_ct(data, "acrin")
    depth = ct.grid.shape[2]
    affine = ct.grid.affine.copy()
    affine[:3, 2] *= (depth - 1) / 299.0
    values = np.empty((*ct.grid.shape[:2], 300), dtype=np.float32)
    for k, z in enumerate(np.linspace(0, depth - 1, 300)):
        low = min(int(z), depth - 2)
        values[..., k] = ct.values[..., low] * (low + 1 - z) + ct.values[..., low + 1] * (z - low)
    fine = Volume(values, Grid((ct.grid.shape[0], ct.grid.shape[1], 300), affine, "ct"), ct.unit, ct.modality, ct.series)
    del ct, values
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.process_time()
    analyse(fine)
    seconds, peak = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    shape = " x ".join(str(n) for n in fine.grid.shape)
    return [[f"{shape} voxels", f"{seconds:.1f} CPU s", f"peak {peak:.0f} MB, {before:.0f} MB of it before"]]


def _true_points(path: Path) -> Points:
    bodies: dict[str, list[list[float]]] = {}
    for point in json.loads(path.read_text()):
        if point["type"]["keypoint_type"] == "body":
            bodies.setdefault(point["type"]["spine_level"], []).append(point["coordinates"]["world_space"])
    return {level: np.mean(where, axis=0) for level, where in bodies.items()}


def _is_variant(names: list[str]) -> bool:
    return "L6" in names or "T13" in names or ("L1" in names and "T11" in names and "T12" not in names)


def _detections(path: Path, truth: Points) -> Iterator[tuple[str | None, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    keys = list(truth)
    centres = np.array([truth[k] for k in keys])
    for point in json.loads(path.read_text()):
        if point["type"]["keypoint_type"] != "body":
            continue
        where = np.array(point["coordinates"]["world_space"])
        region = np.array(point["type"]["spine_segment_probabilities"])
        distance = np.linalg.norm(centres - where, axis=1)
        yield keys[int(distance.argmin())] if distance.min() < 12 else None, where, region / region.sum()


def keypoints(data: Path, every: int) -> Rows:
    """From the true centres with the caudal end given, and from a detector's noisy points with the same given."""
    folder = data / "spine_keypoints"
    tally = {(mode, kind): [0, 0] for mode in ("true centres", "noisy detections") for kind in ("usual", "variant")}
    for path in sorted((folder / "truth").glob("*.json"))[::every]:
        truth = _true_points(path)
        names = sorted(truth, key=lambda k: Level[k])
        kind = "variant" if _is_variant(names) else "usual"
        if kind == "usual" and [COUNTED.index(Level[k]) for k in names] != list(
            range(COUNTED.index(Level[names[0]]), COUNTED.index(Level[names[-1]]) + 1)
        ):
            continue
        found = name_points([truth[k] for k in names], None, (len(names) - 1, Level[names[-1]]))
        _count(tally["true centres", kind], names, [f.level.name for f in found])
        noisy = list(_detections(folder / "detected" / path.name, truth))
        matched = [(n, Level[k]) for n, (k, _, _) in enumerate(noisy) if k is not None]
        if len(noisy) < 2 or not matched:
            continue
        anchor = max(matched, key=lambda item: item[1])
        found = name_points([w for _, w, _ in noisy], [r for _, _, r in noisy], anchor)
        pairs = [(k, f.level.name) for (k, _, _), f in zip(noisy, found, strict=True) if k is not None]
        _count(tally["noisy detections", kind], [k for k, _ in pairs], [f for _, f in pairs])
    return keypoint_rows(tally)


def keypoint_rows(tally: dict[tuple[str, str], list[int]]) -> Rows:
    return [
        [f"{mode}, {kind}", f"{right}/{total} bodies ({right / max(total, 1):.2%})"]
        for (mode, kind), (right, total) in tally.items()
    ]


def _count(row: list[int], names: list[str], found: list[str]) -> None:
    row[0] += sum(a == b for a, b in zip(names, found, strict=True))
    row[1] += len(names)


def nothing() -> Rows:
    """Images without a spine must say so."""
    rng = np.random.default_rng(0)
    grid = Grid((128, 128, 60), np.diag([2.0, 2.0, 3.0, 1.0]), "none")
    x, y = np.meshgrid(*[np.arange(128) - 64] * 2, indexing="ij")
    water = np.where(np.hypot(x, y) < 50, 0.0, -1000.0)[..., None] + rng.normal(0, 12, (128, 128, 60))
    body = build_body(BodyParams())
    top = float(body.world(body.spine["C1"].origin)[2])
    cases = {"empty": np.full((128, 128, 60), -1000.0), "zeros": np.zeros((128, 128, 60)), "water phantom": water}
    for title, (low, slices) in {"head only": (top + 25.0, 40), "thighs only": (top - 1000.0, 60)}.items():
        affine = np.diag([2.0, 2.0, 3.0, 1.0])
        affine[:3, 3] = [-128.0, -128.0, low]
        cases[title] = np.array(body.sample_ct(Grid((128, 128, slices), affine, "none"), rng).values)
    rows = []
    for title, values in cases.items():
        where = replace(grid, shape=(values.shape[0], values.shape[1], values.shape[2]))
        spine = analyse(Volume(values.astype(np.float32), where, Unit.HU, Modality.CT, "none"))
        found = "no spine found" if spine is None else ", ".join(v.level.name for v in spine.reading.vertebrae)
        rows.append([title, found])
    return rows


SECTIONS: dict[str, tuple[str, list[str]]] = {
    "full": ("Four real CTs, whole", HEAD),
    "crops": ("Random crops of the four real CTs", HEAD),
    "simulated": ("Simulated CTs: 1 to 7 mm slices, noise 10 to 60 HU, posture, screws, any storage order", HEAD),
    "held_out": ("More simulated CTs of the same kind, looked at only after the last change", HEAD),
    "keypoints": ("Real spines as points (VID): from the body centres and one end's level", ["points", "named exactly"]),
    "nothing": ("Images without a spine", ["image", "answer"]),
    "speed": ("Time and memory, one process", ["CT", "time", "memory"]),
}


INTRODUCTION = [
    "Made by `python -m scripts.measure_spine`; do not edit. Research use only.",
    "",
    "A vertebra is named when a landmark to count from was seen and its posterior probability is 0.7 or more;",
    "else it is ambiguous. An anchor is in view where, by the truth, the sacrum, the skull, the last rib above a whole L1",
    "or the first below a whole C7 is. Four of thirteen simulated people have another number of vertebrae or ribs than",
    "most: from one end that cannot be seen, except that the length of the last ribs hints at it. Simulated people come",
    "from our own simulator and are easier than patients.",
]


def page(results: dict[str, Rows]) -> str:
    """Markdown of all parts measured so far."""
    out = ["# How well builtin-spine names vertebrae", "", *INTRODUCTION, ""]
    for part, (title, head) in SECTIONS.items():
        if part in results:
            out += [f"## {title}", "", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *results[part])), ""]
    return "\n".join(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the unpacked sets")
    parser.add_argument("--truth", type=Path, required=True, help="vertebra_truth.json")
    parser.add_argument("--parts", default="full,crops,simulated,held_out,keypoints,nothing,speed")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, help="JSON of the rows measured so far; read and extended")
    parser.add_argument("--out", type=Path, help="Markdown page of all rows")
    given = parser.parse_args()
    truths = load_truth(given.truth)
    measures: dict[str, Callable[[], Rows]] = {
        "full": lambda: full(given.data, truths),
        "crops": lambda: real_crops(given.data, truths, given.count, np.random.default_rng(given.seed)),
        "simulated": lambda: simulations(given.count, given.seed),
        "held_out": lambda: simulations(given.count, given.seed + 1),
        "keypoints": lambda: keypoints(given.data, given.every),
        "nothing": nothing,
        "speed": lambda: speed(given.data),
    }
    results: dict[str, Rows] = {}
    if given.results and given.results.exists():
        results = json.loads(given.results.read_text())
    for part in filter(None, given.parts.split(",")):
        results[part] = measures[part]()
        print(f"{SECTIONS[part][0]}\n" + "\n".join("  " + " | ".join(row) for row in results[part]), flush=True)
        if given.results:
            given.results.write_text(json.dumps(results, indent=1))
    if given.out:
        given.out.write_text(page(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
