"""[plugins.nnunet]: which model, on which images, with how much of the machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lesion_pipeline.imaging.model_input import Channel, check_orientation
from lesion_pipeline.imaging.probability_map import CandidateRules


class Options(BaseModel):
    """model: folder with dataset.json, plans.json and fold_*/<checkpoint>. python: interpreter that has nnunetv2, "" is ours.

    channels: ``CT`` and ``SUV`` in the model's order; empty reads them from dataset.json and refuses names that leave a doubt.
    lesion_labels: names in dataset.json; empty takes those called lesion, tumour or the like. grid: the image whose grid both
    are asked on. orientation: toward which sides the storage axes of the training images grow. folds: empty takes all.
    sha256: of the weights as provenance shows it; "" does not check. trust_pickle: load checkpoints that hold Python objects
    other than weights, which can run code. step: of the tiles, as a share of the patch. mirroring: average over mirrored tiles
    (8 times slower). memory_gb: most that the child's data segment may take. threads: of the child.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    python: str
    channels: tuple[Channel, ...]
    lesion_labels: tuple[str, ...]
    grid: Literal["pet", "ct"]
    orientation: Annotated[str, AfterValidator(check_orientation)]
    folds: tuple[str, ...]
    checkpoint: str = Field(min_length=1)
    sha256: str = Field(pattern="^([0-9a-f]{64})?$")
    trust_pickle: bool
    step: float = Field(gt=0, le=1)
    mirroring: bool
    device: str = Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    threads: int = Field(ge=1)
    memory_gb: float = Field(gt=0)
    timeout_s: float = Field(gt=0)
    candidates: CandidateRules
