"""One number a millimetre: discs, foramina, gaps between posterior arches, and what lies beside and behind the spine.

Every feature is made contrast-free (0..1 against its own surroundings along s), so that dose, kernel, contrast medium and bone
density matter little. Index of every array: s, mm along the body axis from caudal to cranial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.plugins.builtin_spine.canal import soft_bone
from lesion_pipeline.plugins.builtin_spine.resample import AIR_HU
from lesion_pipeline.plugins.builtin_spine.straighten import Straight

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

DISC_LATERAL_MM = 11.0
DISC_DEPTH = 0.8  # of the half depth of the body
SAGITTAL_TILT_DEG = np.arange(-24.0, 24.1, 6.0)
CORONAL_TILT_DEG = np.arange(-18.0, 18.1, 6.0)
GAPS_MM = (0, 3, 5, 7, 9, 11, 13)
NARROW_GAP_MM = 5  # C2..T8: a wider template takes a whole small body for a gap
NECK_GAPS_MM = (5, 7)  # a dark disc between two plates; 9 and more would be a whole cervical body
WIDE_GAP_MM = 5  # lumbar discs: a single line would be one end-plate
SPONGIOSA_MM = 7
FORAMEN_LATERAL_MM = (8.5, 15.0)
FORAMEN_BEHIND_MM = (1.5, 9.0)
ARCH_LATERAL_MM = 12.0
CONTRAST_MM = 19  # half width of the surroundings a feature is judged against
NOISE_HU = 25.0
EDGE_MM = 5  # a disc's template needs its surroundings
LUNG_HU = -500.0
BRAIN_HU = (-15.0, 90.0)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Each (S,).

    disc_narrow, disc_wide, disc_neck: end-plate pairs, about 0 (none) to 1 (clear). tilt: of the best template, radians
    (sagittal, coronal) as (S, 2). foramen: 0 in a foramen, 1 at a pedicle, contrast-normalised. arch: 0 in an interspinous
    gap. lung: fraction of lung beside the bodies. brain: soft tissue without bone where a vertebra has its arch. ilium: bone
    far lateral that persists along s. ala: bone bridge from the body to the ilium. depth: body depth (mm). slope: sine of the
    axis' lean, positive where it runs anterior on its way to the head. trust: 0 where the field of view cuts the bodies.
    """

    disc_narrow: Array
    disc_wide: Array
    disc_neck: Array
    tilt: Array
    foramen: Array
    arch: Array
    lung: Array
    brain: Array
    ilium: Array
    ala: Array
    depth: Array
    slope: Array
    trust: Array
    seen: npt.NDArray[np.bool_]


def denoise(hu: Floats) -> tuple[Floats, float]:
    """HU smoothed where the image is noisy, and the noise (HU): median absolute deviation of second differences along lat."""
    core = hu[::3, ::3, :]
    inside = (core[..., :-2] > -200) & (core[..., 2:] < 300)
    second = core[..., :-2] - 2 * core[..., 1:-1] + core[..., 2:]
    noise = float(np.median(np.abs(second[inside]))) / 0.6745 / np.sqrt(6.0) if inside.any() else 0.0
    if noise <= NOISE_HU:
        return hu, noise
    width = min(0.5 + noise / 80.0, 2.0)
    return np.asarray(ndimage.gaussian_filter(hu, (width, width / 1.5, width / 1.5), truncate=2.5), dtype=np.float32), noise


def contrast(values: Array, half: int = CONTRAST_MM) -> Array:
    """0 at the local minimum, 1 at the local maximum along s; flat stretches give 0.5."""
    low = ndimage.gaussian_filter1d(ndimage.minimum_filter1d(values, 2 * half + 1), half / 3.0)
    high = ndimage.gaussian_filter1d(ndimage.maximum_filter1d(values, 2 * half + 1), half / 3.0)
    span = high - low
    floor = 0.35 * float(np.median(span)) + 1e-3
    return np.asarray(np.clip(0.5 + (values - 0.5 * (low + high)) / np.maximum(span, floor), 0.0, 1.0))


def _hold(values: Array, share: Array) -> Array:
    """Values where at least four fifths of their region lie inside the CT; the nearest such value elsewhere."""
    good = np.flatnonzero(share >= 0.8)
    if not len(good):
        return values
    return np.asarray(np.interp(np.arange(len(values)), good, values[good]))


def _inside_share(straight: Straight, rows: tuple[float, float], columns: tuple[float, float]) -> Array:
    """(S,) share of a stretch of the cross-section (mm of a, mm of |lat|) that lies inside the CT."""
    inside_rows = (straight.a >= rows[0]) & (straight.a <= rows[1])
    part = straight.hu[:, inside_rows][:, :, straight.column(columns)]
    return np.asarray((part > AIR_HU + 0.5).mean(axis=(1, 2)))


