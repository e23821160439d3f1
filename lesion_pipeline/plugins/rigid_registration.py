"""Rigid registration of a spine MR to a CT (or PET) with SimpleITK: Euler transform, Mattes mutual information.

Method: coarse-to-fine mutual information (Mattes 2003) under regular-step gradient descent, a fixed share of voxels sampled
with a fixed seed, so that one input gives one answer. It starts with the MR where its own coordinates put it, because one
scanner's frames are often near one another, and where the volumes do not meet, with their centres on each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import SimpleITK
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.errors import PluginFailedError
from lesion_pipeline.domain.geometry import Grid, RigidTransform
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.sitk import resample_volume, to_image

sitk: Any = SimpleITK


class Options(BaseModel):
    """working_mm: grid the metric is computed on. sampled: share of its voxels. levels: shrink factors, coarse to fine.

    rotation_limit_deg, shift_limit_mm: an answer beyond is taken as a failure. overlap_low: so is one whose volumes share
    less than this part of the MR.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    working_mm: float = Field(gt=0)
    sampled: float = Field(gt=0, le=1)
    levels: tuple[int, ...] = Field(min_length=1)
    histogram_bins: int = Field(ge=8)
    iterations: int = Field(ge=1)
    rotation_limit_deg: float = Field(gt=0)
    shift_limit_mm: float = Field(gt=0)
    overlap_low: float = Field(ge=0, le=1)
    seed: int = 1


class RigidRegistration:
    """A Registrar."""

    name = "rigid_registration"
    version = "1"

    def __init__(self, options: Options) -> None:
        self.options = options

    def register(self, fixed: Volume, moving: Volume) -> RigidTransform:
        """Transform from the moving volume's frame to the fixed volume's frame, LPS mm.

        Raises PluginFailedError (REGISTRATION_FAILED) when the optimiser fails or its answer is beyond the preset's limits.
        """
        target = _working(fixed, self.options.working_mm)
        source = _working(moving, self.options.working_mm)
        fixed_image, moving_image = to_image(target), to_image(source)
        start = _start(target.grid, source.grid)
        method = self._method()
        method.SetInitialTransform(start, inPlace=False)
        try:
            with _one_thread():
                found = method.Execute(fixed_image, moving_image)
        except RuntimeError as error:
            raise PluginFailedError("REGISTRATION_FAILED", "the two images share too little for a registration") from error
        link = RigidTransform(fixed.grid.frame, moving.grid.frame, _matrix(found)).inverse()
        self._judge(link, _matrix(start), target.grid, source.grid)
        return link

    def _method(self) -> Any:
        options, method = self.options, sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(options.histogram_bins)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(options.sampled, options.seed)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0, minStep=1e-3, numberOfIterations=options.iterations, relaxationFactor=0.6
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(list(options.levels))
        method.SetSmoothingSigmasPerLevel([float(level) * options.working_mm / 2.0 for level in options.levels])
        method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
        return method

    def _judge(self, link: RigidTransform, start: np.ndarray[Any, Any], fixed: Grid, moving: Grid) -> None:
        """Against the start: an answer far away from where the search began is a search that got lost."""
        change = link.matrix @ start
        angle = np.degrees(np.arccos(np.clip((np.trace(change[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
        middle = fixed.world((np.array(fixed.shape) - 1) / 2.0)
        shift = float(np.linalg.norm(change[:3, :3] @ middle + change[:3, 3] - middle))
        if angle > self.options.rotation_limit_deg or shift > self.options.shift_limit_mm:
            raise PluginFailedError(
                "REGISTRATION_FAILED", f"the answer turns by {angle:.0f} degrees and moves by {shift:.0f} mm, beyond the limits"
            )
        steps = [np.linspace(0, n - 1, min(n, 12)) for n in moving.shape]
        points = moving.world(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3))
        shared = float(np.mean(fixed.contains(link.apply(points))))
        if shared < self.options.overlap_low:
            raise PluginFailedError("REGISTRATION_FAILED", f"only {100.0 * shared:.0f} % of the MR lies inside the other image")


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of sums, and with it the last digit, must not depend on threads; ITK has one setting for the whole process."""
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def factory(options: Mapping[str, object]) -> RigidRegistration:
    """The entry point: settings of [plugins.rigid_registration]."""
    return RigidRegistration(Options.model_validate(dict(options)))


def _working(volume: Volume, mm: float) -> Volume:
    """The volume on a right-angled lattice of about ``mm`` along its own axes; a CT is clipped to soft tissue and bone."""
    values = volume.values
    if volume.modality is Modality.CT and volume.unit is Unit.HU:
        values = np.clip(values, -200.0, 800.0)
    clipped = Volume(values, volume.grid, volume.unit, volume.modality, volume.series)
    spacing = np.array(volume.grid.spacing_mm)
    step = np.maximum(mm / spacing, 1.0)
    shape = np.maximum(np.floor((np.array(volume.grid.shape) - 1) / step).astype(int) + 1, 1)
    axes = _right_angled(volume.grid.affine[:3, :3] / spacing)
    affine = np.eye(4)
    affine[:3, :3] = axes * (spacing * step)
    affine[:3, 3] = volume.grid.affine[:3, 3]
    grid = Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, volume.grid.frame)
    outside = float(values.min())
    return resample_volume(clipped, grid, outside=outside)


def _right_angled(axes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The nearest right-angled axes (polar decomposition); a tilted stack is straightened, any other stays as it is."""
    left, _, right = np.linalg.svd(axes)
    return np.asarray(left @ right)


def _start(fixed: Grid, moving: Grid) -> Any:
    """Identity where the volumes meet, else centre on centre; as an Euler transform about the fixed volume's centre."""
    transform = sitk.Euler3DTransform()
    centre = fixed.world((np.array(fixed.shape) - 1) / 2.0)
    transform.SetCenter([float(x) for x in centre])
    low, high = fixed.bounds()
    other_low, other_high = moving.bounds()
    if not (np.all(other_low <= high) and np.all(other_high >= low)):
        away = moving.world((np.array(moving.shape) - 1) / 2.0) - centre
        transform.SetTranslation([float(x) for x in away])
    return transform


def _matrix(transform: Any) -> np.ndarray[Any, Any]:
    """(4, 4) of an ITK transform, from where it takes the origin and the unit points."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    out = np.eye(4)
    for axis, unit in enumerate(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))):
        out[:3, axis] = np.array(transform.TransformPoint(unit)) - origin
    out[:3, 3] = origin
    return out
