"""The other side of the table: synthetic studies whose answer is known.

Anatomy, tracer, scanner, lesions and header faults are separate choices (a ``StudyPlan``), composed by ``make_study``. Nothing
here imports what it will judge.
"""

from lesion_pipeline.simulate.cohort import cohort
from lesion_pipeline.simulate.plan import StudyPlan
from lesion_pipeline.simulate.study import make_study

__all__ = ["StudyPlan", "cohort", "make_study"]
