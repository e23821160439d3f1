"""What is known beforehand of a human spine: order, lengths, ribs, and how often it is built otherwise.

Engineering constants of the chain live here, with their sources; the numbers that decide whether a vertebra is *named* stand
in the preset. Lengths are body plus disc along the axis through the bodies (mm), read from segmented CT of adults and close to
the means over 649 CT spines of the VID keypoint set (C3..L5, within 1 mm; Bürgin 2023). Rib tables: counts per side that the
rib tracker finds at each level, with room for stub ribs, lumbar and cervical ribs and misses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import VertebralLevel as Level

Array = npt.NDArray[np.float64]

#: Length of the segment (mm) at body scale 1.
LENGTH_MM: dict[Level, float] = {
    Level.L6: 36.0,
    Level.L5: 37.0,
    Level.L4: 37.5,
    Level.L3: 37.5,
    Level.L2: 36.2,
    Level.L1: 34.3,
    Level.T13: 33.0,
    Level.T12: 31.5,
    Level.T11: 28.8,
    Level.T10: 26.8,
    Level.T9: 25.4,
    Level.T8: 24.4,
    Level.T7: 23.5,
    Level.T6: 22.8,
    Level.T5: 22.2,
    Level.T4: 21.8,
    Level.T3: 21.5,
    Level.T2: 21.3,
    Level.T1: 20.7,
    Level.C7: 19.0,
    Level.C6: 17.7,
    Level.C5: 17.2,
    Level.C4: 17.2,
    Level.C3: 17.6,
    Level.C2: 25.0,
    Level.C1: 17.0,
}
LENGTH_SD = 0.065  # of the length, between neighbours of one spine
LENGTH_SD_MM = 0.8
#: A collapsed, fused or destroyed body: any length between 0.45 and 1.4 of the expected one.
ODD_LENGTH = 0.03
SCALES: Array = np.arange(0.78, 1.221, 0.055)
SCALE_SD = 0.09

#: (probability of 0, 1, 2 tracked ribs) per side. T2..T11 from 48 complete sides of four CTs, smoothed.
RIBS_NONE = (0.98, 0.015, 0.005)
RIB_TABLE: dict[Level, tuple[float, float, float]] = {
    **{Level(v): (0.06, 0.93, 0.01) for v in range(Level.T2, Level.T12)},
    Level.T1: (0.08, 0.91, 0.01),
    Level.T12: (0.12, 0.875, 0.005),
    Level.T13: (0.30, 0.695, 0.005),
    Level.L1: (0.955, 0.04, 0.005),
    Level.C7: (0.97, 0.025, 0.005),
    # mastoid, jaw and styloid are tracked like ribs beside the first vertebrae
    Level.C3: (0.80, 0.17, 0.03),
    Level.C2: (0.70, 0.25, 0.05),
    Level.C1: (0.55, 0.35, 0.10),
}
#: Where a rib meets |lat| = 28 mm lies this far (mm) cranial of where it should for its segment to be the one that holds it.
RIB_SHIFT_MM = 3.0
RIB_BLUR_MM = 2.5
#: (mean, sd) mm of bone beyond |lat| 58.5: of the twelfth rib about half its 11 (4 to 20) cm, of the eleventh 14 of 20 cm
#: (adult osteometry, rounded); others are long. The last two decide whether a last pair is the twelfth.
RIB_REACH_MM: dict[Level, tuple[float, float]] = {
    Level.L1: (35.0, 30.0),
    Level.T13: (40.0, 30.0),
    Level.T12: (65.0, 35.0),
    Level.T11: (140.0, 32.0),
    Level.T10: (195.0, 40.0),
}
RIB_REACH_ELSEWHERE = (190.0, 65.0)
RIB_REACH_ODD = 0.05  # lost or run into a neighbour: any length up to 300 mm
TEMPER_REACH = 0.6  # the two sides of one pair are alike

#: Probability of lung beside the body.
LUNG_TABLE: dict[Level, float] = {
    **{Level(v): 0.90 for v in range(Level.T3, Level.T11)},
    Level.T2: 0.75,
    Level.T11: 0.80,
    Level.T12: 0.50,
    Level.T13: 0.35,
    Level.L1: 0.20,
    Level.T1: 0.45,
    Level.C7: 0.08,
    Level.L2: 0.06,
}
LUNG_ELSEWHERE = 0.015
#: Front-to-back depth of the body (mm) at scale 1 (mid-depth values of adult morphometry), log-normal sd 0.18.
DEPTH_MM: dict[str, tuple[float, float]] = {"C": (17.0, 17.5), "T": (18.0, 31.0), "L": (33.0, 35.0)}
DEPTH_SD = 0.18
REGION_MM = 12.0  # correlation length of what is seen beside the spine

#: All evidence is raised to this power: neighbouring millimetres are not independent witnesses.
TEMPER = 0.7
TEMPER_RIBS = 0.9  # ribs of one pair are nearly independent sightings; neighbours are counted once each
WEIGHT_DISC = 4.0
WEIGHT_FORAMEN = 4.0
WEIGHT_ARCH = 2.5
DISC_EVEN = 0.40  # a disc score that speaks neither for nor against a boundary

SPACE_MM = 150.0  # S and HEAD may be this long


@dataclass(frozen=True, slots=True)
class Chain:
    """One way a spine may be built: levels from caudal to cranial without S and the head, and how many people have it.

    ribless: a thoracic level that bears no ribs in this plan.
    """

    name: str
    levels: tuple[Level, ...]
    prior: float
    ribless: Level | None = None


def _count(prefix: str, first: int, last: int) -> tuple[Level, ...]:
    return tuple(Level[f"{prefix}{n}"] for n in range(first, last - 1, -1))


_CERVICAL = _count("C", 7, 1)
#: Share of adults: thoracolumbar variants 11 %, two thirds of them with eleven rib pairs (clinical specification 4.7); L6 3 %
#: in the VID set; lumbosacral variants 1 to 30 % by definition, of which few change the count.
CHAINS: tuple[Chain, ...] = (
    Chain("usual", _count("L", 5, 1) + _count("T", 12, 1) + _CERVICAL, 0.83),
    Chain("L6", _count("L", 6, 1) + _count("T", 12, 1) + _CERVICAL, 0.04),
    Chain("L4", _count("L", 4, 1) + _count("T", 12, 1) + _CERVICAL, 0.03),
    Chain("T13", _count("L", 5, 1) + _count("T", 13, 1) + _CERVICAL, 0.03),
    Chain("T11", _count("L", 5, 1) + _count("T", 11, 1) + _CERVICAL, 0.01),
    Chain("ribs11", _count("L", 5, 1) + _count("T", 12, 1) + _CERVICAL, 0.06, ribless=Level.T12),
)


def log_reach(level: Level, length: float, still_open: bool) -> float:
    """log likelihood ratio of a rib's length (mm beyond |lat| 58.5; a lower bound if open) at a level against any level."""

    def likelihood(mean: float, sd: float) -> float:
        z = (length - mean) / sd
        if still_open:
            return (1.0 - RIB_REACH_ODD) * 0.5 * math.erfc(z / math.sqrt(2.0)) + RIB_REACH_ODD
        return (1.0 - RIB_REACH_ODD) * math.exp(-0.5 * z * z) / (sd * math.sqrt(2.0 * math.pi)) + RIB_REACH_ODD / 300.0

    return math.log(likelihood(*RIB_REACH_MM[level]) / likelihood(*RIB_REACH_ELSEWHERE))


