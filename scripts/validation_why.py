"""Why a study went wrong, in sentences: from the report, the answer key and what the run says of its lesions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lesion_pipeline.report import layout

Row = Mapping[str, Any]

#: A thing of the key explains a false lesion when it lies at most this far from it (mm).
NEAR_MM = 25.0
#: More false lesions than this are told in one line a kind.
MANY = 6


def story(study: Row, headline: str, key: Row, folder: Path | None) -> list[str]:
    """Lines of Markdown. key: answer.json; folder: the run's study folder, None without a result."""
    n = study["counts"]["lesions"]
    answer = study["criteria"].get(headline, {"reference": "-", "run": "-"})
    lines = [
        f"Lesions {n['reference']}, the run says {n['run']} ({_span(n['run_interval'])}). {headline}: {answer['reference']}, "
        f"the run says {answer['run']}. {_setting(key)}"
    ]
    if folder is None:
        return [*lines, "The pipeline refused the study."]
    given = {row["id"]: row for row in json.loads(layout.count_json(folder).read_text(encoding="utf-8"))["lesions"]}
    lines.append(_sum(study, given))
    points = [f"- lost {_lost(lesion, given, key)}" for lesion in study["missed"]]
    false = study["false_positives"]
    if len(false) > MANY:
        points += _grouped(false)
        false = [row for row in false if row["decision"] == "counted"][:MANY]
    points += [f"- false {_false(row, given, key)}" for row in false]
    return ["\n".join(lines), "\n".join(points)] if points else ["\n".join(lines)]


def _span(interval: Sequence[int] | None) -> str:
    return f"{interval[0]} to {interval[1]}" if interval else "no result"


def _setting(key: Row) -> str:
    """What the images were made to hold beside lesions."""
    out = [str(row["kind"]).replace("_", " ") for row in key.get("implants", ())]
    if key.get("ct_contrast"):
        out.append("contrast medium")
    breath = float(key.get("pet_from_ct", {}).get("breath_mm", 0.0))
    if abs(breath) >= 6:
        out.append(f"diaphragm {breath:+.0f} mm in PET")
    body = key["body"]
    if (body["thoracic"], body["lumbar"]) != (12, 5):
        out.append(f"{body['thoracic']} thoracic and {body['lumbar']} lumbar vertebrae")
    return f"Planted: {', '.join(out)}." if out else ""


def _sum(study: Row, given: Mapping[str, Row]) -> str:
    """The count's error, taken apart."""
    n = study["counts"]["lesions"]
    if n["run"] is None or n["reference"] is None:
        return ""
    error = n["run"] - n["reference"]
    lost = len(study["missed"])
    false = sum(row["decision"] == "counted" for row in study["false_positives"])
    counted = sum(row["decision"] == "counted" for row in given.values())
    doubted = n["reference"] - lost - (counted - false)
    parts = [f"-{lost} lost" if lost else "", f"-{doubted} found but left uncertain" if doubted > 0 else ""]
    parts.append(f"+{false} false and counted" if false else "")
    rest = error + lost + max(doubted, 0) - false
    parts.append(f"{rest:+d} by merging, splitting and doubt" if rest else "")
    told = ", ".join(p for p in parts if p)
    return f"Error of the count {error:+d}" + (f": {told}." if told else ".")


def _place(row: Row) -> str:
    return " ".join(str(x) for x in (row["organ"], row["level"]) if x) or "nowhere named"


def _reasons(row: Row | None, most: int = 2) -> str:
    """The run's own words, without the measurements that open them and the rules that were not asked."""
    if row is None:
        return ""
    texts = [r["text"] for r in row.get("reasons", ()) if r["code"] not in ("UPTAKE", "NOT_ASKED")]
    return "; ".join(texts[:most])


def _lost(lesion: Row, given: Mapping[str, Row], key: Row) -> str:
    size = f", {lesion['volume_ml']:.1f} ml" if lesion["volume_ml"] is not None else ""
    size += f", SUVmax {lesion['suv_max']:.1f}" if lesion["suv_max"] is not None else ""
    head = f"{lesion['id']} ({_place(lesion)}{size}): "
    if lesion["outcome"] == "excluded":
        row = given.get(lesion.get("run_lesion") or "")
        p = f" (p {row['probability']:.2f})" if row else ""
        return head + f"excluded{p}: {_reasons(row) or ', '.join(lesion['reasons'])}"
    truth = next((row for row in key["lesions"] if row["id"] == lesion["id"]), None)
    why = []
    if lesion["volume_ml"] is not None and lesion["volume_ml"] < 1:
        why.append("small")
    if lesion["suv_max"] is not None and truth is not None:
        rival = float(key["liver_suv"]) * (1.0 if lesion["organ"] == "liver" else 1.5)
        if lesion["suv_max"] < max(rival * 1.3, 3.5):
            why.append(f"hardly brighter than its surroundings (liver {key['liver_suv']:.1f})")
    if truth is not None:
        if truth.get("near"):
            why.append(f"put beside the {str(truth['near']).replace('_', ' ')}")
        close = _closest(truth["centroid_lps_mm"], given.values())
        if close is not None:
            row, away = close
            why.append(f"{away:.0f} mm from the middle of {row['id']} ({row['organ']}, {row['decision']}), which may hold it")
    return head + "no candidate" + (f": {', '.join(why)}" if why else "")


def _closest(point: Sequence[float], rows: Iterable[Row], within: float = 40.0) -> tuple[Row, float] | None:
    found = [(row, math.dist(point, row["centroid_lps_mm"])) for row in rows]
    best = min(found, key=lambda item: item[1], default=None)
    return best if best is not None and best[1] <= within else None


def _false(row: Row, given: Mapping[str, Row], key: Row) -> str:
    mine = given.get(row["id"])
    head = f"{row['id']} ({row['decision']}, {_place(row)}, p {row['probability']:.2f}): "
    if row["lies_on"]:
        on = f"lies on {str(row['lies_on']).replace('_', ' ')}"
    else:
        planted = [*key["lesions"], *key.get("physiologic_foci", ()), *key.get("implants", ())]
        close = _closest(mine["centroid_lps_mm"], planted, NEAR_MM) if mine else None
        on = "nothing planted there, physiologic or noise"
        if close is not None:
            what, away = close
            on = f"{away:.0f} mm from {what.get('id', '')} {str(what['kind']).replace('_', ' ')}".replace("  ", " ")
    said = _reasons(mine)
    return head + on + (f". The run: {said}" if said else "")


def _grouped(false: Sequence[Row]) -> list[str]:
    kinds: dict[tuple[str, str], int] = {}
    for row in false:
        at = (str(row["decision"]), str(row["organ"] or "nowhere named").replace("_", " "))
        kinds[at] = kinds.get(at, 0) + 1
    told = ", ".join(f"{n} {organ} ({decision})" for (decision, organ), n in sorted(kinds.items(), key=lambda x: -x[1]))
    return [f"- {len(false)} false lesions: {told}; the counted ones:"]
