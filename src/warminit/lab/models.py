"""name -> nn.Module. The networks that the laboratory trains, and those that a user names."""

import difflib
import importlib
import inspect
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from warminit.errors import WarminitError

ModelBuilder = Callable[[int, tuple[int, int], int], nn.Module]
"""(in_channels, image_size, n_classes) -> model."""


class SimpleCNN(nn.Module):
    """The paper's network (Section 3.1), for any image of at least 4 x 4 pixels.

    Conv(in_channels -> 32, 3x3, pad 1), BatchNorm, ReLU, MaxPool(2), Conv(32 -> 64), BatchNorm,
    ReLU, MaxPool(2), Flatten, FC(-> 256), ReLU, FC(-> n_classes); every layer keeps torch's default
    initialization and its bias. A 28 x 28 image enters `fc1` as 64 * 7 * 7 = 3136 values.

    ReLU is applied after pooling, to a quarter of the values, and this is the same function bit for
    bit. Forward: ReLU does not decrease, so it and the maximum exchange. Backward, ties included:
    where a window's maximum is positive, ReLU has changed neither the maximum nor any value that
    ties with it, so both orders send the gradient to the same (first) position; where it is zero or
    negative, pooling the rectified zeros picks some position, but ReLU passes no gradient at values
    <= 0, in either order.

    Args:
        in_channels: Channels of an image, 1 or more.
        image_size: Height and width in pixels, each 4 or more.
        n_classes: Length of the output, 2 or more.
        batch_norm: Normalize after each convolution; False leaves `bn1` and `bn2` the identity.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        n_classes: int,
        *,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        height, width = image_size
        if min(height, width) < 4:
            raise WarminitError(
                f"image_size={height} x {width} is too small for simplecnn: two poolings by 2 need "
                "at least 4 x 4 pixels. Resize the images, or choose resnet20."
            )
        self.conv1 = nn.Conv2d(in_channels, 32, kernel_size=3, padding=1)
        self.bn1 = nn.BatchNorm2d(32) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(64) if batch_norm else nn.Identity()
        self.fc1 = nn.Linear(64 * (height // 4) * (width // 4), 256)
        self.fc2 = nn.Linear(256, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of standardized images (N, in_channels, H, W)."""
        x = F.max_pool2d(self.bn1(self.conv1(images)), 2).relu_()
        x = F.max_pool2d(self.bn2(self.conv2(x)), 2).relu_()
        return self.fc2(self.fc1(x.flatten(1)).relu_())  # type: ignore[no-any-return]


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A of He et al.)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.new_channels:
            half = self.new_channels // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, half, self.new_channels - half))
        return F.relu(x + y)


class ResNet20(nn.Module):
    """The 20-layer residual network for CIFAR (He et al., 2016, Section 4.2), any image size.

    A 3x3 stem `conv1` of 16 filters, three stages of three blocks with 16, 32 and 64 channels, the
    second and third at half the resolution of the one before, global average pooling and `fc`.
    Shortcuts are the paper's option A: every second pixel, new channels zero. For 3 channels and 10
    classes there are 269,722 parameters. Every layer keeps torch's default initialization.

    Args:
        in_channels: Channels of an image, 1 or more.
        n_classes: Length of the output, 2 or more.
    """

    def __init__(self, in_channels: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 16, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.stage1 = _stage(16, 16, stride=1)
        self.stage2 = _stage(16, 32, stride=2)
        self.stage3 = _stage(32, 64, stride=2)
        self.fc = nn.Linear(64, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of standardized images (N, in_channels, H, W)."""
        x = F.relu(self.bn1(self.conv1(images)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _ResidualBlock(in_channels, out_channels, stride),
        _ResidualBlock(out_channels, out_channels, 1),
        _ResidualBlock(out_channels, out_channels, 1),
    )


MODELS: dict[str, ModelBuilder] = {
    "simplecnn": SimpleCNN,
    "simplecnn-nobn": lambda in_channels, image_size, n_classes: SimpleCNN(
        in_channels, image_size, n_classes, batch_norm=False
    ),
    "resnet20": lambda in_channels, _, n_classes: ResNet20(in_channels, n_classes),
}


def model_builder(name: str) -> ModelBuilder:
    """Find what builds the model of a name; a study checks its names with it before anything runs.

    Args:
        name: A key of `MODELS`, or `module:function` of the user, who is the only one whose module
            is imported, and only here.

    Returns:
        A callable (in_channels, image_size, n_classes) -> nn.Module.

    Raises:
        WarminitError: If there is no such model; the text has the nearest name.
    """
    if name in MODELS:
        return MODELS[name]
    if ":" in name:
        return _imported_builder(name)
    raise WarminitError(
        f"model={name!r} is not known; it must be one of {', '.join(MODELS)}, or module:function. "
        f"{_nearest(name, MODELS)}"
    )


def build_model(
    name: str, in_channels: int, image_size: tuple[int, int], n_classes: int
) -> nn.Module:
    """Build a model by name, with torch's default initialization.

    Initial weights are drawn from torch's global generator, as every torch module's are: seed it
    before the call.

    Args:
        name: `simplecnn`, `simplecnn-nobn`, `resnet20`, or `module:function` of the user, called
            with the keywords in_channels, image_size and n_classes.
        in_channels: Channels of an image, 1 or more.
        image_size: Height and width in pixels, each 1 or more.
        n_classes: Number of classes, 2 or more.

    Returns:
        A model on the CPU that maps images (N, in_channels, *image_size) to logits (N, n_classes).

    Raises:
        WarminitError: For an unknown name, sizes that the model cannot take, or a user's function
            that returns no module.

    Example:
        >>> build_model("simplecnn", 1, (28, 28), 10).fc1.in_features
        3136
    """
    builder = model_builder(name)
    for label, value, least in (
        ("in_channels", in_channels, 1),
        ("image_size", min(image_size), 1),
        ("n_classes", n_classes, 2),
    ):
        if value < least:
            raise WarminitError(
                f"{label}={image_size if label == 'image_size' else value}: at least {least} is "
                f"needed to build {name}. Check what the data set holds."
            )
    return builder(in_channels, image_size, n_classes)


def _imported_builder(name: str) -> ModelBuilder:
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:  # ValueError: an empty module name
        raise WarminitError(
            f"model={name!r}: module {module_name!r} cannot be imported ({error}). Write "
            "module:function, with the module installed or in a folder on PYTHONPATH."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        found = [key for key, value in vars(module).items() if callable(value)]
        raise WarminitError(
            f"model={name!r}: module {module_name!r} has no function {function_name!r}. "
            f"{_nearest(function_name, found)}"
        )
    call = f"{function_name}(in_channels, image_size, n_classes)"

    def build(in_channels: int, image_size: tuple[int, int], n_classes: int) -> nn.Module:
        sizes = {"in_channels": in_channels, "image_size": image_size, "n_classes": n_classes}
        try:
            inspect.signature(function).bind(**sizes)
        except TypeError as error:
            raise WarminitError(
                f"model={name!r} cannot be called as {call}: {error}. Give it these three keywords."
            ) from error
        model = function(**sizes)
        if not isinstance(model, nn.Module):
            raise WarminitError(
                f"model={name!r}: {call} returned a {type(model).__name__}; a torch.nn.Module is "
                "needed. Return the model itself."
            )
        return model

    return build


def _nearest(name: str, known: "dict[str, ModelBuilder] | list[str]") -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"Did you mean {close[0]!r}?" if close else "It defines none."
