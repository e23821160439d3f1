"""Lesions come from peaks: what is split, what stays one, what is drawn, on toy PETs without anatomy."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError
from scipy import ndimage

from lesion_pipeline.domain.anatomy import Anatomy, NamedMap, Organ, Structure, StructureKind
from lesion_pipeline.domain.errors import InputError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Candidate
from lesion_pipeline.domain.pet import PatientFacts, Tracer
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.volume import LabelMap, Modality, Unit, Volume
from lesion_pipeline.plugins.threshold_detector import factory

PRESET: dict[str, Any] = tomllib.loads((Path(__file__).resolve().parents[2] / "configs" / "fdg-petct.toml").read_text("utf-8"))
TABLE: dict[str, Any] = PRESET["plugins"]["tracer_threshold"]
SHAPE = (50, 50, 60)
SPACING = (3.0, 3.0, 3.0)
Spot = tuple[Sequence[float], float, float]


def _world() -> npt.NDArray[np.float64]:
    return np.stack(np.meshgrid(*[np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)], indexing="ij"), axis=-1)


def _pet(spots: Sequence[Spot], fwhm: float = 6.0, noise: float = 0.0) -> Volume:
    values = np.ones(SHAPE)
    for centre, radius, suv in spots:
        values[np.linalg.norm(_world() - np.array(centre), axis=-1) < radius] = suv
    values = ndimage.gaussian_filter(values, fwhm / 2.355 / SPACING[0])
    values += np.random.default_rng(3).normal(0, noise, SHAPE) if noise else 0.0
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet")
    return Volume(np.maximum(values, 0).astype(np.float32), grid, Unit.SUVBW, Modality.PT, "PT-1")


def _detect(pet: Volume, anatomy: Anatomy | None = None, **change: dict[str, Any]) -> tuple[Candidate, ...]:
    table = {key: {**value, **change.get(key, {})} if isinstance(value, dict) else value for key, value in TABLE.items()}
    study = Study("k", PatientFacts(), Tracer.FDG, (), pet, None)
    return factory(table).detect(study, anatomy or Anatomy())


def test_two_touching_lesions_are_two_and_share_a_parent() -> None:
    found = _detect(_pet([((60, 75, 90), 9, 9.0), ((80, 75, 90), 9, 8.0)]))
    assert len(found) == 2
    assert found[0].parent == found[1].parent is not None
    assert [round(c.centroid_lps_mm[0]) for c in found] == pytest.approx([60, 80], abs=2)


def test_the_number_of_lesions_does_not_follow_the_threshold() -> None:
    pet = _pet([((60, 75, 90), 9, 9.0), ((84, 75, 90), 9, 7.0)])
    for floor in (1.6, 2.5, 4.0):
        assert len(_detect(pet, soft_tissue={"without_reference": floor})) == 2


def test_an_uneven_mass_is_one_lesion() -> None:
    mass: list[Spot] = [((75, 75, 90), 30, 6.0), ((62, 75, 90), 6, 9.0), ((90, 75, 80), 6, 9.0), ((75, 85, 105), 6, 8.5)]
    (one,) = _detect(_pet(mass))
    assert one.measures.volume_ml > 60


def test_a_ring_round_a_dead_centre_is_one_lesion_with_its_centre() -> None:
    (one,) = _detect(_pet([((75, 75, 90), 18, 9.0), ((75, 75, 90), 9, 1.0)], fwhm=4.0))
    assert one.measures.volume_ml == pytest.approx(4 / 3 * np.pi * 18**3 / 1000, rel=0.25)


def test_noise_invents_nothing() -> None:
    assert _detect(_pet([], noise=0.45)) == ()


def test_a_small_faint_sphere_in_noise_is_found() -> None:
    found = _detect(_pet([((60, 75, 90), 6, 8.0)], noise=0.15))
    assert len(found) == 1
    np.testing.assert_allclose(found[0].centroid_lps_mm, (60, 75, 90), atol=2.5)
    assert (found[0].measures.contrast_to_noise or 0.0) > 5


def test_extent_is_a_fraction_of_the_peak_but_never_below_the_candidate_threshold() -> None:
    hot, faint = _detect(_pet([((45, 75, 60), 12, 20.0), ((105, 75, 120), 12, 4.0)]))
    assert hot.measures.threshold == pytest.approx(0.41 * (hot.measures.suv_max or 0.0))
    assert faint.measures.threshold == pytest.approx(2.5)


def _spine() -> Anatomy:
    """Five vertebral bodies of 27 mm, one above the other."""
    names, values = {}, np.zeros(SHAPE, dtype=np.uint16)
    for n in range(5):
        values[16:34, 16:34, 12 * n : 12 * n + 10] = n + 1
        names[n + 1] = Structure(f"vertebra_V{n}", StructureKind.VERTEBRA, Organ.BONE, None, n + 1)
    return Anatomy((NamedMap("toy", LabelMap(values, Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet"), names)),))


def _marrow(*spots: Spot) -> Volume:
    """Marrow of SUV 1.5 whose single voxels vary by 0.6, in front of soft tissue of 0.6, with spots of SUV in it."""
    values = np.full(SHAPE, 0.6)
    values[16:34, 16:34, :] = 1.5
    for centre, radius, suv in spots:
        values[np.linalg.norm(_world() - np.array(centre), axis=-1) < radius] = suv
    values = ndimage.gaussian_filter(values, 1.0) + ndimage.gaussian_filter(np.random.default_rng(5).normal(0, 2.1, SHAPE), 0.7)
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet")
    return Volume(np.maximum(values, 0).astype(np.float32), grid, Unit.SUVBW, Modality.PT, "PT-1")


def test_a_large_faint_lesion_of_uneven_marrow_is_found_and_uneven_marrow_alone_is_not() -> None:
    centre = (75.0, 75.0, 87.0)
    soft = {"without_reference": 5.0}  # bone is asked about, not what lies beside it

    def there(pet: Volume, **change: dict[str, Any]) -> list[Candidate]:
        found = _detect(pet, _spine(), soft_tissue=soft, **change)
        return [c for c in found if np.linalg.norm(np.subtract(c.centroid_lps_mm, centre)) < 6]

    lesion: Spot = (centre, 12.0, 3.6)
    (found,) = there(_marrow(lesion))
    assert found.measures.volume_ml > 3.0
    crumbs = there(_marrow(lesion), faint_bone={"floor": 99.0})
    assert sum(c.measures.volume_ml for c in crumbs) < 0.5 * found.measures.volume_ml
    assert all(c.measures.volume_ml < 0.3 for c in _detect(_marrow(), _spine(), soft_tissue=soft))


def _liver(frame: str = "pet") -> Anatomy:
    values = (np.linalg.norm(_world() - np.array((75, 75, 90)), axis=-1) < 55).astype(np.uint16)
    names = {1: Structure("liver", StructureKind.ORGAN, Organ.LIVER)}
    return Anatomy((NamedMap("toy", LabelMap(values, Grid(SHAPE, np.diag([*SPACING, 1.0]), frame), names)),))


def test_a_focus_in_a_bright_liver_is_drawn_from_the_livers_own_level() -> None:
    liver = _pet([((75, 75, 90), 55, 3.2), ((60, 60, 90), 9, 10.0)], noise=0.1)
    found = _detect(liver, _liver())
    focus = found[0]
    assert focus.measures.volume_ml == pytest.approx(4 / 3 * np.pi * 9**3 / 1000, rel=0.5)
    assert all(c.measures.volume_ml > 50 for c in found[1:])  # the liver's ordinary uptake, to be excluded with a reason


@pytest.mark.parametrize("hotter", [18.0, 40.0])
def test_two_lesions_of_a_bright_liver_are_not_one_mass_with_the_liver_as_its_bridge(hotter: float) -> None:
    """A PSMA liver of 8: four tenths of either peak lie below the liver, which so joined all that lay in it."""
    pet = _pet([((75, 75, 90), 55, 8.0), ((60, 75, 90), 12, 16.0), ((91, 75, 90), 12, hotter)], noise=0.2)
    found = [c for c in _detect(pet, _liver()) if c.measures.volume_ml < 50]
    assert sorted(round(c.centroid_lps_mm[0]) for c in found) == pytest.approx([60, 91], abs=4)
    assert all(c.measures.volume_ml == pytest.approx(4 / 3 * np.pi * 12**3 / 1000, rel=0.5) for c in found)


@pytest.mark.parametrize("hotter", [24.0, 40.0])
def test_a_focus_of_a_bright_liver_is_as_high_as_it_stands_out_of_the_liver(hotter: float) -> None:
    """The pass is 0.67 to 0.74 of the lower peak, by which they would be one; of what exceeds the liver it is half."""
    pet = _pet([((75, 75, 90), 55, 9.0), ((64, 75, 90), 9, 20.0), ((88, 75, 90), 9, hotter)], fwhm=9.0)
    found = [c for c in _detect(pet, _liver()) if c.measures.volume_ml < 50]
    assert sorted(round(c.centroid_lps_mm[0]) for c in found) == pytest.approx([64, 88], abs=2)


def test_an_organ_does_not_vanish_into_a_hotter_focus_on_its_surface() -> None:
    liver = _pet([((75, 75, 90), 50, 3.2), ((75, 75, 148), 9, 12.0)], noise=0.1)  # a gallbladder, outside the map
    values = (np.linalg.norm(_world() - np.array((75, 75, 90)), axis=-1) < 48).astype(np.uint16)
    names = {1: Structure("liver", StructureKind.ORGAN, Organ.LIVER)}
    mapped = Anatomy((NamedMap("toy", LabelMap(values, Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet"), names)),))
    focus = _detect(liver, mapped)[0]
    assert focus.measures.volume_ml < 8
    assert focus.centroid_lps_mm[2] > 135


def test_a_node_in_the_hearts_map_stays_apart_from_the_myocardium_where_the_preset_divides_the_heart() -> None:
    labels = np.zeros(SHAPE, dtype=np.uint16)
    labels[5:45, 5:45, 5:55] = 1
    pet = _pet([((60, 60, 60), 21, 8.0), ((82, 88, 86), 9, 9.0), ((74, 78, 76), 6, 6.0)])
    heart = LabelMap(labels, pet.grid, {1: Structure("heart", StructureKind.ORGAN, Organ.HEART)})
    anatomy = Anatomy((NamedMap("toy", heart),))
    apart = _detect(pet, anatomy, soft_masks={"divided": ["heart"]})
    node = next(c for c in apart if np.linalg.norm(np.array(c.centroid_lps_mm) - (82, 88, 86)) < 6)
    assert node.measures.volume_ml < 6
    assert node.parent is not None
    (whole,) = _detect(pet, anatomy, soft_masks={"divided": []})
    assert whole.measures.volume_ml > node.measures.volume_ml * 4


def _beside_a_hot_mass() -> Volume:
    """A mass of SUV 40 with a shoulder of SUV 8 that ends in a lesion of SUV 10: their pass is nine tenths of the lesion."""
    shoulder: list[Spot] = [((x, 75, 90), 8, 8.8) for x in range(66, 93, 3)]
    return _pet([*shoulder, ((50, 75, 90), 15, 40.0), ((98, 75, 90), 9, 10.0)])


def test_a_lesion_below_the_extent_of_a_hotter_neighbour_is_not_lost_in_it() -> None:
    """The neighbour is drawn above SUV 16: what is joined to it below that would be no part of it and no candidate either."""
    found = _detect(_beside_a_hot_mass())
    assert [round(c.centroid_lps_mm[0]) for c in found] == pytest.approx([50, 98], abs=8)
    assert found[1].measures.suv_max == pytest.approx(10.0, abs=1.0)
    assert found[1].own_probability == TABLE["peaks"]["beyond_probability"]  # in no structure that tells the two apart
    assert len(_detect(_beside_a_hot_mass(), peaks={"beyond_fraction": 0.3})) == 1  # noise, if so small a peak is noise


def test_an_uneven_mass_keeps_the_peaks_that_its_extent_holds() -> None:
    mass: list[Spot] = [((75, 75, 90), 30, 9.0), ((75, 75, 75), 8, 16.0), ((75, 90, 105), 6, 12.0)]
    (one,) = _detect(_pet(mass))
    assert one.own_probability == 1.0


def test_pieces_of_an_organ_far_from_each_other_are_a_candidate_each() -> None:
    """A node that the bowel's map takes in is no piece of a hot loop elsewhere, though some faint bowel joins the two."""
    labels = np.zeros(SHAPE, dtype=np.uint16)
    labels[5:45, 20:30, 25:35] = 1
    faint: list[Spot] = [((x, 75, 90), 9, 5.0) for x in range(36, 118, 4)]
    pet = _pet([*faint, ((36, 75, 90), 12, 24.0), ((117, 75, 90), 9, 14.0)])
    bowel = LabelMap(labels, pet.grid, {1: Structure("bowel", StructureKind.ORGAN, Organ.GI)})
    anatomy = Anatomy((NamedMap("toy", bowel),))
    uneven = {"even": [], "uneven": ["bowel"], "divided": []}
    found = _detect(pet, anatomy, soft_masks=uneven)
    assert [round(c.centroid_lps_mm[0]) for c in found] == pytest.approx([36, 117], abs=4)
    assert found[0].parent == found[1].parent is not None
    joined: list[Spot] = [((x, 75, 90), 9, 16.0) for x in range(36, 118, 4)]
    loop = _pet([*joined, ((36, 75, 90), 12, 24.0), ((117, 75, 90), 9, 20.0)])
    assert len(_detect(loop, anatomy, soft_masks=uneven)) == 1  # one loop, drawn whole


