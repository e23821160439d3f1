"""Structures by name: our keys, and the class names of common segmentation tools, with organ, kind and SNOMED CT code.

Codes: SNOMED CT as in DICOM's CID 4031 and CID 7151 (clinical specification 8.2 and 8.3); vessels, muscles, lobes and cartilage
as in totalsegmentator_snomed_mapping.csv (TotalSegmentator, Apache-2.0). A structure without an entry there has none
(T13, L6).
"""

from __future__ import annotations

import re

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind, VertebralLevel

_O, _B, _R, _T = StructureKind.ORGAN, StructureKind.BONE, StructureKind.REGION, StructureKind.TISSUE

#: Key without its side -> kind, organ, SNOMED CT code.
_BASES: dict[str, tuple[StructureKind, Organ | None, str | None]] = {
    "body": (_R, None, "38266002"),
    "airway": (_R, None, "44567001"),
    "mediastinum": (_R, None, "72410000"),
    "spinal_canal": (_R, None, "61853006"),
    "aorta": (_R, None, "15825003"),
    "vessel": (_R, None, None),
    "muscle": (_T, Organ.SOFT_TISSUE, "91727004"),
    "pleura": (_O, Organ.PLEURA, "3120008"),
    "skin": (_O, Organ.SKIN, "39937001"),
    "lung": (_O, Organ.LUNG, "39607008"),
    "liver": (_O, Organ.LIVER, "10200004"),
    "gallbladder": (_R, None, "28231008"),
    "spleen": (_O, Organ.SPLEEN, "78961009"),
    "pancreas": (_O, Organ.PANCREAS, "15776009"),
    "kidney": (_O, Organ.KIDNEY, "64033007"),
    "adrenal": (_O, Organ.ADRENAL, "23451007"),
    "urinary_bladder": (_O, Organ.BLADDER, "89837001"),
    "ureter": (_R, None, "87953007"),
    "prostate": (_O, Organ.PROSTATE, "41216001"),
    "seminal_vesicle": (_O, Organ.OTHER, "64739004"),
    "uterus": (_O, Organ.OTHER, "35039007"),
    "testis": (_O, Organ.OTHER, "40689003"),
    "ovary": (_O, Organ.OVARY, "15497006"),
    "breast": (_O, Organ.BREAST, "76752008"),
    "brain": (_O, Organ.BRAIN, "12738006"),
    "heart": (_O, Organ.HEART, "80891009"),
    "thyroid": (_O, Organ.THYROID, "69748006"),
    "head_glands": (_O, Organ.HEAD_GLANDS, None),
    "parotid": (_O, Organ.HEAD_GLANDS, "45289007"),
    "submandibular": (_O, Organ.HEAD_GLANDS, "54019009"),
    "lacrimal": (_O, Organ.HEAD_GLANDS, "13561001"),
    "oesophagus": (_O, Organ.GI, "32849002"),
    "stomach": (_O, Organ.GI, "69695003"),
    "duodenum": (_O, Organ.GI, "38848004"),
    "small_bowel": (_O, Organ.GI, "30315005"),
    "colon": (_O, Organ.GI, "71854001"),
    "rectum": (_O, Organ.GI, "34402009"),
    "bowel": (_O, Organ.GI, "113276009"),
    "skull": (_B, Organ.BONE, "89546000"),
    "mandible": (_B, Organ.BONE, "91609006"),
    "spine": (_B, Organ.BONE, "421060004"),
    "rib": (_B, Organ.BONE, "113197003"),
    "costal_cartilages": (_T, None, "50016007"),
    "sternum": (_B, Organ.BONE, "56873002"),
    "scapula": (_B, Organ.BONE, "79601000"),
    "clavicle": (_B, Organ.BONE, "51299004"),
    "humerus": (_B, Organ.BONE, "85050009"),
    "hip": (_B, Organ.BONE, "29836001"),
    "ilium": (_B, Organ.BONE, "22356005"),
    "femur": (_B, Organ.BONE, "71341001"),
    "bone_other": (_B, Organ.BONE, "3138006"),
    "lymph_node": (_O, Organ.LYMPH_NODE, "59441001"),
}

#: Names of other tools -> our key without its side. The side is carried over.
_ALIASES: dict[str, str] = {
    "adrenal_gland": "adrenal",
    "clavicula": "clavicle",
    "esophagus": "oesophagus",
    "thyroid_gland": "thyroid",
    "trachea": "airway",
    "bladder": "urinary_bladder",
    "spinal_cord": "spinal_canal",
    "small_intestine": "small_bowel",
    "vertebrae": "spine",
    "hip_bone": "hip",
    "parotid_gland": "parotid",
    "submandibular_gland": "submandibular",
    "lacrimal_gland": "lacrimal",
    "gall_bladder": "gallbladder",
    "adrenal_glands": "adrenal",
    "small_intestines": "small_bowel",
}

#: Members of a family that have a code of their own, by the start of their key.
_OWN_CODES: dict[str, str] = {
    "lung_upper_lobe": "45653009",
    "lung_middle_lobe": "72481006",
    "lung_lower_lobe": "90572001",
    "gluteus_maximus": "181674001",
    "gluteus_medius": "78333006",
    "gluteus_minimus": "75297007",
    "autochthon": "244849004",
    "iliopsoas": "68455001",
    "pulmonary_vein": "122972007",
    "brachiocephalic_trunk": "12691009",
    "brachiocephalic_vein": "8887007",
    "subclavian_artery": "29700009",
    "common_carotid_artery": "32062004",
    "atrial_appendage": "68786006",
    "superior_vena_cava": "48345005",
    "inferior_vena_cava": "64131007",
    "portal_vein_and_splenic_vein": "110765007",
    "iliac_artery": "73634005",
    "iliac_vena": "46027005",
}

