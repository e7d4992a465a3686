"""sizes of images and classes -> the two networks of the search that the library has not.

The models `experiments.networks:vgg` and `experiments.networks:conv_mixer` of a study file.
"""

from torch import Tensor, nn


def vgg(
    *,
    in_channels: int,
    image_size: tuple[int, int],  # noqa: ARG001 - any size fits
    n_classes: int,
) -> nn.Sequential:
    """Build six convolutions with BatchNorm, as Simonyan & Zisserman's, and one linear layer.

    Three stages of two 3x3 convolutions with 32, 64 and 128 channels, each followed by BatchNorm
    and ReLU and each stage by MaxPool(2); then the mean over places and FC. Every layer keeps
    torch's default.
    """
    layers: list[nn.Module] = []
    for width in (32, 64, 128):
        for _ in range(2):
            conv = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
            in_channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *_head(in_channels, n_classes))


def conv_mixer(
    *,
    in_channels: int,
    image_size: tuple[int, int],  # noqa: ARG001 - any size fits
    n_classes: int,
) -> nn.Sequential:
    """Build a ConvMixer (Trockman & Kolter, 2022) of 64 channels and 4 blocks.

    Patches have 2 x 2 pixels, depthwise kernels 7 x 7. Every layer keeps torch's default.
    """
    width, kernel = 64, 7
    layers: list[nn.Module] = [*_mixed(nn.Conv2d(in_channels, width, 2, stride=2), width)]
    for _ in range(4):
        depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        layers += [_Residual(*_mixed(depthwise, width)), *_mixed(nn.Conv2d(width, width, 1), width)]
    return nn.Sequential(*layers, *_head(width, n_classes))


class _Residual(nn.Sequential):
    """x + its layers' output."""

    def forward(self, x: Tensor) -> Tensor:
        branch = x
        for layer in self:
            branch = layer(branch)
        return x + branch


def _mixed(conv: nn.Conv2d, width: int) -> list[nn.Module]:
    return [conv, nn.GELU(), nn.BatchNorm2d(width)]


def _head(width: int, n_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes)]