def _shift(profile: Array, offset: float) -> Array:
    """profile(s + offset), linear, ends held; profile (S, ...)."""
    whole = int(np.floor(offset))
    part = offset - whole
    index = np.arange(len(profile)) + whole
    low = profile[np.clip(index, 0, len(profile) - 1)]
    return np.asarray(low * (1 - part) + profile[np.clip(index + 1, 0, len(profile) - 1)] * part) if part else low


def _tilted_profiles(straight: Straight, bright: Array) -> Array:
    """(tilts sagittal, tilts coronal, S): mean of ``bright`` over the body's core on tilted planes."""
    columns = np.flatnonzero(straight.column((0.0, DISC_LATERAL_MM)))
    rows = np.flatnonzero(np.abs(straight.a) <= 18.0)
    inside = np.abs(straight.a[rows])[None, :] <= DISC_DEPTH * straight.wall[:, None]  # (S, A)
    weight = inside / np.maximum(inside.sum(axis=1, keepdims=True), 1)
    core = bright[:, rows][:, :, columns] * weight[:, :, None]
    out = np.empty((len(SAGITTAL_TILT_DEG), len(CORONAL_TILT_DEG), len(bright)))
    for i, alpha in enumerate(np.tan(np.radians(SAGITTAL_TILT_DEG))):
        over_a = np.zeros((len(bright), len(columns)))
        for row, a in enumerate(straight.a[rows]):
            over_a += _shift(core[:, row], round(a * alpha))
        for j, beta in enumerate(np.tan(np.radians(CORONAL_TILT_DEG))):
            lateral = [_shift(over_a[:, c], round(straight.lat[column] * beta)) for c, column in enumerate(columns)]
            out[i, j] = np.mean(lateral, axis=0)
    return out


def _template(profiles: Array, gap: int) -> Array:
    """End-plates brighter than the spongiosa 7 mm away and than the gap between them; gap 0: one bright band.

    Thin discs in thick slices show as one bright line; a real gap asks for both of its end-plates.
    """
    half = gap / 2.0
    flat = profiles.reshape(-1, profiles.shape[-1]).T
    upper, lower = _shift(flat, half), _shift(flat, -half)
    above, below = _shift(flat, half + SPONGIOSA_MM), _shift(flat, -half - SPONGIOSA_MM)
    if gap < 3:
        score = 0.6 * (2.0 * flat - above - below)
    else:
        plates = np.minimum(upper, lower)
        score = 1.2 * np.minimum(upper - above, lower - below) + (plates - flat)
    return np.asarray(score.T.reshape(profiles.shape))


