"""How large a head's outputs are, by hand, and that one whose outputs are small is left."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_cases import all_bits, bits, make_images
from warminit import init_
from warminit.initializers.heads.last_layer import FAINT, Head, output_size

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = make_images(24, 2, 12, 12)


class Last(nn.Sequential):
    """A sequence of layers, the last of which is the head."""

    @property
    def head(self) -> nn.Linear:
        last = self[-1]
        assert isinstance(last, nn.Linear)
        return last


def sized(model: Any, images: Tensor) -> float:
    return output_size(model, Head("the last", model.head, ""), images)


def deep(*, batch_norm: bool = False, gain: float = 0.0) -> Last:
    """Six convolutions and a hidden layer; torch's default initialization fades on the way."""
    torch.manual_seed(3)
    layers: list[nn.Module] = []
    channels = 2
    for _ in range(6):
        layers += [nn.Conv2d(channels, 8, 3, padding=1)]
        layers += [nn.BatchNorm2d(8)] * batch_norm + [nn.ReLU()]
        channels = 8
    model = Last(*layers, nn.Flatten(), nn.Linear(1152, 16), nn.ReLU(), nn.Linear(16, 3))
    for module in model.modules():
        if gain and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=gain * math.sqrt(2 / module.weight[0].numel()))
    return model


class Beside(nn.Module):
    """Its head is fed the images' means, whatever the filters beside it give."""

    def __init__(self, weight: float, bias: float = 0.0) -> None:
        super().__init__()
        self.filters, self.head = nn.Conv2d(2, 8, 3), nn.Linear(2, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[weight, 0], [0, weight], [0, 0]]))
            self.head.bias.fill_(bias)

    def forward(self, images: Tensor) -> Tensor:
        self.filters(images)
        out: Tensor = self.head(images.mean((2, 3)))
        return out


def test_the_size_by_hand() -> None:
    images = torch.cat([torch.full((4, 2, 12, 12), 3.0), torch.full((5, 2, 12, 12), -1.0)])
    # Of the first 8 images half give (6, 6, 0), half (-2, -2, 0): (4 * 72 + 4 * 8) / 24 is 40/3.
    expected = math.sqrt(40 / 3)
    assert sized(Beside(2.0, bias=7.0), images) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_a_head_is_left_below_the_limit(share: float) -> None:
    # Means of one give (weight, weight, 0), and a bias that does not count.
    weight = share * FAINT * math.sqrt(3 / 2)
    model = Beside(weight, bias=5.0)
    images = IMAGES - IMAGES.mean((2, 3), keepdim=True) + 1
    assert sized(model, images) == pytest.approx(share * FAINT, rel=1e-4)
    report = init_(model, images)
    assert (report.parameters["head_scale"] is None) is (share < 1)


def test_pixels_are_measured_as_the_model_is_fed() -> None:
    pixels = (127.5 + 40 * IMAGES.clamp(-3, 3)).to(torch.uint8)
    # Of pixels the outputs would be 0.5 and more; standardized, their means are near 0.
    model = Beside(1.0)
    mean, std = pixels.float().mean().item() / 255, 10.0
    fed = (pixels / 255 - mean) / std
    assert sized(model, fed) < FAINT < sized(model, pixels / 255)
    report = init_(model, pixels, mean=[mean] * 2, std=[std] * 2, patches_per_image=9)
    assert report.parameters["head_scale"] is None


@pytest.mark.parametrize("arm", ["whitening-small-head", "small-head"])
def test_a_deep_network_without_a_norm_keeps_its_head(arm: str) -> None:
    model, asked = deep(), deep()
    before = bits(model.head.weight)
    report = init_(model, IMAGES, arm)
    size = sized(model, IMAGES)
    assert bits(model.head.weight) == before
    assert (report.parameters["head_scale"], report.provenance["head_scale"]) == (
        None,
        "unchanged",
    )
    assert report.notes[-1] == (
        f"15 is unchanged: its outputs are small already, {size:.2g}. Pass head_scale=0.1 to make "
        "it small anyway."
    ), report.notes
    assert init_(asked, IMAGES, arm, head_scale=0.1).parameters["head_scale"] == 0.1
    assert bits(asked.head.weight) != before


@pytest.mark.parametrize("options", [{"batch_norm": True}, {"gain": 1.0}])
def test_a_deep_network_whose_signals_do_not_fade_gets_a_small_head(
    options: dict[str, Any],
) -> None:
    model = deep(**options)
    before = bits(model.head.weight)
    assert init_(model, IMAGES).parameters["head_scale"] == 0.1
    assert bits(model.head.weight) != before


def test_looking_changes_nothing() -> None:
    model = deep(batch_norm=True)
    before, state = all_bits(model), torch.get_rng_state()
    sized(model, IMAGES)
    assert all_bits(model) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


def test_where_the_size_cannot_be_measured_the_head_is_made_small() -> None:
    layers = [nn.Conv2d(2, 4, 12), nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.ReLU()]
    model = Last(*layers, nn.Linear(4, 3))
    one = IMAGES[:1]  # which BatchNorm1d refuses in training
    assert math.isnan(sized(model, one))
    assert init_(model, one).parameters["head_scale"] == 0.1
