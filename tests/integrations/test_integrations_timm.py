"""timm model, images -> filters by the rules on raw pixels, which its data config leads back to."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import integration_setup as setup
from warminit import derive_rules, prewarm_filters
from warminit import prewarm_ as core_prewarm_

if find_spec("timm") is None or find_spec("torchvision") is None:
    pytest.skip("timm or torchvision is not installed", allow_module_level=True)

import timm

from warminit.initializers import DEFAULT_METHOD
from warminit.integrations.timm import prewarm_, warm_init_

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # The zoos' own: some build with torch functions that are about to change.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

# ImageNet's, as published; written out so that a wrong reading of timm's config shows.
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
_GRAY, LABELS = setup.labelled(640)
PIXELS = (_GRAY * setup.STD + setup.MEAN).clamp(0, 1).repeat(1, 3, 1, 1)
PIXELS[:, 1] **= 2  # three channels that are not the same
PIXELS[:, 2] **= 0.5
IMAGES = (PIXELS - MEAN) / STD


def fresh(**options: Any) -> Any:
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=10, **options)


def stem(model: Any) -> Tensor:
    weight: Tensor = model.conv1[0].weight.detach()
    return weight


def test_mean_and_std_of_the_data_config_are_taken() -> None:
    model = fresh()
    report = warm_init_(model, IMAGES[:64], "prewarm", seed=3)
    assert report.layer == "conv1.0"
    # The rules see the raw pixels again.
    assert (
        report.parameters["patches_per_image"] == derive_rules(PIXELS[:64], 24, 3, seed=3).n_patches
    )
    meant = prewarm_filters(IMAGES[:64], 24, 3, mean=MEAN.flatten(), std=STD.flatten(), seed=3)
    assert torch.equal(stem(model)[:12], meant)
    assert torch.equal(stem(model)[12:], stem(fresh())[12:])
    # It trains from there.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for part, labels in zip(IMAGES.split(32), LABELS.split(32), strict=True):
        loss = cross_entropy(model(part), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert len(losses) == setup.STEPS
    assert sum(losses[-5:]) < sum(losses[:5])


def test_uint8_pixels_are_standardized_with_them() -> None:
    pixels = (PIXELS[:64] * 255).round().to(torch.uint8)
    one, other = fresh(), fresh()
    warm_init_(one, pixels, "prewarm")
    core_prewarm_(other, pixels, mean=MEAN.flatten(), std=STD.flatten())
    assert torch.equal(stem(one), stem(other))


def test_loaders_give_what_was_standardized_with_them() -> None:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, LABELS), 32)
    one, other = fresh(), fresh()
    warm_init_(one, loader, "prewarm", batches=2)
    warm_init_(other, IMAGES[:64], "prewarm")
    assert torch.equal(stem(one), stem(other))


@pytest.mark.parametrize("channels", [3, 4])
def test_raw_pixels_of_a_loader_are_taken_as_those_of_a_tensor(channels: int) -> None:
    """Of a loader, too, neither mean nor std is assumed that the images cannot have come from."""
    pixels = PIXELS[:64].repeat(1, 2, 1, 1)[:, :channels].contiguous()
    one, other = (fresh(in_chans=channels) for _ in range(2))
    loader: Any = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(pixels), 32)
    report = warm_init_(one, loader, "prewarm")
    warm_init_(other, pixels, "prewarm")
    assert torch.equal(stem(one), stem(other))
    assert any("batches" in note for note in report.notes)


def test_raw_pixels_are_taken_as_they_are() -> None:
    one, other = fresh(), fresh()
    warm_init_(one, PIXELS[:64], "prewarm")
    core_prewarm_(other, PIXELS[:64])
    assert torch.equal(stem(one), stem(other))


def test_statistics_that_are_given_go_first() -> None:
    one, other = fresh(), fresh()
    images = (PIXELS[:64] - 0.3) / 0.4
    warm_init_(one, images, "prewarm", mean=0.3, std=0.4)
    core_prewarm_(other, images, mean=0.3, std=0.4)
    assert torch.equal(stem(one), stem(other))


def test_another_number_of_channels_is_conditioned_without_statistics() -> None:
    # timm's config names three numbers whatever in_chans is.
    images = (IMAGES[:64].repeat(1, 2, 1, 1)[:, :4]).contiguous()
    report = warm_init_(fresh(in_chans=4), images, "prewarm")
    assert report.parameters["patches_per_image"] == 8192 // 64
    assert "mean=" in " ".join(report.notes)


def test_images_of_another_standardization_are_conditioned_without_the_config_s() -> None:
    # CIFAR-10's numbers: with ImageNet's, the pixels would leave [0, 1].
    mean, std = (torch.tensor(each)[:, None, None] for each in ([0.49] * 3, [0.15] * 3))
    images = (PIXELS[:64] - mean) / std
    one, other = fresh(), fresh()
    report = warm_init_(one, images, "prewarm")
    core_prewarm_(other, images)
    assert torch.equal(stem(one), stem(other))
    assert "mean=" in " ".join(report.notes)


def test_the_default_is_that_of_init_and_the_old_name_keeps_its_own() -> None:
    assert warm_init_(fresh(), IMAGES[:64]).method == DEFAULT_METHOD
    # A method that takes no statistics gets none.
    assert warm_init_(fresh(), IMAGES[:64], "he-normal").method == "he-normal"
    one, other = fresh(), fresh()
    with pytest.warns(DeprecationWarning, match="prewarm_ is called warm_init_") as caught:
        report = prewarm_(one, IMAGES[:64], seed=3)
    assert [each.filename for each in caught] == [__file__]
    warm_init_(other, IMAGES[:64], "prewarm", seed=3)
    assert report.method == "prewarm"
    assert torch.equal(stem(one), stem(other))
