"""Residual branches: found by the computation, zero afterwards, each block its skip."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import bits
from body_cases import AcrossTokens, Gate, LayerScale, Residual, Transformer, conv_mixer, images
from warminit.errors import WarminitError
from warminit.initializers.bodies.zero_residual import zero_residual
from warminit.lab.networks.simple import ResNet20, SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")


def conv(fed: int = 4, filters: int = 4, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(fed, filters, 3, stride=stride, padding=1)


def branch(end: nn.Module, filters: int = 4, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv(4, 4), nn.ReLU(), conv(4, filters, stride), end)


def shortcut(filters: int = 6, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, filters, 1, stride), nn.BatchNorm2d(filters))


@pytest.mark.parametrize(
    ("block", "layer"),
    [
        (Residual(branch(nn.BatchNorm2d(4))), "1.branch.3.weight"),
        (Residual(branch(nn.GroupNorm(2, 4))), "1.branch.3.weight"),
        (Residual(branch(nn.GroupNorm(2, 4)), in_place=True), "1.branch.3.weight"),
        (Residual(branch(LayerScale(4))), "1.branch.3.gamma"),
        (Residual(nn.Sequential(branch(nn.BatchNorm2d(4)), LayerScale(4))), "1.branch.1.gamma"),
        (Residual(branch(nn.Identity())), "1.branch.2.weight"),
        (Residual(branch(nn.Dropout())), "1.branch.2.weight"),
        (Residual(nn.Sequential(branch(nn.BatchNorm2d(4)), Gate(4))), "1.branch.0.3.weight"),
        (Residual(nn.Sequential(branch(nn.ReLU()), AcrossTokens(2))), "1.branch.1.linear.weight"),
        (Residual(branch(nn.BatchNorm2d(6), 6, 2), shortcut()), "1.branch.3.weight"),
    ],
)
def test_the_last_to_multiply_the_branch(block: Residual, layer: str) -> None:
    model = nn.Sequential(conv(3), block).eval()
    report = zero_residual(model, images(), seed=0)
    assert report.layer == layer
    x = images(2, 4, 8, 8)
    assert torch.equal(block(x), block.skip(x))
    assert float(model(images()).detach().abs().max()) > 0


def blocks_of(model: Any) -> list[nn.Module]:
    if isinstance(model, ResNet20):
        return [each for stage in (model.stage1, model.stage2, model.stage3) for each in stage]
    return list(model.blocks)


@pytest.mark.parametrize(
    ("model", "count"), [(ResNet20(3, 5), 9), (SmallViT(3, (16, 16), 5), 8)], ids=["resnet", "vit"]
)
def test_blocks_of_the_laboratory_begin_as_their_skip(model: nn.Module, count: int) -> None:
    report = zero_residual(model, images(2, 3, 16, 16), seed=0)
    assert len(report.layer.split(", ")) == count
    fed: list[tuple[Tensor, Tensor]] = []
    for block in blocks_of(model):
        block.register_forward_hook(lambda _m, given, out: fed.append((given[0], out)))
    with torch.no_grad():
        model.eval()(images(2, 3, 16, 16))
    for x, out in fed:
        if x.shape == out.shape:
            # ResNet-20 rectifies the sum, of a skip that is rectified already.
            assert torch.equal(out, x)


def test_one_step_moves_what_was_zero() -> None:
    """A branch that starts at zero must get a gradient, or it would stay zero."""
    model = conv_mixer()
    report = zero_residual(model, images(), seed=0)
    nn.functional.cross_entropy(model(images()), torch.arange(4) % 5).backward()
    for name in report.layer.split(", "):
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0


def test_a_small_value() -> None:
    block = Residual(branch(nn.BatchNorm2d(4)))
    last = Residual(branch(nn.Identity()))
    model = nn.Sequential(conv(3), block, last)
    weight, bias = (each.detach().clone() for each in last.branch[2].parameters())
    report = zero_residual(model, images(), seed=0, value=0.25)
    assert torch.equal(block.branch[3].weight, torch.full((4,), 0.25))
    assert torch.equal(last.branch[2].weight, weight * 0.25)
    assert torch.equal(last.branch[2].bias, bias * 0.25)
    assert report.parameters == {"value": 0.25, "normalizations": 1, "projections": 1}


def test_what_the_framework_has_done_is_said() -> None:
    block = Residual(branch(nn.BatchNorm2d(4)))
    nn.init.zeros_(block.branch[3].weight)
    model = nn.Sequential(conv(3), block, Residual(branch(nn.BatchNorm2d(4))))
    report = zero_residual(model, images(), seed=0)
    assert report.notes == ("1 of 2 branches had this value already",)
    assert (report.filters_set, report.out_channels) == (4, 8)


def test_sums_that_are_no_residual_stay() -> None:
    """Two ways of equal length, a rectified branch, and positions that are added to tokens."""
    twins = Residual(conv(), conv())
    rectified = Residual(branch(nn.ReLU()))
    model = nn.Sequential(conv(3), twins, rectified, Residual(branch(nn.BatchNorm2d(4))))
    report = zero_residual(model, images(), seed=0)
    assert report.layer == "3.branch.3.weight"
    assert report.notes == ("1 branches not set: another operation comes last",)


def test_positions_are_no_skip() -> None:
    model = Transformer(nn.MultiheadAttention(12, 3, batch_first=True))
    report = zero_residual(model, images(), seed=0)
    assert report.layer == "attention.out_proj.weight"
    tokens = model.patches(images()).flatten(2).transpose(1, 2) + model.pos_embed
    torch.testing.assert_close(model(images()), model.head(tokens.mean(1)))


def test_a_frozen_weight_stays() -> None:
    block = Residual(branch(nn.BatchNorm2d(4)))
    block.branch[3].weight.requires_grad_(False)
    model = nn.Sequential(conv(3), block)
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"no residual branch .*the last weight is frozen"):
        zero_residual(model, images(), seed=0)
    assert [bits(each) for each in model.parameters()] == before


def test_a_branch_that_is_not_zero_is_put_back() -> None:
    """What is infinite is no zero after a multiplication by zero."""

    class Infinite(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / x.new_zeros(())

    model = nn.Sequential(conv(3), Residual(nn.Sequential(Infinite(), LayerScale(4))))
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"1.branch.1.gamma is zero .* reaches nan: expected 0"):
        zero_residual(model, images(), seed=0)
    assert [bits(each) for each in model.parameters()] == before


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0", True])
def test_an_unusable_value(value: Any) -> None:
    with pytest.raises(WarminitError, match=r"value=.*: expected a finite number of at least 0"):
        zero_residual(ResNet20(3, 5), images(), seed=0, value=value)


def test_a_model_without_branches() -> None:
    with pytest.raises(WarminitError, match=r"no residual branch .*none at all"):
        zero_residual(nn.Sequential(conv(3), conv()), images(), seed=0)
