"""[plugins.onnx], and the contract that a sidecar beside the model states (docs/onnx_detector.md)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from lesion_pipeline.domain.errors import ConfigError, PluginContractError
from lesion_pipeline.imaging.model_input import Channel, check_orientation
from lesion_pipeline.imaging.probability_map import CandidateRules


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(_Strict):
    """model: path of the .onnx; ``<stem>.toml`` lies beside it. sha256: of the model; "" does not check.

    step: of the tiles, as a share of the patch. blending: weight of a tile's voxels, ``gaussian`` (sigma an eighth of the
    patch) or ``hann``. threads: of onnxruntime.
    """

    model: str
    sha256: str = Field(pattern="^([0-9a-f]{64})?$")
    step: float = Field(gt=0, le=1)
    blending: Literal["gaussian", "hann"]
    threads: int = Field(ge=1)
    candidates: CandidateRules


class ChannelRule(_Strict):
    """One input channel: value -> (clip(value, low, high) - subtract) / divide."""

    image: Channel
    clip_low: float
    clip_high: float
    subtract: float
    divide: float = Field(gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> ChannelRule:
        if self.clip_low >= self.clip_high:
            raise ValueError("clip_low must be below clip_high")
        return self


class Contract(_Strict):
    """The sidecar. Tensors are float32: input (1, channels, a, b, c), output (1, outputs, a, b, c).

    spacing_mm and patch: along the axes a, b, c; without spacing_mm the image named by ``grid`` keeps its own. orientation:
    toward which side each of a, b, c grows. activation: what the output still needs. lesion_outputs: probabilities are summed
    (softmax, none) or the highest is taken (sigmoid).
    """

    contract: Literal[1]
    name: str = Field(min_length=1)
    version: str
    licence: str
    grid: Literal["pet", "ct"]
    spacing_mm: tuple[float, float, float] | None = None
    orientation: Annotated[str, AfterValidator(check_orientation)]
    patch: tuple[int, int, int]
    input: str = Field(min_length=1)
    output: str = Field(min_length=1)
    activation: Literal["none", "sigmoid", "softmax"]
    lesion_outputs: tuple[int, ...] = Field(min_length=1)
    channels: tuple[ChannelRule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sensible(self) -> Contract:
        if min(self.patch) < 1 or (self.spacing_mm is not None and min(self.spacing_mm) <= 0):
            raise ValueError("patch and spacing_mm must be positive")
        if not any(c.image == "SUV" for c in self.channels):
            raise ValueError("a lesion network must read the PET (SUV)")
        return self


def read_contract(path: Path) -> Contract:
    """The sidecar at ``path``. Raises ConfigError (ONNX_CONTRACT_ABSENT) and PluginContractError (BAD_ONNX_CONTRACT)."""
    if not path.is_file():
        raise ConfigError(
            "ONNX_CONTRACT_ABSENT",
            f"the model of onnx has no {path.name} beside it, which says how it wants its images",
            advice="Write it after docs/onnx_detector.md from the model's own description.",
        )
    try:
        return Contract.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        sentence = f"{path.name}: {'.'.join(str(p) for p in first['loc'])}: {first['msg']}"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        sentence = f"{path.name} is no TOML: {error}"
    raise PluginContractError("BAD_ONNX_CONTRACT", sentence, advice="docs/onnx_detector.md says what belongs into it.")
