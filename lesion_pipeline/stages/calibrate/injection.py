"""When the dose was given, with the repairs that are allowed: midnight, and dates that de-identification broke."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from lesion_pipeline.domain.errors import MissingTagError, UnitError
from lesion_pipeline.domain.pet import Injection, PetFacts
from lesion_pipeline.stages.calibrate.notes import Notes
from lesion_pipeline.stages.calibrate.options import Options

_DAY = timedelta(days=1)


def injection_time(facts: PetFacts, reference: datetime, half_life_s: float, options: Options, notes: Notes) -> datetime:
    """The instant of injection on the scanner's clock.

    facts: of a series with one injection. reference: the instant the values refer to.
    Raises MissingTagError (INJECTION_TIME_MISSING), UnitError (TIMES_BLANKED, INJECTION_AFTER_SCAN, INJECTION_DATE_MISSING,
    DELAY_IMPLAUSIBLE).
    """
    given = _injection_time(facts, reference, half_life_s, options, notes)
    if reference - given > timedelta(seconds=options.delay_half_lives_refuse * half_life_s):
        raise UnitError(
            "DELAY_IMPLAUSIBLE",
            "so many half-lives lie between injection and scan that nothing is left to image",
            series=notes.series,
            advice="Correct the injection time, the times of the series, or the half-life.",
        )
    return given


def _injection_time(facts: PetFacts, reference: datetime, half_life_s: float, options: Options, notes: Notes) -> datetime:
    injection = facts.injections[0]
    stated = _local(injection, facts, notes)
    if stated is None and injection.start_time is None:
        raise MissingTagError(
            "INJECTION_TIME_MISSING",
            "the header does not say when the dose was injected",
            series=notes.series,
            advice="Export the series again without removing RadiopharmaceuticalStartTime.",
        )
    _refuse_blanked(injection, facts, stated, reference, notes)
    longest = timedelta(
        seconds=max(options.delay_hours_high * 3600.0, options.delay_half_lives_high * half_life_s),
    )
    if stated is not None:
        _compare_clocks(stated, injection.start_time, options, notes)
        if timedelta(0) <= reference - stated <= longest:
            return stated
        _refuse_without_date(half_life_s, options, notes)
        return _by_clock_only(stated, injection.start_time, reference, options, notes)
    _refuse_without_date(half_life_s, options, notes)
    return _nearest_before(injection.start_time or time(), reference, options, notes)


def _refuse_without_date(half_life_s: float, options: Options, notes: Notes) -> None:
    """Long-lived nuclides are imaged days after the injection: their day cannot be told from the time of day."""
    if half_life_s > options.date_needed_half_life_hours * 3600.0:
        raise UnitError(
            "INJECTION_DATE_MISSING",
            "the header holds no date of injection that fits the scan, and this nuclide is imaged up to days later",
            series=notes.series,
            advice="Add RadiopharmaceuticalStartDateTime to the header.",
        )


def _local(injection: Injection, facts: PetFacts, notes: Notes) -> datetime | None:
    """StartDateTime on the clock of the series' other times."""
    stated = injection.start_datetime
    if stated is None or injection.utc_offset_min is None:
        return stated
    if facts.utc_offset_min is not None:
        return stated + timedelta(minutes=facts.utc_offset_min - injection.utc_offset_min)
    if injection.start_time is None:
        notes.add(
            "TIMEZONE_ASSUMED", "the injection time names a time zone and the series does not; both were taken as one clock"
        )
    return stated


def _refuse_blanked(injection: Injection, facts: PetFacts, stated: datetime | None, reference: datetime, notes: Notes) -> None:
    """De-identification that sets all times to midnight, or all to one instant, leaves no decay time."""
    clock = stated.time() if stated else (injection.start_time or time())
    scan = {f.acquisition.time() for f in facts.frames if f.acquisition} | {reference.time()}
    if facts.series_datetime:
        scan.add(facts.series_datetime.time())
    if scan == {clock}:
        raise UnitError(
            "TIMES_BLANKED",
            "injection and scan bear the same time of day, so the times in the header have been removed or overwritten",
            series=notes.series,
            advice="Export the series again with its times, or with all times shifted by one amount.",
        )


def _compare_clocks(stated: datetime, clock: time | None, options: Options, notes: Notes) -> None:
    if clock is None:
        return
    apart = abs((datetime.combine(stated.date(), clock) - stated).total_seconds())
    if min(apart, 86400.0 - apart) > options.injection_times_agree_s:
        notes.add("INJECTION_TIMES_DIFFER", "the two injection times in the header differ; the one with a date was used")


def _by_clock_only(stated: datetime, clock: time | None, reference: datetime, options: Options, notes: Notes) -> datetime:
    found = _nearest_before(clock or stated.time(), reference, options, notes)
    notes.add("DATE_SHIFTED", "the date of injection cannot be true beside the date of the scan; only its time of day was used")
    return found


def _nearest_before(clock: time, reference: datetime, options: Options, notes: Notes) -> datetime:
    """The last time before the scan at which the clock showed this; the evening before only if the delay is short."""
    same_day = datetime.combine(reference.date(), clock)
    if same_day <= reference:
        return same_day
    before = same_day - _DAY
    if reference - before > timedelta(hours=options.midnight_delay_hours):
        raise UnitError(
            "INJECTION_AFTER_SCAN",
            "the injection time in the header lies after the scan",
            series=notes.series,
            advice="Correct RadiopharmaceuticalStartTime or the times of the series.",
        )
    notes.add("MIDNIGHT_ASSUMED", "the injection time lies after the scan's time of day; it was taken as the evening before")
    return before
