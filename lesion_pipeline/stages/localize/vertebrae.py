"""Which vertebrae a lesion involves (clinical specification 4.6). Instances are what counts; a level is a name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lesion_pipeline.domain.anatomy import Anatomy, Organ, StructureKind, VertebralLevel
from lesion_pipeline.domain.lesion import VertebraShare
from lesion_pipeline.imaging.places import Places
from lesion_pipeline.imaging.shares import Shares
from lesion_pipeline.stages.localize.options import Options

_SPINAL_BONES = {"sacrum": VertebralLevel.S, "coccyx": VertebralLevel.CO}
_POSTERIOR = "posterior_elements"


@dataclass(slots=True)
class _Sum:
    instance: int
    level: VertebralLevel | None
    share: float
    inside: float
    millilitres: float
    parts: dict[str, float]


def vertebra_shares(divided: Shares, places: Places, anatomy: Anatomy, options: Options) -> tuple[VertebraShare, ...]:
    """Every vertebra that holds part of the lesion, largest share first. Sacrum and coccyx are vertebral units of their own."""
    known = {v.instance: v for v in anatomy.vertebrae}
    last = max(known, default=0)
    sums: dict[int, _Sum] = {}
    rib = 0.0
    for code in np.flatnonzero(divided.near[1:] > 0) + 1:
        structure = places.structures[int(code)]
        if structure is None:
            continue
        if structure.key.startswith("rib"):
            rib += float(divided.near[code])
        instance, level = structure.instance, structure.level
        if structure.kind is not StructureKind.VERTEBRA:
            if structure.key not in _SPINAL_BONES:
                continue
            level = _SPINAL_BONES[structure.key]
        if instance is None:
            instance = next((v.instance for v in anatomy.vertebrae if v.level is level and level is not None), None)
        if instance is None:  # a vertebra nobody numbered: its level keeps it apart from the others
            instance = last + (int(level) if level is not None else int(code) + 100)
        entry = sums.setdefault(instance, _Sum(instance, level, 0.0, 0.0, 0.0, {}))
        entry.share += float(divided.near[code])
        entry.inside += float(divided.inside[code])
        entry.millilitres += float(divided.millilitres[code])
        part = _POSTERIOR if structure.key.endswith("_posterior") else _part(structure.key)
        entry.parts[part] = entry.parts.get(part, 0.0) + float(divided.near[code])
    whole = sum(s.share for s in sums.values())
    rib_lesion = rib > 0 and whole < options.rib_head_vertebra_share
    out = []
    for entry in sorted(sums.values(), key=lambda s: (-s.share, s.instance)):
        enough = entry.share >= options.involved_share
        enough |= entry.millilitres >= options.involved_ml and entry.inside >= options.spill_share
        known_as = known.get(entry.instance)
        if known_as is not None:  # the vertebra's own name, None where it is ambiguous
            level, confidence = known_as.level, known_as.confidence
        else:
            level, confidence = entry.level, 1.0 if entry.level is not None else 0.0
        share = VertebraShare(
            entry.instance, level, confidence, entry.share, entry.millilitres, enough and not rib_lesion, _parts(entry.parts)
        )
        out.append(share)
    return tuple(out)


def _part(key: str) -> str:
    for part in ("pedicle", "lamina", "transverse", "articular", "spinous", "body"):
        if key.endswith(("_" + part, f"_{part}_left", f"_{part}_right")):
            return key[key.index(part) :]
    return "body" if key.startswith("vertebra") else ""


def _parts(parts: dict[str, float]) -> str:
    """Parts with at least a fifth of the vertebra's share, largest first."""
    total = sum(parts.values())
    ranked = sorted(parts.items(), key=lambda item: (-item[1], item[0]))
    return "+".join(name for name, share in ranked if name and share >= 0.2 * total)


def in_spine(
    vertebrae: tuple[VertebraShare, ...],
    organs: tuple[tuple[Organ, float], ...],
    in_canal: float,
    places: Places,
) -> bool | None:
    """Is it a lesion of the spine? None where no vertebra was named in the scan and the lesion may be in bone."""
    bone = dict(organs).get(Organ.BONE, 0.0)
    named = bool(places.codes_of_kind(StructureKind.VERTEBRA)) or any(places.code(k) is not None for k in _SPINAL_BONES)
    if not named:
        return None if bone > 0 else False
    return in_canal >= 0.5 or (bone > 0 and any(v.involved for v in vertebrae))
