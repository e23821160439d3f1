"""Count metastases in PET-CT and spine MRI, and check an oligometastatic criterion. Research use only."""

import os

__version__ = "0.1.0"

# onnxruntime from 1.29 on reports its use to its maker and leaves a device id on disk unless this is set before it is loaded;
# nothing that reads a patient's images may call anyone.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
