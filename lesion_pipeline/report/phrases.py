"""Words for the values of a count JSON, shared by the summary, the explanation and the page. No counting here.

The words of the answer: imaging counts are *compatible*, *not compatible* or *indeterminate* with a criterion. Whether a
patient may enter a trial is never said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

RESEARCH_USE = "Research use only - not a medical device. A physician must review every lesion."
_STATUS = {
    "meets": "compatible with {id}",
    "does_not_meet": "not compatible with {id}",
    "indeterminate": "indeterminate for {id}",
    "not_assessable": "{id} cannot be assessed from imaging",
}
_PLURAL = {"vertebra": "vertebrae", "metastasis": "metastases"}
_EXCLUSION = {
    "meets": "the exclusion applies",
    "does_not_meet": "the exclusion does not apply",
    "indeterminate": "indeterminate",
    "not_assessable": "a person has to answer",
}
_INCLUSION = {
    "meets": "fulfilled",
    "does_not_meet": "not fulfilled",
    "indeterminate": "indeterminate",
    "not_assessable": "a person has to answer",
}
_STATUS_WORDS = {"inclusion": _INCLUSION, "exclusion": _EXCLUSION}
_LIMITS = {
    "lesions_max": "at most {bound} lesions",
    "lesions_min": "at least {bound} lesions",
    "organs_max": "at most {bound} organs",
    "organs_min": "at least {bound} organs",
    "spine_max": "at most {bound} in the spine",
    "spine_min": "at least {bound} in the spine",
    "years_min": "at least {bound} years",
    "years_max": "at most {bound} years",
}

Doc = Mapping[str, Any]


def plural(number: float, word: str) -> str:
    """``1 lesion``, ``2 lesions``, ``6 vertebrae``."""
    return f"{number:g} {word if number == 1 else _PLURAL.get(word, word + 's')}"


def place(key: str) -> str:
    """``lymph_node`` -> ``lymph node``; ``rib_left_7`` -> ``rib left 7``."""
    return key.replace("_", " ").replace(":", ", ")


def interval(count: Doc) -> str:
    """``5``, or ``5 (4 to 6)`` where it is not certain."""
    low, best, high = count["low"], count["best"], count["high"]
    return str(best) if low == high == best else f"{best} ({low} to {high})"


def chance(value: float | None) -> str:
    """Two decimals; never 0.00 or 1.00 for what is merely close."""
    if value is None:
        return "not known"
    if 0.0 < value < 0.005:
        return "below 0.01"
    if 0.995 <= value < 1.0:
        return "above 0.99"
    return f"{value:.2f}"


def answer(criterion: Doc) -> str:
    """``compatible with INC4``."""
    return _STATUS[criterion["status"]].format(id=criterion["id"])


def item_status(criterion: Doc) -> str:
    """What an item's status means for a reader, by whether it includes or excludes."""
    return _STATUS_WORDS[criterion["role"]][criterion["status"]]


def limit(margin: Doc) -> str:
    """``at most 5 lesions: 4, 1 below the limit``."""
    words = _LIMITS.get(margin["limit"], f"{margin['limit']} {margin['bound']}").format(bound=margin["bound"])
    distance = margin["margin"]
    upper = margin["limit"].endswith("_max")
    side = "exactly at the limit"
    if distance > 0:
        side = f"{distance} below the limit" if upper else f"{distance} more than needed"
    elif distance < 0:
        side = f"{-distance} too many" if upper else f"{-distance} too few"
    return f"{words}: {margin['value']}, {side}"


def headline(document: Doc) -> Doc:
    """The criterion that a summary shows."""
    wanted = document["headline"]
    return next(c for c in document["criteria"] if c["id"] == wanted)


def lesion_place(lesion: Doc) -> str:
    """``vertebra T11``, ``liver``, ``rib left 7 (bone)``, ``place not known``."""
    involved = [v["name"] for v in lesion["vertebrae"] if v["involved"]]
    if involved:
        return f"{'vertebra' if len(involved) == 1 else 'vertebrae'} {listed(involved)}"
    organ, structure = lesion["organ"], lesion["structure"]
    if organ is None:
        return place(structure) if structure else "place not known"
    words = place(organ)
    return f"{place(structure)} ({words})" if structure and place(structure) != words else words


def listed(names: Sequence[str]) -> str:
    """``T11``, ``T11 and T12``, ``T11, T12 and L1``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def capitalised(text: str) -> str:
    """First letter upper case, the rest as it is."""
    return text[:1].upper() + text[1:]
