"""What a person knows of the patient that no image tells, as answers to criteria."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ClinicalItem:
    """One answer.

    criterion: id in the criteria file. answer: ``meets``, ``does_not_meet`` or ``unknown``, said of the condition as written
    (an exclusion criterion that ``meets`` excludes). comment: free text without anything that identifies. by: role of who
    answered (``radiologist``), never a name. study: key of the study it is about, "" for every study.
    """

    criterion: str
    answer: str
    comment: str = ""
    by: str = ""
    study: str = ""


@dataclass(frozen=True, slots=True)
class ClinicalFacts:
    """Answers of a clinical table. ages: (study key, completed years at enrolment). sha256: of the table's bytes."""

    items: tuple[ClinicalItem, ...] = ()
    ages: tuple[tuple[str, int], ...] = ()
    table_format: str = ""
    sha256: str = ""
    rows: int = 0

    def for_study(self, key: str) -> ClinicalFacts:
        """What is said of one study; a word about the study itself goes before a word about all."""
        items = sorted((item for item in self.items if item.study in ("", key)), key=lambda item: item.study == "")
        ages = sorted((age for age in self.ages if age[0] in ("", key)), key=lambda age: age[0] == "")
        return replace(self, items=tuple(items), ages=tuple(ages))

    def item(self, criterion: str) -> ClinicalItem | None:
        return next((item for item in self.items if item.criterion == criterion), None)

    @property
    def age_years(self) -> int | None:
        """Completed years at enrolment; goes before the header."""
        return self.ages[0][1] if self.ages else None
