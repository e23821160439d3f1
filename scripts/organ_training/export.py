"""A trained network as ONNX: python -m scripts.organ_training.export CHECKPOINT OUT.onnx

The averaged weights go out; the three lengths are free (multiples of 16). Prints the file's size and sha256.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch

from lesion_pipeline.plugins.builtin_organs.network import CLASSES
from scripts.organ_training.network import OrganNet
from scripts.organ_training.paint import PATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    state = torch.load(args.checkpoint, weights_only=True, map_location="cpu")
    net = OrganNet(len(CLASSES))
    net.load_state_dict(state["mean"])
    net.eval()
    axes = {2: "i", 3: "j", 4: "k"}
    torch.onnx.export(
        net, (torch.zeros(1, 2, *PATCH),), str(args.out), input_names=["ct"], output_names=["logits"],
        dynamic_axes={"ct": axes, "logits": axes}, opset_version=17, dynamo=False,
    )  # fmt: skip
    content = args.out.read_bytes()
    print(f"{state['done']} steps, {len(content) / 1e6:.1f} MB, sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
