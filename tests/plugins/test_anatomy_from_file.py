"""Label maps that others made: names, frames, orientation, vertebrae in order."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel
from lesion_pipeline.domain.errors import ConfigError, GridMismatchError, InputError, UnitError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.vocabulary import known_structure, structure_from_words
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.io.nifti import write_label_map
from lesion_pipeline.io.rtstruct import RTSTRUCT, frame_name
from lesion_pipeline.plugins.anatomy_from_file import factory

SHAPE = (12, 10, 30)
TABLE = {"frame": "ct", "least_overlap": 0.5, "vertebra_confidence": 0.9}


def grid(flip: bool = False, shift: float = 0.0) -> Grid:
    affine = np.diag([-4.0 if flip else 4.0, 4.0, 5.0, 1.0])
    affine[:3, 3] = (100.0 + shift + (44.0 if flip else 0.0), -20.0, 300.0)
    return Grid(SHAPE, affine, "frame-of-ct")


def study() -> Study:
    ct = Volume(np.zeros(SHAPE, dtype=np.float32), grid(), Unit.HU, Modality.CT, "CT-1")
    return Study("s", PatientFacts(), Tracer.FDG, (), None, ct)


def labels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint16]]:
    values = np.zeros(SHAPE, dtype=np.uint16)
    values[2:5, 3:6, 20:24] = 7  # upper vertebra
    values[2:5, 3:6, 12:16] = 9  # lower vertebra
    values[8:11, 2:8, 5:12] = 3
    return values


def saved(folder: Path, table: object, where: Grid | None = None) -> Path:
    names = {
        7: Structure("a", StructureKind.REGION),
        9: Structure("b", StructureKind.REGION),
        3: Structure("c", StructureKind.REGION),
    }
    path = folder / "anatomy.nii.gz"
    write_label_map(LabelMap(labels(), where or grid(), names), path)
    (folder / "anatomy.names.json").write_text(json.dumps(table), encoding="utf-8")
    return path


SIMPLE = {"7": "vertebrae_T12", "9": "vertebrae_L1", "3": "adrenal_gland_left"}


@pytest.mark.parametrize("flip", [False, True])
def test_simple_table_with_the_names_of_other_tools(tmp_path: Path, flip: bool) -> None:
    answer = factory({**TABLE, "path": str(saved(tmp_path, SIMPLE, grid(flip)))}).segment(study())
    assert answer.label_map.grid.frame == "frame-of-ct"
    assert {s.key for s in answer.label_map.names.values()} == {"vertebra_T12", "vertebra_L1", "adrenal_left"}
    assert [(v.instance, v.level) for v in answer.vertebrae] == [(1, VertebralLevel.T12), (2, VertebralLevel.L1)]
    assert answer.vertebrae[0].confidence == 0.9
    assert answer.caveats == ()
    expected = grid(flip).world((3, 4, 21.5))
    assert answer.vertebrae[0].centroid_lps_mm == pytest.approx(tuple(expected))


def test_tsv_elsewhere_and_full_table(tmp_path: Path) -> None:
    path = saved(tmp_path, {})
    (tmp_path / "anatomy.names.json").unlink()
    table = tmp_path / "names.tsv"
    table.write_text("index\tname\n7\tvertebrae_L2\n9\tvertebrae_L4\n3\tspleen\n", encoding="utf-8")
    answer = factory({**TABLE, "path": str(path), "names": str(table)}).segment(study())
    spleen = next(s for s in answer.label_map.names.values() if s.key == "spleen")
    assert spleen.organ is Organ.SPLEEN
    assert [c.code for c in answer.caveats] == ["VERTEBRA_MISSING"]
    assert "L3" in answer.caveats[0].message


def test_vertebrae_upside_down_are_doubted(tmp_path: Path) -> None:
    table = {"7": "vertebrae_L1", "9": "vertebrae_T12", "3": {"key": "tumour_bed", "kind": "region"}}
    answer = factory({**TABLE, "path": str(saved(tmp_path, table))}).segment(study())
    assert [c.code for c in answer.caveats] == ["VERTEBRAE_OUT_OF_ORDER", "UNKNOWN_STRUCTURES"]


def test_folder_of_masks(tmp_path: Path) -> None:
    for key, value in (("liver", 3), ("vertebrae_L5", 9)):
        mask = (labels() == value).astype(np.uint16)
        write_label_map(LabelMap(mask, grid(), {1: Structure("x", StructureKind.REGION)}), tmp_path / f"{key}.nii.gz")
    answer = factory({**TABLE, "path": str(tmp_path)}).segment(study())
    assert {s.key for s in answer.label_map.names.values()} == {"liver", "vertebra_L5"}
    assert (answer.label_map.values > 0).sum() == ((labels() == 3) | (labels() == 9)).sum()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="NO_ANATOMY_FILE"):
        factory({**TABLE, "path": ""})
    with pytest.raises(InputError, match="NO_ANATOMY_FILE"):
        factory({**TABLE, "path": str(tmp_path / "nothing.nii.gz")}).segment(study())
    with pytest.raises(GridMismatchError, match="ANATOMY_BESIDE_IMAGE"):
        factory({**TABLE, "path": str(saved(tmp_path, SIMPLE, grid(shift=300.0)))}).segment(study())
    with pytest.raises(UnitError, match="LABEL_WITHOUT_NAME"):
        factory({**TABLE, "path": str(saved(tmp_path, {"7": "liver"}))}).segment(study())
    with pytest.raises(InputError, match="BAD_NAMES"):
        factory({**TABLE, "path": str(saved(tmp_path, ["liver"]))}).segment(study())


@pytest.mark.parametrize(
    ("name", "key", "organ"),
    [
        ("kidney_right", "kidney_right", Organ.KIDNEY),
        ("clavicula_left", "clavicle_left", Organ.BONE),
        ("rib_left_7", "rib_left_7", Organ.BONE),
        ("lung_upper_lobe_left", "lung_upper_lobe_left", Organ.LUNG),
        ("esophagus", "oesophagus", Organ.GI),
        ("sacrum", "sacrum", Organ.BONE),
        ("inferior_vena_cava", "inferior_vena_cava", None),
        ("vertebrae_T4", "vertebra_T4", Organ.BONE),
    ],
)
def test_vocabulary(name: str, key: str, organ: Organ | None) -> None:
    structure = known_structure(name)
    assert structure is not None
    assert (structure.key, structure.organ) == (key, organ)


def test_unknown_names_are_unknown() -> None:
    assert known_structure("flux_capacitor") is None
    assert known_structure("vertebrae_X9") is None


@pytest.mark.parametrize(
    ("words", "code", "key"),
    [
        ("Left kidney", None, "kidney_left"),
        ("KIDNEY_R", None, "kidney_right"),
        ("Lung, L", None, "lung_left"),
        ("Liver", None, "liver"),
        ("vertebrae L3", None, "vertebra_L3"),
        ("T12", None, "vertebra_T12"),
        ("Leber", "10200004", "liver"),
        ("organ 7 right", "64033007", "kidney_right"),
        ("Segment 3", "36470004", "vertebra_L3"),
        ("Segment 4", "54735007", "sacrum"),
        ("Segment 5 left", "45653009", "lung_upper_lobe_left"),
        ("Segment 6", "72481006", "lung"),
        ("Parotid gland left", None, "parotid_left"),
    ],
)
def test_plain_words_and_codes(words: str, code: str | None, key: str) -> None:
    structure = structure_from_words(words, code)
    assert structure is not None
    assert structure.key == key
    assert structure_from_words("GTV 1") is None


def test_contours_of_a_structure_set_become_structures(tmp_path: Path) -> None:
    frame_uid = "1.2.3.4.5"
    where = Grid(SHAPE, grid().affine, frame_name(frame_uid))
    ct = Volume(np.zeros(SHAPE, dtype=np.float32), where, Unit.HU, Modality.CT, "CT-1")
    corners = where.world([[2, 2, 5], [8, 2, 5], [8, 7, 5], [2, 7, 5]])
    contour = Dataset()
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", 4
    contour.ContourData = [round(float(v), 3) for v in corners.reshape(-1)]
    names, contours = Dataset(), Dataset()
    names.ROINumber, names.ROIName, names.ReferencedFrameOfReferenceUID = 3, "Left Kidney", frame_uid
    contours.ReferencedROINumber, contours.ContourSequence = 3, [contour]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, UID(RTSTRUCT)
    meta.MediaStorageSOPInstanceUID = UID("1.2.3.4.6")
    path = tmp_path / "contours.dcm"
    structures = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    structures.SOPClassUID, structures.SOPInstanceUID = RTSTRUCT, "1.2.3.4.6"
    structures.StructureSetROISequence, structures.ROIContourSequence = [names], [contours]
    structures.save_as(path, enforce_file_format=True)
    found = factory({**TABLE, "path": str(path)}).segment(Study("s", PatientFacts(), Tracer.FDG, (), None, ct))
    assert {s.key for s in found.label_map.names.values()} == {"kidney_left"}
    assert found.label_map.at(where.world([[5, 5, 5], [5, 5, 6]])).tolist() == [1, 0]


def test_codes_of_the_specification() -> None:
    """Clinical specification 8.2 and 8.3, and the mapping of TotalSegmentator for what is not in it."""
    expected = {
        "vertebra_T7": "62487009", "vertebra_S1": "65985001", "sacrum": "54735007", "coccyx": "64688005", "pleura": "3120008",
        "rectum": "34402009", "uterus": "35039007", "mandible": "91609006", "lung_lower_lobe_right": "90572001",
        "lung_left": "39607008", "inferior_vena_cava": "64131007", "iliopsoas_left": "68455001",
        "costal_cartilages": "50016007",
        "rib_left_7": "113197003", "vertebra_T13": None, "vertebra_L6": None,
    }  # fmt: skip
    assert {key: getattr(known_structure(key), "snomed", "unknown") for key in expected} == expected


def test_strange_names_are_kept_and_told(tmp_path: Path) -> None:
    table = {"7": "flux_capacitor", "9": "vertebrae_L1", "3": "spleen"}
    answer = factory({**TABLE, "path": str(saved(tmp_path, table))}).segment(study())
    assert {s.key for s in answer.label_map.names.values()} == {"flux_capacitor", "vertebra_L1", "spleen"}
    assert [(c.code, c.message.split(" ")[0]) for c in answer.caveats] == [("UNKNOWN_STRUCTURES", "1")]
