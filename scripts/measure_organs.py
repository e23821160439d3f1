"""How well ``builtin-organs`` finds organs.

python -m scripts.measure_organs [--ct CT --labels MAP] [--simulated N] [--bodies FOLDER]

--ct, --labels: a real CT (NIfTI, HU) and its label map with TotalSegmentator class ids. --simulated: that many bodies of the
simulator, whose seeds (``--first``) the training never used. --bodies: folder of scripts.organ_training.make_bodies; the
held-out ones are painted as CT. The plug-in runs as in a study without PET. Prints Dice by organ, CPU-seconds and peak memory,
and for points planted at random inside organs the share that gets the right organ (stomach and bowel are one there): from the
pipeline, which is asked where a point source lies as a PET of 4 mm voxels shows it, and from the label at the point alone.
"""

from __future__ import annotations

import argparse
import resource
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ
from lesion_pipeline.domain.geometry import Frames, Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.shares import around, shares
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins.builtin_organs import factory
from lesion_pipeline.simulate.anatomy import build_body
from lesion_pipeline.simulate.anatomy.params import draw_params
from lesion_pipeline.stages.localize.options import Options as LocalizeOptions
from lesion_pipeline.stages.localize.organs import organ_probabilities
from scripts.organ_training import bodies as tissue
from scripts.organ_training.paint import TARGET, is_held_out, paint

ROOT = Path(__file__).resolve().parent.parent
Mask = npt.NDArray[np.bool_]
#: Organ -> its classes in a label map of TotalSegmentator.
_BONES = [*range(25, 51), *range(69, 79), *range(91, 118)]
TOTAL_IDS: dict[str, list[int]] = {
    "spleen": [1], "kidneys": [2, 3], "liver": [5], "stomach": [6], "lungs": [10, 11, 12, 13, 14], "bowel": [18, 19, 20],
    "urinary_bladder": [21], "heart": [51], "aorta": [52], "bone": _BONES,
}  # fmt: skip
#: Organ -> beginnings of its keys, in our answer and in the simulator's label maps.
KEYS: dict[str, tuple[str, ...]] = {
    "spleen": ("spleen",), "kidneys": ("kidney",), "liver": ("liver",), "stomach": ("stomach",), "lungs": ("lung",),
    "bowel": ("bowel", "small_bowel", "colon", "duodenum"), "urinary_bladder": ("urinary_bladder", "bladder"),
    "heart": ("heart",), "aorta": ("aorta",), "brain": ("brain", "cerebellum"),
    "head_glands": ("head_glands", "parotid", "submandibular"), "prostate": ("prostate",),
    "bone": ("vertebra", "rib", "sternum", "clavicle", "scapula", "humerus", "femur", "hip_left", "hip_right", "skull",
             "mandible", "coccyx",
             "spine", "sacrum", "bone_other", "forearm"),
}  # fmt: skip
_CLASS_KEYS = dict(enumerate(
    ("", "spleen", "kidneys", "liver", "urinary_bladder", "lungs", "brain", "heart", "stomach", "bone", "bowel", "aorta",
     "head_glands", "prostate")
))  # fmt: skip
_POINTS = 40
#: What the pipeline counts each organ under; the aorta is no organ of its vocabulary.
COUNTED = {
    "spleen": Organ.SPLEEN, "kidneys": Organ.KIDNEY, "liver": Organ.LIVER, "stomach": Organ.GI, "lungs": Organ.LUNG,
    "bowel": Organ.GI, "urinary_bladder": Organ.BLADDER, "heart": Organ.HEART, "brain": Organ.BRAIN,
    "head_glands": Organ.HEAD_GLANDS, "prostate": Organ.PROSTATE, "bone": Organ.BONE,
}  # fmt: skip
#: A point source on a PET: voxels of 4 mm, seen at 6 mm full width at half maximum, as far as its half maximum and a voxel.
_PET_MM, _SEEN_FWHM_MM, _SEEN_MM = 4.0, 6.0, 6.0


def organ_of(key: str) -> str:
    for organ, starts in KEYS.items():
        if any(key == s or key.startswith(s + "_") for s in starts):
            return organ
    return ""


def from_names(labels: LabelMap) -> dict[str, Mask]:
    """Mask by organ of a label map, on its own grid."""
    out: dict[str, Mask] = {}
    for organ in KEYS:
        values = [v for v, s in labels.names.items() if organ_of(s.key) == organ]
        mask = np.isin(labels.values, values) if values else np.zeros(0, dtype=bool)
        if mask.any():
            out[organ] = mask
    return out


def real(ct: Path, labels: Path) -> Iterator[tuple[Volume, dict[str, Mask]]]:
    image = read_volume(ct, Unit.HU, Modality.CT, "f")
    truth = read_volume(labels, Unit.ARBITRARY, Modality.OTHER, "f")
    yield image, {k: np.isin(truth.values, ids) for k, ids in TOTAL_IDS.items() if np.isin(truth.values, ids).any()}


def simulated(count: int, first: int) -> Iterator[tuple[Volume, dict[str, Mask]]]:
    spacing = np.array([2.5, 2.5, 4.0])
    shape = (216, 168, 280)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing[0] * 108, -250.0, -250.0
    grid = Grid(shape, affine, "f")
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        body = build_body(draw_params(rng))
        yield body.sample_ct(grid, rng, noise_hu=float(rng.uniform(8, 25))), from_names(body.labels(grid))


