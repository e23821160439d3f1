"""What ``inspect`` shows of a folder: one line a series, for a technologist as a table and for programs as JSON.

Neither holds a name, an identifier, a date or a UID; times are given relative to the one that was chosen.
"""

from __future__ import annotations

from collections import Counter

from rich.table import Table
from rich.text import Text

from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.pet import PetFacts, SuvCalibration, SuvStatus
from lesion_pipeline.domain.study import Assembly, CtFacts, MrFacts, RealWorldMap, Series, SeriesRole
from lesion_pipeline.domain.volume import Modality

SCHEMA = {"name": "lesion-pipeline-inspection", "version": "1.0"}
_TEXT_CAP = 64
_TOLD_SPREAD = 5e-4  # would be shown as 0.0 %
_MARKS = {SuvStatus.OK: "green", SuvStatus.AMBIGUOUS: "yellow", SuvStatus.REFUSED: "red"}
_ROLE_ORDER = {SeriesRole.PET: 0, SeriesRole.CT: 1, SeriesRole.MR: 2, SeriesRole.REJECTED: 3, SeriesRole.OTHER: 4}


def inspection_json(assembly: Assembly) -> dict[str, object]:
    """The assembly as plain JSON values, series in the order of the assembly."""
    return {
        "schema": dict(SCHEMA),
        "research_use_only": True,
        "series": [_series(s) for s in assembly.series],
        "real_world_value_maps": [_map(m) for m in assembly.real_world_maps],
        "caveats": [_caveat(c) for c in assembly.caveats],
        "skipped_files": dict(assembly.skipped),
    }


def _series(series: Series) -> dict[str, object]:
    return {
        "key": series.key,
        "role": str(series.role),
        "modality": str(series.modality),
        "kind": _clean(series.kind),
        "description": _clean(series.description),
        "images": series.instances,
        "shape": list(series.shape) if series.shape else None,
        "spacing_mm": [round(x, 4) for x in series.spacing_mm] if series.spacing_mm else None,
        "units": units_of(series),
        "suv": _suv(series.suv) if series.suv else None,
        "pet": _pet(series, series.pet) if series.pet else None,
        "ct": _ct(series.ct) if series.ct else None,
        "mr": _mr(series.mr) if series.mr else None,
        "chosen": series.chosen,
        "reason": _clean(series.reason, 400),
        "refusal": series.refusal,
        "caveats": [_caveat(c) for c in series.caveats],
    }


def _suv(suv: SuvCalibration) -> dict[str, object]:
    chosen = next((t.at for t in suv.reference_times if t.method == suv.chosen_reference), None)
    return {
        "status": str(suv.status),
        "code": suv.code,
        "bw_per_unit": suv.bw_per_unit,
        "per_slice": bool(suv.per_slice),
        "method": suv.method,
        "chosen_reference": suv.chosen_reference,
        "reference_times": [
            {"method": t.method, "seconds_from_chosen": (t.at - chosen).total_seconds()} for t in suv.reference_times if chosen
        ],
        "spread": suv.spread,
        "uptake_minutes": suv.uptake_minutes,
        "other_factors": dict(suv.other_factors),
        "sul_formula": suv.sul_formula,
    }


def _pet(series: Series, facts: PetFacts) -> dict[str, object]:
    return {
        "tracer": str(facts.tracer),
        "tracer_source": facts.tracer_source,
        "decay_correction": facts.decay_correction,
        "attenuation_corrected": "ATTN" in facts.corrected_image and series.refusal != "NOT_ATTENUATION_CORRECTED",
        "corrections": [_clean(word) for word in facts.corrected_image],
        "series_type": [_clean(word) for word in facts.series_type],
        "reconstruction": _clean(facts.reconstruction),
    }


def _ct(facts: CtFacts) -> dict[str, object]:
    return {"kernel": _clean(facts.kernel), "kvp": facts.kvp, "contrast": facts.contrast}


def _mr(facts: MrFacts) -> dict[str, object]:
    return {
        "label": facts.label,
        "confidence": facts.confidence,
        "fat_suppressed": facts.fat_suppressed,
        "contrast": facts.contrast,
        "plane": facts.plane,
    }


def _map(one: RealWorldMap) -> dict[str, object]:
    return {
        "quantity": _clean(one.quantity),
        "slope": one.slope,
        "intercept": one.intercept,
        "refers_to": list(one.refers_to),
        "verdict": one.verdict,
    }


def _caveat(caveat: Caveat) -> dict[str, object]:
    return {"code": caveat.code, "stage": caveat.stage, "message": caveat.message, "series": caveat.series}


def units_of(series: Series) -> str | None:
    """What the stored values are in: the PET's Units, HU for a CT, arbitrary for an MR."""
    if series.pet is not None:
        return series.pet.units
    return {Modality.CT: "HU", Modality.MR: "arbitrary"}.get(series.modality) if series.shape else None


def inspection_table(assembly: Assembly) -> Table:
    """One line a series: chosen first, then by role; below them what concerns the study as a whole."""
    table = Table(title="Series found", caption=_caption(assembly), caption_justify="left", show_lines=True, expand=False)
    table.add_column("Series", no_wrap=True)
    table.add_column("Use", no_wrap=True)
    table.add_column("What it is")
    table.add_column("Images, size, voxel", no_wrap=True)
    table.add_column("Units and SUV")
    table.add_column("Why, and what to know")
    for series in sorted(assembly.series, key=lambda s: (not s.chosen, _ROLE_ORDER[s.role], s.key)):
        table.add_row(
            Text(series.key),
            _use_cell(series),
            Text("\n".join(w for w in (_clean(series.kind), _clean(series.description), *_details(series)) if w)),
            Text(_geometry(series)),
            _suv_cell(series),
            _why_cell(series),
        )
    return table


