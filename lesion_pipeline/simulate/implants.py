"""Metal in the body: prostheses of the hip, screws and rods of the spine, fillings of teeth; what each scanner makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.simulate.anatomy.body import Body
from lesion_pipeline.simulate.anatomy.parts import Layer, Part, paint
from lesion_pipeline.simulate.anatomy.pelvis import hip_centre
from lesion_pipeline.simulate.anatomy.solids import Ellipsoid, Field, Solid, Tube, Vector

Kind = Literal["hip_prosthesis", "spinal_screws", "dental_fillings"]

#: Hounsfield units: metal leaves the scale of a 12-bit CT; scar is the tissue round a prosthesis.
METAL_HU, SCAR_HU = 3071.0, 45.0
#: Streaks (HU, 99th percentile of their size within 80 mm) of today's reconstructions: cobalt-chrome and amalgam more than
#: titanium [D].
STREAK_HU = {"hip_prosthesis": 140.0, "spinal_screws": 60.0, "dental_fillings": 220.0}
#: What attenuation correction by a CT with metal adds to PET beside it (published: 5 to 30 %) [M].
PET_GAIN = {"hip_prosthesis": 0.15, "spinal_screws": 0.06, "dental_fillings": 0.20}
#: Signal voids of MR reach this far beyond the metal (mm) [D].
MR_BLOOM_MM = {"hip_prosthesis": 9.0, "spinal_screws": 5.0, "dental_fillings": 9.0}
MR_VOID = (4.0, 4.0, 4.0)
_ANGLES = 72


@dataclass(frozen=True)
class Implant:
    """site: ``left``/``right`` hip, ``L3-L5`` (vertebrae of the screws, from head to tail), or the number of filled teeth.

    scar_suv: true uptake of the tissue round a prosthesis' neck.
    """

    kind: Kind
    site: str
    scar_suv: float = 0.0


def metal(implant: Implant, body: Body, more_mm: float = 0.0) -> tuple[Solid, ...]:
    """The metal of an implant in body coordinates, thicker by ``more_mm`` all round."""
    if implant.kind == "hip_prosthesis":
        return _hip(body, implant.site, more_mm)
    if implant.kind == "spinal_screws":
        return _screws(body, implant.site, more_mm)
    return _fillings(body, int(implant.site), more_mm)


def _neck(body: Body, site: str) -> Vector:
    """Middle of the femoral head and where the shaft begins."""
    f, side = body.frame, 1 if site == "left" else -1
    hip = hip_centre(f, side)
    return np.array([hip, hip + np.array([side * 44 * f.g, 18, -34 * f.s])])


def _hip(body: Body, site: str, more: float) -> tuple[Solid, ...]:
    f, side = body.frame, 1 if site == "left" else -1
    hip, turn = _neck(body, site)
    down = np.array([-side * 10 * f.g, 2, -140 * f.s])
    stem = np.array([turn, turn + down * 0.35, turn + down])
    return (
        Ellipsoid(hip, 24.0 * f.g + more),
        Tube(np.array([hip, turn]), 8.0 * f.g + more),
        Tube(stem, np.array([11.0, 8.5, 5.5]) * f.g + more),
    )


def _screws(body: Body, site: str, more: float) -> tuple[Solid, ...]:
    first, _, last = site.partition("-")
    names = [v.name for v in body.spine.vertebrae]
    chosen = [body.spine[n] for n in names[names.index(first) : names.index(last or first) + 1]]
    out: list[Solid] = []
    for side in (1, -1):
        heads: list[Vector] = []
        for v in chosen:
            entry = v.at(side * (v.canal[0] / 2 + 10), v.depth / 2 + v.canal[1] + 10, 0.2 * v.height)
            tip = v.at(side * (v.canal[0] / 2 - 2), -0.2 * v.depth, 0.1 * v.height)
            out.append(Tube(np.array([entry, v.pedicle(side), tip]), 2.8 + more))
            heads.append(entry)
        if len(heads) > 1:
            out.append(Tube(np.array(heads), 2.8 + more))
    return tuple(out)


def _fillings(body: Body, count: int, more: float) -> tuple[Solid, ...]:
    teeth = [p.solid for p in body.parts if p.layers[0].material == "tooth" and isinstance(p.solid, Tube)]
    out: list[Solid] = []
    for n in range(count):
        row = teeth[n % len(teeth)]
        t = 0.25 + 0.6 * (n // len(teeth)) / max(count / len(teeth), 1)
        at = np.array([np.interp(t, np.linspace(0, 1, len(row.points)), row.points[:, c]) for c in range(3)])
        out.append(Ellipsoid(at, 3.2 + more))
    return tuple(out)


def parts(implants: Sequence[Implant], body: Body, *, mr: bool = False) -> tuple[Part, ...]:
    """What is painted last: the scar that took the place of a hip's neck, then metal (with its void on MR)."""
    out: list[Part] = []
    for one in implants:
        if one.kind == "hip_prosthesis":
            out.append(Part(Tube(_neck(body, one.site), 17.0 * body.frame.g), (Layer(_scar(one)),)))
        bloom = MR_BLOOM_MM[one.kind] if mr else 0.0
        out += [Part(solid, (Layer("metal"),)) for solid in metal(one, body, bloom)]
    return tuple(out)


