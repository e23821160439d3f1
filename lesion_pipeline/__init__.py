"""Count metastases in PET-CT and spine MRI, and check an oligometastatic criterion. Research use only."""

__version__ = "0.1.0"
