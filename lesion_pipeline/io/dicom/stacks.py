"""From scanned files to stacks: one stack is one volume that could be read, or the reason why it cannot.

A DICOM series is not a volume: it is split by what the voxels mean (image type, echo, kernel, units, corrections) and by
orientation, repeated positions are told apart (copies, gates, time frames, acquisitions) or refused, and files that are damaged
refuse the series they belong to.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lesion_pipeline.io.dicom import lattice
from lesion_pipeline.io.dicom.lattice import LatticeError, Placement
from lesion_pipeline.io.dicom.reader import SliceRef
from lesion_pipeline.io.dicom.record import FileRecord

Hasher = Callable[[Sequence[SliceRef]], list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One frame of one file with what decides where it belongs."""

    ref: SliceRef
    place: Placement | None
    fault: LatticeError | None
    kind: tuple[object, ...]
    scout: bool
    rescale_missing: bool
    temporal: int | None

    @property
    def file(self) -> FileRecord:
        return self.ref.file


@dataclass(slots=True, eq=False)
class Stack:
    """A candidate volume. slices: sorted along the slice normal (unsorted when refused before that).

    refusal, reason: code and sentence when it cannot be read. caveats: (code, sentence). copies: files dropped as identical.
    """

    key: str
    slices: list[Slice]
    caveats: list[tuple[str, str]] = field(default_factory=list)
    refusal: str = ""
    reason: str = ""
    affine: npt.NDArray[np.float64] | None = None
    files: list[FileRecord] = field(default_factory=list)

    @property
    def head(self) -> FileRecord:
        return self.files[0]

    @property
    def modality(self) -> str:
        return self.head.image_modality

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.head.columns, self.head.rows, len(self.slices))

    @property
    def scout(self) -> bool:
        return bool(self.slices) and all(s.scout for s in self.slices)

    def refuse(self, code: str, reason: str) -> None:
        """Keep the first reason."""
        if not self.refusal:
            self.refusal, self.reason = code, reason


def hashed(*parts: object) -> str:
    """Eight hex digits that name a thing without telling what it is."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _kind(file: FileRecord, frame_type: Iterable[str], echo: float | None, b_value: float | None) -> tuple[object, ...]:
    """What voxels mean: slices that differ in it are different volumes."""
    return (
        file.rows,
        file.columns,
        tuple(frame_type)[2:],
        echo,
        b_value,
        file.kernel,
        tuple(sorted(file.corrected_image)),
        file.units,
        file.series_type,
        file.reconstruction,
        file.samples,
        file.photometric,
        file.signed,
        file.bits_stored,
    )


def _place(
    position: Sequence[float] | None, orientation: Sequence[float] | None, spacing: Sequence[float] | None
) -> tuple[Placement | None, LatticeError | None]:
    try:
        return lattice.placement(position, orientation, spacing), None
    except LatticeError as fault:
        return None, fault


def _number(value: float | None, default: float) -> float:
    return default if value is None else value


def slices_of(file: FileRecord) -> list[Slice]:
    """The slices of one file: itself, or its frames."""
    if not (file.multi_frame and file.frame_records):
        place, fault = _place(file.position, file.orientation, file.spacing)
        ref = SliceRef(file, 0, _number(file.slope, 1.0), _number(file.intercept, 0.0))
        scout = "LOCALIZER" in file.image_type
        return [
            Slice(
                ref,
                place,
                fault,
                _kind(file, file.image_type, file.echo_time, file.b_value),
                scout,
                file.slope is None,
                file.temporal,
            )
        ]
    found = []
    for number, frame in enumerate(file.frame_records):
        place, fault = _place(frame.position, frame.orientation or file.orientation, frame.spacing or file.spacing)
        slope = frame.slope if frame.slope is not None else file.slope
        intercept = frame.intercept if frame.intercept is not None else file.intercept
        kind = (*_kind(file, frame.frame_type or file.image_type, frame.echo_time, frame.b_value), frame.stack)
        scout = "LOCALIZER" in (frame.frame_type or file.image_type)
        ref = SliceRef(file, number, _number(slope, 1.0), _number(intercept, 0.0))
        found.append(Slice(ref, place, fault, kind, scout, slope is None, frame.temporal))
    return found


def _spread(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices by orientation, biggest group first; slices without a place stay with the first group."""
    groups: list[list[Slice]] = []
    lost = [s for s in slices if s.place is None]
    for item in slices:
        if item.place is None:
            continue
        for group in groups:
            head = group[0].place
            if head is not None and lattice.same_direction(item.place, head):
                group.append(item)
                break
        else:
            groups.append([item])
    groups.sort(key=len, reverse=True)
    if not groups:
        return [lost]
    groups[0] += lost
    return groups


