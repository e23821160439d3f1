"""Names of the structures a body can be asked for, with the organ a lesion in them counts under."""

from __future__ import annotations

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel

_SNOMED_LEVEL = {
    "C1": "14806007", "C2": "39976000", "C3": "113205007", "C4": "5329002", "C5": "36978003", "C6": "36054005",
    "C7": "87391001", "T1": "64864005", "T2": "53733008", "T3": "1626008", "T4": "73071006", "T5": "56401006",
    "T6": "45296009", "T7": "62487009", "T8": "11068009", "T9": "82687006", "T10": "7610001", "T11": "12989004",
    "T12": "23215003", "L1": "66794005", "L2": "14293000", "L3": "36470004", "L4": "11994002", "L5": "49668003",
    "S": "54735007",
}  # fmt: skip

_ORGANS: dict[str, tuple[Organ, str | None]] = {
    "liver": (Organ.LIVER, "10200004"),
    "spleen": (Organ.SPLEEN, "78961009"),
    "kidney": (Organ.KIDNEY, "64033007"),
    "adrenal": (Organ.ADRENAL, "23451007"),
    "pancreas": (Organ.PANCREAS, "15776009"),
    "lung": (Organ.LUNG, "39607008"),
    "heart": (Organ.HEART, "80891009"),
    "stomach": (Organ.GI, "69695003"),
    "duodenum": (Organ.GI, "38848004"),
    "small_bowel": (Organ.GI, "30315005"),
    "colon": (Organ.GI, "71854001"),
    "oesophagus": (Organ.GI, "32849002"),
    "bladder": (Organ.BLADDER, "89837001"),
    "prostate": (Organ.PROSTATE, "41216001"),
    "seminal_vesicles": (Organ.PROSTATE, "64739004"),
    "uterus": (Organ.OTHER, "35039007"),
    "ovary": (Organ.OVARY, "15497006"),
    "thyroid": (Organ.THYROID, "69748006"),
    "breast": (Organ.BREAST, "76752008"),
    "brain": (Organ.BRAIN, "12738006"),
    "cerebellum": (Organ.BRAIN, None),
    "brainstem": (Organ.BRAIN, None),
    "parotid": (Organ.HEAD_GLANDS, "45289007"),
    "submandibular": (Organ.HEAD_GLANDS, "54019009"),
    "lacrimal": (Organ.HEAD_GLANDS, "13561001"),
    "sublingual_glands": (Organ.HEAD_GLANDS, None),
    "gallbladder": (Organ.OTHER, "28231008"),
    "ureter": (Organ.OTHER, "87953007"),
    "aorta": (Organ.OTHER, "15825003"),
}

_BONES: dict[str, str | None] = {
    "rib": "113197003", "sternum": "56873002", "clavicle": "51299004", "scapula": "79601000", "humerus": "85050009",
    "femur": "71341001", "hip": "29836001", "skull": "89546000", "mandible": "91609006", "coccyx": "64688005",
    "forearm": None, "hyoid": None,
}  # fmt: skip

_TISSUES = {
    "muscle": Organ.SOFT_TISSUE,
    "subcutaneous_fat": Organ.SKIN,
    "intermuscular_fat": Organ.SOFT_TISSUE,
    "psoas": Organ.SOFT_TISSUE,
}


def structure_of(key: str, instance: int | None = None) -> Structure:
    """The domain value for a key; keys that no organ owns are regions."""
    if key.startswith("vertebra_"):
        level = key.removeprefix("vertebra_")
        return Structure(key, StructureKind.VERTEBRA, Organ.BONE, VertebralLevel[level], instance, _SNOMED_LEVEL.get(level))
    stem = key.split("_left", maxsplit=1)[0].split("_right", maxsplit=1)[0]
    if stem in _BONES:
        return Structure(key, StructureKind.BONE, Organ.BONE, snomed=_BONES[stem])
    if stem in _ORGANS:
        organ, code = _ORGANS[stem]
        return Structure(key, StructureKind.ORGAN, organ, snomed=code)
    if stem in _TISSUES:
        return Structure(key, StructureKind.TISSUE, _TISSUES[stem])
    return Structure(key, StructureKind.REGION)
