"""Train: python -m scripts.organ_training.train BODIES OUT --minutes M [--simulated FOLDER] [--resume FILE] [--seed S]

One schedule over the time that is given: a constant rate, then a cosine down to zero. Class weights (small organs are seen
early) fade to plain cross-entropy by half time, or the network would over-segment them. Two patches a step: with one,
PyTorch takes a slow path for 3-D convolutions on a CPU (1.02 against 0.38 CPU-seconds a patch). Files whose hash falls on 0
modulo 10 are held out.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as fn
from torch.utils.data import DataLoader, IterableDataset

from lesion_pipeline.plugins.builtin_organs.network import CLASSES
from scripts.organ_training.network import OrganNet
from scripts.organ_training.paint import Floats, Ints, is_held_out, sample, simulated_sample

#: background, spleen, kidney, liver, bladder, lung, brain, heart, stomach, bone, bowel, aorta, head glands, prostate
WEIGHTS = (0.25, 2.5, 3.0, 1.0, 3.0, 0.6, 1.0, 1.3, 2.0, 1.0, 1.2, 2.5, 5.0, 5.0)
BATCH = 2
RATE = 2.5e-3
_FALL_FROM = 0.5
_PLAIN_FROM = 0.5


class Samples(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):  # type: ignore[misc]  # torch is not in the checked environment
    """Endless patches from the bodies in the folders (read anew now and then: more may have come)."""

    def __init__(self, folder: Path, simulated: Path | None, seed: int) -> None:
        self.folder, self.simulated, self.seed = folder, simulated, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        while True:
            for path in rng.permutation(np.array(_training_files(self.folder), dtype=object))[:24]:
                with np.load(path) as held:
                    tissues = held["tissues"]
                for _ in range(4):
                    yield _tensors(*sample(tissues, rng))
                others = _training_files(self.simulated) if self.simulated else []
                if others:
                    with np.load(others[int(rng.integers(len(others)))]) as held:
                        hu, target = held["hu"].astype(np.float32), held["target"]
                    yield _tensors(*simulated_sample(hu, target, rng))


def _training_files(folder: Path) -> list[Path]:
    return [f for f in sorted(folder.glob("*.npz")) if ".tmp" not in f.name and not is_held_out(f.name)]


def _tensors(x: Floats, y: Ints) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))


def loss_of(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, dice_share: float) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the classes present."""
    entropy = fn.cross_entropy(logits, target, weights)
    p = logits.softmax(1)
    hot = fn.one_hot(target, logits.shape[1]).permute(0, 4, 1, 2, 3).float()
    present = hot.sum((0, 2, 3, 4)) > 20
    present[0] = False
    overlap = 2 * (p * hot).sum((0, 2, 3, 4)) / (p.sum((0, 2, 3, 4)) + hot.sum((0, 2, 3, 4)) + 1)
    dice = 1 - overlap[present].mean() if bool(present.any()) else torch.zeros((), device=logits.device)
    return entropy + dice_share * dice


def rate_at(progress: float, step: int, peak: float) -> float:
    """Learning rate: a hundred steps up, constant, then a cosine to zero."""
    fall = max(progress - _FALL_FROM, 0.0) / (1 - _FALL_FROM)
    return peak * min(step / 100, 1.0) * 0.5 * (1 + math.cos(math.pi * min(fall, 1.0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--simulated", type=Path)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--begin", type=float, default=0.0, help="progress at which this run enters the schedule")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = OrganNet(len(CLASSES)).to(device, memory_format=torch.channels_last_3d)
    mean = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    done = 0
    if args.resume:
        state = torch.load(args.resume, weights_only=True, map_location=device)
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        done = int(state["done"])
    loader = iter(
        DataLoader(Samples(args.bodies, args.simulated, args.seed + done), batch_size=BATCH, num_workers=1, prefetch_factor=4)
    )
    start, step, recent, progress = time.time(), done, [], args.begin
    while progress < 1.0:
        step += 1
        progress = args.begin + (1 - args.begin) * (time.time() - start) / (60 * args.minutes)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(progress, step, RATE)
        strength = max(1 - progress / _PLAIN_FROM, 0.0)
        weights = torch.tensor(WEIGHTS, device=device) ** strength
        x, y = (one.to(device) for one in next(loader))
        loss = loss_of(net(x.contiguous(memory_format=torch.channels_last_3d)), y, weights, 1.0 if step > 250 else 0.3)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        decay = min(0.995, step / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        recent.append(float(loss.detach()))
        if step % 50 == 0:
            speed = (time.time() - start) / (step - done)
            print(step, f"loss {np.mean(recent):.3f} at {progress:.2f} {speed:.2f} s/step", flush=True)
            recent = []
        if step % 200 == 0:
            save(args.out, net, mean, optimiser, step)
    save(args.out, net, mean, optimiser, step)


def save(out: Path, net: OrganNet, mean: OrganNet, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write under a temporary name, then rename: a run that is cut off leaves the last whole state."""
    state = {"net": net.state_dict(), "mean": mean.state_dict(), "optimiser": optimiser.state_dict(), "done": step}
    torch.save(state, out.with_suffix(".tmp"))
    out.with_suffix(".tmp").rename(out)


if __name__ == "__main__":
    main()