def _vertebra_beside_a_node(suv: float) -> Volume:
    """V2 with uptake that only falls, away from a node of this SUV before it: no peak of its own."""
    world = _world()
    values = np.where(_spine().maps[0].label_map.values == 3, 6.0 - 0.02 * (world[..., 1] - 48.0), 1.0)
    values[np.linalg.norm(world - (75, 36, 85), axis=-1) < 14] = suv
    values = ndimage.gaussian_filter(values, 6.0 / 2.355 / SPACING[0])
    return Volume(values.astype(np.float32), Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet"), Unit.SUVBW, Modality.PT, "PT-1")


def test_a_vertebra_in_the_shadow_of_a_hot_node_is_a_lesion_of_its_own() -> None:
    pet = _vertebra_beside_a_node(22.0)
    node, bone = _detect(pet, _spine())
    assert node.centroid_lps_mm[1] == pytest.approx(36, abs=4)
    assert bone.centroid_lps_mm[1] > 65
    assert bone.own_probability == TABLE["shoulders"]["own_probability"]
    assert bone.measures.volume_ml > 5
    assert bone.parent == node.parent is not None
    for change in ({"beyond_mm": 60.0}, {"least_ml": 100.0}, {"limit_ratio": 3.0}, {"peak_fraction": 0.4}):
        assert len(_detect(pet, _spine(), shoulders=change)) == 1
    assert len(_detect(_vertebra_beside_a_node(60.0), _spine())) == 1  # a tenth of it may be its blur


def test_what_lies_beside_an_organ_that_is_hot_by_nature_is_its_spill() -> None:
    labels = np.where(_spine().maps[0].label_map.values == 3, 1, 0).astype(np.uint16)
    labels[np.linalg.norm(_world() - (75, 36, 85), axis=-1) < 14] = 2
    names = {
        1: Structure("vertebra_V2", StructureKind.VERTEBRA, Organ.BONE, None, 3),
        2: Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY),
    }
    anatomy = Anatomy((NamedMap("toy", LabelMap(labels, Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet"), names)),))
    assert len(_detect(_vertebra_beside_a_node(22.0), anatomy)) == 1


def test_a_mass_in_the_kidneys_map_stays_apart_from_its_cortex() -> None:
    labels = np.zeros(SHAPE, dtype=np.uint16)
    labels[np.linalg.norm((_world() - (75, 75, 90)) / (1, 1, 2), axis=-1) < 27] = 1
    pet = _pet([*[((75, 75, z), 24, 4.2) for z in range(60, 125, 5)], ((75, 68, 130), 10, 9.0)])
    anatomy = Anatomy(
        (NamedMap("toy", LabelMap(labels, pet.grid, {1: Structure("kidney_left", StructureKind.ORGAN, Organ.KIDNEY)})),)
    )

    def of_the_mass(found: tuple[Candidate, ...]) -> list[Candidate]:
        return [c for c in found if np.linalg.norm(np.subtract(c.centroid_lps_mm, (75, 68, 130))) < 6]

    (mass,) = of_the_mass(_detect(pet, anatomy))
    assert mass.measures.volume_ml == pytest.approx(4 / 3 * np.pi * 10**3 / 1000, rel=0.5)
    assert not of_the_mass(_detect(pet, anatomy, soft_masks={"hollow": []}))


def test_a_rib_beside_a_hot_organ_keeps_its_peak_where_bone_is_smoothed_less() -> None:
    values = np.zeros(SHAPE, dtype=np.uint16)
    world = _world()
    values[np.linalg.norm(world - (60, 75, 90), axis=-1) < 27] = 1
    values[(np.abs(world[..., 0] - 96) <= 6) & (np.abs(world[..., 2] - 90) <= 9)] = 2
    names = {
        1: Structure("liver", StructureKind.ORGAN, Organ.LIVER),
        2: Structure("rib_left_9", StructureKind.BONE, Organ.BONE),
    }
    anatomy = Anatomy((NamedMap("toy", LabelMap(values, Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet"), names)),))
    pet = _pet([((60, 75, 90), 27, 20.0), ((96, 75, 90), 6, 20.0)], fwhm=4.0)
    blurred = _detect(pet, anatomy, peaks={"bone_fwhm_mm": 12.0, "fwhm_mm": 12.0})
    assert not [c for c in blurred if c.centroid_lps_mm[0] > 90]
    sharp = _detect(pet, anatomy, peaks={"bone_fwhm_mm": 3.0, "fwhm_mm": 12.0})
    (rib,) = (c for c in sharp if c.centroid_lps_mm[0] > 90)
    assert rib.centroid_lps_mm[0] == pytest.approx(96, abs=2)
    assert rib.measures.volume_ml < 3.0


MEDIASTINUM = (Structure("mediastinum", StructureKind.REGION), Structure("lung_left", StructureKind.ORGAN, Organ.LUNG))


def _chest() -> Anatomy:
    """A mediastinum of 60 mm between x 45 and 105, lung on its left."""
    values = np.zeros(SHAPE, dtype=np.uint16)
    values[15:35], values[35:] = 1, 2
    grid = Grid(SHAPE, np.diag([*SPACING, 1.0]), "pet")
    return Anatomy((NamedMap("toy", LabelMap(values, grid, dict(enumerate(MEDIASTINUM, start=1)))),))


@pytest.mark.parametrize(("suv", "count"), [(4.2, 1), (2.3, 0)])
def test_a_faint_node_of_the_mediastinum_has_a_threshold_of_its_own(suv: float, count: int) -> None:
    pet = _pet([((75, 75, 90), 6, suv)], noise=0.05)
    assert float(pet.values.max()) < 4.0
    table = {"soft_tissue": {"rule": "fixed", "floor": 4.0, "ceiling": 4.0, "without_reference": 4.0}}
    assert len(_detect(pet, _chest(), **table)) == count
    assert not _detect(pet, _chest(), **table, mediastinum={"floor": 4.0})
    assert not _detect(pet, None, **table)


def test_a_focus_with_an_edge_is_no_noise_where_its_surroundings_differ() -> None:
    """Between lung and blood the shell's spread is that of tissues: the focus exceeds it by little, and has an edge."""
    pet = _pet([((75, 75, 90), 5, 6.0)])
    values = pet.values.copy()
    values[:, :24] *= 0.3
    values[:, 27:] *= 1.6
    uneven = Volume(values, pet.grid, pet.unit, pet.modality, pet.series)
    shell = {"smoothing_mm": 3.0, "inner_mm": 5.0, "outer_mm": 25.0}
    kept = _detect(uneven, noise={"shell": shell, "min_contrast_to_noise": 20.0})
    assert [tuple(np.round(c.centroid_lps_mm)) for c in kept] == [pytest.approx((75, 75, 90), abs=3)]
    assert not _detect(uneven, noise={"shell": shell, "min_contrast_to_noise": 20.0, "edge_per_mm": 5.0})


def test_without_a_pet_it_refuses() -> None:
    with pytest.raises(InputError, match="NO_PET"):
        factory(TABLE).detect(Study("k", PatientFacts(), Tracer.FDG, (), None, None), Anatomy())


@pytest.mark.parametrize(
    "change",
    [
        {"peaks": {"merge_above": 0.5}},
        {"soft_tissue": {"ceiling": 1.0}},
        {"delineation": {"fraction": 1.5}},
        {"connectivity": 8},
    ],
    ids=["merge below split", "ceiling below floor", "fraction above one", "no such connectivity"],
)
def test_impossible_settings_are_refused(change: dict[str, Any]) -> None:
    table = dict(TABLE)
    for key, value in change.items():
        table[key] = {**TABLE[key], **value} if isinstance(value, dict) else value
    with pytest.raises(ValidationError):
        factory(table)


def test_no_count_changing_setting_has_a_default() -> None:
    for key in TABLE:
        with pytest.raises(ValidationError, match=key):
            factory({k: v for k, v in TABLE.items() if k != key})