_SACRUM, _COCCYX = "54735007", "64688005"

_VERTEBRA = re.compile(r"(?:vertebra|vertebrae|vert)_([CTLS]\d{1,2})", re.IGNORECASE)
_RIB = re.compile(r"rib_(left|right)_(\d{1,2})")
_LOBE = re.compile(r"lung_(?:upper|middle|lower)_lobe_(?:left|right)")
_MUSCLE = re.compile(r"(?:gluteus_(?:maximus|medius|minimus)|autochthon|iliopsoas)(?:_left|_right)?")
_VESSEL = re.compile(
    r"(?:pulmonary_vein|brachiocephalic_(?:trunk|vein)|subclavian_artery|common_carotid_artery|atrial_appendage"
    r"|superior_vena_cava|inferior_vena_cava|portal_vein_and_splenic_vein|iliac_(?:artery|vena))(?:_left|_right)?"
)

_FAMILIES = {"rib": _RIB, "lung": _LOBE, "muscle": _MUSCLE, "vessel": _VESSEL}

_LEVEL_CODES: dict[str, int] = {
    "C1": 14806007, "C2": 39976000, "C3": 113205007, "C4": 5329002, "C5": 36978003, "C6": 36054005, "C7": 87391001,
    "T1": 64864005, "T2": 53733008, "T3": 1626008, "T4": 73071006, "T5": 56401006, "T6": 45296009, "T7": 62487009,
    "T8": 11068009, "T9": 82687006, "T10": 7610001, "T11": 12989004, "T12": 23215003,
    "L1": 66794005, "L2": 14293000, "L3": 36470004, "L4": 11994002, "L5": 49668003, "S1": 65985001,
}  # fmt: skip


def _code(level: VertebralLevel) -> str | None:
    return str(_LEVEL_CODES[level.name]) if level.name in _LEVEL_CODES else None


def vertebra(level: VertebralLevel, instance: int | None = None) -> Structure:
    """The structure of a named vertebra."""
    return Structure(f"vertebra_{level.name}", StructureKind.VERTEBRA, Organ.BONE, level, instance, _code(level))


def known_structure(name: str) -> Structure | None:
    """The structure a name stands for, None for a name we do not know. The key may differ from the name (an alias)."""
    named_level = _VERTEBRA.fullmatch(name)
    if named_level:
        level = VertebralLevel.__members__.get(named_level[1].upper())
        return vertebra(level) if level is not None else None
    if name in ("sacrum", "coccyx"):
        level, code = (VertebralLevel.S, _SACRUM) if name == "sacrum" else (VertebralLevel.CO, _COCCYX)
        return Structure(name, StructureKind.VERTEBRA, Organ.BONE, level, None, code)
    family = next((base for base, pattern in _FAMILIES.items() if pattern.fullmatch(name)), None)
    if family is not None:
        return _built(name, family)
    base, side = _parted(name)
    base = _ALIASES.get(base, base)
    return _built(base + side, base) if base in _BASES else None


def structure_from_words(words: str, code: str | None = None) -> Structure | None:
    """The structure a free label such as "Left Kidney" or "Kidney, L" stands for; a SNOMED CT code where words say
    nothing.
    """
    parts = re.sub(r"[^a-z0-9]+", " ", words.casefold()).split()
    side = next((f"_{s}" for s in ("left", "right") if s in parts or (len(parts) > 1 and s[0] in parts)), "")
    bare = [p for p in parts if p not in {"left", "right"} and not (side and p == side[1])]
    spoken = "_".join(bare)
    level = _VERTEBRA.fullmatch(spoken) or _VERTEBRA.fullmatch(f"vertebra_{spoken}")
    for name in (spoken + side, spoken) if level is None else (f"vertebra_{level[1]}",):
        found = known_structure(name)
        if found is not None:
            return found
    return None if code is None else _by_code(code, side)


def _by_code(code: str, side: str) -> Structure | None:
    """The structure that a SNOMED CT code stands for; ``side``: _left, _right or nothing."""
    name = {_SACRUM: "sacrum", _COCCYX: "coccyx"}.get(code)
    name = name or next((f"vertebra_{level}" for level, known in _LEVEL_CODES.items() if str(known) == code), None)
    name = name or next((base + side for base, (_, _, known) in _BASES.items() if known == code), None)
    name = name or next((start + side for start, known in _OWN_CODES.items() if known == code), None)
    if name is None:
        return None
    # a lobe without its side is known to be lung
    return known_structure(name) or (known_structure(f"lung{side}") if name.startswith("lung_") else None)


def _parted(name: str) -> tuple[str, str]:
    for side in ("_left", "_right"):
        if name.endswith(side):
            return name.removesuffix(side), side
    return name, ""


def _built(key: str, base: str) -> Structure:
    kind, organ, code = _BASES[base]
    own = next((c for start, c in _OWN_CODES.items() if key.startswith(start)), None)
    return Structure(key, kind, organ, snomed=own or code)
