"""Label maps of a run, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import (
    Candidate,
    Decision,
    Evidence,
    Finding,
    LesionClass,
    Located,
    Measures,
    Screened,
    Site,
    VertebraShare,
)
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.result import Result
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import Count, Tally, Verdict
from lesion_pipeline.domain.volume import LabelMap, Modality
from lesion_pipeline.io.nifti import read_label_map
from lesion_pipeline.report import layout
from lesion_pipeline.report.label_maps import lesion_maps, write_label_maps

PET = Grid((6, 7, 8), np.diag([4.0, 4.0, 3.0, 1.0]), "f")
CT = Grid((12, 14, 8), np.diag([2.0, 2.0, 3.0, 1.0]), "f")


def _lesion(key: str, voxels: list[list[int]], decision: Decision, grid: Grid = PET) -> Screened:
    modality = Modality.PT if grid is PET else Modality.CT
    candidate = Candidate(key, np.array(voxels, dtype=np.int32), grid, modality, "test", Measures(1.0))
    share = VertebraShare(3, VertebralLevel.L3, 0.9, 1.0, 1.0, True)
    site = Site(((Organ.BONE, 1.0),), "vertebra_L3", True, (share,))
    return Screened(Finding(key, (Located(candidate, site),), Evidence()), decision, 0.9, LesionClass.METASTASIS, ())


def _result(anatomy: Anatomy, screened: tuple[Screened, ...]) -> Result:
    zero = Count(0, 0, 0, (1.0,))
    tally = Tally("r", zero, zero, zero, zero, (((0, 0, 0, 0), 1.0),), (), ())
    study = Study("S-1", PatientFacts(), Tracer.FDG, (), None, None)
    return Result(study, anatomy, screened, tally, Verdict("c", "h"), "p", {}, "0", (), ())


def test_lesions_keep_their_number_across_grids_and_counted_ones_win_a_shared_voxel() -> None:
    lesions = [
        _lesion("L002", [[1, 1, 1], [1, 1, 2]], Decision.EXCLUDED),
        _lesion("L001", [[1, 1, 2]], Decision.COUNTED),
        _lesion("L003", [[5, 5, 5]], Decision.UNCERTAIN, CT),
    ]
    maps = dict(lesion_maps(lesions))
    assert list(maps) == ["lesions", "lesions-ct"]
    assert maps["lesions"].values[1, 1, 2] == 1
    assert maps["lesions"].values[1, 1, 1] == 2
    assert maps["lesions-ct"].values[5, 5, 5] == 3
    assert maps["lesions"].names[1].key == "L001"
    assert maps["lesions"].names[1].level is VertebralLevel.L3


def test_the_only_grid_is_called_lesions_and_no_lesion_writes_no_map() -> None:
    assert [name for name, _ in lesion_maps([_lesion("L001", [[1, 1, 1]], Decision.COUNTED, CT)])] == ["lesions"]
    assert lesion_maps([]) == []


def test_maps_read_back_with_names_and_place(tmp_path: Path) -> None:
    values = np.zeros(CT.shape, dtype=np.uint16)
    values[2:5, 3:6, 1:4] = 7
    liver = LabelMap(values, CT, {7: Structure("liver", StructureKind.ORGAN, Organ.LIVER)})
    anatomy = Anatomy((NamedMap("ct_organs", liver), NamedMap("ct_organs", liver), NamedMap("lesions", liver)))
    written = write_label_maps(_result(anatomy, (_lesion("L001", [[1, 2, 3]], Decision.COUNTED),)), tmp_path)
    assert [p.name for p in written] == [
        "ct_organs.nii.gz",
        "ct_organs-2.nii.gz",
        "anatomy-lesions.nii.gz",
        "lesions.nii.gz",
    ]
    back = read_label_map(layout.label_map(tmp_path, "ct_organs"), None, "f")
    assert back.grid.same_as(CT)
    np.testing.assert_array_equal(back.values, values)
    lesions = read_label_map(layout.label_map(tmp_path, "lesions"), None, "f")
    assert np.argwhere(lesions.values).tolist() == [[1, 2, 3]]
    assert lesions.names[1].key == "L001"
