"""Settings of the stage; what can change a count has no default here and stands in a preset."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, field_validator


class Options(BaseModel):
    """How series are chosen.

    pet_series, ct_series: key of the series to use, given by the user for this study.
    pet_rule: regular expression (case ignored) that must match description or reconstruction of exactly one of several
    attenuation-corrected PETs; "" means: several are refused. min_slices: smaller stacks are not volumes.
    ct_soft_kernels, ct_sharp_kernels: regular expressions (case ignored, searched in ConvolutionKernel).
    ct_max_slice_mm: coarser CTs rank behind finer ones. ct_min_coverage: share of the PET's length that a CT should cover.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pet_series: str | None = None
    ct_series: str | None = None
    pet_rule: str
    min_slices: int
    ct_soft_kernels: tuple[str, ...]
    ct_sharp_kernels: tuple[str, ...]
    ct_max_slice_mm: float
    ct_min_coverage: float

    @field_validator("pet_rule", "ct_soft_kernels", "ct_sharp_kernels")
    @classmethod
    def _are_expressions(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for expression in (value,) if isinstance(value, str) else value:
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression: {error}") from error
        return value
