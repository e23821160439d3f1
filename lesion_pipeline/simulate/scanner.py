"""What scanners do to a body: grids, blur, noise, breathing, beds, coils."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from lesion_pipeline.domain.geometry import Grid, Matrix
from lesion_pipeline.simulate import implants, texture
from lesion_pipeline.simulate.anatomy.body import Body, add_ct_noise
from lesion_pipeline.simulate.anatomy.head import head_origin
from lesion_pipeline.simulate.anatomy.parts import Part
from lesion_pipeline.simulate.anatomy.solids import Field
from lesion_pipeline.simulate.implants import Implant
from lesion_pipeline.simulate.lesions import PlacedLesion
from lesion_pipeline.simulate.materials import CT_OUTSIDE, MR_OUTSIDE, MR_SIGNAL, ct_values
from lesion_pipeline.simulate.motion import Pose, breathe_out

SIGMA_PER_FWHM = 1 / 2.3548
#: Linear attenuation of water at 511 keV (1/mm).
WATER_PER_MM = 0.0096


@dataclass(frozen=True)
class ScannerSettings:
    """Sizes in mm.

    pet_noise: relative spread in the liver. breath_mm: blur along z (sigma) at the diaphragm. bed_mm: axial field of view of
    one bed; overlap: fraction shared by neighbouring beds. top, bottom: distance of the field of view's ends from the skull
    base and from the middle of the femoral heads, positive = more body.
    """

    pet_spacing: tuple[float, float, float] = (4.07283, 4.07283, 3.0)
    pet_matrix: int = 144
    pet_fwhm: float = 5.5
    pet_noise: float = 0.10
    breath_mm: float = 4.0
    bed_mm: float = 216.0
    bed_overlap: float = 0.3
    bed_seconds: float = 150.0
    ct_spacing: tuple[float, float, float] = (1.953125, 1.953125, 3.0)
    ct_matrix: int = 256
    ct_noise: float = 14.0
    top: float = 36.0
    bottom: float = 200.0


@dataclass(frozen=True)
class MrSettings:
    """Sagittal spine protocol.

    centre: vertebra in the middle of the field of view. shift, turn_deg: where the patient lies in the MR scanner's frame
    relative to the PET-CT's (mm; rotation about the left-right axis). shared_frame: headers name one frame.
    """

    matrix: int = 320
    pixel_mm: float = 1.25
    slices: int = 17
    slice_mm: float = 4.0
    gap: float = 0.1
    centre: str = "L1"
    noise: float = 9.0
    shift: tuple[float, float, float] = (5.0, -8.0, 13.0)
    turn_deg: float = 0.0
    shared_frame: bool = False
    contrast: bool = True


def _axial_grid(body: Body, spacing: Sequence[float], matrix: int, ends: tuple[float, float], frame: str) -> Grid:
    centre = body.world([0.0, body.frame.y(body.frame.z("T12")) - 20.0, 0.0])
    count = int(np.floor((ends[1] - ends[0]) / spacing[2])) + 1
    affine = np.diag([*spacing, 1.0])
    half = spacing[0] * (matrix - 1) / 2
    affine[:3, 3] = [round(float(centre[0]) - half, 3), round(float(centre[1]) - half, 3), round(ends[0], 3)]
    return Grid((matrix, matrix, count), affine, frame)


def field_of_view(body: Body, settings: ScannerSettings) -> tuple[float, float]:
    """Lowest and highest slice (LPS z, mm)."""
    low = float(body.world([0, 0, -92 * body.frame.s - settings.bottom])[2])
    high = float(body.world(head_origin(body.frame) + np.array([0, 0, settings.top]))[2])
    return low, high


def ct_grid(body: Body, settings: ScannerSettings, frame: str) -> Grid:
    return _axial_grid(body, settings.ct_spacing, settings.ct_matrix, field_of_view(body, settings), frame)


def pet_grid(body: Body, settings: ScannerSettings, frame: str) -> Grid:
    return _axial_grid(body, settings.pet_spacing, settings.pet_matrix, field_of_view(body, settings), frame)


def bed_of_slices(count: int, spacing: float, settings: ScannerSettings) -> list[int]:
    """Bed number of every slice, 0 at the thighs."""
    step = settings.bed_mm * (1 - settings.bed_overlap)
    return [int(n * spacing / step) for n in range(count)]


def _bed_noise(count: int, spacing: float, settings: ScannerSettings) -> Field:
    """Relative noise along z: a bed's sensitivity falls to its ends, where neighbours overlap but for the outermost."""
    step = settings.bed_mm * (1 - settings.bed_overlap)
    z = np.arange(count) * spacing
    beds = int(z[-1] // step) + 1
    counts = np.zeros(count)
    for n in range(beds):
        middle = n * step + settings.bed_mm / 2 - settings.bed_mm * settings.bed_overlap / 2
        counts += np.clip(1 - np.abs(z - middle) / (settings.bed_mm * 0.56), 0, 1)
    counts = np.maximum(counts, 0.18)
    return np.asarray(np.sqrt(np.median(counts) / counts), dtype=np.float32)


def acquire_ct(
    body: Body,
    grid: Grid,
    lesions: Sequence[PlacedLesion],
    settings: ScannerSettings,
    *,
    rng: np.random.Generator,
    contrast: bool = False,
    metal: Sequence[Implant] = (),
) -> Field:
    """HU image (float32): painted tissue, streaks of metal, kernel, noise. contrast: medium in its portal venous phase."""
    values = ct_values(body.params.age, contrast=contrast)
    values.update({one.material: (hu,) for one in lesions if (hu := one.hu_in(contrast=contrast)) is not None})
    values.update({name: (hu,) for name, hu in implants.ct_values(metal).items()})
    painted = [*(one.painted for one in lesions), *implants.parts(metal, body)]
    (image,) = body.fields(grid, values, (CT_OUTSIDE,), painted)
    if metal:
        implants.add_streaks(image, grid, metal, body, np.random.default_rng([len(metal), body.params.seed]))
    add_ct_noise(image, grid, rng, settings.ct_noise)
    return image


def acquire_pet(
    body: Body | Pose,
    grid: Grid,
    uptake: dict[str, float],
    lesions: Sequence[PlacedLesion],
    settings: ScannerSettings,
    *,
    rng: np.random.Generator,
    more: Sequence[Part] = (),
    mottled: np.random.Generator | None = None,
    metal: Sequence[Implant] = (),
) -> Field:
    """SUV image (float32, non-negative): painted uptake, patches, metal, breathing, point spread, noise.

    body: a pose carries what moved since the CT. mottled: draws the patches of uptake inside tissues, None = even tissues.
    """
    where = body if isinstance(body, Pose) else Pose(body)
    body = where.body
    suv = {**uptake, **implants.uptake(metal)}
    suv.update({one.material: one.plan.suv for one in lesions if one.plan.suv > 0})
    suv.update({one.core: one.plan.core_suv for one in lesions if one.plan.necrotic and one.plan.suv > 0})
    painted = [*more, *(one.painted for one in lesions), *implants.parts(metal, body)]
    if mottled is None:
        (image,) = body.fields(grid, {name: (v,) for name, v in suv.items()}, (0.0,), painted)
    else:
        values = {name: (v, texture.spread_of(name)) for name, v in suv.items()}
        image, spread = body.fields(grid, values, (0.0, 0.0), painted)
        texture.mottle(image, spread, grid, mottled)
    if metal:
        implants.brighten(image, grid, metal, body)
    breathe_out(image, where, grid)
    _breathe(image, body, grid, settings.breath_mm)
    spacing = grid.spacing_mm
    ndimage.gaussian_filter(image, [settings.pet_fwhm * SIGMA_PER_FWHM / s for s in spacing], output=image)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    ndimage.gaussian_filter(noise, [settings.pet_fwhm * 0.85 * SIGMA_PER_FWHM / s for s in spacing], output=noise)
    noise /= np.float32(noise[::3, ::3, ::3].std())
    local = ndimage.gaussian_filter(image, [9.0 / s for s in spacing])
    inside = image > 0.08
    area = inside.sum(axis=(0, 1)) * spacing[0] * spacing[1]
    thick = np.sqrt(4 * area / np.pi)
    through = np.exp(0.25 * WATER_PER_MM * (thick - 280.0)).astype(np.float32)
    total = image.mean(axis=(0, 1)) * np.float32(1.2)
    spread = np.sqrt(np.maximum(local, 0) * 2.1 + 0.12 * total) * through * _bed_noise(grid.shape[2], spacing[2], settings)
    image += noise * spread * np.float32(settings.pet_noise)
    return np.maximum(image, 0, out=image)


def _breathe(image: Field, body: Body, grid: Grid, sigma_mm: float) -> None:
    """In place: blur along z that is greatest at the diaphragm and gone 90 mm away from it."""
    if sigma_mm <= 0:
        return
    middle = float(body.world([0, 0, body.frame.z("T10")])[2])
    z = grid.affine[2, 3] + grid.affine[2, 2] * np.arange(grid.shape[2])
    weight = np.clip(1.4 - np.abs(z - middle) / 75, 0, 1).astype(np.float32)
    touched = np.flatnonzero(weight)
    if not len(touched):
        return
    part = slice(touched[0], touched[-1] + 1)
    blurred = ndimage.gaussian_filter1d(image[:, :, part], sigma_mm / grid.spacing_mm[2], axis=2)
    image[:, :, part] += weight[part] * (blurred - image[:, :, part])


def without_attenuation_correction(image: Field, grid: Grid) -> Field:
    """What the same counts look like without attenuation correction: bright skin and lungs, dark middle (SUV-like units)."""
    coarse = image[::2, ::2, ::2] > 0.08
    coarse = ndimage.binary_closing(coarse, iterations=1)
    deep = ndimage.distance_transform_edt(coarse, sampling=[2 * s for s in grid.spacing_mm]).astype(np.float32)
    for axis in range(3):
        deep = np.repeat(deep, 2, axis=axis)
    deep = deep[: image.shape[0], : image.shape[1], : image.shape[2]]
    return np.asarray(image * np.exp(np.float32(-0.9 * WATER_PER_MM) * (deep + 60)), dtype=np.float32)


def mr_transform(settings: MrSettings) -> Matrix:
    """(4, 4) from the PET-CT frame to the MR frame, LPS mm."""
    a = np.radians(settings.turn_deg)
    out = np.eye(4)
    out[1:3, 1:3] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    out[:3, 3] = settings.shift
    return out


def mr_grid(body: Body, settings: MrSettings, frame: str) -> Grid:
    """Sagittal slices from right to left: columns run to the back, rows to the feet."""
    v = body.spine[settings.centre] if body.spine.has(settings.centre) else body.spine["L2"]
    middle = (mr_transform(settings) @ [*body.world(v.canal_centre), 1.0])[:3] + np.array([0.0, -25.0, 0.0])
    half = settings.pixel_mm * (settings.matrix - 1) / 2
    step = settings.slice_mm * (1 + settings.gap)
    affine = np.eye(4)
    affine[:3, 0] = [0, settings.pixel_mm, 0]
    affine[:3, 1] = [0, 0, -settings.pixel_mm]
    affine[:3, 2] = [step, 0, 0]
    affine[:3, 3] = np.round([middle[0] - step * (settings.slices - 1) / 2, middle[1] - half, middle[2] + half], 3)
    return Grid((settings.matrix, settings.matrix, settings.slices), affine, frame)


def acquire_mr(
    body: Body,
    grid: Grid,
    lesions: Sequence[PlacedLesion],
    settings: MrSettings,
    *,
    rng: np.random.Generator,
    metal: Sequence[Implant] = (),
) -> list[Field]:
    """T1, STIR, T1 after contrast (float32, about 0..1000): painted signal, blur, coil sensitivity, Rician noise."""
    there = replace(body, world_from_body=mr_transform(settings) @ body.world_from_body)
    values = dict(MR_SIGNAL)
    values.update({one.material: one.mr_signal for one in lesions if one.mr_signal is not None})
    values["metal"] = implants.MR_VOID
    images = there.fields(grid, values, MR_OUTSIDE, [*(one.painted for one in lesions), *implants.parts(metal, body, mr=True)])
    u, v, w = (
        np.linspace(-1, 1, n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, n in enumerate(grid.shape)
    )
    coil = np.exp(0.55 * u - 0.35 * v**2) * (1 + 0.06 * w + 0.05 * v)  # the coil lies under the back
    out = []
    for painted in images:
        image = ndimage.gaussian_filter(painted, [0.6, 0.6, 0.0]) * coil
        real = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(settings.noise)
        imaginary = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(settings.noise)
        out.append(np.asarray(np.sqrt((image + real) ** 2 + imaginary**2), dtype=np.float32))
    return out
