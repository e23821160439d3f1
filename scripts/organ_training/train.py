"""Train: python -m scripts.organ_training.train BODIES OUT --steps N [--resume FILE] [--anneal] [--seed S]

Two phases: a constant learning rate with class weights (small organs are seen), then ``--anneal``: plain cross-entropy
plus Dice while the rate falls to zero (the weights' over-segmentation goes). Files whose hash falls on 0
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

from scripts.organ_training.network import OrganNet
from scripts.organ_training.paint import CLASSES, is_held_out, sample

#: background, spleen, kidney, liver, bladder, lung, brain, heart, stomach, bone, bowel, aorta
WEIGHTS = (0.25, 2.5, 3.0, 1.0, 3.0, 0.6, 1.0, 1.3, 2.0, 1.0, 1.2, 2.5)


class Samples(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):  # type: ignore[misc]  # torch is not in the checked environment
    """Endless patches from the bodies in a folder (read anew now and then: more may have come)."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        while True:
            files = [f for f in sorted(self.folder.glob("*.npz")) if ".tmp" not in f.name and not is_held_out(f.name)]
            for path in rng.permutation(np.array(files, dtype=object))[:24]:
                with np.load(path) as held:
                    tissues = held["tissues"]
                for _ in range(4):
                    x, y = sample(tissues, rng)
                    yield torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))


def loss_of(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None, dice_share: float) -> torch.Tensor:
    """Cross-entropy plus soft Dice over the classes present."""
    entropy = fn.cross_entropy(logits, target, weights)
    p = logits.softmax(1)
    hot = fn.one_hot(target, logits.shape[1]).permute(0, 4, 1, 2, 3).float()
    present = hot.sum((0, 2, 3, 4)) > 20
    present[0] = False
    overlap = 2 * (p * hot).sum((0, 2, 3, 4)) / (p.sum((0, 2, 3, 4)) + hot.sum((0, 2, 3, 4)) + 1)
    dice = 1 - overlap[present].mean() if bool(present.any()) else torch.zeros(())
    return entropy + dice_share * dice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--anneal", action="store_true")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2e-3)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    net = OrganNet(len(CLASSES))
    mean = copy.deepcopy(net)
    optimiser = torch.optim.AdamW(net.parameters(), lr=args.rate, weight_decay=1e-3)
    done = 0
    if args.resume:
        state = torch.load(args.resume, weights_only=True)
        net.load_state_dict(state["net"])
        mean.load_state_dict(state["mean"])
        optimiser.load_state_dict(state["optimiser"])
        done = int(state["done"])
    loader = iter(DataLoader(Samples(args.bodies, args.seed + done), batch_size=1, num_workers=1, prefetch_factor=6))
    weights = None if args.anneal else torch.tensor(WEIGHTS)
    start, recent = time.time(), []
    for step in range(1, args.steps + 1):
        rate = (
            args.rate * 0.6 * 0.5 * (1 + math.cos(math.pi * step / args.steps))
            if args.anneal
            else args.rate * min(step / 100 + done, 1)
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        x, y = next(loader)
        loss = loss_of(net(x), y, weights, 1.0 if args.anneal or done + step > 250 else 0.3)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimiser.step()
        decay = min(0.99, (done + step) / (done + step + 10))
        with torch.no_grad():
            for slow, fast in zip(mean.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        recent.append(float(loss.detach()))
        if step % 50 == 0:
            print(
                done + step, f"loss {np.mean(recent):.3f} rate {rate:.2e} {(time.time() - start) / step:.2f} s/step", flush=True
            )
            recent = []
        if step % 200 == 0 or step == args.steps:
            state = {
                "net": net.state_dict(),
                "mean": mean.state_dict(),
                "optimiser": optimiser.state_dict(),
                "done": done + step,
            }
            torch.save(state, args.out.with_suffix(".tmp"))
            args.out.with_suffix(".tmp").rename(args.out)


if __name__ == "__main__":
    main()
