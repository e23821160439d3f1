"""A result as the count JSON. Nothing is counted here; the same result gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from lesion_pipeline import __version__
from lesion_pipeline.domain.caveat import Caveat
from lesion_pipeline.domain.result import Result, StageRun
from lesion_pipeline.domain.study import Study
from lesion_pipeline.domain.verdict import Count, CriterionAnswer, Tally, Verdict
from lesion_pipeline.report import lesion_entries, schema
from lesion_pipeline.report.rounding import fixed, probability

NOTICE = (
    "RESEARCH USE ONLY - NOT A MEDICAL DEVICE. Not cleared or approved by any regulatory authority. Not for diagnosis,"
    " treatment, or decisions on trial enrolment. Counts and probabilities are algorithmic estimates that can be wrong;"
    " a qualified physician must review every lesion. Absence of a detected lesion does not exclude disease. The tool does"
    ' not decide on trial entry; items marked "not assessable" need clinical information.'
)
#: Entries of the joint distribution below this are left out of the file.
LEAST_SHOWN = 5e-7


def count_json(result: Result, runs: Sequence[StageRun] = ()) -> dict[str, object]:
    """The count JSON of a study, as plain values in the order of the schema. runs: time and memory, for ``provenance.run``."""
    settings = result.settings.get("preset", result.settings)
    study = result.study
    provenance = {
        "preset": result.preset,
        "config_sha256": result.config_sha256,
        "inputs": [
            {"series": s.key, "kind": s.kind, "chosen": s.chosen, "instances": s.instances, "sha256": s.input_sha256}
            for s in study.series
        ],
        "plugins": [{"group": g, "name": n, "version": v} for g, n, v in result.plugins],
        "run": {
            "stages": [{"stage": r.stage, "seconds": fixed(r.seconds, 3), "peak_rss_mb": fixed(r.peak_rss_mb, 1)} for r in runs]
        },
    }
    lesions = lesion_entries.of_findings(result.screened, result.tally, result.anatomy)
    return _document(
        _study(study),
        result.tally,
        result.verdict,
        lesions=lesions,
        caveats=result.caveats,
        settings=settings,
        provenance=provenance,
    )


def table_json(tally: Tally, verdict: Verdict, table_sha256: str, caveats: Sequence[Caveat] = ()) -> dict[str, object]:
    """The count JSON of a lesion table. table_sha256: hash of the table's bytes; its first digits name the study."""
    study = {
        "key": f"table-{table_sha256[:12]}",
        "source": "lesion_table",
        "tracer": "unknown",
        "modalities": sorted({source for lesion in tally.countable for source in lesion.sources}),
        "suv": None,
    }
    entry = {"series": study["key"], "kind": "lesion table", "chosen": True, "instances": 1, "sha256": table_sha256}
    provenance = {"preset": "", "config_sha256": "", "inputs": [entry], "plugins": [], "run": {"stages": []}}
    decision = verdict.criteria["decision"]
    limits = (decision["p_fails"], decision["p_meets"]) if isinstance(decision, Mapping) else (0.0, 1.0)
    lesions = lesion_entries.of_table(tally, *limits)
    return _document(study, tally, verdict, lesions=lesions, caveats=caveats, settings={}, provenance=provenance)


