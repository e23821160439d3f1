"""The answer key: what a perfect reader would say of a simulated study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.geometry import Grid, Points
from lesion_pipeline.simulate.anatomy.solids import Field
from lesion_pipeline.simulate.lesions import PlacedLesion

SCHEMA = {"name": "simulated-answer", "version": "1.0"}
LIMITS = {"lesions_max": 5, "organs_max": 3, "spine_min": 1, "spine_max": 5}


@dataclass(frozen=True)
class Truth:
    """One lesion as it came out. counts: enters the count of metastases; why: in a word."""

    lesion: PlacedLesion
    label: int
    centroid_lps_mm: tuple[float, float, float]
    volume_ml: float
    levels: tuple[str, ...]
    in_pet: bool
    suv_max_image: float
    counts: bool
    why: str

    @property
    def spinal(self) -> bool:
        return bool(self.levels)

    def as_json(self) -> dict[str, object]:
        plan = self.lesion.plan
        return {
            "id": plan.id,
            "label": self.label,
            "kind": plan.kind,
            "site": plan.site,
            "organ": str(self.lesion.organ),
            "structure": self.lesion.structure,
            "levels": list(self.levels),
            "part": self.lesion.part,
            "spinal": self.spinal,
            "centroid_lps_mm": [round(v, 2) for v in self.centroid_lps_mm],
            "diameter_mm": plan.diameter_mm,
            "volume_ml": round(self.volume_ml, 3),
            "suv_true": round(plan.suv, 3),
            "suv_max_image": round(self.suv_max_image, 3),
            "necrotic": plan.necrotic,
            "near": plan.near,
            "ct": plan.ct,
            "mr": plan.mr and plan.kind != "ureter",
            "counts": self.counts,
            "why": self.why,
        }


class Place(Protocol):
    """What takes body coordinates (mm) to LPS mm of an image."""

    def world(self, points: npt.ArrayLike) -> Points: ...


_WHY = {
    "metastasis": "a metastasis with uptake inside the field of view",
    "degenerative": "degenerative uptake at an end-plate or facet joint",
    "fracture": "uptake of a benign fracture",
    "rib_fracture": "uptake of a healing rib fracture",
    "ganglion": "uptake of a ganglion",
    "unspecific_bone": "unspecific uptake of bone without a correlate",
    "haemangioma": "a haemangioma",
    "treated": "a treated lesion without uptake",
    "ureter": "urine in a ureter",
    "brown_fat": "brown fat",
    "reactive_node": "a reactive node",
}


def fine_mask(lesion: PlacedLesion, step: float = 1.0) -> tuple[npt.NDArray[np.float64], float]:
    """(points in body mm inside the lesion, its volume in ml), sampled on a cubic lattice."""
    axes = [
        np.arange(a + step / 2, b, step, dtype=np.float32) for a, b in zip(lesion.solid.low, lesion.solid.high, strict=True)
    ]
    at = (axes[0].reshape(-1, 1, 1), axes[1].reshape(1, -1, 1), axes[2].reshape(1, 1, -1))
    inside = np.broadcast_to(lesion.solid.distance(at), tuple(len(a) for a in axes)) < 0
    index = np.argwhere(inside)
    points = np.stack([axes[n][index[:, n]] for n in range(3)], axis=1).astype(np.float64)
    return points, float(len(points)) * step**3 / 1000


def structure(lesion: PlacedLesion) -> Structure:
    """The name of a lesion in a label map."""
    return Structure(f"lesion_{lesion.plan.id}", StructureKind.REGION, lesion.organ)


def lesion_labels(lesions: Sequence[PlacedLesion], body: Place, grid: Grid) -> npt.NDArray[np.uint16]:
    """Label n for the n-th lesion wherever it fills at least a quarter of a voxel; later lesions win."""
    out = np.zeros(grid.shape, dtype=np.uint16)
    for n, lesion in enumerate(lesions, start=1):
        points, _ = fine_mask(lesion)
        index = np.rint(grid.index(body.world(points))).astype(np.int64)
        index = index[np.all((index >= 0) & (index < np.array(grid.shape)), axis=1)]
        if not len(index):
            continue
        voxels, filled = np.unique(index, axis=0, return_counts=True)
        keep = filled / 1000 >= 0.25 * grid.voxel_ml
        i, j, k = (voxels[keep] if keep.any() else voxels[[int(filled.argmax())]]).T
        out[i, j, k] = n
    return out


def truths(
    lesions: Sequence[PlacedLesion], body: Place, labels: npt.NDArray[np.uint16], grid: Grid, suv: Field
) -> tuple[Truth, ...]:
    """What became of each lesion in the images; suv: final PET image on the labels' grid."""
    out = []
    boxes = ndimage.find_objects(labels.astype(np.int32), max_label=len(lesions))
    for n, (lesion, box) in enumerate(zip(lesions, boxes, strict=True), start=1):
        points, volume = fine_mask(lesion)
        centre = body.world(points.mean(axis=0) if len(points) else lesion.centre)
        peak = 0.0
        if box is not None:
            wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
            near = ndimage.binary_dilation(labels[wide] == n)
            peak = float(suv[wide][near].max())
        counts, why = _counts(lesion, box is not None)
        where = (float(centre[0]), float(centre[1]), float(centre[2]))
        out.append(Truth(lesion, n, where, volume, lesion.levels, box is not None, peak, counts, why))
    return tuple(out)


