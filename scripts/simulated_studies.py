"""Simulated studies in memory, for the scripts that fit and measure: no DICOM is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.pet import PatientFacts
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.simulate import answer, scanner
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.study import image_ct, image_pet, stage_scene

#: Which preset reads which tracer of the simulator.
PRESETS = {
    "FDG": "fdg-petct",
    "PSMA-11": "psma-petct",
    "DCFPyL": "psma-petct",
    "PSMA-1007": "psma1007-petct",
    "DOTATATE": "dotatate-petct",
}


def light(plan: StudyPlan) -> StudyPlan:
    """The plan with a CT of 3 x 3 x 5 mm, a PET of 4 x 4 x 3 mm and no MR; blur, noise and coverage as drawn."""
    drawn = plan.scanner
    coarse = scanner.ScannerSettings(
        pet_fwhm=drawn.pet_fwhm,
        pet_noise=drawn.pet_noise,
        breath_mm=drawn.breath_mm,
        ct_spacing=(3.0, 3.0, 5.0),
        ct_matrix=166,
        ct_noise=drawn.ct_noise,
        top=drawn.top,
        bottom=drawn.bottom,
    )
    return replace(plan, scanner=coarse, mr=None)


def simulated(plan: StudyPlan) -> tuple[Study, Anatomy, tuple[answer.Truth, ...], npt.NDArray[np.uint16]]:
    """A study in memory, its anatomy as drawn, its lesions and their label map on the PET grid."""
    scene = stage_scene(plan)
    body = scene.body
    (hu, grid_ct), (suv, grid_pet) = image_ct(scene), image_pet(scene)
    labels = answer.lesion_labels(scene.lesions, scene.in_pet, grid_pet)
    truth = answer.truths(scene.lesions, scene.in_pet, labels, grid_pet, suv)
    pet = Volume(np.asarray(suv, dtype=np.float32), grid_pet, Unit.SUVBW, Modality.PT, "PT-simulated")
    ct = Volume(np.asarray(hu, dtype=np.float32), grid_ct, Unit.HU, Modality.CT, "CT-simulated")
    vertebrae = []
    for v in body.spine.vertebrae:
        x, y, z = (float(c) for c in body.world(v.origin))
        vertebrae.append(VertebraInstance(v.instance, VertebralLevel.__members__.get(v.name), 0.95, (x, y, z)))
    anatomy = Anatomy((NamedMap("simulated", body.labels(grid_ct)),), tuple(vertebrae))
    return Study(plan.name, PatientFacts(), plan.tracer, (), pet, ct), anatomy, truth, labels
