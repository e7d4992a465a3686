"""segmentation models and detectors, images -> the stem they start with, of 3 to 10 channels."""

from importlib.util import find_spec
from typing import Any

import pytest
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

import integration_setup as setup
from warminit import prewarm_, prewarm_filters

if find_spec("segmentation_models_pytorch") is None or find_spec("torchvision") is None:
    pytest.skip("segmentation_models_pytorch is not installed", allow_module_level=True)

import segmentation_models_pytorch as smp
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # The zoos' own: some build with torch functions that are about to change.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

# Real images: 32 pieces of a photograph, 32 pixels square.
_PHOTOGRAPH = torch.tensor(load_sample_images().images[0]).permute(2, 0, 1)[:, :128, :256] / 255
RGB = _PHOTOGRAPH.unfold(1, 32, 32).unfold(2, 32, 32).permute(1, 2, 0, 3, 4).flatten(0, 1)


def pixels(channels: int) -> Tensor:
    """The three colours, and as many powers of their mean as it takes."""
    gray = RGB.mean(1, keepdim=True)
    more = [gray ** (1 + extra / 4) for extra in range(channels - 3)]
    return torch.cat([RGB, *more], dim=1)


@pytest.mark.parametrize("channels", [4, 10])
def test_a_unet_starts_with_the_filters_of_its_images(channels: int) -> None:
    torch.manual_seed(0)
    options: Any = {"decoder_channels": (32, 16, 16, 8, 8), "encoder_weights": None}
    model = smp.Unet("resnet18", in_channels=channels, classes=1, **options)
    fresh = model.encoder.conv1.weight.detach().clone()
    raw = pixels(channels)
    mean, std = raw.mean((0, 2, 3)), raw.std((0, 2, 3))
    images = (raw - mean[:, None, None]) / std[:, None, None]
    report = prewarm_(model, images, patches_per_image=20, seed=3)
    assert report.layer == "encoder.conv1"
    stem = model.encoder.conv1.weight
    assert torch.equal(stem[:32], prewarm_filters(images, 64, 7, patches_per_image=20, seed=3))
    assert torch.equal(stem[32:], fresh[32:])
    # What is darker than the mean is to be found.
    wanted = (raw.mean(1, keepdim=True) < raw.mean()).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for step in range(setup.STEPS):
        part = slice(step % 4 * 8, step % 4 * 8 + 8)
        loss = smp.losses.DiceLoss("binary")(model(images[part]), wanted[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])


def test_a_detector_starts_with_the_filters_of_what_its_backbone_is_fed() -> None:
    torch.manual_seed(0)
    model = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=2)
    transform = model.transform
    statistics = {"mean": transform.image_mean, "std": transform.image_std}
    fed = transform(list(RGB))[0].tensors
    report = prewarm_(model, fed, seed=3, **statistics)
    stem = model.get_submodule(report.layer).weight
    assert torch.equal(stem[:8], prewarm_filters(fed, 16, 3, seed=3, **statistics))
    # A bright square is to be found.
    scenes = list(RGB[:2].clone())
    boxes = torch.tensor([[4.0, 4.0, 20.0, 20.0]])
    for scene in scenes:
        scene[:, 4:20, 4:20] = 1
    targets = [{"boxes": boxes, "labels": torch.tensor([1])}] * 2
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(setup.STEPS):
        loss: Any = sum(model(scenes, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])
