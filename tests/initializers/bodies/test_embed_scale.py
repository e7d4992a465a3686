"""The scale of the input layer's outputs: measured through the model, content untouched."""

from typing import Any

import pytest
import torch
from torch import nn

from arm_guarantees import bits
from body_cases import images
from warminit.errors import WarminitError
from warminit.initializers.bodies.embed_scale import embed_scale
from warminit.lab.networks.simple import SmallViT

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("rms", [0.3, 1.0, 4.0])
def test_the_tokens_have_the_root_mean_square(rms: float) -> None:
    model = SmallViT(3, (16, 16), 5)
    weight = model.patch_embed.weight.detach().clone()
    report = embed_scale(model, images(32, 3, 16, 16), seed=0, rms=rms)
    tokens = model.patch_embed(images(32, 3, 16, 16))
    assert float(tokens.detach().square().mean().sqrt()) == pytest.approx(rms, rel=1e-5)
    factor = report.parameters["factor"]
    torch.testing.assert_close(model.patch_embed.weight, weight * factor)
    assert report.parameters["rms_before"] * factor == pytest.approx(rms)


def test_bytes_are_standardized_as_the_model_is_fed() -> None:
    pixels = torch.randint(
        0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    model = SmallViT(3, (16, 16), 5)
    embed_scale(model, pixels, seed=0, mean=0.5, std=0.25)
    tokens = model.patch_embed((pixels / 255 - 0.5) / 0.25)
    assert float(tokens.detach().square().mean().sqrt()) == pytest.approx(1, rel=1e-5)


def test_a_layer_that_loses_the_scale_is_put_back() -> None:
    class Standardized(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.weight / self.weight.std()
            out: torch.Tensor = self._conv_forward(x, weight, self.bias)
            return out

    model = nn.Sequential(Standardized(3, 8, 4, stride=4))
    before = [bits(each) for each in model.parameters()]
    with pytest.raises(WarminitError, match=r"root mean square .* after the write: expected 3"):
        embed_scale(model, images(), seed=0, rms=3.0)
    assert [bits(each) for each in model.parameters()] == before


def test_outputs_that_are_zero() -> None:
    model = nn.Conv2d(3, 8, 4, bias=False)
    nn.init.zeros_(model.weight)
    with pytest.raises(WarminitError, match=r"root mean square 0: expected a finite number above"):
        embed_scale(model, images(), seed=0)


@pytest.mark.parametrize("rms", [0, -1.0, float("nan"), None, True])
def test_an_unusable_size(rms: Any) -> None:
    with pytest.raises(WarminitError, match=r"rms=.*: expected a finite number above 0"):
        embed_scale(nn.Conv2d(3, 8, 4), images(), seed=0, rms=rms)
