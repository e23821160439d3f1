"""Values: applying the factors, and asking whether what comes out can be SUV at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.errors import UnitError
from lesion_pipeline.domain.pet import SuvCalibration
from lesion_pipeline.domain.volume import Unit, Volume
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options

_SAMPLE = 1_000_000  # voxels the plausibility check looks at
_ABOVE_AIR = 0.1  # of the mean positive value: what lies above is taken as body


def to_suv(volume: Volume, suv: SuvCalibration) -> Volume:
    """The volume in SUVbw: values x factor in float64, stored as float32; slices lie along the third axis.

    Raises UnitError (SLICES_DIFFER) when there is not one factor a slice.
    """
    if suv.bw_per_unit is None:
        raise UnitError("SUV_UNKNOWN", "no factor is known", series=volume.series)
    factors = np.array(suv.per_slice or [suv.bw_per_unit], dtype=np.float64)
    if len(factors) not in (1, volume.grid.shape[2]):
        raise UnitError("SLICES_DIFFER", f"{len(factors)} factors for {volume.grid.shape[2]} slices", series=volume.series)
    values = np.empty_like(volume.values)
    # computed in float64 buffer by buffer, without a float64 copy of the whole
    np.multiply(volume.values, factors, out=values, dtype=np.float64, casting="same_kind")
    return Volume(values, volume.grid, Unit.SUVBW, volume.modality, volume.series)


def check_plausible(volume: Volume, options: Options, notes: Notes) -> None:
    """Caveat SUV_IMPLAUSIBLE outside the usual range of body background and maximum.

    Raises UnitError (SUV_IMPLAUSIBLE) when the body background is so far off that the unit in the header must be wrong.
    """
    median = body_median(volume.values)
    highest = float(volume.values.max())
    if median is None or not options.body_suv_refuse_below <= median <= options.body_suv_refuse_above:
        said = "no positive values" if median is None else f"a typical body SUV of {median:.3g}"
        raise UnitError(
            "SUV_IMPLAUSIBLE",
            f"the values come out with {said}, which no patient has: unit, dose, weight or times in the header are wrong",
            series=notes.series,
            advice="Check Units, RadionuclideTotalDose, PatientWeight and the times of the series.",
        )
    if not options.body_suv_low <= median <= options.body_suv_high or highest > options.suv_max_high:
        notes.add(
            "SUV_IMPLAUSIBLE",
            f"a typical body SUV of {median:.2g} and a highest one of {highest:.3g} are unusual; check weight, dose and times",
        )


def body_median(values: npt.NDArray[np.float32]) -> float | None:
    """Median of what stands out of the air, on a thinned copy of the image; None where nothing is positive."""
    step = max(1, round((values.size / _SAMPLE) ** (1.0 / 3.0)))
    sample = values[::step, ::step, ::step]
    positive = sample[sample > 0]
    if not positive.size:
        return None
    return float(np.median(positive[positive > _ABOVE_AIR * positive.mean(dtype=np.float64)]))
