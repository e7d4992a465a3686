"""The paper's network written out by hand, and images for networks."""

import torch
from torch import Tensor, nn


def plain_simplecnn(
    in_channels: int, flat: int, n_classes: int, batch_norm: bool, kernel: int = 3
) -> nn.Sequential:
    """Section 3.1 line by line, ReLU before pooling."""
    first = nn.Conv2d(in_channels, 32, kernel, padding=kernel // 2)
    norms = [nn.BatchNorm2d(n) if batch_norm else nn.Identity() for n in (32, 64)]
    return nn.Sequential(
        *(first, norms[0], nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), norms[1], nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(flat, 256), nn.ReLU(), nn.Linear(256, n_classes)),
    )


def seeded_images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))
