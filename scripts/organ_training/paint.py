"""Synthetic CT from tissues: densities are drawn as physics and contrast phases give them, then blurred and made noisy.

A sample is (2, 64, 48, 48) float32 network input and (64, 48, 48) uint8 target on a 6 mm lattice, axes to left, back, head.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.plugins.builtin_organs.network import channels
from scripts.organ_training import bodies as b

PATCH = (64, 48, 48)
PATCH_MM = 6.0
TARGET = np.zeros(64, dtype=np.uint8)
for _label, _klass in (
    (b.SPLEEN, 1),
    (b.KIDNEY, 2),
    (b.LIVER, 3),
    (b.BLADDER, 4),
    (b.LUNG, 5),
    (b.BRAIN, 6),
    (b.HEART, 7),
    (b.STOMACH, 8),
    (b.GLAND, 12),
    (b.PROSTATE, 13),
):
    TARGET[b.ORGAN + _label] = _klass
TARGET[[b.CORTEX, b.MARROW, b.THIN_BONE]] = 9
TARGET[[b.WALL, b.LUMEN, b.COLON]] = 10
TARGET[b.AORTA] = 11

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.uint8]


def is_held_out(name: str) -> bool:
    """The same split in training and evaluation, by a hash of the file's name."""
    return zlib.crc32(("held " + name).encode()) % 10 == 0