def _positions(slices: Iterable[Slice]) -> npt.NDArray[np.float64]:
    return np.array([s.place.position for s in slices if s.place is not None])


def _near_any(points: npt.NDArray[np.float64], others: npt.NDArray[np.float64], reach: float) -> bool:
    """Does any point lie within ``reach`` mm of any other?"""
    if not len(points) or not len(others):
        return False
    distance = np.linalg.norm(points[:, None, :] - others[None, :, :], axis=2)
    return bool(distance.min() <= reach)


def _usual_step(slices: Sequence[Slice]) -> float:
    places = [s.place for s in slices if s.place is not None]
    if len(places) < 2:
        return 0.0
    steps = np.diff(np.sort(lattice.heights(places)))
    steps = steps[steps > lattice.SAME_POSITION_MM]
    return float(np.median(steps)) if len(steps) else 0.0


def _belongs(part: Sequence[Slice], main: Sequence[Slice]) -> bool:
    """Do the slices of ``part`` continue or fill the stack ``main`` in space, without lying on its slices?

    Then they are slices of that stack that contradict the others, not another volume.
    """
    step = _usual_step(main)
    mine, others = _positions(part), _positions(main)
    if not step or not len(mine):
        return not len(mine)
    on_top = _near_any(mine, others, lattice.SAME_POSITION_MM)
    return not on_top and _near_any(mine, others, 1.05 * step)


_KIND_NAMES = ("matrix", "matrix", "image type", "echo time", "b-value", "kernel", "corrections", "units", "series type")


def _contradiction(part: Sequence[Slice], main: Sequence[Slice]) -> tuple[str, str]:
    one, other = part[0].kind, main[0].kind
    if one[:2] != other[:2]:
        return "MIXED_MATRIX", "the size of the image changes from slice to slice"
    names = [name for name, a, b in zip(_KIND_NAMES, one, other, strict=False) if a != b]
    what = names[0] if names else "pixel format or reconstruction"
    return "MIXED_ATTRIBUTES", f"slices of one stack disagree on their {what}"


def files_of(slices: Iterable[Slice]) -> list[FileRecord]:
    """The files of some slices, each once, in an order that does not depend on their names."""
    return sorted({s.file.index: s.file for s in slices}.values(), key=lambda f: f.sha256)


def split(slices: Sequence[Slice], key_parts: tuple[object, ...]) -> list[Stack]:
    """Stacks of one series, not yet checked one by one."""
    modality = slices[0].file.image_modality
    by_kind: dict[tuple[object, ...], list[Slice]] = defaultdict(list)
    for item in slices:
        by_kind[(item.scout, *item.kind)].append(item)
    groups = [group for part in by_kind.values() for group in _spread(part)]
    groups.sort(key=lambda g: (g[0].scout, -len(g)))
    stacks: list[Stack] = []
    for group in groups:
        main = next((s for s in stacks if not s.scout), None)
        stack = Stack("", group, files=files_of(group))
        first = group[0].place
        turned_to = () if first is None else [round(float(x), 2) + 0.0 for x in (*first.rows_along, *first.columns_along)]
        stack.key = f"{modality}-{hashed(*key_parts, group[0].kind, group[0].scout, *turned_to)}"
        if main is not None and not stack.scout and _belongs(group, main.slices):
            turned = _same_kind_other_way(group, main.slices)
            code, reason = (
                ("BAD_ORIENTATION", "slices of one stack are turned differently")
                if turned
                else _contradiction(group, main.slices)
            )
            main.refuse(code, reason)
        if main is not None and (stack.scout or _is_scout_like(group, main.slices)):
            main.caveats.append(("LOCALIZER_DROPPED", f"{len(group)} localizer images inside the series were left out"))
        stacks.append(stack)
    return stacks


def _same_kind_other_way(part: Sequence[Slice], main: Sequence[Slice]) -> bool:
    one, other = part[0].place, main[0].place
    return one is not None and other is not None and not lattice.same_direction(one, other) and part[0].kind == main[0].kind


def _is_scout_like(group: Sequence[Slice], main: Sequence[Slice]) -> bool:
    """A few images turned another way than the stack they share a series with."""
    one, other = group[0].place, main[0].place
    if one is None or other is None:
        return False
    return len(group) < 5 <= len(main) and not lattice.same_direction(one, other)


def same_position_runs(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices sorted along the normal, those at one position together."""
    places = [s.place for s in slices if s.place is not None]
    z = lattice.heights(places)
    order = np.argsort(z, kind="stable")
    runs: list[list[Slice]] = []
    last = -np.inf
    for index in order:
        if z[index] - last < lattice.SAME_POSITION_MM:
            runs[-1].append(slices[index])
        else:
            runs.append([slices[index]])
        last = float(z[index])
    return runs
