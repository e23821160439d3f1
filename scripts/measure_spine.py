"""Measure builtin-spine: names and centres on real and simulated CT, on crops of both, on real keypoints, and refusals.

    python scripts/measure_spine.py --data UNPACKED --truth vertebra_truth.json [--parts full,crops,simulated,keypoints,nothing]

Prints one table a part. ``--count`` sets the number of crops and simulated studies, ``--every`` takes every n-th keypoint set.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from lesion_pipeline.domain.anatomy import VertebralLevel as Level
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins.builtin_spine.engine import Spine, analyse
from lesion_pipeline.plugins.builtin_spine.points import name_points
from lesion_pipeline.simulate.anatomy.body import build_body
from lesion_pipeline.simulate.anatomy.params import BodyParams, draw_params

Points = dict[str, npt.NDArray[np.float64]]

NAME_FROM = 0.7
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

    def line(self, title: str) -> str:
        exact = 1 - self.wrong / self.named if self.named else float("nan")
        where = self.anchored_named / self.anchored if self.anchored else float("nan")
        median, p95 = (np.percentile(self.errors, q) for q in (50, 95)) if self.errors else (np.nan, np.nan)
        return (
            f"{title:34s} cases {self.cases:3d}  visible {self.visible:4d}  named {self.named:4d}  exact of named {exact:.4f}  "
            f"wrong by more than one {self.far}  named where an anchor is in view {where:.3f}  not segmented {self.missed}  "
            f"centre error median {median:.1f} p95 {p95:.1f} mm  median {np.median(self.seconds):.1f} s"
        )


def load_truth(path: Path) -> dict[str, Points]:
    out = {}
    for name, entry in json.loads(path.read_text())["cts"].items():
        out[name] = {key.replace("S1", "S"): np.array(value) for key, value in entry["centroid_LPS_mm"].items()}
    return out


def load_ct(data: Path, name: str) -> Volume:
    if name.startswith("acrin"):
        return _dicom(sorted((data / "acrin_petct").glob("CT_CT_IMAGES*/*")))
    return read_volume(data / f"{name}.nii.gz", Unit.HU, Modality.CT, "ct")


def _dicom(files: list[Path]) -> Volume:
    slices = sorted((pydicom.dcmread(f) for f in files), key=lambda d: float(d.ImagePositionPatient[2]))
    stack = [d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices]
    values = np.stack(stack).astype(np.float32).transpose(2, 1, 0)
    first, last = slices[0], slices[-1]
    affine = np.diag([*(float(x) for x in first.PixelSpacing[::-1]), 1.0, 1.0])
    affine[2, 2] = (last.ImagePositionPatient[2] - first.ImagePositionPatient[2]) / (len(slices) - 1)
    affine[:3, 3] = [float(x) for x in first.ImagePositionPatient]
    return Volume(values, Grid((values.shape[0], values.shape[1], values.shape[2]), affine, "ct"), Unit.HU, Modality.CT, "ct")


def crop(ct: Volume, low: float, high: float) -> Volume:
    """Slices between two heights (mm)."""
    z = ct.grid.world(np.stack([np.zeros(ct.grid.shape[2])] * 2 + [np.arange(ct.grid.shape[2])], axis=1))[:, 2]
    inside = np.flatnonzero((z >= low) & (z <= high))
    affine = ct.grid.affine.copy()
    affine[:3, 3] = ct.grid.world([0, 0, int(inside.min())])
    values = np.ascontiguousarray(ct.values[:, :, inside.min() : inside.max() + 1])
    return Volume(
        values, Grid((values.shape[0], values.shape[1], values.shape[2]), affine, "ct"), ct.unit, ct.modality, ct.series
    )


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


def run(score: Score, title: str, ct: Volume, truth: Points) -> None:
    low, high = ct.grid.bounds()
    began = time.process_time()
    spine = analyse(ct)
    score.seconds.append(time.process_time() - began)
    judge(score, title, spine, truth, (float(low[2]), float(high[2])))


def full(data: Path, truths: dict[str, Points]) -> None:
    total = Score()
    for name, truth in truths.items():
        score = Score()
        ct = load_ct(data, name)
        for one in (score, total):
            run(one, name, ct, truth)
        print(score.line(name))
    print(total.line("four real CTs"))


def real_crops(data: Path, truths: dict[str, Points], count: int, rng: np.random.Generator) -> None:
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
    print(score.line("crops of real CTs, 120-300 mm"))


def person(rng: np.random.Generator, number: int) -> BodyParams:
    """Adults with more posture and more numbering variants than in life."""
    who = replace(draw_params(rng), lumbar=5, thoracic=12, rib_pairs=None)
    variants: dict[int, dict[str, int]] = {3: {"lumbar": 6}, 6: {"lumbar": 4}, 9: {"rib_pairs": 11}, 12: {"thoracic": 13}}
    posture = {"scoliosis_deg": float(rng.normal(0, 6)), "rotation_deg": float(rng.normal(0, 8))}
    return replace(who, **posture, **variants.get(number % 13, {}))  # type: ignore[arg-type]  # mixed int and float fields


def simulated(rng: np.random.Generator, number: int) -> tuple[str, Volume, Points]:
    """A window of a simulated CT: any height, 1 to 7 mm slices, noise, metal, prone or reversed storage."""
    who = person(rng, number)
    body = build_body(who, (float(rng.normal(0, 15)), 22.0, -860.0))
    centres = {v.name: np.asarray(body.world(v.origin)) for v in body.spine.vertebrae}
    top, bottom = centres["C1"][2] + 90, centres[min(centres, key=lambda k: centres[k][2])][2] - 90
    whole = number % 4 == 0
    length = top - bottom if whole else float(rng.uniform(120, 300))
    low = bottom + float(rng.uniform(0, top - bottom - length)) if not whole else bottom
    thick = float(rng.choice([1.0, 2.0, 3.0, 5.0, 7.0]))
    step = 1.6 if not whole else 1.95
    thick = max(thick, 3.0) if whole else thick
    nx, ny, nz = round(400 / step), round(300 / step), max(int(length / thick), 4)
    affine = np.diag([step, step, thick, 1.0])
    affine[:3, 3] = [-200.0, -150.0, low]
    noise = float(rng.choice([10.0, 25.0, 60.0]))
    ct = body.sample_ct(Grid((nx, ny, nz), affine, "sim"), rng, noise)
    metal = number % 5 == 2
    if metal:
        ct = with_screws(
            ct, body.world(np.array([v.pedicle(side) for v in body.spine.vertebrae[14:17] for side in (-1, 1)])), rng
        )
    last = body.spine.vertebrae[-1]
    centres["S"] = np.asarray(body.world(last.at(0.0, 6.0, -last.segment / 2 - 15.0)))
    title = f"sim {number} {length:.0f} mm, {thick:.0f} mm slices, noise {noise:.0f}{', screws' if metal else ''}"
    return f"{title} {who.thoracic}T {who.lumbar}L {who.ribs} ribs", _stored_otherwise(ct, number), centres


def with_screws(ct: Volume, points: npt.NDArray[np.float64], rng: np.random.Generator) -> Volume:
    """Metal of 3000 HU through the pedicles, with bright and dark streaks in its slices."""
    values = ct.values.copy()
    lattice = np.stack(np.meshgrid(*(np.arange(n) for n in ct.grid.shape[:2]), indexing="ij"), axis=-1)
    for point in points:
        i, j, k = np.rint(ct.grid.index(point)).astype(int)
        reach = max(int(4 / ct.grid.spacing_mm[2]), 1)
        for z in range(max(k - reach, 0), min(k + reach, ct.grid.shape[2])):
            angle = np.arctan2(lattice[..., 1] - j, lattice[..., 0] - i)
            distance = np.hypot(lattice[..., 1] - j, lattice[..., 0] - i) * ct.grid.spacing_mm[0]
            streak = 350 * np.sin(9 * angle + rng.uniform(0, 6)) * np.exp(-distance / 40)
            values[:, :, z] += streak.astype(np.float32)
            across = (np.abs(lattice[..., 0] - i) * ct.grid.spacing_mm[0] < 3) & (np.abs(lattice[..., 1] - j + 8) < 15)
            values[:, :, z][across] = 3000.0
    return Volume(np.clip(values, -1024, 3071), ct.grid, ct.unit, ct.modality, ct.series)


def _stored_otherwise(ct: Volume, number: int) -> Volume:
    """The same image with axes reversed or exchanged in the array, as prone, feet-first or sagittal series come."""
    values, affine = ct.values, ct.grid.affine.copy()
    if number % 3 == 1:
        for axis in (1, 2):
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
            values = np.flip(values, axis)
    if number % 3 == 2:
        values, affine = values.transpose(1, 2, 0), affine[:, [1, 2, 0, 3]]
    shape = (values.shape[0], values.shape[1], values.shape[2])
    return Volume(values, Grid(shape, affine, "sim"), ct.unit, ct.modality, ct.series)


def simulations(count: int, seed: int) -> None:
    whole, windows = Score(), Score()
    for number in range(count):
        title, ct, truth = simulated(np.random.default_rng([seed, number]), number)
        run(whole if number % 4 == 0 else windows, title, ct, truth)
        sys.stdout.flush()
    print(whole.line("simulated, whole spines"))
    print(windows.line("simulated, windows 120-300 mm"))


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


def keypoints(data: Path, every: int) -> None:
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
    for (mode, kind), (right, total) in tally.items():
        print(f"keypoints, {mode}, {kind}: {right} of {total} bodies named exactly ({right / max(total, 1):.4f})")


def _count(row: list[int], names: list[str], found: list[str]) -> None:
    row[0] += sum(a == b for a, b in zip(names, found, strict=True))
    row[1] += len(names)


def nothing() -> None:
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
    for title, values in cases.items():
        where = replace(grid, shape=(values.shape[0], values.shape[1], values.shape[2]))
        spine = analyse(Volume(values.astype(np.float32), where, Unit.HU, Modality.CT, "none"))
        print(f"{title}: {'no spine found' if spine is None else [v.level.name for v in spine.reading.vertebrae]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the unpacked sets")
    parser.add_argument("--truth", type=Path, required=True, help="vertebra_truth.json")
    parser.add_argument("--parts", default="full,crops,simulated,keypoints,nothing")
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    parts = given.parts.split(",")
    truths = load_truth(given.truth)
    if "full" in parts:
        full(given.data, truths)
    if "crops" in parts:
        real_crops(given.data, truths, given.count, np.random.default_rng(given.seed))
    if "simulated" in parts:
        simulations(given.count, given.seed)
    if "keypoints" in parts:
        keypoints(given.data, given.every)
    if "nothing" in parts:
        nothing()
    return 0


if __name__ == "__main__":
    sys.exit(main())