def _scar(implant: Implant) -> str:
    return f"scar:{implant.site}"


def ct_values(implants: Sequence[Implant]) -> dict[str, float]:
    return {"metal": METAL_HU, **{_scar(one): SCAR_HU for one in implants if one.kind == "hip_prosthesis"}}


def uptake(implants: Sequence[Implant]) -> dict[str, float]:
    return {"metal": 0.0, **{_scar(one): one.scar_suv for one in implants if one.kind == "hip_prosthesis"}}


def centroid(implant: Implant, body: Body) -> Vector:
    """Middle of the metal, body coordinates."""
    solids = metal(implant, body)
    return np.asarray((np.min([s.low for s in solids], axis=0) + np.max([s.high for s in solids], axis=0)) / 2)


def add_streaks(image: Field, grid: Grid, implants: Sequence[Implant], body: Body, rng: np.random.Generator) -> None:
    """In place, in every slice that metal crosses: what a reconstruction makes of rays that metal hardened and starved.

    The error of a ray grows with the square of its path through metal, with noise in proportion to the path (a simple form of
    what De Man et al. 1999 found); its filtered backprojection, scaled to STREAK_HU, is added.
    """
    for one in implants:
        (share,) = paint(
            [Part(solid, (Layer("metal"),)) for solid in metal(one, body)], body.lattice(grid), {"metal": (1.0,)}, (0.0,)
        )
        slices = np.flatnonzero(share.any(axis=(0, 1)))
        if not len(slices):
            continue
        streaks = np.stack([_backprojected(share[:, :, k], grid.spacing_mm[0], rng) for k in slices], axis=-1)
        around = np.abs(streaks[share[:, :, slices] < 0.01])
        size = float(np.percentile(around[around > np.percentile(around, 80)], 95)) if len(around) else 0.0
        if size > 0:
            image[:, :, slices] += streaks * np.float32(STREAK_HU[one.kind] / size) * (share[:, :, slices] < 0.5)


def _backprojected(share: Field, pixel_mm: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Streaks (no unit) of one slice. share: fraction of metal, (columns, rows) of square pixels."""
    n = share.shape[0]
    i, j = np.nonzero(share > 0.05)
    path = share[i, j] * pixel_mm
    middle = (n - 1) / 2
    rays = 2 * n
    reach = np.arange(0, n + 1, 2, dtype=np.float32) - middle  # every second pixel; streaks are broad
    ramp = np.abs(np.fft.rfftfreq(rays)) * np.cos(np.pi * np.fft.rfftfreq(rays)) ** 2
    out = np.zeros((len(reach), len(reach)), dtype=np.float32)
    for angle in np.arange(_ANGLES) * np.pi / _ANGLES:
        c, s = np.cos(angle), np.sin(angle)
        t = (i - middle) * c + (j - middle) * s + rays / 2
        metal_mm = np.bincount(np.rint(t).astype(np.int64), weights=path, minlength=rays)[:rays]
        metal_mm = ndimage.gaussian_filter1d(metal_mm, 0.8)
        error = -(metal_mm**2) + 8.0 * metal_mm * rng.standard_normal(rays)
        filtered = np.fft.irfft(np.fft.rfft(error) * ramp, rays).astype(np.float32)
        where = reach[:, None] * np.float32(c) + reach[None, :] * np.float32(s) + np.float32(rays / 2)
        low = where.astype(np.int32)
        rest = where - low
        out += filtered[low] * (1 - rest) + filtered[low + 1] * rest
    return np.asarray(ndimage.map_coordinates(out, np.indices(share.shape) / 2, order=1), dtype=np.float32)


def brighten(image: Field, grid: Grid, implants: Sequence[Implant], body: Body) -> None:
    """In place: PET beside metal reads too high, because its CT gives metal more attenuation at 511 keV than it has."""
    for one in implants:
        (share,) = paint(
            [Part(solid, (Layer("metal"),)) for solid in metal(one, body)], body.lattice(grid), {"metal": (1.0,)}, (0.0,)
        )
        slices = np.flatnonzero(share.any(axis=(0, 1)))
        if len(slices):
            window = (slice(None), slice(None), slice(max(int(slices[0]) - 6, 0), int(slices[-1]) + 7))
            near = ndimage.gaussian_filter(share[window], [7.0 / s for s in grid.spacing_mm])
            image[window] *= 1 + np.float32(PET_GAIN[one.kind]) * near / max(float(near.max()), 1e-6)
