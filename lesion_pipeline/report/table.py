"""The lesion table, and the summary that a terminal shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lesion_pipeline.domain.result import Result
from lesion_pipeline.report import lesion_entries, phrases
from lesion_pipeline.report.phrases import Doc

COLUMNS = (
    "id",
    "decision",
    "class",
    "probability",
    "organ",
    "organ_probability",
    "structure",
    "spinal",
    "spinal_level",
    "level_confidence",
    "involved_vertebrae",
    "volume_ml",
    "suv_max",
    "suv_peak",
    "suv_mean",
    "x_lps_mm",
    "y_lps_mm",
    "z_lps_mm",
    "split_probability",
    "sources",
    "pet",
    "ct",
    "mri",
    "reasons",
    "doubts",
)
#: Caveats and reasons that the summary shows; the rest is in the count JSON.
_SHOWN = 3


def lesion_tsv(result: Result) -> str:
    """One row a finding, excluded ones with their reason, in the order of screening. Columns carry their unit; SUV is SUVbw."""
    entries = lesion_entries.of_findings(result.screened, result.tally, result.anatomy)
    return _tsv(entries)


def document_tsv(document: Mapping[str, Any]) -> str:
    """The same table from a count JSON."""
    return _tsv(document["lesions"])


def _tsv(entries: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow([_cell(value) for value in _row(entry)])
    return stream.getvalue()


def _row(lesion: Doc) -> tuple[object, ...]:
    organ = lesion["organ"]
    evidence = lesion["evidence"] or {}
    return (
        lesion["id"],
        lesion["decision"],
        lesion["lesion_class"],
        lesion["probability"],
        organ,
        lesion["organ_probabilities"].get(organ),
        lesion["structure"],
        lesion["spinal"],
        lesion["spinal_level"],
        lesion["level_confidence"],
        " ".join(v["name"] for v in lesion["vertebrae"] if v["involved"]),
        lesion["volume_ml"],
        lesion["suv_max"],
        lesion["suv_peak"],
        lesion["suv_mean"],
        *(lesion["centroid_lps_mm"] or (None, None, None)),
        lesion["split_probability"],
        " ".join(lesion["sources"]),
        evidence.get("pet"),
        evidence.get("ct"),
        evidence.get("mri"),
        "; ".join(f"{reason['code']}: {reason['text']}" for reason in lesion["reasons"]),
        " ".join(lesion["doubts"]),
    )


def _cell(value: object) -> str:
    """``n/a`` for what is not known, yes/no for a truth value; no tab or line break inside a cell."""
    if value is None or value == "":
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(str(value).split())


def summary(document: Doc) -> RenderableType:
    """What a terminal shows at the end: doubts first, then the counts, the answer, and what a person must still answer."""
    head = phrases.headline(document)
    return Group(
        Text(_what(document), style="bold"),
        Text(phrases.RESEARCH_USE, style="dim"),
        *_section("Before you rely on it", _doubts(document)),
        *_section("Counts", [_counts(document["counts"])]),
        *_section("Where", _where(document["counts"])),
        *_section("Answer", _answer(document, head)),
        *_section("Other items", _others(document, head)),
    )


def _section(title: str, parts: list[RenderableType]) -> list[RenderableType]:
    return [Text(f"\n{title}", style="bold"), *(Padding(part, (0, 0, 0, 2)) for part in parts)] if parts else []


def _what(document: Doc) -> str:
    study = document["study"]
    if study["source"] == "lesion_table":
        return f"Lesion table {study['key']}, {phrases.plural(len(document['lesions']), 'row')}"
    suv = f"SUV {study['suv']['status']}" if study["suv"] else "no SUV"
    return f"Study {study['key']}: {' + '.join(study['modalities']) or 'no images'}, tracer {study['tracer']}, {suv}"


def doubts(document: Doc) -> list[str]:
    """What limits the answer, gravest first: vetoes, uncertain lesions, then caveats that are no vetoes."""
    lines = [phrases.capitalised(veto["text"]) for veto in document["vetoes"]]
    uncertain = [lesion for lesion in document["lesions"] if lesion["decision"] == "uncertain"]
    if uncertain:
        named = ", ".join(f"{x['id']} {phrases.chance(x['probability'])}" for x in uncertain[:8])
        more = f" and {len(uncertain) - 8} more" if len(uncertain) > 8 else ""
        lines.append(f"{phrases.plural(len(uncertain), 'lesion')} may or may not be metastases: {named}{more}")
    vetoed = {veto["code"] for veto in document["vetoes"]}
    lines += [phrases.capitalised(c["message"]) for c in document["caveats"] if c["code"] not in vetoed]
    return list(dict.fromkeys(lines))


def _doubts(document: Doc) -> list[RenderableType]:
    lines = doubts(document)
    fixed = max(_SHOWN, len(document["vetoes"]))
    shown: list[RenderableType] = [Text(f"- {line}") for line in lines[:fixed]]
    if len(lines) > fixed:
        shown.append(Text(f"- {len(lines) - fixed} more in the count JSON", style="dim"))
    return shown or [Text("- no doubt about the data was noted; that is no proof of completeness")]


def _counts(counts: Doc) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "most probable", "90 % interval", "certain"):
        table.add_column(column, justify="left" if not column else "right")
    rows = (
        ("metastatic lesions", "lesions"),
        ("metastatic organs", "organs"),
        ("spinal lesions", "spinal_lesions"),
        ("involved vertebrae", "involved_vertebrae"),
    )
    for words, key in rows:
        count = counts[key]
        table.add_row(words, str(count["best"]), f"{count['low']} to {count['high']}", str(count["certain"]))
    return table


def _where(counts: Doc) -> list[RenderableType]:
    def line(title: str, shares: Doc) -> Text:
        parts = [f"{phrases.place(key)} {share['expected']:.1f}" for key, share in shares.items()]
        return Text(f"{title}: {', '.join(parts) or 'none'}")

    return [line("expected lesions by organ", counts["by_organ"]), line("by vertebra", counts["by_level"])]


def _answer(document: Doc, head: Doc) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text(f"The imaging counts are {phrases.answer(head)}: {head['title']}", style="bold"),
    ]
    if head["probability_range"] is not None:
        low, high = head["probability_range"]
        said = phrases.chance(head["probability"])
        lines.append(
            Text(f"probability {said}; {phrases.chance(low)} to {phrases.chance(high)} over all readings of the rules")
        )
    lines += [Text(f"- {reason['text']} [{reason['code']}]") for reason in head["reasons"][: 2 * _SHOWN]]
    if head["flip_set"]:
        lines.append(Text(f"- would change with: {phrases.listed(head['flip_set'])}"))
    return lines


def _others(document: Doc, head: Doc) -> list[RenderableType]:
    answered = [c for c in document["criteria"] if c is not head and c["status"] != "not_assessable"]
    asked = [c["id"] for c in document["criteria"] if c["status"] == "not_assessable"]
    lines: list[RenderableType] = [Text(f"{c['id']}: {phrases.item_status(c)} ({c['title']})") for c in answered]
    if asked:
        lines.append(Text(f"A person has to answer: {', '.join(asked)}"))
    return lines
