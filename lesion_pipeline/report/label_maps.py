"""Label maps of a study folder: what the segmenters said, and the lesions on the grids they were seen on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lesion_pipeline.domain.anatomy import Anatomy, Structure, StructureKind
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.lesion import Decision, Screened
from lesion_pipeline.domain.result import Result
from lesion_pipeline.domain.volume import LabelMap, Modality
from lesion_pipeline.io.nifti import write_label_map
from lesion_pipeline.report import layout

_ORDER = (Decision.COUNTED, Decision.UNCERTAIN, Decision.EXCLUDED)


def write_label_maps(result: Result, folder: Path) -> tuple[Path, ...]:
    """Write ``labels/<source>.nii.gz`` for every anatomy map and ``labels/lesions*.nii.gz``; names tables beside them.

    Returns the paths of the NIfTI files. Two maps of one source get numbers: ``source-2``.
    """
    return _write([*anatomy_maps(result.anatomy), *lesion_maps(result.screened)], folder)


def write_anatomy_maps(anatomy: Anatomy, folder: Path) -> tuple[Path, ...]:
    """As ``write_label_maps``, for an anatomy without lesions."""
    return _write(anatomy_maps(anatomy), folder)


def anatomy_maps(anatomy: Anatomy) -> list[tuple[str, LabelMap]]:
    """(file stem, label map) of every segmenter, in order of precedence."""
    maps: list[tuple[str, LabelMap]] = []
    seen: dict[str, int] = {}
    for named in anatomy.maps:
        # "lesions" is a file of ours
        source = layout.safe_name(named.source if named.source != "lesions" else "anatomy-lesions")
        seen[source] = seen.get(source, 0) + 1
        maps.append((source if seen[source] == 1 else f"{source}-{seen[source]}", named.label_map))
    return maps


def _write(maps: Sequence[tuple[str, LabelMap]], folder: Path) -> tuple[Path, ...]:
    written = []
    for source, label_map in maps:
        path = layout.label_map(folder, source)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_label_map(label_map, path)
        written.append(path)
    return tuple(written)


def lesion_maps(lesions: Sequence[Screened]) -> list[tuple[str, LabelMap]]:
    """One map a grid: ``lesions`` for the PET grid (or the only one), ``lesions-ct``, ``lesions-mr-2``, ... for others.

    Values are 1, 2, 3 ... in the order of the lesion ids, the same in every map; each is named by the lesion's id. Where two
    lesions share a voxel it goes to the counted one before the uncertain before the excluded one.
    """
    numbers = {s.finding.id: n for n, s in enumerate(sorted(lesions, key=lambda s: s.finding.id), start=1)}
    groups: list[tuple[Grid, Modality, list[Screened]]] = []
    for lesion in sorted(lesions, key=lambda s: (_ORDER.index(s.decision), s.finding.id)):
        candidate = lesion.finding.located.candidate
        for grid, _, members in groups:
            if grid.same_as(candidate.grid):
                members.append(lesion)
                break
        else:
            groups.append((candidate.grid, candidate.modality, [lesion]))
    groups.sort(key=lambda group: group[1] is not Modality.PT)  # stable: PET first
    out: list[tuple[str, LabelMap]] = []
    used: dict[str, int] = {}
    for rank, (grid, modality, members) in enumerate(groups):
        stem = "lesions" if rank == 0 else f"lesions-{modality.lower()}"
        used[stem] = used.get(stem, 0) + 1
        out.append((stem if used[stem] == 1 else f"{stem}-{used[stem]}", _map_of(grid, members, numbers)))
    return out


def _map_of(grid: Grid, lesions: Sequence[Screened], numbers: dict[str, int]) -> LabelMap:
    values = np.zeros(grid.shape, dtype=np.uint16)
    names = {}
    for lesion in lesions:
        candidate, site = lesion.finding.located.candidate, lesion.finding.located.site
        number = numbers[lesion.finding.id]
        i, j, k = candidate.voxels.T
        free = values[i, j, k] == 0
        values[i[free], j[free], k[free]] = number
        names[number] = Structure(lesion.finding.id, StructureKind.REGION, organ=site.organ, level=site.level)
    return LabelMap(values, grid, names)
