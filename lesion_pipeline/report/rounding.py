"""How many digits are written: enough to check a sum, few enough to be the same on every machine."""

from __future__ import annotations

from typing import overload

PROBABILITY_DIGITS = 6


@overload
def fixed(value: float, digits: int) -> float: ...
@overload
def fixed(value: None, digits: int) -> None: ...
@overload
def fixed(value: float | None, digits: int) -> float | None: ...
def fixed(value: float | None, digits: int) -> float | None:
    """Rounded to a number of decimals, without a negative zero; None stays None."""
    return None if value is None else round(float(value), digits) + 0.0


def probability(value: float) -> float:
    """Six decimals, within 0..1."""
    return min(1.0, max(0.0, fixed(value, PROBABILITY_DIGITS)))
