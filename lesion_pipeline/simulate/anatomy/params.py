"""Who the body is: everything that varies from person to person, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Sex = Literal["M", "F"]

#: Height (cm) at which the segment lengths of the spine model hold unscaled.
REFERENCE_HEIGHT_CM = 172.0


@dataclass(frozen=True)
class BodyParams:
    """A person on the scanner's couch.

    lordosis, kyphosis: factors on the usual supine curvature. scoliosis_deg: greatest sideways tilt of a vertebra; the sign
    tells the side. rotation_deg: about the body's long axis, positive when the left side lies lower. thoracic, lumbar: number
    of vertebrae (12 and 5 in most people). rib_pairs: 11 leaves the last thoracic vertebra without ribs. collapsed:
    vertebrae with the fraction of height that a fracture took. seed: unevenness, bowel, vessels.
    """

    sex: Sex = "M"
    age: int = 62
    height_cm: float = 174.0
    weight_kg: float = 78.0
    arms_up: bool = True
    lordosis: float = 1.0
    kyphosis: float = 1.0
    scoliosis_deg: float = 0.0
    rotation_deg: float = 0.0
    thoracic: int = 12
    lumbar: int = 5
    rib_pairs: int | None = None
    collapsed: tuple[tuple[str, float], ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        if self.thoracic not in (11, 12, 13) or self.lumbar not in (4, 5, 6):
            raise ValueError("a body has 11 to 13 thoracic and 4 to 6 lumbar vertebrae")

    @property
    def scale(self) -> float:
        """Length scale relative to the reference height."""
        return self.height_cm / REFERENCE_HEIGHT_CM

    @property
    def girth(self) -> float:
        """Scale of widths: grows with height, slowly."""
        return 0.5 + 0.5 * self.scale if self.sex == "M" else (0.5 + 0.5 * self.scale) * 0.95

    @property
    def bmi(self) -> float:
        return self.weight_kg / (self.height_cm / 100) ** 2

    @property
    def fat_mm(self) -> float:
        """Subcutaneous fat (mm) at the belly's side; women carry more under the skin, men more inside."""
        return float(np.clip((self.bmi - 16.0) * (1.5 if self.sex == "M" else 2.0), 4.0, 70.0))

    @property
    def visceral_mm(self) -> float:
        """Outward push (mm) of the belly wall by visceral fat."""
        return float(np.clip((self.bmi - 22.0) * (2.0 if self.sex == "M" else 1.2), -6.0, 45.0))

    @property
    def ribs(self) -> int:
        """Number of rib pairs."""
        return self.thoracic if self.rib_pairs is None else self.rib_pairs


def draw_params(rng: np.random.Generator, sex: Sex | None = None) -> BodyParams:
    """A person from broad adult distributions (means and spreads of adults in European survey data, rounded).

    Numbering variants appear with the frequencies that reviews of transitional anatomy give (a few per cent each).
    """
    chosen: Sex = sex or ("M" if rng.random() < 0.55 else "F")
    height = rng.normal(177, 7) if chosen == "M" else rng.normal(164, 6.5)
    bmi = float(np.clip(rng.lognormal(np.log(25.5), 0.16), 18, 40))
    base = BodyParams(
        sex=chosen,
        age=int(np.clip(rng.normal(60, 11), 20, 88)),
        height_cm=round(float(np.clip(height, 148, 198)), 1),
        weight_kg=round(bmi * (float(np.clip(height, 148, 198)) / 100) ** 2, 1),
        arms_up=bool(rng.random() < 0.8),
        lordosis=float(np.clip(rng.normal(1.0, 0.2), 0.4, 1.5)),
        kyphosis=float(np.clip(rng.normal(1.0, 0.2), 0.5, 1.6)),
        scoliosis_deg=float(np.clip(rng.normal(0, 3.0), -12, 12)),
        rotation_deg=float(np.clip(rng.normal(0, 1.5), -5, 5)),
        seed=int(rng.integers(1, 2**31)),
    )
    draw = rng.random()
    if draw < 0.03:
        return replace(base, lumbar=6)
    if draw < 0.05:
        return replace(base, lumbar=4)
    if draw < 0.065:
        return replace(base, thoracic=13)
    if draw < 0.10:
        return replace(base, rib_pairs=11)
    return base
