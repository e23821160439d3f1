"""Time and memory from candidates to screened lesions on a large PET. Prints one line per stage.

    python -m scripts.bench_detect [--shape 400 400 600] [--number 1] [--seed 11]

One simulated FDG study is sampled on a PET of that shape over the same body, with noise in every voxel, and goes through
detection, location, matching and screening with the anatomy that the simulator knows. Seconds are CPU seconds of this process
and its threads, and wall time beside them: on a machine with other work the two differ. Memory is the peak of the process,
which holds the PET itself and the CT too.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import replace

import numpy as np

from lesion_pipeline import config
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.io.sitk import resample_volume
from lesion_pipeline.plugins.threshold_detector import factory
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.simulate.cohort import plan_study
from lesion_pipeline.simulate.presets import load_preset
from lesion_pipeline.stages import detect, localize, match, screen
from scripts.simulated_studies import light, simulated

NOISE = 0.08  # of each voxel's value


def enlarged(pet: Volume, shape: tuple[int, int, int], seed: int) -> Volume:
    """The same body on a grid of ``shape`` (ni, nj, nk), linear between voxels, with independent noise in each voxel."""
    factor = (np.array(pet.grid.shape) - 1) / (np.array(shape) - 1)
    affine = pet.grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * factor
    large = resample_volume(pet, Grid(shape, affine, pet.grid.frame), "linear", outside=0.0)
    values = np.array(large.values)
    rng = np.random.default_rng(seed)
    for k in range(shape[2]):  # slice by slice, or the noise alone would be as large as the image
        values[:, :, k] *= 1.0 + NOISE * rng.standard_normal(shape[:2], dtype=np.float32)
    return replace(large, values=values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(400, 400, 600))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--number", type=int, default=1)
    asked = parser.parse_args()
    settings = config.load("fdg-petct").settings
    study, anatomy, _, _ = simulated(light(plan_study(load_preset("fdg"), asked.seed, asked.number)))
    if study.pet is None:
        parser.error("the simulated study holds no PET")
    study = replace(study, pet=enlarged(study.pet, tuple(asked.shape), asked.seed))
    detectors = [factory(settings.plugins["tracer_threshold"])]
    recorder = Recorder("bench")
    began, cpu = time.perf_counter(), time.process_time()
    found = recorder.run("detect", detect.run, study, anatomy, detectors, settings.detect)
    located = recorder.run("localize", localize.run, found, study, anatomy, settings.localize)
    findings = recorder.run("match", match.run, located, study, anatomy, settings.match)
    screened = recorder.run("screen", screen.run, findings, study, anatomy, settings.screen)
    wall, spent = time.perf_counter() - began, time.process_time() - cpu
    for stage in recorder.runs:
        print(f"{stage.stage:9s} {stage.seconds:6.1f} s wall, peak {stage.peak_rss_mb:5.0f} MB")
    decided = Counter(str(one.decision) for one in screened)
    shape = " x ".join(str(n) for n in asked.shape)
    print(f"PET {shape}: {len(found)} candidates, {dict(decided)}: {spent:.1f} CPU s, {wall:.1f} s wall")


if __name__ == "__main__":
    main()
