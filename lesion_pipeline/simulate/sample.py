"""The plan of the sample study."""

from __future__ import annotations

from lesion_pipeline.domain.pet import Tracer
from lesion_pipeline.simulate.anatomy.params import BodyParams
from lesion_pipeline.simulate.lesions import LesionPlan
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.scanner import MrSettings

SAMPLE_SEED = 20240314

STORY = (
    "A man of 61 with resected colorectal cancer and back pain. Four metastases in three organs, two of them in the spine: "
    "a lytic one in the body of T11, one in the left pedicle of L3 that CT does not show, one in the right lobe of the liver, "
    "one in the upper right lung. Not metastases: urine standing in the left ureter beside L4, degenerative uptake at the L5 "
    "end-plate, the bladder and the kidneys. The counts hold under every reading of the rules."
)


def sample_plan(seed: int = SAMPLE_SEED) -> StudyPlan:
    """Four metastases (bone twice, liver, lung), a hot ureter and a degenerative end-plate in a patient of usual size."""
    return StudyPlan(
        name="sample",
        seed=seed,
        body=BodyParams(sex="M", age=61, height_cm=176, weight_kg=81, scoliosis_deg=2.0, rotation_deg=0.0, seed=seed % 9973),
        tracer=Tracer.FDG,
        mr=MrSettings(),
        lesions=(
            LesionPlan("M1", "body:T11", 21.0, 10.5, ct="lytic"),
            LesionPlan("M2", "pedicle_left:L3", 19.0, 8.5, ct="none"),
            LesionPlan("M3", "liver@T11", 24.0, 9.5, ct="mass", mr=False, shift=(-48.0, 6.0, 0.0)),
            LesionPlan("M4", "lung_right@T4", 17.0, 7.5, ct="mass", mr=False),
            LesionPlan("B1", "endplate:L5", 12.0, 3.0, kind="degenerative", elongation=1.0),
        ),
        uptake={"liver": 2.2, "myocardium": 4.5, "ureter_hot": 15.0, "urine": 24.0},
        variation=0.5,
        hot_ureter=((1, 0.42),),
        story=STORY,
    )
