"""Two expert lesion masks with the organ map of the same patient, through the plug-ins that read files and the stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lesion_pipeline import config
from lesion_pipeline.domain.anatomy import Anatomy, Organ
from lesion_pipeline.domain.lesion import Located
from lesion_pipeline.domain.pet import PatientFacts, SuvCalibration, SuvStatus, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import CriterionStatus
from lesion_pipeline.domain.volume import Modality, Unit, Volume
from lesion_pipeline.io.nifti import read_volume
from lesion_pipeline.plugins import anatomy_from_file, lesions_from_file
from lesion_pipeline.stages import delineate, localize, match, screen, tally, verdict

#: Value -> (key, organ), as the authors of the maps name them.
NAMES = {
    1: ("spleen", "spleen"),
    2: ("kidneys", "kidney"),
    3: ("liver", "liver"),
    4: ("urinary_bladder", "bladder"),
    5: ("lungs", "lung"),
    6: ("brain", "brain"),
    7: ("heart", "heart"),
    8: ("stomach", "gastrointestinal"),
    9: ("prostate", "prostate"),
    10: ("head_glands", "head_glands"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A patient on the way: a PET of 5 inside the mask and 1 elsewhere, the drawing believed as it stands."""

    study: Study
    anatomy: Anatomy
    located: tuple[Located, ...]
    settings: config.Settings
    rules: config.Config


def _line(mask: Path, organs: Path, tmp_path: Path) -> Line:
    """Candidates and their places, before any merging, splitting or screening."""
    drawn = read_volume(mask, Unit.ARBITRARY, Modality.OTHER, "pet")
    pet = Volume(np.where(drawn.values > 0, np.float32(5.0), np.float32(1.0)), drawn.grid, Unit.SUVBW, Modality.PT, "PT-mask")
    names = tmp_path / "names.tsv"
    rows = "".join(f"{n}\t{key}\torgan\t{organ}\n" for n, (key, organ) in NAMES.items())
    names.write_text("index\tname\tkind\torgan\n" + rows, encoding="utf-8")
    conf = config.load("fdg-petct")
    settings = conf.settings
    ct = Volume(np.zeros(drawn.grid.shape, dtype=np.float32), drawn.grid, Unit.HU, Modality.CT, "CT-empty")
    suv = SuvCalibration(SuvStatus.OK, bw_per_unit=1.0)
    study = Study("S", PatientFacts(), Tracer.FDG, (), pet, ct, suv=suv)
    table = {**settings.plugins["anatomy_from_file"], "path": str(organs), "names": str(names), "frame": "pet"}
    segmenter = anatomy_from_file.factory(table)
    detector = lesions_from_file.factory({**settings.plugins["lesions_from_file"], "path": str(mask), "probability": 1.0})
    anatomy = delineate.run(study, (segmenter,), settings.delineate)
    located = localize.run(detector.detect(study, anatomy), study, anatomy, settings.localize)
    return Line(study, anatomy, located, settings, conf)


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize(
    ("patient", "lesions", "lung"), [("psma_95b833d46f153cd2", 111, 2), ("fdg_0b57b247b6", 4, 0)], ids=["psma", "fdg"]
)
def test_expert_masks_give_their_lesions_with_organs(
    real_data: Callable[[str], Path], tmp_path: Path, patient: str, lesions: int, lung: int
) -> None:
    folder = real_data("organ_maps")
    mask = next((folder / "lesions").glob(f"{patient}*"))
    line = _line(mask, next((folder / "maps").glob(f"{patient}*")), tmp_path)
    assert len(line.located) == lesions
    drawn = read_volume(mask, Unit.ARBITRARY, Modality.OTHER, "pet")
    assert sum(len(one.candidate.voxels) for one in line.located) == np.count_nonzero(drawn.values)
    # two lesions of the PSMA patient lie in the lungs by 75 % and more of their voxels, asked of the two files directly
    assert sum(one.site.organ is Organ.LUNG for one in line.located) >= lung
    assert all(one.site.organ is not None for one in line.located)
    assert all(sum(p for _, p in one.site.organ_probabilities) == pytest.approx(1.0) for one in line.located)
    if lesions > 5:
        findings = match.run(line.located, line.study, line.anatomy, line.settings.match)
        screened = screen.run(findings, line.study, line.anatomy, line.settings.screen)
        counts = tally.run(screened, line.study, line.anatomy, line.rules.rules)
        answer = verdict.run(counts, line.study, line.rules.criteria, line.anatomy.caveats, None).answer("INC4")
        assert counts.lesions.low > 5
        assert answer is not None
        assert answer.status is CriterionStatus.DOES_NOT_MEET
