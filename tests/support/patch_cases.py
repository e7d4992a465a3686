"""an order of the values of a patch -> a model that takes patches so, and its twin."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ORDERS = ("rows columns channels", "channels rows columns", "columns rows channels")


def rearranged(images: Tensor, size: int, order: str) -> Tensor:
    """(N, C, H, W) -> (N, patches, C * size^2): each patch flattened in the order that is named."""
    axes = {"channels": 1, "rows": 4, "columns": 5}
    patches = images.unfold(2, size, size).unfold(3, size, size)  # (N, C, h, w, rows, columns)
    inner = [axes[name] for name in order.split()]
    return patches.permute(0, 2, 3, *inner).flatten(3).flatten(1, 2)


def sequence(images: Tensor) -> Tensor:
    """(N, C, L) -> (N, patches, 4 * C), as a transformer over signals has it."""
    return images.unfold(2, 4, 4).permute(0, 2, 3, 1).flatten(2)


def video(images: Tensor) -> Tensor:
    """(N, C, T, H, W) -> (N, patches, C * 2 * 4 * 4), channels last but before time."""
    patches = images.unfold(2, 2, 2).unfold(3, 4, 4).unfold(4, 4, 4)
    return patches.permute(0, 2, 3, 4, 6, 7, 1, 5).flatten(4).flatten(1, 3)


def overlapping(images: Tensor) -> Tensor:
    """(N, C, H, W) -> patches of 3 x 3 at every second pixel, with a border of zeros."""
    return nn.functional.unfold(images, 3, padding=1, stride=2).transpose(1, 2)


class FlatViT(nn.Module):
    """A rearrangement, a linear layer, and one block of a transformer.

    Args:
        rearrange: (N, C, *size) -> (N, patches, D).
        width: D.
        before: What stands between, such as a normalization.
        dim: Filters.
    """

    def __init__(
        self,
        rearrange: Callable[[Tensor], Tensor],
        width: int,
        before: nn.Module | None = None,
        dim: int = 12,
    ) -> None:
        super().__init__()
        self.rearrange = rearrange
        self.before = before or nn.Identity()
        self.embedding = nn.Linear(width, dim)
        self.block = nn.TransformerEncoderLayer(dim, 2, 16, batch_first=True, dropout=0.0)
        self.head = nn.Linear(dim, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embedding(self.before(self.rearrange(images)))
        scores: Tensor = self.head(self.block(tokens).mean(1))
        return scores


class ConvolutionalViT(nn.Module):
    """The same with a convolution."""

    def __init__(self, flat: FlatViT, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution, self.block, self.head = convolution, flat.block, flat.head

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.convolution(images).flatten(2).transpose(1, 2)
        scores: Tensor = self.head(self.block(tokens).mean(1))
        return scores


def flat_vit(order: str = ORDERS[0], before: nn.Module | None = None, channels: int = 3) -> FlatViT:
    """A model over patches of 4 x 4."""
    torch.manual_seed(0)
    return FlatViT(lambda images: rearranged(images, 4, order), channels * 16, before)


def smooth_images(*shape: int) -> Tensor:
    """Images whose neighboring values are alike, around 0."""
    drawn: Any = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    for axis in range(2, len(shape)):
        drawn = drawn + drawn.roll(1, axis) + drawn.roll(2, axis)
    result: Tensor = drawn / drawn.std()
    return result
