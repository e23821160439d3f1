"""Makes tiny nnU-Net v2 model folders, as nnU-Net's own training leaves them. Run by the interpreter that has nnunetv2.

    python nnunet_model.py FOLDER KIND ...      # makes FOLDER/KIND

KIND ``trained``: a two-stage PlainConvUNet on CT and SUV, trained for some seconds to find hot balls in noise.
KIND ``exact``: weights set by hand, so that P(lesion) is sigmoid(2 (SUV - 3)) at every voxel, whatever the CT.
KIND ``regions``: like exact, as a region-based model whose second region is SUV above 3.
KIND ``stranger``: exact, but trained with a class that nnunetv2 does not have.
KIND ``poisoned``: exact, but its checkpoint runs code when it is unpickled without care.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FEATURES = {"trained": 4}


class Poison:
    """Writes a file when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, ...]]:
        return os.mkdir, (str(self.path),)


def plans(kind: str) -> dict[str, Any]:
    """One configuration, 3d_fullres, of one or two channels at 4 mm."""
    size = FEATURES.get(kind, 2)
    trained = kind == "trained"
    kernel = [3, 3, 3] if trained else [1, 1, 1]
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [size, 2 * size if trained else size],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [kernel, kernel],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [2, 2] if trained else [1, 1],
            "n_conv_per_stage_decoder": [2] if trained else [1],
            "conv_bias": True,
            "norm_op": None,  # with so few patches a normalisation would learn that every patch holds a ball
            "norm_op_kwargs": {},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU" if trained else "torch.nn.ReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "tiny",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16],
        "median_image_size_in_voxels": [32.0, 32.0, 32.0],
        "spacing": [4.0, 4.0, 4.0],
        "normalization_schemes": ["CTNormalization", "NoNormalization"] if trained else ["NoNormalization"] * 2,
        "use_mask_for_norm": [False, False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": architecture,
        "batch_dice": False,
    }
    spread = {"mean": 0.0, "std": 300.0, "percentile_00_5": -1000.0, "percentile_99_5": 1000.0}
    return {
        "dataset_name": "Dataset999_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [4.0, 4.0, 4.0],
        "original_median_shape_after_transp": [32, 32, 32],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": spread, "1": spread},
    }


def dataset(kind: str) -> dict[str, Any]:
    labels: dict[str, Any] = {"background": 0, "organ": 1, "lesion": 2}
    extra: dict[str, Any] = {}
    if kind == "trained":
        labels = {"background": 0, "lesion": 1}
    if kind == "regions":
        labels = {"background": 0, "anything": [1, 2], "lesion": [2]}
        extra = {"regions_class_order": [1, 2]}
    return {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz", **extra}


def set_by_hand(network: Any, torch: Any) -> None:
    """The first feature is SUV all the way along the skip connection; the last output is 2 (SUV - 3), the others 0."""
    state = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for name, value in state.items():
        if name.endswith("weight") and "encoder.stages.0" in name:
            value[0, 1] = 1.0  # channel 1 is SUV
        elif name.endswith("weight") and "decoder.stages.0" in name:
            value[0, value.shape[1] // 2] = 1.0  # after the concatenation the skip connection comes second
        elif name.endswith("weight") and "seg_layers" in name:
            value[-1, 0] = 2.0
        elif name.endswith("bias") and "seg_layers" in name:
            value[-1] = -6.0
            if len(value) == 3:
                value[1] = -20.0  # never the organ
    network.load_state_dict(state)


def train(network: Any, torch: Any, steps: int = 200) -> None:
    """Hot balls (SUV 4 to 12) in a body of SUV 1 with noise; the CT holds dense balls elsewhere that mean nothing."""
    random = torch.Generator().manual_seed(3)
    axes = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))

    def balls(number: int) -> Any:
        mask = torch.zeros(16, 16, 16, dtype=torch.bool)
        for _ in range(number):
            centre = torch.rand(3, generator=random) * 16
            radius = 1.5 + 2.5 * torch.rand(1, generator=random)
            mask |= ((axes - centre[:, None, None, None]) ** 2).sum(0) <= radius**2
        return mask

    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    network.train()
    for step in range(steps):
        images, truths = [], []
        for _ in range(2):
            hot, dense = balls(step % 3), balls(2)
            suv = 1.0 + 0.2 * torch.randn(16, 16, 16, generator=random)
            suv[hot] += 3.0 + 8.0 * torch.rand(1, generator=random)
            hu = 40.0 + 30.0 * torch.randn(16, 16, 16, generator=random)
            hu[dense] = 600.0
            images.append(torch.stack([hu / 300.0, suv]))
            truths.append(hot.long())
        loss = torch.nn.functional.cross_entropy(network(torch.stack(images)), torch.stack(truths))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def make(folder: Path, kind: str) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(folder)
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    torch.manual_seed(1)
    torch.set_num_threads(1)
    model, heads = plans(kind), {"trained": 2, "regions": 2}.get(kind, 3)
    told = model["configurations"]["3d_fullres"]["architecture"]
    network = get_network_from_plans(
        told["network_class_name"], told["arch_kwargs"], told["_kw_requires_import"], 2, heads, deep_supervision=False
    )
    if kind == "trained":
        train(network, torch)
    else:
        set_by_hand(network, torch)
    fold = folder / "fold_0"
    fold.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(model), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dataset(kind)), encoding="utf-8")
    (folder / "LICENSE").write_text("For tests only.\n", encoding="utf-8")
    checkpoint = {
        "network_weights": network.state_dict(),
        "trainer_name": "nobodysTrainer" if kind == "stranger" else "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres", "plans": model, "fold": 0},
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "logging": {"ema_fg_dice": [Poison(folder / "poisoned")] if kind == "poisoned" else [0.5]},
    }
    torch.save(checkpoint, fold / "checkpoint_final.pth")


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        make(Path(sys.argv[1]) / wanted, wanted)
