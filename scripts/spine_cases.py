"""The CTs that builtin-spine is measured on: real ones with read truth, crops of them, and simulated windows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.simulate.anatomy.body import build_body
from lesion_pipeline.simulate.anatomy.params import BodyParams, draw_params

Points = dict[str, npt.NDArray[np.float64]]


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


#: What the hard cases show; every other window is taken with the arms down.
TROUBLES = ("arms down", "two collapsed", "one destroyed", "two destroyed", "cement")


def hard(rng: np.random.Generator, number: int) -> tuple[str, Volume, Points]:
    """A window of 300 to 420 mm round the thoracolumbar spine of a usual person: arms in view, collapsed, destroyed (tumour in
    place of the body, from 18 mm about its centre) or cemented bodies."""
    trouble = TROUBLES[number % len(TROUBLES)]
    sick = [str(name) for name in rng.choice([f"T{n}" for n in range(6, 13)] + ["L1", "L2", "L3"], 2, replace=False)]
    who = replace(draw_params(rng), lumbar=5, thoracic=12, rib_pairs=None, arms_up=trouble != "arms down" and number % 2 == 0)
    who = replace(
        who, collapsed=tuple((name, float(rng.uniform(0.4, 0.65))) for name in sick) if "collapsed" in trouble else ()
    )
    body = build_body(who, (0.0, 22.0, -860.0))
    centres = {v.name: np.asarray(body.world(v.origin)) for v in body.spine.vertebrae}
    length = float(rng.uniform(300, 420))
    low = centres["L1"][2] - length * float(rng.uniform(0.35, 0.65))
    thick = float(rng.choice([1.5, 3.0, 5.0]))
    affine = np.diag([1.6, 1.6, thick, 1.0])
    affine[:3, 3] = [-256.0, -150.0, low]
    ct = body.sample_ct(Grid((320, 188, int(length / thick)), affine, "sim"), rng, 25.0)
    if "destroyed" in trouble or trouble == "cement":
        radius, hu = (9.0, 1500.0) if trouble == "cement" else (18.0, 45.0)
        for name in sick[: 1 if trouble == "one destroyed" else 2]:
            ct = _with_ball(ct, centres[name], radius, hu, rng)
    last = body.spine.vertebrae[-1]
    centres["S"] = np.asarray(body.world(last.at(0.0, 6.0, -last.segment / 2 - 15.0)))
    told = "" if trouble == "arms down" else f" ({', '.join(sick[: 1 if trouble == 'one destroyed' else 2])})"
    arms = "up" if who.arms_up else "down"
    return f"hard {number} {length:.0f} mm, {thick:.1f} mm slices, arms {arms}, {trouble}{told}", ct, centres


def _with_ball(ct: Volume, centre: npt.NDArray[np.float64], radius_mm: float, hu: float, rng: np.random.Generator) -> Volume:
    """A ball of one density, with the noise of the image."""
    values = np.array(ct.values)
    i, j, k = np.ogrid[: values.shape[0], : values.shape[1], : values.shape[2]]
    at, step = ct.grid.index(centre), ct.grid.spacing_mm
    inside = sum(((n - a) * s) ** 2 for n, a, s in zip((i, j, k), at, step, strict=True)) <= radius_mm**2
    values[inside] = hu + 25.0 * rng.standard_normal(int(inside.sum()))
    return Volume(values, ct.grid, ct.unit, ct.modality, ct.series)


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
