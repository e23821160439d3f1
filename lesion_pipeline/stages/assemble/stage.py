"""The door of the stage: scan, stack, classify, choose, read."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import InputError, LesionPipelineError
from lesion_pipeline.domain.pet import PatientFacts, PetFacts
from lesion_pipeline.domain.study import Assembly, RealWorldMap, Series, SeriesRole
from lesion_pipeline.domain.volume import Volume
from lesion_pipeline.io.dicom.building import build_stacks
from lesion_pipeline.io.dicom.reader import DicomReader, Scan
from lesion_pipeline.io.dicom.record import FileRecord
from lesion_pipeline.io.dicom.stacks import Stack, hashed
from lesion_pipeline.io.files import Found, gathered
from lesion_pipeline.stages.assemble import stations
from lesion_pipeline.stages.assemble.choose import (
    STAGE,
    Choice,
    check_overlap,
    choose_ct,
    choose_pet,
    frame_name,
    grid_of,
    refused,
)
from lesion_pipeline.stages.assemble.kinds import NAC, Candidate, classify, modality_of, object_kind
from lesion_pipeline.stages.assemble.options import Options
from lesion_pipeline.stages.assemble.patients import check_patients
from lesion_pipeline.stages.assemble.volumes import read_facts, read_volume

#: Called with a refusal: raises it, or takes note of it.
OnRefusal = Callable[[LesionPipelineError], None]

_MARKS: tuple[tuple[str, str, Callable[[FileRecord], bool]], ...] = (
    (
        "NO_PREAMBLE",
        "some files lack the DICOM preamble and were read all the same",
        lambda record: bool(record.sop_class) and not record.preamble,
    ),
    (
        "UNSAFE_TEXT",
        "some header texts hold control characters, paths or no valid UID; never used as such",
        lambda record: record.unsafe_text,
    ),
    (
        "BAD_CHARSET",
        "some header texts do not follow their character set; they are shown as well as they can be",
        lambda record: record.bad_charset,
    ),
)


def run(source: Path, options: Options) -> Assembly:
    """Everything in the input of one study: a folder of any depth, a zip or tar, or one file.

    Volumes are read for the chosen PET and CT and every usable MR: PET as stored after rescale (Bq/ml, or ARBITRARY until
    calibrated), CT in HU, MR arbitrary. Raises InputError (NO_DICOM, MIXED_PATIENTS, AMBIGUOUS_PET, AMBIGUOUS_CT, ...) and the
    refusal of the series that would be needed; other bad series are listed with theirs.
    """
    return _assembled(source, options, _raise)


def survey(source: Path, options: Options) -> Assembly:
    """As ``run``, but a study that ``run`` refuses is shown all the same: the refusal becomes a caveat.

    PET facts are read of every PET, refused ones too. For looking at a folder, not for counting: nothing is chosen blindly.
    Raises InputError only when there is nothing to show (NO_DICOM, NO_SUCH_INPUT, ARCHIVE_..., UNREADABLE).
    """
    told: list[Caveat] = []
    found = _assembled(
        source, options, lambda error: told.append(Caveat(error.code, STAGE, error.message, error.series)), every_pet=True
    )
    return replace(found, caveats=_sorted([*found.caveats, *told]))


def _raise(error: LesionPipelineError) -> None:
    raise error


def _sorted(caveats: Iterable[Caveat]) -> tuple[Caveat, ...]:
    return tuple(sorted(set(caveats), key=lambda c: (c.code, c.series or "", c.message)))


def _assembled(source: Path, options: Options, on_refusal: OnRefusal, *, every_pet: bool = False) -> Assembly:
    with gathered(source) as found, DicomReader(found.paths) as reader:
        scan = reader.scan()
        if not any(r.sop_class for r in scan.records):
            raise InputError("NO_DICOM", "no DICOM file was found in the input", advice="Give the folder of one study.")
        caveats: list[Caveat] = []
        try:
            caveats += check_patients(scan.records, STAGE)
        except InputError as error:
            on_refusal(error)
        stacks = build_stacks(scan.records, reader.hashes)
        candidates = [classify(stack, options.min_slices) for stack in stacks]
        choice = _choose(candidates, options, reader, on_refusal)
        series, patient = _read(candidates, choice, reader, on_refusal, every_pet=every_pet)
        try:
            _refuse_if_nothing_is_left(candidates)
        except LesionPipelineError as error:
            on_refusal(error)
        caveats += _of_files(found, scan, reader, choice) + choice.caveats + _of_studies(choice)
        return Assembly(
            series=tuple(series + _objects(scan.records)),
            patient=patient,
            real_world_maps=_maps(scan.records, stacks),
            caveats=_sorted(caveats),
            skipped=tuple(sorted((found.skipped + scan.skipped).items())),
        )


def _choose(candidates: Sequence[Candidate], options: Options, reader: DicomReader, on_refusal: OnRefusal) -> Choice:
    choice = Choice()

    def same(one: Stack, other: Stack) -> bool:
        """Same grid, same pixels, whatever the transfer syntax."""
        if one.shape != other.shape or one.head.units != other.head.units or not grid_of(one).same_as(grid_of(other)):
            return False
        first, second = [s.ref for s in one.slices], [s.ref for s in other.slices]
        if [(r.slope, r.intercept) for r in first] != [(r.slope, r.intercept) for r in second]:
            return False
        return reader.hashes(first) == reader.hashes(second)

    for choose in (choose_pet, choose_ct):
        try:
            choose(candidates, options, same, choice)
        except LesionPipelineError as error:
            on_refusal(error)
    check_overlap(options, choice)
    stations.settle(candidates, choice)
    return choice


def _read(
    candidates: Sequence[Candidate], choice: Choice, reader: DicomReader, on_refusal: OnRefusal, *, every_pet: bool
) -> tuple[list[Series], PatientFacts]:
    made: list[Series] = []
    for candidate in candidates:
        volume: Volume | None = None
        facts: PetFacts | None = None
        caveats = [Caveat(code, STAGE, text, candidate.key) for code, text in candidate.stack.caveats]
        wanted = candidate in (choice.pet, choice.ct) or (candidate.role is SeriesRole.MR and candidate.usable)
        if wanted:
            try:
                volume, more = read_volume(reader, candidate.stack)
                caveats += more
            except LesionPipelineError as error:
                if candidate is choice.pet:
                    on_refusal(error)
                candidate.code, candidate.words = error.code, error.message
        if candidate is choice.pet and not candidate.code:
            facts = _facts(reader, candidate)
        elif every_pet and candidate.role is SeriesRole.PET and candidate.stack.slices:
            with contextlib.suppress(InputError):  # then it is shown without them
                facts = _facts(reader, candidate)
        if candidate.code and not (candidate.code == NAC and choice.pet is not None):  # a NAC beside the AC is usual
            text = f"a {candidate.stack.modality} series cannot be used: {candidate.words}"
            choice.caveats.append(Caveat(candidate.code, STAGE, text, candidate.key))
        made.append(_series(candidate, volume, facts, caveats))
        choice.caveats += caveats
    return made, _patient(candidates, choice, reader)


def _facts(reader: DicomReader, candidate: Candidate) -> PetFacts:
    try:
        return read_facts(reader, candidate.stack)
    except InputError as error:
        raise InputError(error.code, error.message, series=candidate.key, advice=error.advice) from error


def _patient(candidates: Sequence[Candidate], choice: Choice, reader: DicomReader) -> PatientFacts:
    """Facts from the PET's header, else from the first series that was read."""
    first = choice.pet or choice.ct or next((c for c in candidates if c.usable), None)
    return PatientFacts() if first is None else reader.patient_facts(first.stack.head)