def span_of(level: Level, scale: float) -> tuple[int, int]:
    """Shortest and longest length (mm) that log_length does not call impossible."""
    mean = scale * LENGTH_MM[level]
    return max(int(0.45 * mean), 1), int(1.4 * mean) + 1


def depth_of(level: Level) -> float:
    """Expected front-to-back depth (mm) of a body."""
    region = level.name[0]
    low, high = DEPTH_MM[region]
    number = int(level.name[1:])
    part = {"C": (number - 1) / 6.0, "T": min(number - 1, 11) / 11.0, "L": (number - 1) / 5.0}[region]
    return low + part * (high - low)


def log_length(level: Level, scale: float, durations: Array) -> Array:
    """log density of a segment's length (per mm)."""
    mean = scale * LENGTH_MM[level]
    sd = LENGTH_SD * mean + LENGTH_SD_MM
    usual = np.exp(-0.5 * ((durations - mean) / sd) ** 2) / (sd * np.sqrt(2.0 * np.pi))
    odd = ((durations > 0.45 * mean) & (durations < 1.4 * mean)) / (0.95 * mean)
    return np.asarray(np.log((1.0 - ODD_LENGTH) * usual + ODD_LENGTH * odd + 1e-30))


def log_cut_length(level: Level, scale: float, durations: Array) -> Array:
    """log density of the visible length of a segment that the field of view cuts: its survival function over its mean."""
    mean = scale * LENGTH_MM[level]
    sd = LENGTH_SD * mean + LENGTH_SD_MM
    z = (durations - mean) / sd
    survival = 1.0 / (1.0 + np.exp(np.clip(1.702 * z, -60.0, 60.0)))  # logistic for the normal tail
    return np.asarray(np.log(survival / mean + 1e-30))
