from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import UID, ExplicitVRLittleEndian

from lesion_pipeline.domain.errors import FrameMismatchError, GeometryError, InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.io.dicom_seg import read_label_map, read_segments, segments_of
from lesion_pipeline.io.rtstruct import Roi, frame_name, inside, rasterize, read_rtstruct, rois_of

FRAME_UID = "1.2.3.4"


def grid(affine: npt.ArrayLike | None = None, shape: tuple[int, int, int] = (20, 18, 10)) -> Grid:
    return Grid(shape, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else np.asarray(affine), frame_name(FRAME_UID))


def square(low: float, high: float, z: float) -> npt.NDArray[np.float64]:
    return np.array([[low, low, z], [high, low, z], [high, high, z], [low, high, z]], dtype=np.float64)


def roi(*contours: npt.NDArray[np.float64]) -> Roi:
    return Roi(1, "GTV", frame_name(FRAME_UID), contours)


def test_a_square_holds_the_voxels_whose_centres_lie_in_it() -> None:
    found = rasterize(roi(square(3.5, 13.5, 8.0)), grid())
    expected = {(i, j, 2) for i in range(20) for j in range(18) if 3.5 < 2 * i < 13.5 and 3.5 < 3 * j < 13.5}
    assert {tuple(v) for v in found.tolist()} == expected
    assert found.dtype == np.int32


def test_an_inner_contour_is_a_hole_and_one_beside_the_image_is_nothing() -> None:
    found = rasterize(roi(square(1.0, 30.0, 8.0), square(7.0, 15.0, 8.0)), grid())
    assert not any(7 < 2 * i < 15 and 7 < 3 * j < 15 for i, j, _ in found.tolist())
    assert rasterize(roi(square(3.0, 13.0, 400.0)), grid()).shape == (0, 3)


def test_a_contour_between_slices_belongs_to_the_nearer_one() -> None:
    assert set(rasterize(roi(square(3.0, 13.0, 9.4)), grid())[:, 2].tolist()) == {2}
    assert set(rasterize(roi(square(3.0, 13.0, 10.6)), grid())[:, 2].tolist()) == {3}


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_the_same_places_are_found_however_the_image_is_stored(axes: tuple[int, int, int], signs: tuple[int, int, int]) -> None:
    plain = grid()
    turned = np.eye(4)
    turned[:3, :3] = plain.affine[:3, :3][:, axes] * np.array(signs)
    shape = tuple(plain.shape[a] for a in axes)
    ends = np.array([shape[n] - 1 if signs[n] < 0 else 0 for n in range(3)])
    turned[:3, 3] = -turned[:3, :3] @ ends
    other = grid(turned, (shape[0], shape[1], shape[2]))
    region = roi(square(3.3, 13.1, 8.0), square(3.3, 13.1, 12.0))
    places = [np.round(g.world(rasterize(region, g)), 6) for g in (plain, other)]
    assert {tuple(p) for p in places[0].tolist()} == {tuple(p) for p in places[1].tolist()}


def test_contours_that_do_not_fit_the_image_are_refused() -> None:
    slanted = square(3.0, 13.0, 8.0)
    slanted[0, 2] = 11.0
    with pytest.raises(GeometryError, match="CONTOUR_OFF_PLANE"):
        rasterize(roi(slanted), grid())
    with pytest.raises(FrameMismatchError):
        rasterize(Roi(1, "GTV", "another frame", (square(3, 13, 8),)), grid())


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 12))
def test_two_polygons_that_share_an_edge_share_no_point(seed: int, corners: int) -> None:
    """A fan of triangles round a point covers each lattice point as often as their union, the polygon, does."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.random(corners)) * 2 * np.pi
    radius = rng.uniform(3.0, 9.0, corners)
    polygon = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]) + 10.0
    centre = np.array([10.0 + rng.uniform(-1, 1), 10.0 + rng.uniform(-1, 1)])
    fan = np.zeros((20, 20), dtype=np.int64)
    parity = np.zeros((20, 20), dtype=bool)
    for n in range(corners):
        triangle = inside(np.array([centre, polygon[n], polygon[(n + 1) % corners]]), (20, 20))
        fan += triangle
        parity ^= triangle
    assert np.array_equal(parity, inside(polygon, (20, 20)))


def structure_set() -> Dataset:
    ds = Dataset()
    ds.FrameOfReferenceUID = FRAME_UID
    names, contours = [], []
    for number, name, kind in ((2, "second", "CLOSED_PLANAR"), (1, "first", "CLOSED_PLANAR"), (3, "a point", "POINT")):
        named, holder, contour = Dataset(), Dataset(), Dataset()
        named.ROINumber, named.ROIName, named.ReferencedFrameOfReferenceUID = number, name, FRAME_UID
        contour.ContourGeometricType = kind
        contour.ContourData = [str(v) for v in square(3.0, 13.0, 4.0 * number).ravel()]
        holder.ReferencedROINumber, holder.ContourSequence = number, [contour]
        names.append(named)
        contours.append(holder)
    ds.StructureSetROISequence, ds.ROIContourSequence = names, contours
    return ds


def test_a_structure_set_gives_its_regions_by_number() -> None:
    found = rois_of(structure_set())
    assert [(r.number, r.name, r.frame) for r in found] == [
        (1, "first", frame_name(FRAME_UID)),
        (2, "second", frame_name(FRAME_UID)),
    ]
    assert found[0].contours[0].shape == (4, 3)
    broken = structure_set()
    broken.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3", "4"]
    with pytest.raises(InputError, match="BAD_CONTOUR"):
        rois_of(broken)


def segmentation(masks: npt.NDArray[np.bool_], positions: list[float], segments: list[int], kind: str = "BINARY") -> Dataset:
    """masks (frames, rows, columns); positions: z of each frame."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.66.4")
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3", "SEG"
    ds.FrameOfReferenceUID, ds.SegmentationType = FRAME_UID, kind
    ds.NumberOfFrames, ds.Rows, ds.Columns = masks.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    if kind == "FRACTIONAL":
        ds.MaximumFractionalValue = 200
    ds.PixelData = pack_bits(masks.ravel().astype(np.uint8)) if kind == "BINARY" else (masks.astype(np.uint8) * 120).tobytes()
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [3.0, 2.0], 4.0
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    ds.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z, number in zip(positions, segments, strict=True):
        frame, position, which = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, which.ReferencedSegmentNumber = [10.0, 20.0, z], number
        frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [position], [which]
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = frames
    named = []
    for number in sorted(set(segments)):
        item, code = Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "108369006", "SCT", "Neoplasm"
        item.SegmentNumber, item.SegmentLabel, item.SegmentedPropertyTypeCodeSequence = number, f"Lesion {number}", [code]
        named.append(item)
    ds.SegmentSequence = named
    return ds