def discs(straight: Straight, hu: Floats) -> tuple[dict[str, Array], Array]:
    """(narrow, wide and neck scores, tilt): best template over gaps and tilts; tilt (S, 2) radians of the best."""
    bright = np.clip((hu.astype(np.float64) + 50.0) / 450.0, 0.0, 1.3)
    profiles = _tilted_profiles(straight, bright)
    scores = {gap: ndimage.gaussian_filter1d(_template(profiles, gap), 1.0, axis=-1) for gap in GAPS_MM}
    # an upright plane is likelier than a strongly tilted one
    price = 0.02 * (SAGITTAL_TILT_DEG[:, None] / 24.0) ** 2 + 0.02 * (CORONAL_TILT_DEG[None, :] / 18.0) ** 2
    narrow = np.max([scores[g] for g in GAPS_MM if g <= NARROW_GAP_MM], axis=0) - price[..., None]
    wide = np.max([scores[g] for g in GAPS_MM if g >= WIDE_GAP_MM], axis=0) - price[..., None]
    neck = np.max([scores[g] for g in NECK_GAPS_MM], axis=0) - price[..., None]
    size = len(CORONAL_TILT_DEG)
    best = wide.reshape(-1, wide.shape[-1]).argmax(axis=0)
    tilt = np.radians(np.stack([SAGITTAL_TILT_DEG[best // size], CORONAL_TILT_DEG[best % size]], axis=1))
    named = {"narrow": narrow, "wide": wide, "neck": neck}
    return {name: _unit(score.max(axis=(0, 1)), straight.seen) for name, score in named.items()}, tilt


def _unit(score: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """The score divided by what a clear disc reaches in this spine, between -0.2 and 1.2."""
    top = float(np.percentile(score[seen], 93)) if seen.any() else 1.0
    return np.asarray(np.clip(score / max(top, 0.08), -0.2, 1.2) * seen)


def _behind(straight: Straight, values: Array, span: tuple[float, float], columns: npt.NDArray[np.bool_]) -> Array:
    """Mean (S,) over the columns, from span[0] to span[1] mm behind the posterior wall."""
    depth = -straight.a[None, :] - straight.wall[:, None]
    inside = (depth >= span[0]) & (depth <= span[1])
    flat = values[:, :, columns].mean(axis=2)
    return np.asarray((flat * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1))


def _arch(straight: Straight, bone: Array) -> Array:
    """Bone behind the canal, near the midline."""
    depth = -straight.a[None, :] - straight.canal[:, None]
    inside = (depth >= 8.0) & (depth <= 26.0)
    flat = bone[:, :, straight.column((0.0, ARCH_LATERAL_MM))].mean(axis=2)
    return np.asarray((flat * inside).sum(axis=1) / np.maximum(inside.sum(axis=1), 1))


def _brain(straight: Straight, hu: Floats, bone: Array) -> Array:
    """Soft tissue without bone where every vertebra has its arch: -1 .. 1, near 1 above the foramen magnum."""
    depth = -straight.a[None, :] - straight.canal[:, None]
    inside = (depth >= -4.0) & (depth <= 30.0)
    columns = straight.column((0.0, 24.0))
    part = hu[:, :, columns]
    soft = ((part > BRAIN_HU[0]) & (part < BRAIN_HU[1])).mean(axis=2)
    hard = bone[:, :, columns].mean(axis=2)
    each = np.maximum(inside.sum(axis=1), 1)
    score = (soft * inside).sum(axis=1) / each - 4.0 * (hard * inside).sum(axis=1) / each
    return np.asarray(ndimage.uniform_filter1d(np.clip(score, -1.0, 1.0), 5))


def _pelvis(straight: Straight, hu: Floats) -> tuple[Array, Array]:
    """(ilium, ala): persistence of far-lateral bone along s on both sides; bone bridging |lat| 20..48 mm, 0..1.

    The alae are poor in bone: a low threshold, and persistence over 15 mm, which a transverse process does not have.
    """
    hard = hu > 180.0
    poor = np.clip((hu.astype(np.float64) - 90.0) / 120.0, 0.0, 1.0)
    sides = []
    bridges = []
    for sign in (-1.0, 1.0):
        far = (sign * straight.lat >= 52.0) & (sign * straight.lat <= 82.0)
        run = ndimage.uniform_filter1d(hard[:, :, far].astype(np.float32), 29, axis=0, mode="nearest")
        sides.append(run.max(axis=(1, 2)))
        near = (sign * straight.lat >= 20.0) & (sign * straight.lat <= 46.0)
        ala = (straight.a >= -45.0) & (straight.a <= 20.0)
        strongest = ndimage.uniform_filter1d(poor[:, ala][:, :, near], 3, axis=1).max(axis=1)
        bridges.append(ndimage.uniform_filter1d(np.percentile(strongest, 20, axis=1), 15))
    return np.minimum(*sides), np.minimum(*bridges)


def measure(straight: Straight, hu: Floats) -> Features:
    """All features of a straight spine; ``hu`` is ``straight.hu``, denoised."""
    bone = soft_bone(hu).astype(np.float64)
    disc, tilt = discs(straight, hu)
    foramen = _behind(straight, bone, FORAMEN_BEHIND_MM, straight.column(FORAMEN_LATERAL_MM))
    beside = hu[:, np.abs(straight.a) <= 25.0][:, :, straight.column((28.0, 60.0))]
    ilium, ala = _pelvis(straight, hu)
    smooth = ndimage.gaussian_filter1d
    core = _inside_share(straight, (-15.0, 15.0), (0.0, DISC_LATERAL_MM))
    back = _inside_share(straight, (-30.0, -15.0), FORAMEN_LATERAL_MM)
    far_back = _inside_share(straight, (-50.0, -30.0), (0.0, ARCH_LATERAL_MM))
    edge = ndimage.minimum_filter1d(np.minimum(core, back), 2 * EDGE_MM + 1)
    return Features(
        disc_narrow=disc["narrow"],
        disc_wide=disc["wide"],
        disc_neck=disc["neck"],
        tilt=tilt,
        foramen=contrast(smooth(_hold(foramen, back), 1.2)),
        arch=contrast(smooth(_hold(_arch(straight, bone), far_back), 1.5)),
        lung=np.asarray((beside < LUNG_HU).mean(axis=(1, 2))),
        brain=_brain(straight, hu, bone),
        ilium=ilium,
        ala=ala,
        depth=2.0 * straight.wall,
        slope=-straight.curve.axes[:, 0, 1],
        trust=np.clip((edge - 0.5) / 0.4, 0.0, 1.0),
        seen=straight.seen,
    )