def painted(folder: Path, most: int) -> Iterator[tuple[Volume, dict[str, Mask]]]:
    for n, path in enumerate([f for f in sorted(folder.glob("*.npz")) if ".tmp" not in f.name and is_held_out(f.name)][:most]):
        with np.load(path) as held:
            tissues = held["tissues"]
        affine = np.diag([tissue.STEP, tissue.STEP, tissue.STEP, 1.0])
        hu = paint(tissues, np.random.default_rng(n))
        target = TARGET[tissues]
        yield (
            Volume(hu, Grid(hu.shape, affine, "f"), Unit.HU, Modality.CT, "CT"),
            {organ: target == n for n, organ in _CLASS_KEYS.items() if n and (target == n).any()},
        )


def settings() -> dict[str, object]:
    with (ROOT / "configs" / "fdg-petct.toml").open("rb") as stream:
        return dict(tomllib.load(stream)["plugins"]["builtin_organs"])


def located(point_lps_mm: npt.NDArray[np.float64], places: Places, options: LocalizeOptions) -> Organ:
    """The organ that the pipeline's localize stage names first for a point source (3,) in LPS mm."""
    affine = np.diag([_PET_MM, _PET_MM, _PET_MM, 1.0])
    affine[:3, 3] = np.floor(point_lps_mm / _PET_MM) * _PET_MM - 3 * _PET_MM  # voxels lie where they lie, not round the point
    grid = Grid((7, 7, 7), affine, places.frame)
    voxels = np.argwhere(np.ones(grid.shape, dtype=bool)).astype(np.int32)
    apart = np.linalg.norm(grid.world(voxels) - point_lps_mm, axis=1)
    seen = apart <= _SEEN_MM
    uptake = np.exp(-4 * np.log(2) * (apart[seen] / _SEEN_FWHM_MM) ** 2)
    divided = shares(voxels[seen], uptake, grid, places, options.supersampling)
    nearby = around(point_lps_mm, places, options.nearest_mm)
    volume = float(seen.sum()) * grid.voxel_ml
    organs, _ = organ_probabilities(divided, nearby, point_lps_mm, (0.0, 0.0), volume_ml=volume, places=places, options=options)
    return organs[0][0]


def measure(cases: Iterator[tuple[Volume, dict[str, Mask]]]) -> None:
    engine = factory(settings())
    rng = np.random.default_rng(5)
    dice: dict[str, list[float]] = defaultdict(list)
    right: dict[str, list[bool]] = defaultdict(list)
    placed: dict[str, list[bool]] = defaultdict(list)
    wrong: dict[tuple[str, str], int] = defaultdict(int)
    options = config.load("fdg-petct").settings.localize
    seconds = []
    for ct, truth in cases:
        start = time.process_time()
        answer = engine.segment(Study("s", PatientFacts(), Tracer.FDG, (), None, ct)).label_map
        seconds.append(time.process_time() - start)
        names = {v: organ_of(s.key) for v, s in answer.names.items()}
        points = ct.grid.world(np.argwhere(np.ones(ct.grid.shape, dtype=bool)))
        values = answer.at(points).reshape(ct.grid.shape)
        places = Places(Anatomy((NamedMap("builtin-organs", answer),)), Frames(), ct.grid.frame)
        for organ, mask in truth.items():
            found = np.isin(values, [v for v, name in names.items() if name == organ])
            dice[organ].append(float(2 * (found & mask).sum() / (found.sum() + mask.sum())))
            inside = np.argwhere(mask)
            for index in inside[rng.integers(len(inside), size=_POINTS)]:
                name = names.get(int(values[tuple(index)]), "")
                gut = {"stomach", "bowel"}
                right[organ].append(name == organ or {name, organ} <= gut)
                if organ in COUNTED:
                    said = located(ct.grid.world(index[None, :].astype(float))[0], places, options)
                    placed[organ].append(said is COUNTED[organ])
                    wrong[(organ, said.value)] += said is not COUNTED[organ]
    print(f"| organ | Dice, median | lowest | n | points placed right | ... by label alone |\n|{'---|' * 6}")
    for organ, scores in dice.items():
        share = f"{np.mean(placed[organ]):.1%}" if organ in placed else "-"
        print(f"| {organ} | {np.median(scores):.2f} | {min(scores):.2f} | {len(scores)}", end=" | ")
        print(f"{share} | {np.mean(right[organ]):.1%} |")
    overall = [np.mean([x for row in table.values() for x in row]) for table in (placed, right)]
    print(f"points placed right over all: {overall[0]:.1%}, by label alone {overall[1]:.1%}; ", end="")
    print(f"CPU {np.median(seconds):.1f} s, peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    most = sorted(wrong.items(), key=lambda item: -item[1])[:8]
    print("most frequent errors:", ", ".join(f"{a} -> {b} {n}" for (a, b), n in most if n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--simulated", type=int, default=0)
    parser.add_argument("--first", type=int, default=900_000)
    parser.add_argument("--bodies", type=Path)
    parser.add_argument("--most", type=int, default=10_000)
    args = parser.parse_args()
    if args.ct and args.labels:
        print("\nreal CT")
        measure(real(args.ct, args.labels))
    if args.simulated:
        print("\nsimulated bodies")
        measure(simulated(args.simulated, args.first))
    if args.bodies:
        print("\nheld-out bodies round real organ maps, painted")
        measure(painted(args.bodies, args.most))


if __name__ == "__main__":
    main()
