"""The answer in plain sentences, with numbers and reasons, for a colleague who reads images."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from lesion_pipeline.report import phrases
from lesion_pipeline.report.phrases import Doc, capitalised, chance, listed, plural
from lesion_pipeline.report.table import doubts

WIDTH = 100
#: Findings left out, and readings that change the answer, that are named one by one.
_NAMED = 8


def explain(document: Doc) -> str:
    """Plain text of a count JSON: the answer, what it rests on, what would change it, and what a person must still answer."""
    head = phrases.headline(document)
    sections = (
        ("In short", _short(document, head)),
        ("Before you rely on it", _doubts(document)),
        ("What was counted", _counted(document)),
        ("What was not counted", _left_out(document)),
        ("Why this answer", _why(document, head)),
        ("What would change it", _changes(document, head)),
        ("The other items", _others(document, head)),
        ("What a person still has to answer", _questions(document)),
        ("Rules", _rules(document)),
    )
    parts = [phrases.RESEARCH_USE]
    for title, lines in sections:
        body = [_wrapped(line) for line in lines]
        if body:
            parts.append("\n".join([title, *body]))
    return "\n\n".join(parts) + "\n"


def _wrapped(line: str) -> str:
    indent = "    " if line.startswith("- ") else "  "
    return textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent=indent, break_on_hyphens=False)


def _short(document: Doc, head: Doc) -> Iterator[str]:
    counts = document["counts"]
    yield f"{_source(document)} The imaging counts are {phrases.answer(head)} ({head['title']})."
    lesions, organs = counts["lesions"], counts["organs"]
    spine, vertebrae = counts["spinal_lesions"], counts["involved_vertebrae"]
    in_spine = f"{spine['best']} of them in the spine, involving {plural(vertebrae['best'], 'vertebra')}"
    if any(note["code"] == "SPINAL_UNKNOWN" for note in counts["notes"]):
        in_spine = "and how many of them lie in the spine is not known"
    yield (
        f"Most probably {plural(lesions['best'], 'metastasis')} in {plural(organs['best'], 'organ')}, {in_spine}."
        f" {_spread(counts)}"
    )
    if head["probability_range"] is not None:
        low, high = head["probability_range"]
        over = len(head["variants"])
        if head["probability"] is None:
            yield f"The probability that the criterion holds is not known better than {chance(low)} to {chance(high)}."
        elif high - low < 0.005:
            yield f"The criterion holds with probability {chance(head['probability'])} under each of {over + 1} readings."
        else:
            yield (
                f"The criterion holds with probability {chance(head['probability'])} by the default rules, and between"
                f" {chance(low)} and {chance(high)} over {plural(over, 'other reading')} of them."
            )


def _source(document: Doc) -> str:
    study = document["study"]
    if study["source"] == "lesion_table":
        return f"Lesion table {study['key']}, {plural(len(document['lesions']), 'row')}."
    suv = study["suv"]
    state = (
        {"ok": "SUV known", "ambiguous": "SUV ambiguous", "refused": "SUV not computable"}[suv["status"]] if suv else "no SUV"
    )
    uptake = f", {suv['uptake_minutes']:.0f} min after injection" if suv and suv["uptake_minutes"] else ""
    seen = [_IMAGES.get(name, name) for name in study["modalities"]] or ["no images"]
    return f"Study {study['key']}: {listed(seen)}, tracer {study['tracer']} ({state}{uptake})."


_IMAGES = {"PT": "PET"}
#: Reasons that repeat what stands beside them, or say the same of many lesions.
_NOT_REPEATED = ("UPTAKE", "NOT_ASKED")


def _spread(counts: Doc) -> str:
    names = (
        ("lesions", "lesions"),
        ("organs", "organs"),
        ("spinal_lesions", "spinal lesions"),
        ("involved_vertebrae", "vertebrae"),
    )
    open_ = [f"{words} {counts[key]['low']} to {counts[key]['high']}" for key, words in names if _is_open(counts[key])]
    if not open_:
        return "None of these numbers is in doubt at the 90 % level."
    return f"With 90 % probability: {listed(open_)}."


def _is_open(count: Doc) -> bool:
    return bool(count["low"] != count["high"])


def _doubts(document: Doc) -> Iterator[str]:
    lines = doubts(document)
    if not lines:
        yield "No doubt about the data was noted. That is no proof that nothing was missed."
    for line in lines:
        yield f"- {line}{'' if line.endswith('.') else '.'}"


def _counted(document: Doc) -> Iterator[str]:
    entering = {key for share in document["counts"]["by_organ"].values() for key in share["lesions"]}
    lesions = [x for x in document["lesions"] if x["id"] in entering]
    for lesion in sorted(lesions, key=lambda x: (-x["probability"], x["id"])):
        yield f"- {_lesion(lesion)}"
    if not lesions:
        yield "No lesion was counted."


def _lesion(lesion: Doc) -> str:
    certainty = "certain" if lesion["probability"] == 1.0 else f"probability {chance(lesion['probability'])}"
    parts = [f"{lesion['id']}, {phrases.lesion_place(lesion)}: {certainty}"]
    if lesion["suv_max"] is not None:
        parts.append(f"SUVmax {lesion['suv_max']:.1f}")
    if lesion["volume_ml"] is not None:
        parts.append(f"{lesion['volume_ml']:.1f} ml")
    text = ", ".join(parts) + "."
    evidence = lesion["evidence"]
    if evidence:
        seen = [f"{name} {evidence[key].replace('_', ' ')}" for key, name in _MODALITIES if evidence[key] not in _SILENT]
        text += f" {capitalised(', '.join(seen))}." if seen else ""
    organs = [f"{phrases.place(key)} {chance(p)}" for key, p in lesion["organ_probabilities"].items() if p < 0.995]
    text += f" Organ not sure: {', '.join(organs)}." if len(organs) > 1 else ""
    text += " Whether it lies in the spine is not known." if lesion["spinal"] is None else ""
    if 0.0 < lesion["split_probability"] < 1.0:
        text += f" May be two lesions (probability {chance(lesion['split_probability'])})."
    text += "".join(_other_names(vertebra) for vertebra in lesion["vertebrae"] if vertebra["involved"])
    reasons = _reasons(lesion)
    text += f" {capitalised('; '.join(reasons))}." if reasons else ""
    return text


#: What is not worth a word beside the modalities that say something.
_SILENT = ("not_available", "not_assessable")
_MODALITIES = (("pet", "PET"), ("ct", "CT"), ("mri", "MR"))


def _reasons(lesion: Doc) -> list[str]:
    return [reason["text"].rstrip(".") for reason in lesion["reasons"] if reason["code"] not in _NOT_REPEATED]


def _other_names(vertebra: Doc) -> str:
    others = {name: p for name, p in vertebra["alternatives"].items() if name != vertebra["level"] and p >= 0.05}
    if not others:
        return ""
    named = ", ".join(f"{name} {chance(p)}" for name, p in others.items())
    return f" {vertebra['name']} may be named otherwise ({named}); the count does not depend on the name."


def _left_out(document: Doc) -> Iterator[str]:
    for note in document["counts"]["notes"]:
        if note["code"] in _RULES_LEFT_OUT:
            yield f"- {capitalised(note['text'])}."
    excluded = [x for x in document["lesions"] if x["decision"] == "excluded" and x["lesion_class"] != "primary"]
    excluded = [x for x in excluded if [r["code"] for r in x["reasons"]] != ["LEFT_OUT_BY_RULE"]]
    by_uptake = sorted(excluded, key=lambda x: (-(x["suv_max"] or 0.0), x["id"]))
    for lesion in by_uptake[:_NAMED]:
        reason = "; ".join(_reasons(lesion)) or phrases.place(lesion["lesion_class"])
        hot = f", SUVmax {lesion['suv_max']:.1f}" if lesion["suv_max"] is not None else ""
        yield f"- {lesion['id']}, {phrases.lesion_place(lesion)}{hot}: {reason}."
    if len(excluded) > _NAMED:
        yield f"- {plural(len(excluded) - _NAMED, 'further finding')} with less uptake; see the lesion table."


_RULES_LEFT_OUT = (
    "PRIMARY_NOT_COUNTED",
    "NODES_NOT_COUNTED",
    "REGIONAL_NODE_NOT_COUNTED",
    "TREATED_NOT_COUNTED",
    "NOT_SEEN_ON_PET",
    "BELOW_MINIMUM",
    "NOT_METASTASIS",
)


def _why(document: Doc, head: Doc) -> Iterator[str]:
    unit = "vertebra" if document["counts"]["spine_unit"] == "vertebra" else "lesion"
    unplaced = any(note["code"] == "SPINAL_UNKNOWN" for note in document["counts"]["notes"])
    for margin in head["margin"]:
        if unplaced and margin["limit"].startswith("spine"):
            continue  # the reasons say between what the number lies
        yield f"- {capitalised(phrases.limit(margin))}{f' (by {unit})' if margin['limit'].startswith('spine') else ''}."
    flipping = ("VARIANT_", "UNKNOWN_")
    for reason in head["reasons"]:
        if not reason["code"].startswith(flipping) and reason["code"] not in _RULES_LEFT_OUT:
            yield f"- {capitalised(reason['text'])} [{reason['code']}]."


def _changes(document: Doc, head: Doc) -> Iterator[str]:
    flips = head["flip_set"]
    if flips:
        probabilities = {x["id"]: x["probability"] for x in document["lesions"]}
        named = [f"{key} ({chance(probabilities[key])})" if key in probabilities else key for key in flips]
        if head["status"] == "indeterminate":
            yield f"- Settling {listed(named)} would settle the answer."
        else:
            yield f"- The answer would change if {listed(named)} {'was' if len(flips) == 1 else 'were'} judged otherwise."
    changing = [v for v in head["variants"] if v["changes_answer"]]
    for variant in changing[:_NAMED]:
        status = _WORDS[variant["status"]]
        yield f"- Read otherwise, it is {status}: {variant['sentence']} (probability {chance(variant['probability'])})."
    if len(changing) > _NAMED:
        yield f"- {capitalised(plural(len(changing) - _NAMED, 'further reading'))} that change it stand in the count JSON."
    same = len(head["variants"]) - len(changing)
    if head["variants"] and same:
        rest = "other readings" if changing else "readings"
        yield f"- {capitalised(plural(same, rest[:-1]))} of the rules {'gives' if same == 1 else 'give'} the same answer."


_WORDS = {"meets": "compatible", "does_not_meet": "not compatible", "indeterminate": "indeterminate"}


def _others(document: Doc, head: Doc) -> Iterator[str]:
    for criterion in document["criteria"]:
        if criterion is head or criterion["status"] == "not_assessable":
            continue
        reasons = "".join(f" {capitalised(reason['text'])}." for reason in criterion["reasons"])
        yield f"- {criterion['id']}, {criterion['title']}: {phrases.item_status(criterion)}.{reasons}"


def _questions(document: Doc) -> Iterator[str]:
    flags = {c["id"]: r["text"] for c in document["criteria"] for r in c["reasons"] if r["code"] == "FLAG_POSSIBLE"}
    asked: dict[str, list[str]] = {}
    for each in document["open_questions"]:
        asked.setdefault(each["criterion"], []).append(each["question"])
    for criterion, questions in asked.items():
        flag = f" (on the images: {flags[criterion]})" if criterion in flags else ""
        yield f"- {criterion}: {' '.join(questions)}{flag}"


def _rules(document: Doc) -> Iterator[str]:
    counting, criteria = document["rules"]["counting"], document["rules"]["criteria"]
    provenance = document["provenance"]
    yield (
        f"Counted by {counting['name']} version {counting['version']} ({counting['title']}); criteria {criteria['name']}"
        f" version {criteria['version']}. Every rule and number is in the count JSON."
        f" {provenance['software']} {provenance['version']}."
    )