def _counts(lesion: PlacedLesion, in_pet: bool) -> tuple[bool, str]:
    if lesion.plan.kind != "metastasis":
        return False, _WHY[lesion.plan.kind]
    if lesion.plan.suv <= 0:
        return False, "seen on MR or CT only: additional, not in the count"
    if not in_pet:
        return False, "outside the field of view"
    return True, _WHY["metastasis"]


#: What CT shows of a bone metastasis.
_BONE_CHANGES = frozenset({"lytic", "sclerotic"})


@dataclass(frozen=True)
class Reading:
    """One admissible reading of the counting rules; the default, and each change of it alone, as in configs/counting."""

    spine_is_an_organ: bool = False
    nodes_count: bool = True
    lesion_unit: str = "confluent"
    spine_by_vertebra: bool = True
    sacrum: bool = True


_READINGS = (
    Reading(spine_is_an_organ=True),
    Reading(nodes_count=False),
    Reading(lesion_unit="vertebra"),
    Reading(lesion_unit="rtog_site"),
    Reading(spine_by_vertebra=False),
    Reading(sacrum=False),
)


def _holds(truth: Sequence[Truth], reading: Reading) -> bool:
    """Does INC4 hold under one reading of the rules?"""
    if not reading.nodes_count:
        truth = [t for t in truth if t.lesion.organ is not Organ.LYMPH_NODE]
    spinal = [t for t in truth if t.spinal and (reading.sacrum or set(t.levels) != {"S"})]
    vertebrae = {level for t in spinal for level in t.levels}
    # how many vertebrae one lesion may fill before it counts as another
    span = {"vertebra": 1, "rtog_site": 2}.get(reading.lesion_unit, 99)
    lesions = sum(max(-(-len(t.levels) // span), 1) for t in truth)
    organs = {(t.lesion.organ, reading.spine_is_an_organ and t.lesion.organ is Organ.BONE and t.spinal) for t in truth}
    spine = len(vertebrae) if reading.spine_by_vertebra else len(spinal)
    ok = lesions <= LIMITS["lesions_max"] and len(organs) <= LIMITS["organs_max"]
    return ok and LIMITS["spine_min"] <= spine <= LIMITS["spine_max"]


def criteria(
    truth: Sequence[Truth], age: int, mr_levels: Sequence[str] | None, *, enhanced_ct: bool = False
) -> dict[str, dict[str, object]]:
    """Expected answers. mr_levels: vertebrae inside the enhanced MR's field of view, None without such an MR.
    enhanced_ct: the CT has contrast medium, so that what it shows of a vertebra counts for INC5.

    ``answer``: under the default rules; ``over_readings``: indeterminate where one admissible reading disagrees.
    """
    counted = [t for t in truth if t.counts]
    unseen = [t for t in truth if t.lesion.plan.kind == "metastasis" and t.lesion.plan.suv <= 0]
    treated = [t for t in truth if t.lesion.plan.kind == "treated"]
    default = _holds(counted, Reading())
    readings = {default, *(_holds(counted, reading) for reading in _READINGS)}
    readings |= {_holds([*counted, *more], Reading()) for more in (unseen, treated)}
    organs = {t.lesion.organ for t in counted}
    spinal_levels = {level for t in counted for level in t.levels}
    on_ct = enhanced_ct and any(t.spinal and t.lesion.plan.ct in _BONE_CHANGES for t in counted)
    many = len(organs) > LIMITS["organs_max"] and len(counted) > LIMITS["lesions_max"]
    return {
        "INC2": {"answer": "meets" if 18 <= age <= 75 else "does_not_meet"},
        "INC4": {
            "answer": "meets" if default else "does_not_meet",
            "over_readings": "meets" if readings == {True} else "does_not_meet" if readings == {False} else "indeterminate",
        },
        "INC5": {"answer": "meets" if on_ct else _inc5(spinal_levels, mr_levels)},
        "EXC1": {"answer": "meets" if many else "does_not_meet"},
    }


def _inc5(spinal_levels: set[str], mr_levels: Sequence[str] | None) -> str:
    if mr_levels is None:
        return "indeterminate"
    if spinal_levels & set(mr_levels):
        return "meets"
    return "indeterminate" if spinal_levels else "does_not_meet"


def counts(truth: Sequence[Truth]) -> dict[str, object]:
    """Numbers under the default rules, by organ and by level."""
    counted = [t for t in truth if t.counts]
    by_organ: dict[str, int] = {}
    by_level: dict[str, int] = {}
    for t in counted:
        by_organ[str(t.lesion.organ)] = by_organ.get(str(t.lesion.organ), 0) + 1
        for level in t.levels:
            by_level[level] = by_level.get(level, 0) + 1
    ordered: Mapping[str, int] = dict(sorted(by_level.items(), key=lambda item: VertebralLevel[item[0]]))
    return {
        "lesions": len(counted),
        "organs": len(by_organ),
        "spinal_lesions": sum(t.spinal for t in counted),
        "involved_vertebrae": len(ordered),
        "by_organ": dict(sorted(by_organ.items())),
        "by_level": dict(ordered),
    }
