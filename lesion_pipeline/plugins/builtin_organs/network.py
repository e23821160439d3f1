"""The organ network that comes in the box: loading with its checksum, windows along the body, probabilities on its lattice.

A U-Net of 1.4 million parameters, trained on synthetic CT only (docs/organs_model.md). It runs on the CPU by onnxruntime and
gives the same bytes for the same input: one thread, windows in fixed order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from lesion_pipeline.domain.errors import PluginFailedError
from lesion_pipeline.plugins.builtin_organs.lattice import Floats, along_axes, axis_weights

#: Edge of the network's voxels, and the length of the windows it was trained on.
STEP_MM = 6.0
_WINDOW = 48
_MULTIPLE = 16
_AIR_HU = -1024.0
#: Order of the network's outputs.
CLASSES = (
    "background", "spleen", "kidney", "liver", "urinary_bladder", "lung", "brain", "heart", "stomach", "bone", "bowel", "aorta",
    "head_glands", "prostate",
)  # fmt: skip
_FILE = "organs.onnx"
_SHA256 = "c431b7d0cc4ed300a0badfe2131ea1d22798906a00a0bf9c772eaff170a506c9"


@dataclass(frozen=True, slots=True, eq=False)
class OrganProbabilities:
    """values: (classes, ni, nj, nk) float32 on cubes of STEP_MM that begin where the finer lattice begins.

    step_mm, shape: the finer lattice that is asked for.
    """

    values: Floats
    step_mm: float
    shape: tuple[int, int, int]

    def fine(self, key: str) -> Floats:
        """Probability of one class at the finer lattice's voxel centres (linear between the network's voxels)."""
        coarse = self.values[CLASSES.index(key)]
        weights = [
            linear_weights(coarse.shape[a], self.shape[a], self.step_mm / STEP_MM, (self.step_mm / STEP_MM - 1) / 2)
            for a in range(3)
        ]
        return along_axes(coarse, weights)


def load(content: bytes | None = None, sha256: str = _SHA256) -> Any:
    """The onnxruntime session of the network in the package (or of ``content``).

    Raises PluginFailedError (MODEL_ALTERED) when its bytes are not those that were measured.
    """
    if content is None:
        content = resources.files(__package__).joinpath(_FILE).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PluginFailedError(
            "MODEL_ALTERED",
            "the organ network in the package is not the one that was released and measured (its SHA-256 differs)",
            advice="Install lesion-pipeline again.",
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def predict(session: Any, hu: Floats, step_mm: float) -> OrganProbabilities:
    """Probabilities for HU (ni, nj, nk) on a cubic lattice of ``step_mm`` (axes to the left, to the back, to the head)."""
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    counts = [max(int(np.ceil(n * step_mm / STEP_MM - 1e-6)), 1) for n in shape]
    start = (STEP_MM / step_mm - 1) / 2
    rows = [axis_weights(n, count, STEP_MM / step_mm, start)[0] for n, count in zip(shape, counts, strict=True)]
    coarse = along_axes(hu, rows)
    return OrganProbabilities(_windows(session, coarse), step_mm, shape)


def channels(hu: Floats) -> Floats:
    """The network's input: a wide and a soft-tissue window, (2, ...) float32."""
    wide = np.clip(hu, -1024, 600) / 500 + 0.5
    soft = (np.clip(hu, -160, 240) - 40) / 80
    return np.stack([wide, soft]).astype(np.float32)


def linear_weights(count_in: int, count_out: int, step: float, start: float) -> Floats:
    """Rows of linear interpolation along one axis, (count_out, count_in); the ends are held."""
    where = np.clip(start + step * np.arange(count_out), 0, count_in - 1)
    low = np.minimum(where.astype(int), max(count_in - 2, 0))
    share = where - low
    rows = np.zeros((count_out, count_in), dtype=np.float32)
    rows[np.arange(count_out), low] = 1 - share
    rows[np.arange(count_out), np.minimum(low + 1, count_in - 1)] += share
    return rows


def _windows(session: Any, hu: Floats) -> Floats:
    """Windows of 48 voxels along the body, half over one another, weighted by a Hann window."""
    pad = [(0, -n % _MULTIPLE) for n in hu.shape[:2]] + [(0, max(_WINDOW - hu.shape[2], 0))]
    x = channels(np.pad(hu, pad, constant_values=_AIR_HU))
    total = np.zeros((len(CLASSES), *x.shape[1:]), dtype=np.float32)
    weight = np.zeros(x.shape[3], dtype=np.float32)
    hann = (np.hanning(_WINDOW + 2)[1:-1] + 0.05).astype(np.float32)
    last = x.shape[3] - _WINDOW
    for start in sorted({*range(0, last, _WINDOW // 2), last}):
        window = slice(start, start + _WINDOW)
        logits: npt.NDArray[np.float32] = session.run(None, {"ct": np.ascontiguousarray(x[None, :, :, :, window])})[0][0]
        p = np.exp(logits - logits.max(axis=0))
        total[:, :, :, window] += p / p.sum(axis=0) * hann
        weight[window] += hann
    i, j, k = hu.shape
    return np.asarray((total / weight)[:, :i, :j, :k])
