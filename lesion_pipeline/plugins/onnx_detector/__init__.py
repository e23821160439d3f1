"""``onnx``: a lesion network in the open format, with a sidecar that says how it wants its images (docs/onnx_detector.md)."""

from __future__ import annotations

from lesion_pipeline.plugins.onnx_detector.detector import OnnxDetector, factory
from lesion_pipeline.plugins.onnx_detector.options import Contract, Options

__all__ = ["Contract", "OnnxDetector", "Options", "factory"]
