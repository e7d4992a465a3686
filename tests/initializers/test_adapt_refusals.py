"""adapt_stem_ on a model where more than the first layer would change -> no such change."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from warminit import adapt_stem_
from warminit.errors import WarminitError


def images(channels: int, mean: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randn(8, channels, 12, 12, generator=generator) + mean


class Twice(nn.Module):
    """Two convolutions, with one BatchNorm after both, or with one bias."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=bias)
        self.second.bias = self.first.bias
        self.norm = nn.Identity() if bias else nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Any:
        return self.norm(self.second(self.norm(self.first(x))))


def test_a_batch_norm_that_normalizes_others_too_keeps_its_mean() -> None:
    model = Twice(bias=False)
    before = copy.deepcopy(model.norm.state_dict())
    adapt_stem_(model, images(5, mean=3), method="least-squares", old_images=images(3))
    assert all(torch.equal(before[name], each) for name, each in model.norm.state_dict().items())
    assert model.first.bias is not None


def test_a_bias_that_another_layer_has_too_is_refused() -> None:
    model = Twice(bias=True)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(WarminitError, match="first shares its weight or its bias"):
        adapt_stem_(model, images(5, mean=3), method="least-squares", old_images=images(3))
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())


@pytest.mark.parametrize("fold", ["bias", "running mean", "new bias"])
def test_a_constant_beyond_half_precision_is_refused(fold: str) -> None:
    layers = [nn.Conv2d(3, 4, 3, bias=fold == "bias")]
    with torch.no_grad():
        layers[0].weight.fill_(1)
    model = nn.Sequential(*layers, *([nn.BatchNorm2d(4)] if fold == "running mean" else [])).half()
    before = copy.deepcopy(model.state_dict())
    offset = images(4) * 1e-2 + 1000  # 1e5 deviations from 0, and the filters sum them up
    with pytest.raises(WarminitError, match=r"reach .*beyond what torch.float16 holds"):
        adapt_stem_(model, offset, method="least-squares", old_images=images(3))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