def field(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Floats:
    """Smooth noise of unit spread, drawn coarse and enlarged."""
    step = max(int(sigma), 1)
    small = rng.standard_normal([n // step + 3 for n in shape]).astype(np.float32)
    small = ndimage.gaussian_filter(small, max(sigma / step, 0.5))
    small /= small.std() + 1e-6
    if step == 1:
        return np.asarray(small[tuple(slice(0, n) for n in shape)])
    return np.asarray(
        ndimage.affine_transform(small, np.full(3, 1 / step), output_shape=shape, order=1, offset=rng.uniform(0, 1, 3))
    )


def crop(tissues: Ints, rng: np.random.Generator, shape: tuple[int, ...] = PATCH) -> Ints:
    """A turned, stretched and bent crop; what lies beyond the map or beyond a random field of view is air (0)."""
    index = np.rint(_place(tissues.shape, rng, shape)).astype(np.int32)
    ok = np.all((index >= 0) & (index < np.array(tissues.shape)), axis=-1)
    out = np.zeros(shape, dtype=np.uint8)
    out[ok] = tissues[tuple(index[ok].T)]
    out[:, :, _cut(rng, shape[2])] = 0
    return out


def _place(size: tuple[int, ...], rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Where the patch's voxels lie in a body of ``size``, in its voxels: turned, stretched, bent."""
    angle = np.radians(rng.normal(0, 5, 3))
    turn = np.eye(3)
    for axis in range(3):
        p, q = [n for n in range(3) if n != axis]
        r = np.eye(3)
        r[p, p] = r[q, q] = np.cos(angle[axis])
        r[p, q], r[q, p] = -np.sin(angle[axis]), np.sin(angle[axis])
        turn = turn @ r
    scale = rng.uniform(0.88, 1.14) * rng.uniform(0.95, 1.05, 3)
    matrix = turn * (PATCH_MM / b.STEP / scale)[None, :]
    half = np.array(shape) * PATCH_MM / b.STEP / 2
    centre = np.array(size) / 2 + rng.uniform(-1, 1, 3) * np.array([14, 10, 0])
    centre[2] = rng.uniform(half[2] * 0.3, max(size[2] - half[2] * 0.3, half[2] * 0.3 + 1))
    grid = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij"), -1).astype(np.float32)
    where = grid @ matrix.T.astype(np.float32) + centre.astype(np.float32)
    amplitude = rng.uniform(0, 1.8)
    for axis in range(3):
        where[..., axis] += amplitude * field(rng, shape, 8.0)
    return np.asarray(where)


def _cut(rng: np.random.Generator, length: int) -> slice:
    """The slices that a field of view beginning or ending inside the patient leaves out."""
    if rng.random() >= 0.35:
        return slice(0, 0)
    cut = int(rng.uniform(4, length * 0.6))
    return slice(0, cut) if rng.random() < 0.5 else slice(length - cut, length)


def paint(tissues: Ints, rng: np.random.Generator) -> Floats:
    """Hounsfield units for a patch of tissues."""
    phase = rng.choice(["native", "portal", "arterial", "late"], p=[0.45, 0.4, 0.08, 0.07])
    n = rng.normal
    blood = {"native": n(42, 6), "portal": n(140, 22), "arterial": n(270, 60), "late": n(92, 12)}[phase]
    lut = np.zeros(64, dtype=np.float32)
    liver = {"native": n(58, 7), "portal": n(105, 14), "arterial": n(72, 10), "late": n(88, 10)}[phase]
    if rng.random() < 0.2:
        liver -= rng.uniform(10, 60)
    kidney = {"native": n(32, 5), "portal": n(165, 30), "arterial": n(150, 35), "late": n(130, 25)}[phase]
    muscle = n(54, 6) + (8 if phase != "native" else 0)
    fat = n(-103, 7)
    values = {
        b.SPLEEN + 10: {"native": n(48, 5), "portal": n(115, 15), "arterial": n(115, 30), "late": n(88, 10)}[phase],
        b.KIDNEY + 10: kidney, b.LIVER + 10: liver, b.BLADDER + 10: n(6, 6), b.LUNG + 10: n(-830, 45), b.BRAIN + 10: n(36, 4),
        b.HEART + 10: 0.6 * blood + 22, b.STOMACH + 10: n(25, 15), b.PROSTATE + 10: n(42, 8), b.GLAND + 10: n(20, 25),
        b.CORTEX: n(650, 170), b.MARROW: n(190, 60), b.THIN_BONE: n(360, 90), b.CARTILAGE: n(100, 40),
        b.MUSCLE: muscle, b.FAT: fat,
        b.WALL: n(42, 10) + (n(30, 12) if phase != "native" else 0), b.LUMEN: n(22, 12), b.COLON: n(10, 25), b.AORTA: blood,
        b.VESSEL: 0.9 * blood + n(0, 10), b.CANAL: n(25, 8), b.AIRWAY: -960.0,
        b.SOFT: n(45, 10) + (n(25, 12) if phase != "native" else 0),
        b.DISC: n(85, 15), b.SINUS: -800.0,
    }  # fmt: skip
    if rng.random() < 0.3:
        values = {t: v + n(0, 15) for t, v in values.items()}
    for tissue, value in values.items():
        lut[tissue] = value
    ring = int(rng.integers(0, b.RINGS + 1))
    lut[0] = lut[1 : b.RINGS + 1] = -1000.0
    lut[1 : ring + 1] = fat
    hu = lut[tissues]
    _texture(hu, tissues, rng, (phase, float(blood)), ring)
    return _scan(hu, tissues, rng)


def _texture(hu: Floats, tissues: Ints, rng: np.random.Generator, contrast: tuple[str, float], ring: int) -> None:
    phase, blood = contrast
    shape = tissues.shape
    fine, coarse = field(rng, shape, 1.0), field(rng, shape, 3.0)
    if ring:
        hu[tissues == ring] += 60  # skin
    muscle = tissues == b.MUSCLE
    hu[muscle] -= np.clip(coarse[muscle] - rng.uniform(0.5, 2.0), 0, 2) * 60
    fat = (tissues == b.FAT) | ((tissues > 0) & (tissues <= ring))
    hu[fat] += np.clip(fine[fat] - rng.uniform(1.2, 2.5), 0, 2) * 60
    lung = tissues == b.LUNG + 10
    y = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :, None]
    hu += np.where(lung, 40 * y + 25 * coarse + np.clip(fine - 1.3, 0, None) * rng.uniform(100, 320), 0)
    bone = np.isin(tissues, (b.MARROW, b.THIN_BONE, b.CORTEX))
    hu += np.where(bone, 45 * fine + 25 * coarse, 0)
    heart = tissues == b.HEART + 10
    hu += np.where(heart, np.sign(coarse) * abs(blood - 60) * 0.25, 0)
    if phase in ("portal", "arterial"):
        kidney = tissues == b.KIDNEY + 10
        hu += np.where(kidney, 25 * fine, 0)
        liver = tissues == b.LIVER + 10
        hu += np.where(liver & (fine > 1.5), 35, 0)
    _hollow(hu, tissues, rng, phase, y)
    for _ in range(rng.integers(0, 4)):
        _lesion(hu, tissues, rng)


def _hollow(hu: Floats, tissues: Ints, rng: np.random.Generator, phase: str, y: Floats) -> None:
    shape = tissues.shape
    coarse, fine = field(rng, shape, 3.5), field(rng, shape, 1.0)
    stomach = tissues == b.STOMACH + 10
    if stomach.any():
        kind = rng.random()
        if kind < 0.3:
            hu += np.where(stomach, 25 * fine + 20 * coarse, 0)
        elif kind < 0.5:
            hu[stomach] = rng.uniform(100, 350)
        rows = np.nonzero(stomach)[1]
        if rng.random() < 0.6:
            level = np.quantile(rows, rng.uniform(0.05, 0.5))
            gas = stomach & (np.arange(shape[1])[None, :, None] < level) & ndimage.binary_erosion(stomach)
            hu[gas] = -900
    bladder = tissues == b.BLADDER + 10
    if phase == "late" or rng.random() < 0.05:
        back = np.clip((y + 0.2) * rng.uniform(0, 3), 0, 1)
        hu += np.where(bladder, rng.uniform(50, 500) * back, 0)
    small = tissues == b.LUMEN
    kind = rng.random()
    if kind < 0.22:
        hu += np.where(small & (coarse > -0.5), rng.uniform(80, 330), 0)
    hu[small & (coarse > rng.uniform(0.9, 2.5))] = -850
    colon = tissues == b.COLON
    stool = -60 + 60 * coarse + 110 * fine + rng.uniform(-150, 60)
    hu[:] = np.where(colon & (coarse < rng.uniform(-0.5, 1.5)), stool, hu)
    gas = colon & (coarse > rng.uniform(0.2, 1.8))
    hu[gas] = -900


def _lesion(hu: Floats, tissues: Ints, rng: np.random.Generator) -> None:
    inside = np.argwhere((tissues > b.RINGS) & (tissues != b.AIRWAY))
    if not len(inside):
        return
    centre = inside[rng.integers(len(inside))]
    radius = rng.uniform(0.8, 3.5)
    grid = np.ogrid[tuple(slice(0, n) for n in tissues.shape)]
    d = sum((g - q) ** 2 for g, q in zip(grid, centre, strict=True))
    ball = (d < radius**2) & (tissues > b.RINGS)
    bone = np.isin(tissues, (b.MARROW, b.THIN_BONE, b.CORTEX))
    hu[ball & ~bone] = rng.normal(45, 20)
    hu[ball & bone] += rng.choice([-150, 300])


def _scan(hu: Floats, tissues: Ints, rng: np.random.Generator) -> Floats:
    shape = tissues.shape
    if rng.random() < 0.6:  # table
        row = int(np.max(np.nonzero((tissues > 0).any(axis=(0, 2)))[0], initial=0)) + int(rng.integers(0, 4))
        x = np.arange(shape[0]) - shape[0] / 2
        line = np.rint(row + 1 - (x / rng.uniform(14, 40)) ** 2).astype(int)
        for i in np.flatnonzero((line >= 0) & (line < shape[1])):
            column = hu[i, line[i]]
            column[tissues[i, line[i]] == 0] = rng.uniform(-600, 100)
    out = ndimage.gaussian_filter(hu, rng.uniform(0.3, 0.62))
    noise = rng.standard_normal(shape).astype(np.float32)
    noise = ndimage.gaussian_filter(noise, (0.4, 0.4, 0.2))
    out += noise / noise.std() * rng.uniform(2, 28)
    if rng.random() < 0.1:  # circular field of view
        x, y = np.ogrid[: shape[0], : shape[1]]
        out[np.hypot(x - shape[0] / 2, y - shape[1] / 2) > rng.uniform(0.36, 0.5) * shape[0]] = -1024
    return np.asarray(np.clip(out, -1024, 3000), dtype=np.float32)


def sample(tissues: Ints, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """One training pair; where the patch holds nearly nothing, another is drawn."""
    for _ in range(8):
        patch = crop(tissues, rng)
        if (patch > b.RINGS).mean() > 0.08:
            break
    # the ring that is painted as fat stays background for the network
    return channels(paint(patch, rng)), TARGET[patch]


def simulated_sample(hu: Floats, target: Ints, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """A training pair out of a simulated body's own CT (STEP mm lattice): the same crops, other densities and noise."""
    where = _place(hu.shape, rng, PATCH)
    ok = np.all((where >= 0) & (where <= np.array(hu.shape) - 1), axis=-1)
    lists = np.moveaxis(where, -1, 0)
    out = ndimage.map_coordinates(hu, lists, order=1, mode="constant", cval=-1000.0).astype(np.float32)
    labels = np.zeros(PATCH, dtype=np.uint8)
    labels[ok] = target[tuple(np.rint(where[ok]).astype(np.int32).T)]
    cut = _cut(rng, PATCH[2])
    out[:, :, cut], labels[:, :, cut] = -1000.0, 0
    out += rng.normal(0, 8) * (out > -300)
    out = ndimage.gaussian_filter(out, rng.uniform(0.0, 0.45))
    noise = ndimage.gaussian_filter(rng.standard_normal(PATCH).astype(np.float32), (0.4, 0.4, 0.2))
    out += noise / noise.std() * rng.uniform(1, 20)
    return channels(np.asarray(np.clip(out, -1024, 3000), dtype=np.float32)), labels
