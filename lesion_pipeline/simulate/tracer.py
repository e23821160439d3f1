"""Physiologic uptake: SUV of every material for a tracer, drawn anew for each patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.pet import Tracer

#: FDG: (mean SUV, spread of its logarithm). Liver, marrow, cord, tonsils, glands, cerebellum as in published biodistribution
#: tables (liver 1.9 +- 0.4, marrow 1.6 +- 0.3, cerebellum 8 +- 2, tonsil 3.5 +- 1.4); the others are usual clinical values.
_FDG: dict[str, tuple[float, float]] = {
    "skin": (0.5, 0.1), "fat": (0.28, 0.1), "visceral_fat": (0.35, 0.1), "mediastinal_fat": (0.7, 0.1),
    "epidural_fat": (0.6, 0.1), "muscle": (0.72, 0.12), "tongue": (1.8, 0.2), "cortex": (0.8, 0.1), "rib_cortex": (0.7, 0.1),
    "spongiosa": (1.75, 0.16), "spongiosa_rib": (1.25, 0.16), "spongiosa_limb": (0.9, 0.16), "spongiosa_pelvis": (1.45, 0.16),
    "fatty_marrow": (0.4, 0.1), "diploe": (1.0, 0.1), "petrous": (0.9, 0.1), "cartilage": (0.5, 0.1),
    "calcified_cartilage": (0.7, 0.1), "disc": (0.7, 0.1), "nucleus": (0.5, 0.1), "cord": (2.0, 0.15), "csf": (0.5, 0.1),
    "brain": (9.0, 0.2), "white_matter": (4.2, 0.2), "cerebellum": (8.0, 0.25), "pituitary": (3.0, 0.2), "lung": (0.45, 0.15),
    "lung_vessel": (1.2, 0.1), "wall": (1.2, 0.1), "mucosa": (2.1, 0.2), "blood": (1.65, 0.12), "blood_chamber": (1.65, 0.12),
    "myocardium": (4.0, 0.75), "liver": (2.1, 0.18), "liver_vessel": (1.8, 0.15), "bile": (0.7, 0.2), "spleen": (1.75, 0.16),
    "pancreas": (1.5, 0.15), "kidney_cortex": (2.6, 0.2), "kidney_medulla": (3.4, 0.25), "urine": (26.0, 0.5),
    "ureter": (1.9, 0.2), "ureter_hot": (16.0, 0.35), "adrenal": (1.6, 0.2), "stomach": (2.2, 0.3), "chyme": (0.9, 0.2),
    "bowel_wall": (1.5, 0.25), "bowel_hot": (4.2, 0.35), "duodenum_wall": (2.0, 0.25), "stool": (0.8, 0.15),
    "breast": (0.9, 0.2), "prostate": (1.8, 0.2), "uterus": (1.9, 0.2), "endometrium": (2.8, 0.3), "ovary": (2.0, 0.3),
    "thyroid": (1.5, 0.25), "parotid": (1.8, 0.2), "submandibular": (2.1, 0.2), "sublingual": (3.3, 0.3),
    "tonsil": (4.0, 0.3), "lacrimal": (1.5, 0.2), "vocal_cord": (2.4, 0.25), "tooth": (0.3, 0.1), "mastoid": (0.3, 0.1),
}  # fmt: skip

#: Differences of the other tracers from a body that takes up little anywhere.
_LOW = {name: (min(mean, 0.9) * 0.7, spread) for name, (mean, spread) in _FDG.items()}
_PSMA: dict[str, tuple[float, float]] = {
    **_LOW, "brain": (0.12, 0.2), "white_matter": (0.1, 0.2), "cerebellum": (0.12, 0.2), "blood": (1.5, 0.2),
    "blood_chamber": (1.5, 0.2), "myocardium": (1.4, 0.15), "liver": (5.4, 0.3), "liver_vessel": (3.0, 0.2),
    "spleen": (8.1, 0.4), "kidney_cortex": (46.0, 0.3), "kidney_medulla": (34.0, 0.3), "urine": (42.0, 0.6),
    "ureter": (6.0, 0.3), "ureter_hot": (30.0, 0.4), "parotid": (15.0, 0.3), "submandibular": (16.0, 0.3),
    "sublingual": (7.0, 0.3), "lacrimal": (8.0, 0.35), "duodenum_wall": (11.0, 0.35), "bowel_wall": (2.2, 0.3),
    "bowel_hot": (6.5, 0.4), "stomach": (3.0, 0.3), "mucosa": (2.4, 0.3), "bile": (3.0, 0.5), "adrenal": (3.2, 0.3),
    "pancreas": (2.4, 0.2), "prostate": (2.8, 0.3), "muscle": (0.6, 0.12), "spongiosa": (0.8, 0.2), "cord": (0.7, 0.1),
    "thyroid": (1.4, 0.2),
}  # fmt: skip
_PSMA_1007: dict[str, tuple[float, float]] = {
    **_PSMA, "liver": (11.7, 0.33), "liver_vessel": (5.0, 0.2), "spleen": (11.2, 0.32), "kidney_cortex": (19.0, 0.3),
    "kidney_medulla": (15.0, 0.3), "urine": (3.4, 0.5), "ureter": (2.0, 0.3), "ureter_hot": (4.0, 0.3), "bile": (45.0, 0.5),
    "parotid": (19.0, 0.25), "submandibular": (19.0, 0.25), "blood": (2.6, 0.2), "blood_chamber": (2.6, 0.2),
    "spongiosa": (1.2, 0.2), "spongiosa_rib": (1.1, 0.2), "spongiosa_pelvis": (1.1, 0.2),
}  # fmt: skip
_DOTATATE: dict[str, tuple[float, float]] = {
    **_LOW, "brain": (0.1, 0.2), "white_matter": (0.1, 0.2), "cerebellum": (0.1, 0.2), "pituitary": (9.0, 0.3),
    "blood": (1.1, 0.2), "blood_chamber": (1.1, 0.2), "liver": (4.8, 0.3), "liver_vessel": (3.5, 0.2), "spleen": (16.5, 0.35),
    "kidney_cortex": (14.0, 0.3), "kidney_medulla": (10.0, 0.3), "urine": (24.0, 0.5), "ureter": (4.0, 0.3),
    "ureter_hot": (15.0, 0.4), "adrenal": (11.0, 0.35), "thyroid": (2.4, 0.35), "pancreas": (3.4, 0.3),
    "prostate": (2.4, 0.3), "bowel_wall": (2.2, 0.3), "bowel_hot": (4.5, 0.3), "stomach": (4.0, 0.3),
    "duodenum_wall": (4.0, 0.3), "parotid": (2.2, 0.3), "submandibular": (2.4, 0.3), "spongiosa": (0.9, 0.15),
    "uterus": (1.4, 0.2), "muscle": (0.6, 0.1),
}  # fmt: skip

TABLES: Mapping[Tracer, Mapping[str, tuple[float, float]]] = {
    Tracer.FDG: _FDG,
    Tracer.PSMA_11: _PSMA,
    Tracer.PSMA_1007: _PSMA_1007,
    Tracer.DOTATATE: _DOTATATE,
}


@dataclass(frozen=True)
class TracerFacts:
    """What a header says of a tracer. Codes as in the context groups 4021 and 4020."""

    name: str
    code: tuple[str, str, str]
    nuclide: tuple[str, str, str]
    half_life_s: float
    positron_fraction: float
    dose_mbq_per_kg: float
    uptake_s: int


_F18 = ("77004003", "SCT", "^18^Fluorine")
_GA68 = ("35337001", "SCT", "^68^Gallium")
FACTS: Mapping[Tracer, TracerFacts] = {
    Tracer.FDG: TracerFacts(
        "Fluorodeoxyglucose F^18^", ("35321007", "SCT", "Fluorodeoxyglucose F^18^"), _F18, 6586.2, 0.9673, 4.0, 3720
    ),
    Tracer.PSMA_11: TracerFacts(
        "PSMA-11 Ga^68^", ("C118961", "NCIt", "Gallium Ga-68 Gozetotide"), _GA68, 4062.6, 0.8891, 2.0, 3660
    ),
    Tracer.PSMA_1007: TracerFacts("PSMA-1007 F^18^", ("126758", "DCM", "PSMA-1007 F^18^"), _F18, 6586.2, 0.9673, 3.6, 5700),
    Tracer.DOTATATE: TracerFacts(
        "DOTATATE Ga^68^", ("724025002", "SCT", "Gallium (68-Ga) dotatate"), _GA68, 4062.6, 0.8891, 2.0, 3540
    ),
}


def draw_uptake(tracer: Tracer, rng: np.random.Generator, variation: float = 1.0) -> dict[str, float]:
    """SUV per material for one patient: log-normal round the table, ``variation`` times the table's spread.

    Marrow moves as one, so do the urinary tract's parts and the chambers with the vessels; the rest moves alone.
    """
    together = {"spongiosa": ("spongiosa_rib", "spongiosa_limb", "spongiosa_pelvis"), "blood": ("blood_chamber", "lung_vessel"),
                "kidney_cortex": ("kidney_medulla",), "brain": ("white_matter", "cerebellum")}  # fmt: skip
    follows = {name: lead for lead, names in together.items() for name in names}
    draws = {name: float(np.clip(rng.standard_normal(), -2.2, 2.2)) for name in TABLES[tracer]}
    out = {}
    for name, (mean, _) in TABLES[tracer].items():
        lead = follows.get(name, name)
        out[name] = mean * float(np.exp(draws[lead] * TABLES[tracer][lead][1] * variation))
    out.update({"gas": 0.05, "couch_shell": 0.0, "couch_foam": 0.0})
    return out