def lesion_masks() -> npt.NDArray[np.bool_]:
    masks = np.zeros((3, 6, 8), dtype=bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 4, 7] = True
    masks[2, 0, 0] = True
    return masks


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_frames_in_any_order_with_empty_slices_left_out(kind: str, tmp_path: Path) -> None:
    """Slices at 0, 8 and 20 mm of a 4 mm lattice, stored out of order."""
    path = tmp_path / "seg.dcm"
    segmentation(lesion_masks(), [8.0, 0.0, 4.0], [1, 1, 2], kind).save_as(path, enforce_file_format=True)
    found, (first, second) = read_segments(path)
    assert found.shape == (8, 6, 3)
    assert found.frame == frame_name(FRAME_UID)
    assert np.allclose(found.affine, [[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 0], [0, 0, 0, 1]])
    assert first.label == "Lesion 1"
    assert first.code == "108369006"
    assert {tuple(v) for v in first.voxels.tolist()} == {(i, j, 2) for i in (2, 3, 4) for j in (1, 2)} | {(7, 4, 0)}
    assert second.voxels.tolist() == [[0, 0, 1]]
    label_map = read_label_map(path)
    assert label_map.value_of("segment_2_lesion_2") == 2
    assert int((label_map.values == 1).sum()) == 7


def test_a_gap_of_whole_steps_is_empty_slices() -> None:
    found, _ = segments_of(segmentation(lesion_masks(), [0.0, 4.0, 20.0], [1, 1, 1]))
    assert found.shape == (8, 6, 6)
    with pytest.raises(GeometryError, match="IRREGULAR_SPACING"):
        segments_of(segmentation(lesion_masks(), [0.0, 4.0, 10.0], [1, 1, 1]))


def test_segments_that_overlap_cannot_be_one_label_map(tmp_path: Path) -> None:
    masks = np.repeat(lesion_masks()[:1], 2, axis=0)
    path = tmp_path / "seg.dcm"
    segmentation(masks, [0.0, 0.0], [1, 2]).save_as(path, enforce_file_format=True)
    assert [len(s.voxels) for s in read_segments(path)[1]] == [6, 6]
    with pytest.raises(GeometryError, match="SEGMENTS_OVERLAP"):
        read_label_map(path)


def test_what_is_no_segmentation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.dcm"
    path.write_text("no DICOM")
    for read in (read_segments, read_rtstruct):
        with pytest.raises(InputError, match="cannot be read as DICOM"):
            read(path)
    segmentation(lesion_masks(), [0.0, 4.0, 8.0], [1, 1, 1]).save_as(path, enforce_file_format=True)
    with pytest.raises(InputError, match="NOT_RTSTRUCT"):
        read_rtstruct(path)
    homeless = segmentation(lesion_masks(), [0.0, 4.0, 8.0], [1, 1, 1])
    del homeless.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    with pytest.raises(GeometryError, match="NO_GEOMETRY"):
        segments_of(homeless)
    huge = segmentation(lesion_masks(), [0.0, 4.0, 8.0], [1, 1, 1])
    huge.Rows = huge.Columns = 65535
    with pytest.raises(InputError, match="SEG_UNREADABLE"):
        segments_of(huge)


@pytest.mark.realdata
def test_real_segmentations_lie_on_their_images_lattice(real_data: Callable[[str], Path]) -> None:
    files = sorted(real_data("acrin_petct").glob("SEG*/*.dcm"))
    shapes = {read_segments(path)[0].shape[:2] for path in files}
    assert shapes == {(128, 128), (512, 512)}
