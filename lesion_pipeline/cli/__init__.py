"""The commands; the only room that prints or exits.

Exit codes: 0 done, 1 the study was refused (one sentence with a stable code), 2 wrong usage or preset, 3 a defect of ours (the
traceback goes to a log, never to the terminal), 130 interrupted.
"""

from lesion_pipeline.cli.app import main

__all__ = ["main"]
