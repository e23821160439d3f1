"""A small answered study, built by hand: one certain spinal lesion, one uncertain liver lesion, one excluded bladder."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline.domain.anatomy import Anatomy, Organ, VertebraInstance, VertebralLevel
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import (
    Candidate,
    Decision,
    Evidence,
    Finding,
    LesionClass,
    Located,
    Measures,
    Reason,
    Screened,
    Site,
    VertebraShare,
)
from lesion_pipeline.domain.pet import PatientFacts, ReferenceTime, SuvCalibration, SuvStatus, Tracer
from lesion_pipeline.domain.result import Result
from lesion_pipeline.domain.study import Series, SeriesRole, Study
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.stages import tally, verdict

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GRID = Grid((8, 8, 8), np.diag([4.0, 4.0, 4.0, 1.0]), "frame")


def _screened(name: str, index: int, site: Site, decision: Decision, judged: tuple[float, LesionClass]) -> Screened:
    p, kind = judged
    voxels = np.array([[index, 2, 3], [index, 2, 4]], dtype=np.int32)
    measures = Measures(0.128, suv_max=9.1234567, suv_mean=6.0, suv_peak=7.4, tlg=0.77, background=1.6)
    candidate = Candidate(name, voxels, GRID, Modality.PT, "test", measures, p)
    reasons = (Reason("TEST", f"a reason for {name}"),)
    return Screened(Finding(name, (Located(candidate, site),), Evidence("positive", "lytic")), decision, p, kind, reasons)


def _volume(unit: Unit, modality: Modality) -> Volume:
    return Volume(np.ones(GRID.shape, dtype=np.float32), GRID, unit, modality, f"{modality}-1")


@pytest.fixture
def counted_result() -> Result:
    """A study that an answer can be given for; its caveat is no veto."""
    alternatives = ((VertebralLevel.T11, 0.8), (VertebralLevel.T12, 0.2))
    share = VertebraShare(18, VertebralLevel.T11, 0.8, 0.9, 0.1, involved=True)
    spinal = Site(((Organ.BONE, 1.0),), "vertebra_T11", True, (share,))
    liver = Site(((Organ.LIVER, 0.8), (Organ.LUNG, 0.2)), "liver", False)
    bladder = Site(((Organ.BLADDER, 1.0),), "urinary_bladder", False)
    screened = (
        _screened("L001", 1, spinal, Decision.COUNTED, (0.99, LesionClass.METASTASIS)),
        _screened("L002", 3, liver, Decision.UNCERTAIN, (0.4, LesionClass.METASTASIS)),
        _screened("L003", 5, bladder, Decision.EXCLUDED, (0.02, LesionClass.PHYSIOLOGIC)),
    )
    anatomy = Anatomy(vertebrae=(VertebraInstance(18, VertebralLevel.T11, 0.8, (4.0, 8.0, 12.0), alternatives),))
    at = ReferenceTime("series_datetime", datetime(2020, 1, 1, 11))
    suv = SuvCalibration(SuvStatus.OK, bw_per_unit=4.2111e-4, method="BQML", reference_times=(at,), uptake_minutes=61.0)
    series = Series("PT-1", SeriesRole.PET, "PET AC", Modality.PT, "", 8, chosen=True, input_sha256="ab" * 32)
    study = Study(
        "s0123456789",
        PatientFacts(age_years=61, age_source="PatientBirthDate"),
        Tracer.FDG,
        (series,),
        _volume(Unit.SUVBW, Modality.PT),
        _volume(Unit.HU, Modality.CT),
        suv=suv,
    )
    rules = tally.load_rules(CONFIGS / "counting" / "trial-default.toml")
    criteria = verdict.load_criteria(CONFIGS / "criteria" / "spinal-oligomet.toml")
    caveats = (Caveat("MR_NOT_REGISTERED", "coregister", "an MR is not linked to the PET-CT", "MR-1"),)
    counts = tally.run(screened, study, anatomy, rules)
    return Result(
        study=study,
        anatomy=anatomy,
        screened=screened,
        tally=counts,
        verdict=verdict.run(counts, study, criteria, caveats),
        preset="fdg-petct",
        settings={"preset": {"name": "fdg-petct", "plugins": {"lesions_from_file": {"path": "/home/someone/mask.nii.gz"}}}},
        config_sha256="cd" * 32,
        plugins=(("lesion_detectors", "test", "1"),),
        caveats=caveats,
    )
