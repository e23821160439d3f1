"""The network: a small U-Net behind a space-to-depth of 2, about 1.4 million parameters."""

from __future__ import annotations

import torch
from torch import nn

WIDTHS = (24, 48, 64, 96)


def _block(a: int, b: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(a, b, 3, padding=1, bias=False), nn.InstanceNorm3d(b, affine=True), nn.LeakyReLU(0.01),
        nn.Conv3d(b, b, 3, padding=1, bias=False), nn.InstanceNorm3d(b, affine=True), nn.LeakyReLU(0.01),
    )  # fmt: skip


class OrganNet(nn.Module):  # type: ignore[misc]  # torch is not in the checked environment
    """(n, 2, x, y, z) with x, y, z multiples of 16 -> (n, classes, x, y, z) logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.down = nn.ModuleList()
        previous = 16
        for width in WIDTHS:
            self.down.append(_block(previous, width))
            previous = width
        self.up = nn.ModuleList(_block(WIDTHS[n] + WIDTHS[n + 1], WIDTHS[n]) for n in range(len(WIDTHS) - 1))
        self.pool = nn.MaxPool3d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv3d(WIDTHS[0], classes * 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, c, i, j, k = x.shape
        x = (
            x.reshape(n, c, i // 2, 2, j // 2, 2, k // 2, 2)
            .permute(0, 1, 3, 5, 7, 2, 4, 6)
            .reshape(n, c * 8, i // 2, j // 2, k // 2)
        )
        kept = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            kept.append(x)
        for level in range(len(WIDTHS) - 2, -1, -1):
            x = self.up[level](torch.cat([kept[level], self.grow(x)], 1))
        x = self.head(x)
        x = x.reshape(n, self.classes, 2, 2, 2, i // 2, j // 2, k // 2).permute(0, 1, 5, 2, 6, 3, 7, 4)
        return x.reshape(n, self.classes, i, j, k)
