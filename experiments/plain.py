"""sizes of images and classes -> a deep network in which nothing is normalized.

The model `experiments.plain:vgg` of a study file.
"""

from torch import nn


def vgg(*, in_channels: int, image_size: tuple[int, int], n_classes: int) -> nn.Sequential:
    """Build six convolutions and two linear layers, as Simonyan & Zisserman's without a norm.

    Three stages of two 3x3 convolutions with 32, 64 and 128 channels, each followed by ReLU and
    each stage by MaxPool(2); then Flatten, FC(128), ReLU, FC. Every layer keeps torch's default.
    """
    layers: list[nn.Module] = []
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU()]
            in_channels = width
        layers.append(nn.MaxPool2d(2))
    height, width = (size // 8 for size in image_size)
    hidden = [nn.Flatten(), nn.Linear(in_channels * height * width, 128), nn.ReLU()]
    return nn.Sequential(*layers, *hidden, nn.Linear(128, n_classes))
