"""What each material is to CT and MR. Tracer uptake is a choice of its own (``tracer``)."""

from __future__ import annotations

from collections.abc import Mapping

#: Hounsfield units at 120 kVp without contrast medium (usual adult values; ``ct_values`` sets bones by age).
CT_HU: Mapping[str, float] = {
    "skin": 20, "fat": -102, "visceral_fat": -100, "mediastinal_fat": -88, "epidural_fat": -70, "muscle": 54, "tongue": 50,
    "cortex": 950, "rib_cortex": 800, "spongiosa": 165, "spongiosa_rib": 170, "spongiosa_limb": 150, "spongiosa_pelvis": 190,
    "fatty_marrow": -60, "diploe": 320, "petrous": 1300, "mastoid": -250, "tooth": 1500, "cartilage": 95,
    "calcified_cartilage": 230, "disc": 88, "nucleus": 74, "cord": 34, "csf": 8, "brain": 36, "white_matter": 28,
    "cerebellum": 36, "pituitary": 40, "lung": -860, "lung_vessel": 30, "gas": -990, "wall": 38, "mucosa": 42, "blood": 42,
    "blood_chamber": 42, "myocardium": 50, "liver": 58, "liver_vessel": 44, "bile": 8, "spleen": 50, "pancreas": 40,
    "kidney_cortex": 33, "kidney_medulla": 31, "urine": 5, "ureter": 12, "adrenal": 30, "stomach": 42, "chyme": 22,
    "bowel_wall": 42, "duodenum_wall": 42, "bowel_hot": 42, "stool": 28, "breast": 25, "prostate": 42, "uterus": 50,
    "endometrium": 42, "ovary": 35, "thyroid": 98, "parotid": -5, "submandibular": 38, "sublingual": 40, "tonsil": 48,
    "lacrimal": 40, "vocal_cord": 55, "couch_shell": 60, "couch_foam": -940,
}  # fmt: skip
CT_OUTSIDE = -1000.0

#: (T1, STIR, T1 after contrast) signal, arbitrary units with marrow of the vertebrae at 420 on T1. Relations: fat brighter than
#: marrow, marrow brighter than disc and muscle on T1; fluid bright and fat dark on STIR; vessels and mucosa enhance.
MR_SIGNAL: Mapping[str, tuple[float, float, float]] = {
    "skin": (300, 120, 340), "fat": (900, 45, 900), "visceral_fat": (860, 45, 860), "mediastinal_fat": (800, 60, 800),
    "epidural_fat": (780, 60, 800), "muscle": (235, 120, 262), "tongue": (260, 150, 300), "cortex": (45, 20, 45),
    "rib_cortex": (60, 25, 60), "spongiosa": (420, 95, 450), "spongiosa_rib": (380, 110, 410),
    "spongiosa_limb": (640, 60, 655), "spongiosa_pelvis": (470, 90, 500), "fatty_marrow": (820, 45, 820),
    "diploe": (420, 90, 440), "petrous": (60, 20, 60), "mastoid": (20, 15, 20), "tooth": (10, 10, 10),
    "cartilage": (200, 160, 220), "calcified_cartilage": (120, 60, 120), "disc": (225, 90, 235), "nucleus": (235, 210, 245),
    "cord": (290, 260, 300), "csf": (105, 900, 110), "brain": (300, 330, 310), "white_matter": (380, 260, 385),
    "cerebellum": (310, 320, 320), "pituitary": (300, 300, 520), "lung": (25, 20, 28), "lung_vessel": (40, 60, 160),
    "gas": (8, 6, 8), "wall": (240, 190, 330), "mucosa": (250, 320, 380), "blood": (60, 50, 420),
    "blood_chamber": (70, 60, 420), "myocardium": (240, 160, 360), "liver": (360, 130, 470), "liver_vessel": (110, 150, 450),
    "bile": (180, 800, 185), "spleen": (250, 300, 420), "pancreas": (380, 190, 520), "kidney_cortex": (280, 330, 640),
    "kidney_medulla": (220, 400, 600), "urine": (110, 880, 260), "ureter": (140, 700, 260), "adrenal": (260, 240, 380),
    "stomach": (240, 220, 400), "chyme": (180, 500, 190), "bowel_wall": (240, 220, 400), "duodenum_wall": (240, 220, 400),
    "bowel_hot": (240, 220, 400), "stool": (260, 200, 262), "breast": (300, 260, 420), "prostate": (250, 330, 380),
    "uterus": (250, 320, 430), "endometrium": (250, 500, 380), "ovary": (240, 420, 330), "thyroid": (320, 260, 560),
    "parotid": (520, 180, 600), "submandibular": (380, 240, 480), "sublingual": (360, 240, 460), "tonsil": (260, 380, 360),
    "lacrimal": (300, 250, 420), "vocal_cord": (240, 150, 280), "couch_shell": (5, 5, 5), "couch_foam": (5, 5, 5),
}  # fmt: skip
MR_OUTSIDE = (5.0, 5.0, 5.0)


#: HU in the portal venous phase, 70 s after iodine (usual adult values): what changes; the rest stays as without.
CT_HU_PORTAL: Mapping[str, float] = {
    "blood": 165, "blood_chamber": 165, "lung_vessel": 150, "myocardium": 110, "liver": 108, "liver_vessel": 172, "spleen": 122,
    "pancreas": 98, "kidney_cortex": 190, "kidney_medulla": 175, "adrenal": 72, "thyroid": 180, "muscle": 63, "tongue": 72,
    "stomach": 80, "bowel_wall": 92, "bowel_hot": 92, "duodenum_wall": 95, "mucosa": 80, "wall": 62, "prostate": 72,
    "uterus": 105, "endometrium": 70, "ovary": 62, "parotid": 30, "submandibular": 85, "sublingual": 75, "tonsil": 90,
    "pituitary": 95, "breast": 40, "vocal_cord": 70,
}  # fmt: skip


def ct_values(age: int, cortex: float = 1.0, *, contrast: bool = False) -> dict[str, tuple[float, ...]]:
    """HU per material for a person, with or without contrast medium.

    Spongiosa loses about 2.5 HU a year (linear fit of published L1 values: 230 HU at 30).
    """
    table = {**CT_HU, **CT_HU_PORTAL} if contrast else CT_HU
    out: dict[str, tuple[float, ...]] = {name: (value,) for name, value in table.items()}
    spongy = max(230.0 - 2.4 * (age - 30), 70.0)
    for name, factor in (("spongiosa", 1.0), ("spongiosa_rib", 0.95), ("spongiosa_limb", 0.8), ("spongiosa_pelvis", 1.05)):
        out[name] = (spongy * factor,)
    for name in ("cortex", "rib_cortex"):
        out[name] = (out[name][0] * cortex,)
    return out
