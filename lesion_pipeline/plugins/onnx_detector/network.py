"""The model file: hashed, loaded by onnxruntime on the CPU, checked against its contract."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from lesion_pipeline.domain.errors import ConfigError, PluginContractError, PluginFailedError, PluginNotFoundError
from lesion_pipeline.plugins.onnx_detector.options import Contract, Options
from lesion_pipeline.plugins.onnx_detector.tiles import Image


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def found(options: Options) -> Path:
    """The model's path, once it is there and its hash is the preset's. Raises PluginNotFoundError and ConfigError."""
    path = Path(options.model)
    if not options.model or not path.is_file():
        raise PluginNotFoundError(
            "WEIGHTS_ABSENT",
            "no model is named for onnx" if not options.model else f"there is no model {path.name}",
            advice="Give the path of a .onnx file as plugins.onnx.model; docs/onnx_detector.md says which fit.",
        )
    if options.sha256 and sha256_of(path) != options.sha256:
        raise ConfigError(
            "WEIGHTS_DIFFER",
            f"{path.name} is not the model that the preset names by its hash",
            advice="Use the model the preset was made for, or state the new hash in plugins.onnx.sha256.",
        )
    return path


class Network:
    """A session of onnxruntime. Answers are the same from run to run on one machine."""

    def __init__(self, path: Path, contract: Contract, threads: int) -> None:
        """Raises PluginNotFoundError (ONNXRUNTIME_ABSENT), PluginFailedError (BAD_ONNX), PluginContractError (ONNX_DIFFERS)."""
        try:
            import onnxruntime  # noqa: PLC0415  # an extra
        except ImportError as absent:
            raise PluginNotFoundError(
                "ONNXRUNTIME_ABSENT",
                "onnxruntime is not installed",
                advice="Install lesion-pipeline again: onnxruntime is part of it.",
            ) from absent
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        try:
            session: Any = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no class
            raise PluginFailedError(
                "BAD_ONNX", f"{path.name} is no model that onnxruntime can load", advice="Export it again."
            ) from error
        self._session = session
        self._contract = contract
        self._check([node.name for node in session.get_inputs()], [node.name for node in session.get_outputs()])

    def _check(self, inputs: list[str], outputs: list[str]) -> None:
        contract = self._contract
        if inputs != [contract.input] or contract.output not in outputs:
            raise _differs(f"it has the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}")
        shape = self._session.get_inputs()[0].shape
        wanted = (1, len(contract.channels), *contract.patch)
        fixed = [(n, w) for n, w in zip(shape, wanted, strict=False) if isinstance(n, int)]
        if len(shape) != len(wanted) or any(n != w for n, w in fixed):
            raise _differs(f"its input has the shape {shape}, but the contract makes {list(wanted)}")

    def lesion(self, tile: Image) -> Image:
        """Probability of lesion in a tile (channels, a, b, c) of normalised values; float32 (a, b, c), 0 to 1."""
        contract = self._contract
        (answer,) = self._session.run([contract.output], {contract.input: tile[None]})
        if answer.ndim != 5 or answer.shape[2:] != tile.shape[1:] or max(contract.lesion_outputs) >= answer.shape[1]:
            raise _differs(f"its output has the shape {list(answer.shape)} for a tile of {list(tile.shape[1:])}")
        values = np.asarray(answer[0], dtype=np.float32)
        if not np.isfinite(values).all():
            raise _differs("its output holds values that are no numbers")
        if contract.activation == "sigmoid":
            values = np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))), dtype=np.float32)
        elif contract.activation == "softmax":
            values = np.exp(values - values.max(axis=0))
            values /= values.sum(axis=0)
        chosen = values[list(contract.lesion_outputs)]
        lesion = chosen.max(axis=0) if contract.activation == "sigmoid" else chosen.sum(axis=0)
        if lesion.min() < -1e-4 or lesion.max() > 1.0 + 1e-4:
            raise _differs(f"its output reaches from {lesion.min():.3g} to {lesion.max():.3g}, which is no probability")
        return np.asarray(np.clip(lesion, 0.0, 1.0), dtype=np.float32)


def _differs(sentence: str) -> PluginContractError:
    return PluginContractError(
        "ONNX_DIFFERS",
        f"the model of onnx does not keep its contract: {sentence}",
        advice="Correct the .toml beside the model.",
    )
