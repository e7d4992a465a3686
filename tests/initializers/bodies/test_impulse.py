"""Heads as shifts: seen in the attention of tokens that know their place alone."""

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import bits
from body_cases import Attention, Transformer, images
from warminit.errors import WarminitError
from warminit.initializers.bodies.impulse import impulse, shift_matrix
from warminit.lab.networks.simple import SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")


def looked_at(model: Any, heads: int) -> Tensor:
    """Where each patch looks in the first block when tokens are positions alone: (heads, P)."""
    block = model.blocks[0]
    x = block.norm1(model.positions[0])
    q, k, _ = nn.functional.linear(x, block.qkv.weight).unflatten(1, (3, heads, -1)).unbind(1)
    return torch.einsum("ihd,jhd->hij", q, k).argmax(2)


@pytest.mark.parametrize(("content", "least"), [("own", 0.9), ("random", 0.0)])
def test_each_head_looks_at_its_neighbour(content: Literal["own", "random"], least: float) -> None:
    """25 patches, and heads of rank 32: every shift has an exact solution."""
    model = SmallViT(3, (20, 20), 5)
    impulse(model, images(2, 3, 20, 20), seed=0, content=content)
    found = looked_at(model, 3)
    shares = []
    for head, (down, right) in enumerate(((0, 0), (-1, 0), (0, 1))):
        inside = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if 0 <= row + down < 5 and 0 <= column + right < 5
        ]
        right_ones = [
            int(found[head, 5 * row + column]) == 5 * (row + down) + column + right
            for row, column in inside
        ]
        shares.append(sum(right_ones) / len(right_ones))
    assert min(shares) >= least
    assert content == "own" or max(shares) < 0.4


def test_norms_and_positions_are_the_published_ones_and_the_controls() -> None:
    found = []
    contents: tuple[Literal["own"], Literal["random"]] = ("own", "random")
    for content in contents:
        model = SmallViT(3, (20, 20), 5)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            nn.init.normal_(model.positions, std=0.02)
        impulse(model, images(2, 3, 20, 20), seed=0, content=content)
        block: Any = model.blocks[2]
        q, k, v = block.qkv.weight.detach().chunk(3)
        found.append([float(each.norm()) for each in (q, k, v, block.proj.weight.detach())])
        assert float(model.positions.detach().square().mean().sqrt()) == pytest.approx(0.36)
    # Three heads of norm 7 each.
    assert found[0][:2] == pytest.approx([7 * 3**0.5] * 2, rel=1e-5)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("shift", [(0, 0), (-1, 0), (1, -1)])
def test_a_shift_is_a_convolution_with_one_weight(shift: tuple[int, int]) -> None:
    """The oracle: torch's convolution, whose kernel has a one at the shift."""
    kernel = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    kernel[0, 0, 1 + shift[0], 1 + shift[1]] = 1
    image = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(1, 1, 3, 4)
    wanted = nn.functional.conv2d(image, kernel, padding=1).flatten()
    assert torch.equal(shift_matrix((3, 4), shift) @ image.flatten(), wanted)


def test_positions_that_are_zero() -> None:
    model = Transformer(Attention(12, 3, "fused"))
    nn.init.zeros_(model.pos_embed)
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"pos_embed has root mean square 0: expected a finite"):
        impulse(model, images(), seed=0)
    assert [bits(each) for each in model.parameters()] == before
    impulse(model, images(), seed=0, positions="sinusoidal", position_scale=0.5)
    assert float(model.pos_embed.detach().square().mean().sqrt()) == pytest.approx(0.5)


def test_a_model_without_positions() -> None:
    model: Any = Transformer(Attention(12, 3, "fused"))
    model.pos_embed.requires_grad_(False)
    del model.pos_embed
    model.forward = lambda x: model.head(model.attention(model.patches(x).flatten(2).mT).mean(1))
    with pytest.raises(WarminitError, match=r"learned positions of 4 patches, .* expected one"):
        impulse(model, images(), seed=0)
