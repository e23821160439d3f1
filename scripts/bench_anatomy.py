"""Time and memory of the anatomy of a large CT: builtin-spine and builtin-organs together, as the preset asks for them.

    python -m scripts.bench_anatomy [--shape 512 512 300] [--seed 3] [--repeats 2] [--labels FILE.npz] [--ct FILE.npz]

A simulated trunk, head to thighs, is sampled at half the matrix and enlarged with noise in every voxel. A process of its own
then loads that CT and runs the stage ``delineate``: wall seconds, CPU seconds of all its threads (on a machine with other work
the two differ) and its peak memory, which holds the CT itself. ``--labels`` keeps the label maps, or compares them with those
kept before: a change for speed must not change a voxel.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lesion_pipeline import config, pipeline
from lesion_pipeline.domain.anatomy import Anatomy, Segmentation
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.protocols import AnatomySegmenter
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.sitk import resample_volume
from lesion_pipeline.recorder import Recorder, peak_rss_mb
from lesion_pipeline.simulate.anatomy.body import build_body
from lesion_pipeline.simulate.anatomy.params import draw_params
from lesion_pipeline.stages import delineate

FIELD_MM, LENGTH_MM = 500.0, 900.0
NOISE_HU = 20.0
PRESET = "fdg-petct"


def simulated_ct(shape: tuple[int, int, int], seed: int) -> Volume:
    """A head-to-thigh CT of one simulated person, float32 (ni, nj, nk) HU, fields of 500 x 500 x 900 mm."""
    rng = np.random.default_rng(seed)
    body = build_body(draw_params(rng), (0.0, 20.0, -860.0))
    top = float(body.world(body.spine["C1"].origin)[2]) + 90.0
    half = (max(shape[0] // 2, 1), max(shape[1] // 2, 1), shape[2])
    grid = _grid(half, top)
    small = body.sample_ct(grid, rng, 0.0)
    large = resample_volume(
        Volume(small.values, grid, Unit.HU, Modality.CT, "ct"), _grid(shape, top), "linear", outside=-1024.0
    )
    values = np.array(large.values)
    for k in range(shape[2]):  # slice by slice, or the noise alone would be as large as the image
        values[:, :, k] += NOISE_HU * rng.standard_normal(shape[:2], dtype=np.float32)
    return Volume(np.rint(values), large.grid, Unit.HU, Modality.CT, "ct")


def _grid(shape: tuple[int, int, int], top_mm: float) -> Grid:
    step = np.array([FIELD_MM / shape[0], FIELD_MM / shape[1], LENGTH_MM / shape[2]])
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = np.array([-FIELD_MM / 2, -FIELD_MM / 2, top_mm - LENGTH_MM]) + step / 2
    return Grid(shape, affine, "ct")


class Timed:
    """A segmenter that prints what each of its answers took."""

    def __init__(self, segmenter: AnatomySegmenter) -> None:
        self._segmenter = segmenter
        self.name, self.version, self.needs = segmenter.name, segmenter.version, segmenter.needs

    def segment(self, study: Study) -> Segmentation:
        clock = Clock()
        answer = self._segmenter.segment(study)
        named = sum(v.level is not None for v in answer.vertebrae)
        print(f"{self.name}: {clock}; {len(answer.label_map.names)} structures, {named} vertebrae named")
        return answer


class Clock:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self._began[0]:.1f} s wall, {time.process_time() - self._began[1]:.1f} CPU s"


def measure(file: Path) -> Anatomy:
    """The anatomy stage on a kept CT; prints seconds and memory of this process."""
    with np.load(file) as kept:
        values, affine = np.asfortranarray(kept["hu"]).astype(np.float32), kept["affine"]  # as the reader stacks slices
    ct = Volume(values, Grid((values.shape[0], values.shape[1], values.shape[2]), affine, "ct"), Unit.HU, Modality.CT, "ct")
    conf = config.load(PRESET)
    segmenters = [Timed(s) for s in pipeline.load_plugins(conf, detectors=False).segmenters]
    study = Study("bench", PatientFacts(), Tracer.UNKNOWN, (), None, ct)
    before, clock, recorder = peak_rss_mb(), Clock(), Recorder("bench")
    anatomy = recorder.run("delineate", delineate.run, study, segmenters, conf.settings.delineate)
    shape = " x ".join(str(n) for n in values.shape)
    print(f"CT of {shape}: {clock}, peak {recorder.runs[0].peak_rss_mb:.0f} MB ({before:.0f} MB before)", flush=True)
    return anatomy


def keep_or_compare(anatomy: Anatomy, file: Path) -> None:
    """Write the label maps, or print how many voxels differ from those that ``file`` holds."""
    maps = {m.source: m.label_map.values for m in anatomy.maps}
    if not file.exists():
        np.savez_compressed(file, allow_pickle=False, **maps)
        return
    with np.load(file) as kept:
        for source, values in maps.items():
            same = kept[source].shape == values.shape
            print(f"{source}: {int((kept[source] != values).sum()) if same else 'all'} voxels differ from {file.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--ct", type=Path, help="where the simulated CT is kept, to be used again")
    parser.add_argument("--labels", type=Path, help="label maps to keep, or to compare with")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)  # the process that is measured
    asked = parser.parse_args()
    if asked.measure is not None:
        anatomy = measure(asked.measure)
        if asked.labels:
            keep_or_compare(anatomy, asked.labels)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = asked.ct or Path(folder) / "ct.npz"
        if not file.exists():
            ct = simulated_ct(tuple(asked.shape), asked.seed)
            np.savez(file, hu=ct.values.astype(np.int16), affine=ct.grid.affine)
            del ct
        labels = ["--labels", str(asked.labels)] if asked.labels else []
        for _ in range(asked.repeats):
            subprocess.run([sys.executable, "-m", "scripts.bench_anatomy", "--measure", str(file), *labels], check=True)


if __name__ == "__main__":
    main()
