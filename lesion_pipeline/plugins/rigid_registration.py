"""Rigid registration of a spine MR to a CT with SimpleITK: Euler transform, Mattes mutual information.

Method: mutual information (Mattes 2003) under regular-step gradient descent from coarse to fine, a share of voxels sampled with
a fixed seed, so that one input gives one answer. Two frames of reference that differ say nothing about where the body lies, so
the search starts from the MR's own coordinates and from places all along the other image's body axis; the best few are refined.
An answer that does not stand out from the next best place is no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import SimpleITK
from pydantic import BaseModel, ConfigDict, Field

from lesion_pipeline.domain.errors import PluginFailedError
from lesion_pipeline.domain.geometry import Grid, Matrix, RigidTransform, apply_affine
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.sitk import resample_volume, to_image

sitk: Any = SimpleITK


class Options(BaseModel):
    """working_mm: grid the metric is computed on. sampled: share of its voxels. levels: shrink factors, coarse to fine.

    step_mm: distance of the starts along the body. refined: how many of them are refined. standing_out: share by which the best
    answer must beat the best one elsewhere. rotation_limit_deg: an answer beyond is taken as a failure. overlap_low: so is one
    whose volumes share less than this part of the MR.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    working_mm: float = Field(gt=0)
    sampled: float = Field(gt=0, le=1)
    levels: tuple[int, ...] = Field(min_length=1)
    histogram_bins: int = Field(ge=8)
    iterations: int = Field(ge=1)
    step_mm: float = Field(gt=0)
    refined: int = Field(ge=2)
    standing_out: float = Field(ge=0)
    rotation_limit_deg: float = Field(gt=0)
    overlap_low: float = Field(ge=0, le=1)
    seed: int = 1


class RigidRegistration:
    """A Registrar."""

    name = "rigid-mattes"
    version = "1"

    def __init__(self, options: Options) -> None:
        self.options = options

    def register(self, fixed: Volume, moving: Volume) -> RigidTransform:
        """Transform from the moving volume's frame to the fixed volume's frame, LPS mm.

        Raises PluginFailedError (REGISTRATION_FAILED) when the optimiser fails or its answer is beyond the preset's limits.
        """
        if fixed.modality is not Modality.CT:
            raise PluginFailedError("REGISTRATION_FAILED", "an MR is registered to a CT only; a PET shows too little anatomy")
        target = _working(fixed, self.options.working_mm)
        source = _working(moving, self.options.working_mm)
        images = (to_image(source), to_image(target))  # sampled in the MR, the smaller of the two
        try:
            with _one_thread():
                found = self._best(images, target.grid, source.grid)
        except RuntimeError as error:
            raise PluginFailedError("REGISTRATION_FAILED", "the two images share too little for a registration") from error
        link = RigidTransform(moving.grid.frame, fixed.grid.frame, found)
        self._judge(link, target.grid, source.grid)
        return link

    def _best(self, images: tuple[Any, Any], fixed: Grid, moving: Grid) -> Matrix:
        """Refine the most promising starts; the best answer must beat the best one elsewhere by the preset's margin."""
        coarse = []
        for start in _starts(fixed, moving, self.options.step_mm):
            method = self._method()
            method.SetInitialTransform(start, inPlace=False)
            with suppress(RuntimeError):  # no overlap at this start
                coarse.append((float(method.MetricEvaluate(*images)), start))
        if not coarse:
            raise PluginFailedError("REGISTRATION_FAILED", "the two images share too little for a registration")
        refined: list[tuple[float, Matrix]] = []
        for _, start in sorted(coarse, key=lambda scored: scored[0])[: self.options.refined]:
            method = self._method()
            method.SetInitialTransform(start, inPlace=False)
            with suppress(RuntimeError):
                found = method.Execute(*images)
                refined.append((float(method.GetMetricValue()), _matrix(found)))
        if not refined:
            raise PluginFailedError("REGISTRATION_FAILED", "the two images share too little for a registration")
        refined.sort(key=lambda scored: scored[0])
        best, answer = refined[0]
        middle = moving.world((np.array(moving.shape) - 1) / 2.0)
        here = apply_affine(answer, middle)
        elsewhere = [v for v, m in refined[1:] if np.linalg.norm(apply_affine(m, middle) - here) > self.options.step_mm]
        if elsewhere and best > elsewhere[0] * (1.0 + self.options.standing_out):  # the metric is negative: lower is better
            raise PluginFailedError("REGISTRATION_FAILED", "several places along the body fit the MR about equally well")
        return answer

    def _method(self) -> Any:
        options, method = self.options, sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(options.histogram_bins)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(options.sampled, options.seed)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetMetricUseFixedImageGradientFilter(False)  # differences where they are asked for, not over the whole image
        method.SetMetricUseMovingImageGradientFilter(False)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0, minStep=1e-3, numberOfIterations=options.iterations, relaxationFactor=0.6
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel(list(options.levels))
        method.SetSmoothingSigmasPerLevel([float(level) * options.working_mm / 2.0 for level in options.levels])
        method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
        return method

    def _judge(self, link: RigidTransform, fixed: Grid, moving: Grid) -> None:
        """A patient lies much alike in both machines, and the MR shows a part of what the other image shows."""
        angle = np.degrees(np.arccos(np.clip((np.trace(link.matrix[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)))
        if angle > self.options.rotation_limit_deg:
            raise PluginFailedError("REGISTRATION_FAILED", f"the answer turns the MR by {angle:.0f} degrees, beyond the limit")
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
    """The entry point: settings of [plugins.rigid_mattes]."""
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


def _starts(fixed: Grid, moving: Grid, step_mm: float) -> list[Any]:
    """Euler transforms (MR points to the other image's): the MR's own coordinates, then its centre along the body's axis."""
    low, high = fixed.bounds()
    middle = fixed.world((np.array(fixed.shape) - 1) / 2.0)
    centre = moving.world((np.array(moving.shape) - 1) / 2.0)
    mr_low, mr_high = moving.bounds()
    half = min((mr_high[2] - mr_low[2]) / 2.0, (high[2] - low[2]) / 2.0)
    places = [np.array([middle[0], middle[1], z]) for z in np.arange(low[2] + half, high[2] - half + step_mm / 2, step_mm)]
    out = []
    for shift in (np.zeros(3), *(place - centre for place in places)):
        transform = sitk.Euler3DTransform()
        transform.SetCenter([float(x) for x in centre])
        transform.SetTranslation([float(x) for x in shift])
        out.append(transform)
    return out


def _matrix(transform: Any) -> np.ndarray[Any, Any]:
    """(4, 4) of an ITK transform, from where it takes the origin and the unit points."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    out = np.eye(4)
    for axis, unit in enumerate(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))):
        out[:3, axis] = np.array(transform.TransformPoint(unit)) - origin
    out[:3, 3] = origin
    return out
