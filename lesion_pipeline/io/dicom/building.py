"""Stacks made ready: copies dropped, repeated positions resolved, every check done. The order of checks decides the code."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from lesion_pipeline.io.dicom import lattice
from lesion_pipeline.io.dicom.elements import NATIVE
from lesion_pipeline.io.dicom.lattice import LatticeError
from lesion_pipeline.io.dicom.record import FileRecord
from lesion_pipeline.io.dicom.stacks import Hasher, Slice, Stack, files_of, hashed, same_position_runs, slices_of, split

#: RLE, JPEG baseline/extended/lossless, JPEG-LS, JPEG 2000 and HTJ2K.
DECODABLE = NATIVE | frozenset(
    ["1.2.840.10008.1.2.5"] + [f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91, 201, 202, 203)]
)


def build_stacks(records: Sequence[FileRecord], hasher: Hasher) -> list[Stack]:
    """All stacks of a study, refused ones included, in the order of their keys.

    hasher: sha256 of stored values of slices (DicomReader.hashes); asked only where copies must be told from contradictions.
    """
    groups: dict[tuple[str, ...], list[FileRecord]] = defaultdict(list)
    orphans: list[FileRecord] = []
    for record in records:
        if not record.image_modality:
            if record.fault and not record.sop_class and record.fault_text.startswith("reading"):
                orphans.append(record)
            continue
        if record.fault and not record.series_uid:
            orphans.append(record)
            continue
        frame = str(record.index) if record.multi_frame else ""
        groups[record.study_uid, record.series_uid, record.sop_class, frame].append(record)
    stacks = [stack for key, files in sorted(groups.items()) for stack in _series(key, files, hasher)]
    _blame_orphans(stacks, orphans)
    _mark_reused(stacks)
    return sorted(_unique_keys(stacks), key=lambda s: s.key)


def _unique_keys(stacks: list[Stack]) -> list[Stack]:
    """Two stacks that are the same in every word (a copy under other UIDs is not) get different keys."""
    seen: dict[str, int] = defaultdict(int)
    for stack in sorted(stacks, key=lambda s: (s.key, s.files[0].sha256)):
        seen[stack.key] += 1
        if seen[stack.key] > 1:
            stack.key = f"{stack.key}-{seen[stack.key]}"
    return stacks


def _blame_orphans(stacks: list[Stack], orphans: list[FileRecord]) -> None:
    """A damaged image that does not say which series it is of may be a slice of any series of its class."""
    for orphan in orphans:
        hit = [s for s in stacks if not orphan.sop_class or s.head.sop_class == orphan.sop_class]
        for stack in hit:
            stack.refusal = orphan.fault  # it explains the gap that the checks found
            stack.reason = f"a damaged file may be one of its slices ({orphan.fault_text})"
        if not hit and orphan.sop_class:
            key = f"{orphan.image_modality}-{hashed(orphan.sha256)}"
            stacks.append(Stack(key, [], refusal=orphan.fault, reason=orphan.fault_text, files=[orphan]))


def _mark_reused(stacks: list[Stack]) -> None:
    modalities: dict[str, set[str]] = defaultdict(set)
    for stack in stacks:
        modalities[stack.head.series_uid].add(stack.modality)
    for stack in stacks:
        if stack.head.series_uid and len(modalities[stack.head.series_uid]) > 1:
            stack.caveats.append(("SERIES_UID_REUSED", "series of different modality carry the same SeriesInstanceUID"))


def _series(key: tuple[str, ...], files: list[FileRecord], hasher: Hasher) -> list[Stack]:
    modality = files[0].image_modality
    faulty = [f for f in files if f.fault]
    if faulty:
        worst = min(faulty, key=lambda f: (f.fault, f.fault_text))
        stack = Stack(f"{modality}-{hashed(*key[:3])}", [], files=sorted(files, key=lambda f: f.sha256))
        stack.refuse(worst.fault, f"{len(faulty)} of {len(files)} files are damaged: {worst.fault_text}")
        return [stack]
    kept, caveats = _without_copies(files, hasher)
    stacks: list[Stack] = []
    for stack in split([s for f in kept for s in slices_of(f)], key[:3]):
        stacks += _resolved(stack, hasher)
    if stacks:
        stacks[0].caveats += caveats
    for stack in stacks:
        _check(stack)
    return stacks


def _rank(file: FileRecord) -> tuple[bool, str]:
    return (file.syntax not in NATIVE, file.sha256)


def _without_copies(files: Sequence[FileRecord], hasher: Hasher) -> tuple[list[FileRecord], list[tuple[str, str]]]:
    """Files of one series without those that repeat a SOPInstanceUID with the same pixels in the same place."""
    by_uid: dict[str, list[FileRecord]] = defaultdict(list)
    for file in files:
        by_uid[file.sop_uid].append(file)
    kept: list[FileRecord] = []
    dropped = 0
    reused = False
    for uid, same in by_uid.items():
        first, *rest = sorted(same, key=_rank)
        kept.append(first)
        for other in rest:
            if uid and _same_image(first, other, hasher):
                dropped += 1
            else:
                kept.append(other)
                reused = True
    caveats = []
    if dropped:
        caveats.append(("DUPLICATE_SOP", f"{dropped} files repeat another file of their series and were left out"))
    if reused:
        caveats.append(("SOP_UID_REUSED", "different images carry the same SOPInstanceUID"))
    return kept, caveats


def _same_image(one: FileRecord, other: FileRecord, hasher: Hasher) -> bool:
    if one.sha256 == other.sha256:
        return True
    alike = ("position", "orientation", "spacing", "slope", "intercept", "rows", "columns", "frames", "units", "frame_records")
    if one.samples != 1 or any(getattr(one, name) != getattr(other, name) for name in alike):
        return False
    first, second = slices_of(one), slices_of(other)
    return hasher([s.ref for s in first]) == hasher([s.ref for s in second])


def _resolved(stack: Stack, hasher: Hasher) -> list[Stack]:
    """The stack with repeated positions dropped or split off; refused where they cannot be told apart."""
    fault = next((s.fault for s in stack.slices if s.fault is not None), None)
    if fault is not None:
        stack.refuse(fault.code, fault.message)
        return [stack]
    runs = same_position_runs(stack.slices)
    repeated = [run for run in runs if len(run) > 1]
    if not repeated:
        stack.slices = [run[0] for run in runs]
        return [stack]
    if stack.refusal or _named_series_type(stack):
        return [stack]
    stations = _stations(stack)
    if len(stations) > 1:
        return [resolved for part in _parted(stack, stations) for resolved in _resolved(part, hasher)]
    left = _drop_same_pixels(runs, hasher, stack)
    stack.slices = [s for run in left for s in run]
    if all(len(run) == 1 for run in left):
        return [stack]
    parts = _told_apart(stack)
    if not parts:
        _refuse_repeats(stack, left)
    return parts or [stack]


def _named_series_type(stack: Stack) -> bool:
    """Gated and dynamic PET are refused by name, whatever their positions."""
    if stack.modality != "PT":
        return False
    word = stack.head.series_type[0].upper() if stack.head.series_type else ""
    if word == "GATED":
        stack.refuse("GATED_PET", "the PET is gated")
    elif word == "DYNAMIC":
        stack.refuse("DYNAMIC_PET", "the PET is a time series")
    return bool(stack.refusal)


def _drop_same_pixels(runs: list[list[Slice]], hasher: Hasher, stack: Stack) -> list[list[Slice]]:
    asked = [s for run in runs if len(run) > 1 and run[0].file.samples == 1 for s in run]
    known = {id(s): digest for s, digest in zip(asked, hasher([s.ref for s in asked]), strict=True)}
    left, dropped = [], 0
    for run in runs:
        if id(run[0]) not in known:
            left.append(run)
            continue
        unique: dict[tuple[object, ...], Slice] = {}
        for item in sorted(run, key=lambda s: _rank(s.file)):
            unique.setdefault((known[id(item)], item.ref.slope, item.ref.intercept), item)
        dropped += len(run) - len(unique)
        left.append(list(unique.values()))
    if dropped:
        stack.caveats.append(("DUPLICATE_POSITION", f"{dropped} images repeat another at the same place and were left out"))
    return left


_TELLS: tuple[Callable[[Slice], object], ...] = (
    lambda s: s.file.acquisition_number,
    lambda s: s.temporal,
    lambda s: s.file.trigger_time,
)


#: Slices whose first pixels lie further apart than this in the plane of the image (mm) are of different stations.
STATION_MM = 5.0


def _stations(stack: Stack) -> list[list[Slice]]:
    """MR slices by where their first pixel lies in the plane of the image: stations of a spine side by side in one series."""
    found: list[tuple[npt.NDArray[np.float64], list[Slice]]] = []
    for item in stack.slices if stack.modality == "MR" else ():
        if item.place is None:
            return []
        place = item.place
        start = np.array([place.position @ place.rows_along, place.position @ place.columns_along])
        home = next((part for other, part in found if np.abs(start - other).max() < STATION_MM), None)
        if home is None:
            found.append((start, [item]))
        else:
            home.append(item)
    return [part for _, part in sorted(found, key=lambda one: tuple(one[0]))]


def _parted(stack: Stack, parts: Sequence[list[Slice]]) -> list[Stack]:
    """A stack for each part; what was said of the whole goes with the first."""
    keys = [f"{stack.key[:3]}{hashed(stack.key, f'part {number}')}" for number in range(len(parts))]
    made = [Stack(key, part, files=files_of(part)) for key, part in zip(keys, parts, strict=True)]
    made[0].caveats += stack.caveats
    return made


def _told_apart(stack: Stack) -> list[Stack]:
    """Complete stacks by acquisition, time position or trigger time; [] when none of them separates the repeats."""
    if stack.modality == "PT" and (stack.head.time_slices or 0) > 1:
        return []
    for tell in _TELLS:
        parts: dict[object, list[Slice]] = defaultdict(list)
        for item in stack.slices:
            parts[tell(item)].append(item)
        if len(parts) < 2 or any(len(run) > 1 for part in parts.values() for run in same_position_runs(part)):
            continue
        if max(map(len, parts.values())) < 2:
            continue
        made = []
        for value, part in sorted(parts.items(), key=lambda entry: str(entry[0])):
            made.append(
                Stack(
                    f"{stack.key[:3]}{hashed(stack.key, value)}", [r[0] for r in same_position_runs(part)], files=files_of(part)
                )
            )
        made[0].caveats += stack.caveats
        return made
    return []


def _refuse_repeats(stack: Stack, runs: list[list[Slice]]) -> None:
    counts = {len(run) for run in runs}
    if stack.modality == "PT" and len(counts) == 1 and (stack.head.time_slices or 0) > 1:
        stack.refuse("DYNAMIC_PET", f"every position is there {counts.pop()} times: a time series")
        return
    several = sum(len(run) > 1 for run in runs)
    stack.refuse("AMBIGUOUS_POSITION", f"at {several} positions there are different images and nothing tells which is meant")


def _check(stack: Stack) -> None:
    head = stack.head
    for test in (_check_pixels, _check_rescale):
        if not stack.refusal:
            test(stack)
    if stack.modality == "PT" and not stack.refusal:
        _named_series_type(stack)
    if stack.refusal:
        return
    try:
        step = head.thickness if head.thickness and math.isfinite(head.thickness) and head.thickness > 0 else 1.0
        places = [s.place for s in stack.slices if s.place is not None]
        stack.affine = lattice.affine_of(places, step)
    except LatticeError as fault:
        stack.refuse(fault.code, fault.message)
        return
    if len({f.frame_uid for f in stack.files}) > 1:
        stack.refuse("FRAME_OF_REFERENCE_MISMATCH", "slices of one stack name different frames of reference")
    declared = head.number_of_slices
    if stack.modality == "PT" and declared and declared > len(stack.slices) and not stack.scout:
        stack.refuse("MISSING_SLICES", f"the header declares {declared} slices, {len(stack.slices)} are there")


def _check_pixels(stack: Stack) -> None:
    for file in stack.files:
        if file.samples != 1 or not file.photometric.startswith("MONOCHROME"):
            return stack.refuse("NOT_GRAYSCALE", "the images are colours, not quantities")
        if file.mosaic:
            return stack.refuse("MOSAIC", "the images are mosaics of slices")
        if file.syntax not in DECODABLE:
            return stack.refuse("UNSUPPORTED_SYNTAX", "the transfer syntax is not supported")
        if file.frames != 1 and not file.multi_frame:
            return stack.refuse("ENHANCED_UNSUPPORTED", "a single-frame image holds several frames")
    if any(f.lossy for f in stack.files):
        if stack.modality == "PT":
            return stack.refuse("LOSSY", "the PET was compressed with loss: its values are no longer the scanner's")
        stack.caveats.append(("LOSSY", "the images were compressed with loss"))
    if any(f.photometric == "MONOCHROME1" for f in stack.files):
        stack.caveats.append(("MONOCHROME1", "the images ask to be shown inverted; the values are used as they are"))
    return None


def _check_rescale(stack: Stack) -> None:
    slopes = [s.ref.slope for s in stack.slices]
    offsets = [s.ref.intercept for s in stack.slices]
    missing = sum(s.rescale_missing for s in stack.slices)
    if missing and (stack.modality != "MR" or missing < len(stack.slices)):
        return stack.refuse("RESCALE_MISSING", f"{missing} of {len(stack.slices)} slices do not say what their numbers mean")
    if _bad(slopes) or not all(map(math.isfinite, offsets)) or 0.0 in slopes:
        return stack.refuse("BAD_RESCALE", "a rescale slope is zero or no number")
    if stack.modality == "PT":
        if min(slopes) < 0:
            return stack.refuse("BAD_RESCALE", "a rescale slope is negative")
        if any(offsets):
            return stack.refuse("PET_INTERCEPT", "the rescale intercept of a PET must be 0")
    return None


def _bad(values: Iterable[float]) -> bool:
    return not all(map(math.isfinite, values))