def dumps(document: Mapping[str, object]) -> str:
    """The bytes that are written: two spaces, the order of the schema, a newline at the end."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _document(
    study: Mapping[str, object],
    tally: Tally,
    verdict: Verdict,
    *,
    lesions: list[dict[str, object]],
    caveats: Iterable[Caveat],
    settings: object,
    provenance: Mapping[str, object],
) -> dict[str, object]:
    clinical = verdict.clinical
    values = {
        "schema": {"name": schema.NAME, "version": schema.VERSION},
        "research_use_only": True,
        "notice": NOTICE,
        "study": study,
        "headline": verdict.headline,
        "counts": _counts(tally),
        "criteria": [_criterion(answer, tally, verdict) for answer in verdict.answers],
        "criteria_name": verdict.criteria_name,
        "vetoes": [{"code": code, "text": text} for code, text in verdict.vetoes],
        "open_questions": [{"criterion": item, "question": question} for item, question in verdict.open_questions],
        "lesions": lesions,
        "variants": [_variant(name, each) for name, each in tally.variants],
        "caveats": [
            {"code": c.code, "stage": c.stage, "message": c.message, "series": c.series} for c in dict.fromkeys(caveats)
        ],
        "rules": {"counting": dict(tally.rules), "criteria": dict(verdict.criteria), "settings": without_paths(settings)},
        "provenance": {
            "software": "lesion-pipeline",
            "version": __version__,
            **provenance,
            "clinical_table": {"table_format": clinical.table_format, "sha256": clinical.sha256, "rows": clinical.rows}
            if clinical
            else None,
        },
    }
    return schema.LesionCount.model_validate(values).model_dump(mode="json", by_alias=True)


def _study(study: Study) -> dict[str, object]:
    suv = study.suv
    present = [("PT", study.pet is not None), ("CT", study.ct is not None), ("MR", bool(study.mr))]
    return {
        "key": study.key,
        "source": "images",
        "tracer": study.tracer.value,
        "modalities": [name for name, there in present if there],
        "suv": None
        if suv is None
        else {
            "status": suv.status.value,
            "code": suv.code,
            "method": suv.method,
            "bw_per_unit": None if suv.bw_per_unit is None else float(f"{suv.bw_per_unit:.9g}"),
            "spread": fixed(suv.spread, 6),
            "uptake_minutes": fixed(suv.uptake_minutes, 2),
        },
    }


def _counts(tally: Tally) -> dict[str, object]:
    at_organ: dict[str, list[str]] = {}
    at_level: dict[str, list[str]] = {}
    for unit in tally.units:
        for key in dict.fromkeys(key for key, share in unit.organs if key and share > 0.0):
            at_organ.setdefault(key, []).append(unit.id)
        for key in unit.vertebrae:
            at_level.setdefault(key, []).append(unit.id)

    def shares(rows: Sequence[tuple[str, float, float]], members: Mapping[str, list[str]]) -> dict[str, object]:
        return {
            key: {"expected": fixed(expected, 6), "probability": probability(chance), "lesions": sorted(members.get(key, []))}
            for key, expected, chance in rows
        }

    axes = ("lesions", "organs", "spinal_lesions", "involved_vertebrae")
    counts = (tally.lesions, tally.organs, tally.spinal_lesions, tally.involved_vertebrae)
    joint = [{**dict(zip(axes, key, strict=True)), "probability": probability(p)} for key, p in tally.joint if p >= LEAST_SHOWN]
    return {
        **{axis: _count(count, sure) for axis, count, sure in zip(axes, counts, tally.certain, strict=True)},
        "by_organ": shares(tally.by_organ, at_organ),
        "by_level": shares(tally.by_level, at_level),
        "spine_unit": tally.spine_unit,
        "method": "exact" if tally.exact else "sampled",
        "joint": joint,
        "notes": [{"code": code, "text": text} for code, text in tally.notes],
    }


def _count(count: Count, certain: int) -> dict[str, object]:
    pmf = [probability(p) for p in count.pmf]
    return {"low": count.low, "best": count.best, "high": count.high, "certain": certain, "pmf": pmf}


def _variant(name: str, tally: Tally) -> dict[str, object]:
    return {
        "name": name,
        "sentence": tally.sentence,
        "kind": "unknown" if tally.unknown else "rule",
        "lesions": tally.lesions.best,
        "organs": tally.organs.best,
        "spinal_lesions": tally.spinal_lesions.best,
        "involved_vertebrae": tally.involved_vertebrae.best,
    }


def _criterion(answer: CriterionAnswer, tally: Tally, verdict: Verdict) -> dict[str, object]:
    sentences = {name: each.sentence for name, each in tally.variants}
    items = verdict.criteria.get("items")
    roles = {item["id"]: item["role"] for item in items} if isinstance(items, list) else {}
    by_default = answer.default_status or answer.status
    return {
        "id": answer.id,
        "role": roles.get(answer.id, "inclusion"),
        "title": answer.title,
        "status": answer.status.value,
        "probability": None if answer.probability is None else probability(answer.probability),
        "probability_range": None
        if answer.probability_range is None
        else tuple(probability(p) for p in answer.probability_range),
        "margin": [{"limit": name, "value": value, "bound": bound, "margin": m} for name, value, bound, m in answer.margin],
        "reasons": [{"code": reason.code, "text": reason.text} for reason in answer.reasons],
        "flip_set": list(answer.flip_set),
        "variants": [
            {
                "name": name,
                "sentence": sentences.get(name, ""),
                "probability": probability(chance),
                "status": status.value,
                "changes_answer": status is not by_default,
            }
            for name, chance, status in answer.variants
        ],
        "human_questions": list(answer.human_questions),
        "source": answer.source,
    }


def without_paths(settings: object) -> object:
    """The settings without paths of this machine: they may name a patient, and a copy elsewhere must give the same bytes."""
    if isinstance(settings, Mapping):
        return {str(key): without_paths(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [without_paths(value) for value in settings]
    if isinstance(settings, str) and ("/" in settings or "\\" in settings):
        return "(a file)"
    return settings
