"""The structures this segmenter can name, with the organ each counts under and its SNOMED CT code.

A label map holds one label a voxel, so ``body`` stands for what lies inside the body and in no named structure: the body as a
whole is every voxel that is not 0.
"""

from __future__ import annotations

from lesion_pipeline.domain.anatomy import Organ, Structure, StructureKind

_BONE = StructureKind.BONE
_ORGAN = StructureKind.ORGAN
_REGION = StructureKind.REGION

#: Label value -> structure. Values are stable: saved maps are read back with them.
STRUCTURES: dict[int, Structure] = {
    1: Structure("body", _REGION, snomed="38266002"),
    2: Structure("lung_left", _ORGAN, Organ.LUNG, snomed="39607008"),
    3: Structure("lung_right", _ORGAN, Organ.LUNG, snomed="39607008"),
    4: Structure("airway", _REGION, snomed="44567001"),
    5: Structure("mediastinum", _REGION, snomed="72410000"),
    6: Structure("spinal_canal", _REGION, snomed="61853006"),
    7: Structure("abdominal_cavity", _REGION, snomed="361294009"),
    8: Structure("muscle", StructureKind.TISSUE, Organ.SOFT_TISSUE, snomed="91727004"),
    10: Structure("brain", _ORGAN, Organ.BRAIN, snomed="12738006"),
    11: Structure("heart", _ORGAN, Organ.HEART, snomed="80891009"),
    12: Structure("aorta", _REGION, snomed="15825003"),
    13: Structure("liver", _ORGAN, Organ.LIVER, snomed="10200004"),
    14: Structure("spleen", _ORGAN, Organ.SPLEEN, snomed="78961009"),
    15: Structure("kidney_left", _ORGAN, Organ.KIDNEY, snomed="64033007"),
    16: Structure("kidney_right", _ORGAN, Organ.KIDNEY, snomed="64033007"),
    17: Structure("stomach", _ORGAN, Organ.GI, snomed="69695003"),
    18: Structure("bowel", _ORGAN, Organ.GI, snomed="113276009"),
    19: Structure("urinary_bladder", _ORGAN, Organ.BLADDER, snomed="89837001"),
    20: Structure("head_glands", _ORGAN, Organ.HEAD_GLANDS, snomed="385294005"),
    21: Structure("prostate", _ORGAN, Organ.PROSTATE, snomed="41216001"),
    30: Structure("skull", _BONE, Organ.BONE, snomed="89546000"),
    31: Structure("spine", _BONE, Organ.BONE, snomed="421060004"),
    32: Structure("rib_left", _BONE, Organ.BONE, snomed="113197003"),
    33: Structure("rib_right", _BONE, Organ.BONE, snomed="113197003"),
    34: Structure("sternum", _BONE, Organ.BONE, snomed="56873002"),
    35: Structure("scapula_left", _BONE, Organ.BONE, snomed="79601000"),
    36: Structure("scapula_right", _BONE, Organ.BONE, snomed="79601000"),
    37: Structure("clavicle_left", _BONE, Organ.BONE, snomed="51299004"),
    38: Structure("clavicle_right", _BONE, Organ.BONE, snomed="51299004"),
    39: Structure("humerus_left", _BONE, Organ.BONE, snomed="85050009"),
    40: Structure("humerus_right", _BONE, Organ.BONE, snomed="85050009"),
    41: Structure("hip_left", _BONE, Organ.BONE, snomed="29836001"),
    42: Structure("hip_right", _BONE, Organ.BONE, snomed="29836001"),
    43: Structure("sacrum", _BONE, Organ.BONE, snomed="54735007"),
    44: Structure("femur_left", _BONE, Organ.BONE, snomed="71341001"),
    45: Structure("femur_right", _BONE, Organ.BONE, snomed="71341001"),
    46: Structure("bone_other", _BONE, Organ.BONE, snomed="3138006"),
}

VALUE: dict[str, int] = {structure.key: value for value, structure in STRUCTURES.items()}
