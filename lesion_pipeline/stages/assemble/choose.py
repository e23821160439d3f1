"""Which PET and which CT: rules over headers, never a guess between equals."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.errors import GeometryError, IncompleteSeriesError, InputError, LesionPipelineError
from lesion_pipeline.domain.geometry import Grid
from lesion_pipeline.domain.study import SeriesRole
from lesion_pipeline.io.dicom.extract import clean
from lesion_pipeline.io.dicom.stacks import Stack, hashed
from lesion_pipeline.stages.assemble.kinds import Candidate
from lesion_pipeline.stages.assemble.options import Options

STAGE = "assemble"
_GEOMETRY = frozenset(
    {"NO_GEOMETRY", "BAD_ORIENTATION", "BAD_SPACING", "MIXED_PIXEL_SPACING", "IRREGULAR_SPACING", "AMBIGUOUS_POSITION"}
)
_INCOMPLETE = frozenset({"MISSING_SLICES", "GAP_IN_STACK", "TRUNCATED", "NO_PIXELS"})
_SUV_UNITS = frozenset({"BQML", "GML", "CM2ML", "CNTS"})
_ADVICE = {
    "MISSING_SLICES": "Export the series again, completely.",
    "TRUNCATED": "Copy the files again.",
    "NOT_ATTENUATION_CORRECTED": "Give the attenuation-corrected PET.",
    "GATED_PET": "Give the ungated whole-body PET.",
    "DYNAMIC_PET": "Give the static whole-body PET.",
}

SamePixels = Callable[[Stack, Stack], bool]


@dataclass(slots=True)
class Choice:
    """The chosen PET and CT, and what must be said of the choosing."""

    pet: Candidate | None = None
    ct: Candidate | None = None
    caveats: list[Caveat] = field(default_factory=list)


def frame_name(stack: Stack) -> str:
    """Name of the frame of reference: a hash of its UID, or one of its own when the header has none."""
    uid = stack.head.frame_uid
    return f"FOR-{hashed(uid)}" if uid else f"FOR-of-{stack.key}"


def grid_of(stack: Stack) -> Grid:
    """The grid of a checked stack; it may be sheared."""
    if stack.affine is None:
        raise GeometryError("NO_GEOMETRY", "a series has no place in space", series=stack.key)
    return Grid(stack.shape, stack.affine, frame_name(stack))


def refused(candidate: Candidate) -> LesionPipelineError:
    """The typed error for a candidate that cannot be used."""
    kind: type[LesionPipelineError] = InputError
    if candidate.code in _GEOMETRY:
        kind = GeometryError
    elif candidate.code in _INCOMPLETE:
        kind = IncompleteSeriesError
    advice = _ADVICE.get(candidate.code, "Look at the series, or export it again.")
    return kind(candidate.code, candidate.words, series=candidate.key, advice=advice)


def _listing(candidates: Sequence[Candidate]) -> str:
    rows = []
    for c in candidates:
        head = c.stack.head
        ni, nj, nk = c.stack.shape
        words = [w for w in (head.description, head.reconstruction, head.kernel) if w]
        rows.append(f"{c.key} ({', '.join([*words, f'{ni}x{nj}x{nk}'])})")
    return "; ".join(rows)


def _by_key(candidates: Sequence[Candidate], key: str, role: str) -> Candidate:
    found = next((c for c in candidates if c.key == key), None)
    if found is None:
        known = _listing([c for c in candidates if c.usable]) or "none"
        raise InputError(
            "NO_SUCH_SERIES", f"no {role} has the key {key!r}; there are: {known}", advice="Take a key that inspect lists."
        )
    if found.code:
        raise refused(found)
    return found


def _drop_same(candidates: list[Candidate], same: SamePixels, choice: Choice) -> list[Candidate]:
    """Candidates without those that are another one in other words (same grid, same pixels)."""
    kept: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.stack.head.encapsulated, c.key)):
        twin = next((k for k in kept if same(k.stack, candidate.stack)), None)
        if twin is None:
            kept.append(candidate)
            continue
        candidate.role, candidate.words = SeriesRole.REJECTED, f"the same image as {twin.key}"
        choice.caveats.append(Caveat("DUPLICATE_SERIES", STAGE, f"the same image as {twin.key}; left out", candidate.key))
    return kept


def _quantitative(candidates: list[Candidate]) -> list[Candidate]:
    """Without PETs in units that can never become SUV, where others are there. Alone, calibrate refuses them by name."""
    good = [c for c in candidates if c.stack.head.units.upper() in _SUV_UNITS]
    for candidate in candidates if good else ():
        if candidate not in good:
            candidate.role = SeriesRole.REJECTED
            candidate.words = f"its units ({clean(candidate.stack.head.units)}) cannot become SUV"
    return good or candidates


def choose_pet(candidates: Sequence[Candidate], options: Options, same: SamePixels, choice: Choice) -> None:
    """Put the PET into ``choice``.

    Raises InputError (AMBIGUOUS_PET, NO_SUCH_SERIES), and the refusal of the PET when there is none that can be used.
    """
    pets = [c for c in candidates if c.role is SeriesRole.PET]
    if options.pet_series is not None:
        choice.pet = _by_key(pets, options.pet_series, "PET")
        choice.pet.words = "chosen by the user"
        return
    usable = _drop_same(_quantitative([c for c in pets if c.usable]), same, choice)
    if not usable:
        if pets:
            # a damaged AC series says more about what to do than the NAC beside it
            raise refused(min(pets, key=lambda c: (c.kind == "PET NAC", -len(c.stack.files), c.key)))
        return
    if len(usable) > 1 and options.pet_rule:
        rule = re.compile(options.pet_rule, re.IGNORECASE)
        matching = [c for c in usable if rule.search(f"{c.stack.head.description} {c.stack.head.reconstruction}")]
        if len(matching) == 1:
            choice.pet = matching[0]
            choice.pet.words = "the only attenuation-corrected PET that the preset's pet_rule matches"
            return
    if len(usable) > 1:
        for candidate in usable:
            candidate.words = "one of several that could be meant; choose it with --pet-series"
        raise InputError(
            "AMBIGUOUS_PET",
            f"{len(usable)} attenuation-corrected PETs could be meant: {_listing(usable)}",
            advice="Name one with --pet-series KEY, or set pet_rule in the preset.",
        )
    choice.pet = usable[0]
    others = len(pets) > 1
    choice.pet.words = "the only usable attenuation-corrected PET" if others else "the only PET"


def coverage(pet: Grid, ct: Grid) -> float:
    """Share of the PET's volume (its box, LPS) that lies inside the CT's box, seen along head to feet only."""
    (pet_low, pet_high), (ct_low, ct_high) = pet.bounds(), ct.bounds()
    length = float(pet_high[2] - pet_low[2])
    inside = float(min(pet_high[2], ct_high[2] + 5.0) - max(pet_low[2], ct_low[2] - 5.0))
    return 1.0 if length <= 0 else float(np.clip(inside / length, 0.0, 1.0))


def _rank(candidate: Candidate, pet: Candidate | None, options: Options) -> tuple[float, ...]:
    """Smaller is better; equal means that nothing tells two CTs apart."""
    stack = candidate.stack
    grid = grid_of(stack)
    kernel = stack.head.kernel
    sharp = any(re.search(k, kernel, re.IGNORECASE) for k in options.ct_sharp_kernels)
    soft = any(re.search(k, kernel, re.IGNORECASE) for k in options.ct_soft_kernels)
    step = grid.spacing_mm[2]
    other_frame, uncovered = 0.0, 0.0
    if pet is not None:
        pet_grid = grid_of(pet.stack)
        other_frame = float(grid.frame != pet_grid.frame)
        uncovered = 0.0 if other_frame else float(coverage(pet_grid, grid) < options.ct_min_coverage)
    axis, _ = grid.axis_toward((0.0, 0.0, 1.0))
    derived = float("DERIVED" in stack.head.image_type)
    length = -round(grid.spacing_mm[2] * grid.shape[2] / 10.0)
    coarse = float(step > options.ct_max_slice_mm + 0.01)
    return (other_frame, uncovered, float(axis != 2), derived, float(sharp), float(not soft), coarse, length, round(step, 2))


def choose_ct(candidates: Sequence[Candidate], options: Options, same: SamePixels, choice: Choice) -> None:
    """Put the CT into ``choice``, if one can be used.

    Raises InputError (AMBIGUOUS_CT, NO_SUCH_SERIES).
    """
    cts = [c for c in candidates if c.role is SeriesRole.CT]
    if options.ct_series is not None:
        choice.ct = _by_key(cts, options.ct_series, "CT")
        choice.ct.words = "chosen by the user"
        return
    usable = [c for c in cts if c.usable]
    if not usable:
        return
    ranked = sorted(((_rank(c, choice.pet, options), c) for c in usable), key=lambda pair: (pair[0], pair[1].key))
    best = [c for rank, c in ranked if rank == ranked[0][0]]
    best = _drop_same(best, same, choice)
    if len(best) > 1:
        for candidate in best:
            candidate.words = "one of several that could be meant; choose it with --ct-series"
        raise InputError(
            "AMBIGUOUS_CT", f"{len(best)} CTs could be meant: {_listing(best)}", advice="Name one with --ct-series KEY."
        )
    choice.ct = best[0]
    choice.ct.words = (
        "the only CT" if len(cts) == 1 else "best of several: frame of reference, coverage, kernel, slice distance"
    )
    if len(usable) > 1:
        choice.caveats.append(Caveat("CT_CHOSEN", STAGE, f"one of {len(usable)} CTs was chosen", choice.ct.key))


def check_overlap(options: Options, choice: Choice) -> None:
    """Say it when the CT does not cover the PET; drop a CT that covers nothing of it."""
    if choice.pet is None or choice.ct is None:
        return
    pet, ct = grid_of(choice.pet.stack), grid_of(choice.ct.stack)
    if pet.frame != ct.frame:
        return
    share = coverage(pet, ct)
    if share >= options.ct_min_coverage:
        return
    choice.caveats.append(Caveat("NO_OVERLAP", STAGE, f"the CT covers {share:.0%} of the PET's length", choice.ct.key))
    if share == 0:
        choice.ct.role, choice.ct.code, choice.ct.words = SeriesRole.REJECTED, "NO_OVERLAP", "it lies nowhere near the PET"
        choice.ct = None
