"""What a person knows of the patient that no image tells, as answers to criteria."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClinicalItem:
    """One answer.

    criterion: id in the criteria file. answer: ``meets``, ``does_not_meet`` or ``unknown``, said of the condition as written
    (an exclusion criterion that ``meets`` excludes). comment: free text without anything that identifies. by: role of who
    answered (``radiologist``), never a name.
    """

    criterion: str
    answer: str
    comment: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class ClinicalFacts:
    """Answers for one study. age_years: completed years at enrolment, overrides the header. sha256: of the table's bytes."""

    items: tuple[ClinicalItem, ...] = ()
    age_years: int | None = None
    table_format: str = ""
    sha256: str = ""
    rows: int = 0

    def item(self, criterion: str) -> ClinicalItem | None:
        return next((item for item in self.items if item.criterion == criterion), None)