def _use_cell(series: Series) -> Text:
    if not series.chosen:
        return Text(_unused(series), style="dim")
    if series.suv is not None and series.suv.status is SuvStatus.REFUSED:
        return Text("chosen,\nno SUV", style="bold red")
    return Text("USED", style="bold green")


def _unused(series: Series) -> str:
    return (
        "refused" if series.refusal else {SeriesRole.REJECTED: "rejected", SeriesRole.OTHER: "-"}.get(series.role, "not used")
    )


def _details(series: Series) -> list[str]:
    """What a technologist tells two series of one kind apart by."""
    if series.pet is not None:
        pet = series.pet
        decay = f"decay correction {_clean(pet.decay_correction)}" if pet.decay_correction else "decay correction not told"
        return [_clean(pet.reconstruction), f"corrected for {_clean(', '.join(pet.corrected_image)) or 'nothing'}", decay]
    if series.ct is not None:
        ct = series.ct
        words = [f"kernel {_clean(ct.kernel)}" if ct.kernel else "", f"{ct.kvp:g} kV" if ct.kvp else ""]
        return [", ".join(w for w in [*words, "contrast agent" if ct.contrast else ""] if w)]
    if series.mr is not None:
        mr = series.mr
        words = [mr.plane, "fat-suppressed" if mr.fat_suppressed else "", "contrast agent" if mr.contrast else ""]
        return [", ".join(w for w in words if w), f"label sure to {mr.confidence:.0%}"]
    return []


def _geometry(series: Series) -> str:
    lines = [f"{series.instances} file{'s' if series.instances != 1 else ''}"]
    if series.shape:
        lines.append(" x ".join(str(n) for n in series.shape))
    if series.spacing_mm:
        lines.append(" x ".join(f"{x:.2f}" for x in series.spacing_mm) + " mm")
    return "\n".join(lines)


def _suv_cell(series: Series) -> Text:
    cell = Text(units_of(series) or "")
    suv = series.suv
    if suv is None:
        return cell
    if suv.status is SuvStatus.REFUSED:
        cell.append(f"\nno SUV: {suv.code}", style=_MARKS[suv.status])
        return cell
    cell.append(f"\nSUV {suv.status}", style=_MARKS[suv.status])
    if suv.bw_per_unit is not None:
        cell.append(f"\nSUVbw = {suv.bw_per_unit:.6g} x value" + (" (by slice)" if suv.per_slice else ""))
    if suv.method:
        cell.append(f"\n{suv.method}")
    cell.append("".join(f"\n{line}" for line in _times(suv)))
    if suv.uptake_minutes is not None:
        cell.append(f"\nuptake {suv.uptake_minutes:.0f} min")
    if series.pet is not None:
        cell.append(f"\ntracer {series.pet.tracer}")
    return cell


def _times(suv: SuvCalibration) -> list[str]:
    """Reference times that the header offers, relative to the one that was used, and what the choice among them is worth."""
    chosen = next((t.at for t in suv.reference_times if t.method == suv.chosen_reference), None)
    if chosen is None:
        return []
    lines = ["reference times:"]
    for time in suv.reference_times:
        used = " (used)" if time.method == suv.chosen_reference else ""
        lines.append(f"  {time.method.replace('_', ' ')} {round((time.at - chosen).total_seconds()):+d} s{used}")
    return [*lines, f"other readings change SUV by up to {suv.spread:.1%}"] if suv.spread >= _TOLD_SPREAD else lines


def _why_cell(series: Series) -> Text:
    cell = Text(_clean(series.reason, 400))
    for caveat in series.caveats:
        cell.append("\n" if cell else "")
        cell.append(caveat.code, style="yellow")
        cell.append(f" {caveat.message}")
    return cell


def _caption(assembly: Assembly) -> Text:
    caption = Text()
    shown = {caveat for series in assembly.series for caveat in series.caveats}
    for caveat in assembly.caveats:
        if caveat in shown:
            continue
        caption.append(f"{caveat.code}", style="yellow")
        caption.append(f" {caveat.message}\n")
    lines = Counter(_map_line(one) for one in assembly.real_world_maps)
    for line, count in lines.items():
        caption.append(line + (f" ({count} times)\n" if count > 1 else "\n"))
    skipped = ", ".join(f"{count} {_clean(kind)}" for kind, count in assembly.skipped)
    if skipped:
        caption.append(f"Files that are no images: {skipped}\n")
    caption.append("Research use only. Not a medical device.", style="dim")
    return caption


def _map_line(one: RealWorldMap) -> str:
    place = f" for {', '.join(one.refers_to)}" if one.refers_to else ""
    return f"Real world value map {_clean(one.quantity)} {one.slope:g}{place}: {one.verdict}"


def _clean(text: str, cap: int = _TEXT_CAP) -> str:
    """Header text without control characters, capped: it goes to a terminal."""
    return "".join(c for c in text if c.isprintable()).strip()[:cap]
