"""kinds of networks, small, for the methods that set what lies between first layer and head."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """x + branch(x), the skip of its own where one is given."""

    def __init__(
        self, branch: nn.Module, skip: nn.Module | None = None, *, in_place: bool = False
    ) -> None:
        super().__init__()
        self.in_place = in_place
        self.branch: Any = branch
        self.skip: Any = skip or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.branch(x)
        if self.in_place:
            out += self.skip(x)
            return out
        skipped: Tensor = self.skip(x)
        return skipped + out


class LayerScale(nn.Module):
    """Multiplies each channel by a learned number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Gate(nn.Module):
    """Multiplies each channel by a number from 0 to 1 that is computed from it, as SE does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate: Tensor = self.mix(x.mean((2, 3), keepdim=True)).sigmoid()
        return x * gate


class AcrossTokens(nn.Module):
    """A linear layer along another axis, as in mixers: its input is not contiguous."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.linear = nn.Linear(tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x.flatten(2).unflatten(1, (2, -1)).mT).mT
        whole: Tensor = out.flatten(1, 2).unflatten(2, x.shape[2:])
        return whole


class Transformer(nn.Module):
    """Patches, learned positions, one block with `nn.MultiheadAttention`, a mean and a head."""

    def __init__(self, attention: nn.Module, width: int = 12) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 4, width))
        self.norm = nn.LayerNorm(width)
        self.attention = attention
        self.head = nn.Linear(width, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.pos_embed
        fed = self.norm(tokens)
        if isinstance(self.attention, nn.MultiheadAttention):
            mixed = self.attention(fed, fed, fed, need_weights=False)[0]
        else:
            mixed = self.attention(fed)
        out: Tensor = self.head((tokens + mixed).mean(1))
        return out


class Attention(nn.Module):
    """Attention with its projections apart, or in one layer in one of two orders of rows."""

    def __init__(self, width: int, num_heads: int, layout: str) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.layout = layout
        if layout == "split":
            self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        else:
            self.qkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        if self.layout == "split":
            parts = [layer(x) for layer in (self.q_proj, self.k_proj, self.v_proj)]
            q, k, v = (each.unflatten(2, (self.num_heads, -1)) for each in parts)
        elif self.layout == "fused":
            q, k, v = self.qkv(x).unflatten(2, (3, self.num_heads, -1)).unbind(2)
        else:  # each head has its own query, key and value
            q, k, v = self.qkv(x).unflatten(2, (self.num_heads, 3, -1)).unbind(3)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v)
        fed = mixed.transpose(1, 2).flatten(2)
        # With keywords, and no call of the module, as some layers of timm.
        return F.linear(input=fed, weight=self.out_proj.weight, bias=self.out_proj.bias)


def conv_mixer(kernel: int = 7, width: int = 8, depth: int = 3) -> nn.Sequential:
    """Build patches, residual depthwise blocks and a head."""
    blocks = [
        Residual(
            nn.Sequential(
                nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width),
                nn.GELU(),
                nn.BatchNorm2d(width),
            )
        )
        for _ in range(depth)
    ]
    return nn.Sequential(
        nn.Conv2d(3, width, 2, stride=2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 5),
    )  # fmt: skip


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*(shape or (4, 3, 8, 8)), generator=torch.Generator().manual_seed(seed))