def _series(candidate: Candidate, volume: Volume | None, facts: PetFacts | None, caveats: list[Caveat]) -> Series:
    stack = candidate.stack
    grid = None if stack.affine is None else grid_of(stack)
    role = SeriesRole.REJECTED if candidate.code else candidate.role
    chosen = volume is not None and role is not SeriesRole.REJECTED
    reason = candidate.words
    if not reason:
        reason = "read" if chosen else "another series was chosen"
        if role in {SeriesRole.PET, SeriesRole.CT} and not chosen:
            role = SeriesRole.REJECTED
    if stack.affine is not None and not stack.head.frame_uid and chosen:
        caveats.append(Caveat("NO_FRAME_OF_REFERENCE", STAGE, "the series does not name its frame of reference", stack.key))
    return Series(
        key=stack.key,
        role=role,
        kind=candidate.kind,
        modality=modality_of(stack.head),
        description=stack.head.description,
        instances=len(stack.files),
        shape=None if grid is None else grid.shape,
        spacing_mm=None if grid is None else grid.spacing_mm,
        frame=None if grid is None else frame_name(stack),
        volume=volume if chosen else None,
        pet=facts,
        mr=candidate.mr,
        ct=candidate.ct,
        chosen=chosen,
        reason=reason,
        refusal=candidate.code or None,
        caveats=tuple(caveats),
        input_sha256=_digest(f.sha256 for f in stack.files),
    )


