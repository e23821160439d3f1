"""How many foci the detector ct-bone finds: in real CTs, and in simulated studies against their answer key.

    python scripts/measure_ct_bone.py --real CT.nii.gz ... --cohort psma --seed 7301 --studies 6

A table in Markdown, as docs/detectors.md holds it.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lesion_pipeline import config
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.pipeline import load_plugins, read
from lesion_pipeline.plugins.ct_bone_detector import factory
from lesion_pipeline.recorder import Recorder
from lesion_pipeline.simulate.cohort import plan_study
from lesion_pipeline.simulate.presets import load_preset
from lesion_pipeline.stages import coregister, delineate
from scripts.simulated_studies import simulated

NEAR_MM = 12.0
CONFIG = config.load("fdg-petct")
PLUGINS = load_plugins(CONFIG)


def real_study(path: Path) -> Study:
    """A CT in NIfTI, or a folder of DICOM."""
    if path.is_dir():
        series = read(path, CONFIG, Recorder(path.name))
        return coregister.run(series, CONFIG.settings.coregister, PLUGINS.registrars)
    ct = read_volume(path, Unit.HU, Modality.CT, "ct", "ct")
    return Study("ct", PatientFacts(), Tracer.UNKNOWN, (), None, ct)


def found_in(study: Study) -> tuple[tuple[Candidate, ...], float]:
    """The foci, and the detector's own CPU seconds."""
    anatomy = delineate.run(study, PLUGINS.segmenters, CONFIG.settings.delineate)
    start = time.process_time()
    found = factory(CONFIG.settings.plugins["ct_bone"]).detect(study, anatomy)
    return found, time.process_time() - start


def kinds(study: Study, found: tuple[Candidate, ...]) -> str:
    ct = study.need(Modality.CT)
    return ", ".join(f"{c.measures.volume_ml:.1f} ml of {ct.values[tuple(c.voxels.T)].mean():.0f} HU" for c in found) or "-"


def main() -> None:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--real", nargs="*", type=Path, default=[])
    told.add_argument("--cohort", default="psma")
    told.add_argument("--seed", type=int, default=7301)
    told.add_argument("--studies", type=int, default=0)
    options = told.parse_args()
    print("| study | foci | of them on a change of a vertebral body | such changes | CPU s | what |\n|---|---|---|---|---|---|")
    for path in options.real:
        study = real_study(path)
        found, seconds = found_in(study)
        print(f"| {path.name} | {len(found)} | | not known | {seconds:.1f} | {kinds(study, found)} |", flush=True)
    for number in range(1, options.studies + 1):
        plan = plan_study(load_preset(options.cohort), options.seed, number)
        study, _, truth, _ = simulated(replace(plan, mr=None))
        found, seconds = found_in(study)
        facts = [t.as_json() for t in truth]
        bodies = [t for t in facts if t["ct"] in ("lytic", "sclerotic") and str(t["site"]).startswith("body:")]
        centres = [np.array(t["centroid_lps_mm"], dtype=np.float64) for t in bodies]
        hit = [any(np.linalg.norm(c.centroid_lps_mm - x) < NEAR_MM for x in centres) for c in found]
        seen = sum(any(np.linalg.norm(c.centroid_lps_mm - x) < NEAR_MM for c in found) for x in centres)
        line = f"| {plan.name} | {len(found)} | {sum(hit)} | {seen} of {len(bodies)} seen | {seconds:.1f} |"
        print(f"{line} {kinds(study, found)} |", flush=True)


if __name__ == "__main__":
    main()
