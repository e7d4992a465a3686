"""model, images -> which filters and which patches diagnose reads, and that it only reads."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from diagnosis_cases import (
    IMAGES,
    make_conv,
    snapshot,
    with_bank,
)
from warminit.errors import WarminitError
from warminit.look import diagnose as diagnosis
from warminit.look.diagnose import diagnose


@pytest.mark.parametrize("options", [{}, {"dilation": 2}], ids=str)
def test_a_sample_stands_for_all_positions(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = make_conv(**options)
    images = F.interpolate(IMAGES, scale_factor=4.0, mode="bilinear")
    exact = diagnose(conv, images)
    monkeypatch.setattr(diagnosis, "_MOST_PATCHES", 6000)
    found, again, other = (diagnose(conv, images, seed=seed) for seed in (0, 0, 1))
    assert exact.every_position
    assert not found.every_position
    assert found.n_patches == 6000
    assert found == again
    assert found.response_variances != other.response_variances
    # Smooth images: about 600 independent values, a standard error of about 6 % in a variance.
    np.testing.assert_allclose(found.response_variances, exact.response_variances, rtol=0.2)
    assert found.white_distance == pytest.approx(exact.white_distance, abs=0.05)
    assert found.energy_captured == pytest.approx(exact.energy_captured, abs=0.05)
    assert found.nonpositive_share == pytest.approx(exact.nonpositive_share, abs=0.05)


def test_more_images_than_patches_are_sampled_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_MOST_PATCHES", 4)
    found = diagnose(make_conv(), IMAGES)
    assert (found.n_patches, found.every_position) == (4, False)


def test_a_channel_that_one_pixel_brings_to_life_is_not_dead() -> None:
    images = torch.zeros(3, 1, 300, 300)
    images[1, 0, 211, 18] = 1.0
    conv = with_bank([[1.0], [0.5], [1.0]], 1, 1, bias=-0.7)
    found = diagnose(conv, images)
    assert found.nonpositive_share == 1.0, "the sample met the pixel: choose another one"
    assert found.relu_dead_channels == (1,)


def test_channels_that_live_in_different_images_are_not_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = torch.zeros(4, 2, 60, 60)
    images[0, 0, 7, 50], images[3, 1, 59, 59] = 1.0, 1.0
    conv = with_bank([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, -1.0]], 2, 1, bias=-0.5)
    monkeypatch.setattr(diagnosis, "_MOST_PATCHES", 40)
    monkeypatch.setattr(diagnosis, "_MOST_VALUES", 100)  # one image at a time
    found = diagnose(conv, images)
    assert found.nonpositive_share == 1.0, "the sample met a pixel: choose another one"
    assert found.relu_dead_channels == (3,)


def test_pixels_are_scaled_and_standardized_as_the_model_is_fed() -> None:
    pixels = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    conv = make_conv()
    mean, std = [0.5, 0.4, 0.3], [0.25, 0.2, 0.1]
    fed = (pixels.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(
        3, 1, 1
    )
    assert diagnose(conv, pixels, mean=mean, std=std) == diagnose(conv, fed)
    assert diagnose(conv, pixels) == diagnose(conv, pixels.float() / 255)


def test_layer_by_name_and_precision() -> None:
    model = nn.Sequential(nn.Identity(), make_conv(), nn.ReLU(), make_conv(8, 4))
    assert diagnose(model, IMAGES).layer == "1"
    inner = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    assert diagnose(model, inner, layers="3").layer == "3"
    # A half-precision bank is what it is: the figures are those of its own values in float64.
    half = make_conv().to(torch.bfloat16)
    assert diagnose(half, IMAGES) == diagnose(half.double(), IMAGES)


def test_sampled_pixels_are_fed_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "_MOST_PATCHES", 100)
    pixels = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    mean, std = [0.5, 0.4, 0.3], [0.25, 0.2, 0.1]
    centers, deviations = (torch.tensor(each).view(3, 1, 1) for each in (mean, std))
    fed = (pixels.float() / 255 - centers) / deviations
    conv = make_conv()
    assert conv.bias is not None
    conv.bias.data[:] = -3.0  # few outputs are above 0, so all positions are gone through
    assert diagnose(conv, pixels, mean=mean, std=std) == diagnose(conv, fed)


def test_a_loader_s_batches_count_as_one() -> None:
    batches = [(IMAGES[:4], torch.zeros(4)), (IMAGES[4:], torch.zeros(2))]
    found, whole = diagnose(make_conv(), batches), diagnose(make_conv(), IMAGES)
    assert found.response_variances == whole.response_variances
    assert "read 6 images from 2 batches" in str(found)


def test_a_parametrized_layer_is_seen_as_it_computes() -> None:
    plain = make_conv()
    normed = make_conv()
    weight_norm(normed)
    with torch.no_grad():
        normed.parametrizations.weight.original0.mul_(3.0)  # type: ignore[union-attr, operator]
        plain.weight.mul_(3.0)
    found, expected = diagnose(normed, IMAGES), diagnose(plain, IMAGES)
    # float32 rounds the normed weight once more.
    assert found.response_variances == pytest.approx(expected.response_variances, rel=1e-5)
    assert found.condition_number == pytest.approx(expected.condition_number, rel=1e-5)


def test_a_weight_that_the_forward_pass_changes_is_seen_as_it_computes() -> None:
    class Halving(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
            return F.conv2d(input, self.weight / 2, self.bias)

    class Blind(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
            return input

    plain, halving = make_conv(), Halving(3, 8, 3)
    halving.load_state_dict(plain.state_dict())
    variances = np.array(diagnose(plain, IMAGES).response_variances)
    np.testing.assert_allclose(diagnose(halving, IMAGES).response_variances, variances / 4)
    with pytest.raises(WarminitError, match=r"Blind without a convolution in its forward: .*="):
        diagnose(Blind(3, 8, 3), IMAGES)


def test_of_several_convolutions_the_first_that_runs_is_looked_at() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.late, self.early = make_conv(3, 4), make_conv(3, 3)

        def forward(self, images: Tensor) -> Tensor:
            return F.relu(self.late(F.relu(self.early(images))))

    model = Backwards()
    before = snapshot(model)
    assert diagnose(model, IMAGES).layer == "early"
    assert snapshot(model) == before


def test_model_images_and_global_generators_are_untouched() -> None:
    conv = make_conv()
    model = nn.Sequential(conv, nn.BatchNorm2d(8), nn.Dropout())
    called = []
    conv.register_forward_hook(lambda *_: called.append(1))
    conv.weight.grad = torch.ones_like(conv.weight)
    images = torch.randn(1, 3, 250, 250, generator=torch.Generator().manual_seed(0))
    images.requires_grad_()
    kept, before = images.detach().clone(), snapshot(model)
    found = diagnose(model, images)
    assert not found.every_position
    assert snapshot(model) == before
    assert not called
    assert torch.equal(conv.weight.grad, torch.ones_like(conv.weight))
    assert torch.equal(images.detach(), kept)
    assert images.grad is None