def _digest(hashes: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(hashes)).encode("ascii")).hexdigest()


def _refuse_if_nothing_is_left(candidates: Sequence[Candidate]) -> None:
    """Every image series is bad: then the study is."""
    images = [c for c in candidates if c.role is not SeriesRole.OTHER]
    if images and all(c.code for c in images):
        raise refused(min(images, key=lambda c: (-len(c.stack.files), c.key)))
    if candidates and not images:
        raise InputError(
            "NO_VOLUME", "the input holds images, but none that form a volume", advice="Give a PET, CT or MR series."
        )


def _of_files(found: Found, scan: Scan, reader: DicomReader, choice: Choice) -> list[Caveat]:
    """Caveats about files. Raises InputError (UNREADABLE) when an unreadable file lies among those of a chosen series."""
    caveats = []
    skipped = found.skipped + scan.skipped
    damaged = sum(1 for r in scan.records if r.fault and not r.sop_class)
    total = sum(skipped.values()) + damaged
    if total:
        kinds = [f"{count} {kind}" for kind, count in sorted(skipped.items())] + ([f"{damaged} damaged"] if damaged else [])
        caveats.append(Caveat("FILES_SKIPPED", STAGE, f"{total} files were left out: {', '.join(kinds)}"))
    for code, text, holds in _MARKS:
        if any(holds(record) for record in scan.records):
            caveats.append(Caveat(code, STAGE, text))
    if scan.unreadable or found.unreadable:
        folders = {Path(reader.paths[f.index]).parent for c in (choice.pet, choice.ct) if c is not None for f in c.stack.files}
        if any(Path(reader.paths[index]).parent in folders for index in scan.unreadable):
            raise InputError(
                "UNREADABLE", "a file beside those of a chosen series cannot be read", advice="Check its permissions."
            )
        count = len(scan.unreadable) + found.unreadable
        caveats.append(Caveat("FILES_UNREADABLE", STAGE, f"{count} files or folders could not be read"))
    return caveats


def _of_studies(choice: Choice) -> list[Caveat]:
    chosen = [c for c in (choice.pet, choice.ct) if c is not None]
    if len({c.stack.head.study_uid for c in chosen}) > 1:
        return [Caveat("SEVERAL_STUDIES", STAGE, "PET and CT come from different studies")]
    return []


def _objects(records: Sequence[FileRecord]) -> list[Series]:
    """Objects that are no image to us, one entry a series and class."""
    groups: dict[tuple[str, str], list[FileRecord]] = defaultdict(list)
    for record in records:
        if not record.image_modality and record.sop_class:
            groups[record.series_uid, record.sop_class].append(record)
    made = []
    for (uid, sop_class), files in sorted(groups.items()):
        head = min(files, key=lambda f: f.sha256)
        kind = object_kind(head)
        made.append(
            Series(
                key=f"{kind.split(' ', maxsplit=1)[0][:8]}-{hashed(uid, sop_class, head.sha256)}",
                role=SeriesRole.OTHER,
                kind=kind,
                modality=modality_of(head),
                description=head.description,
                instances=len(files),
                reason="no image to be read" if kind != "capture" else "a picture, not quantities",
                input_sha256=_digest(f.sha256 for f in files),
            )
        )
    return made


def _maps(records: Sequence[FileRecord], stacks: Sequence[Stack]) -> tuple[RealWorldMap, ...]:
    keys: dict[str, list[str]] = defaultdict(list)
    for stack in stacks:
        keys[stack.head.series_uid].append(stack.key)
    made = []
    for record in sorted(records, key=lambda r: r.sha256):
        refers = tuple(sorted(key for uid in record.refers_to for key in keys.get(uid, ())))
        made += [RealWorldMap(unit, slope, intercept, refers) for unit, slope, intercept in record.real_world]
    return tuple(made)
