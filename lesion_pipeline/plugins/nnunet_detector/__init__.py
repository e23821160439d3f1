"""``nnunet``: any nnU-Net v2 model folder that the user has downloaded, run in a process of its own."""

from __future__ import annotations

from lesion_pipeline.plugins.nnunet_detector.detector import NnunetDetector, factory
from lesion_pipeline.plugins.nnunet_detector.options import Options

__all__ = ["NnunetDetector", "Options", "factory"]
