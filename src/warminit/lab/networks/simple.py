"""sizes of images and classes -> nn.Module. The networks that the laboratory trains."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from warminit.errors import WarminitError


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
        kernel_size: Of the first convolution, odd; the paper's is 3.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        n_classes: int,
        *,
        batch_norm: bool = True,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        height, width = image_size
        if min(height, width) < 4:
            raise WarminitError(
                f"image_size={height} x {width}: expected at least 4 x 4 pixels for simplecnn, "
                "which pools twice by 2. Resize the images, or choose resnet20."
            )
        self.conv1 = nn.Conv2d(in_channels, 32, kernel_size, padding=kernel_size // 2)
        self.bn1 = nn.BatchNorm2d(32) if batch_norm else nn.Identity()
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.bn2 = nn.BatchNorm2d(64) if batch_norm else nn.Identity()
        self.fc1 = nn.Linear(64 * (height // 4) * (width // 4), 256)
        self.fc2 = nn.Linear(256, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of standardized images (N, in_channels, H, W)."""
        x = F.max_pool2d(self.bn1(self.conv1(images)), 2).relu_()
        x = F.max_pool2d(self.bn2(self.conv2(x)), 2).relu_()
        return self.fc2(self.fc1(x.flatten(1)).relu_())  # type: ignore[no-any-return]  # a Module returns Any


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
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]  # a Module returns Any


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        _ResidualBlock(in_channels, out_channels, stride),
        _ResidualBlock(out_channels, out_channels, 1),
        _ResidualBlock(out_channels, out_channels, 1),
    )


class SmallViT(nn.Module):
    """A vision transformer for small images (Dosovitskiy et al., 2021, Section 3.1).

    The stem `patch_embed` is a convolution of 4 x 4 patches without overlap to 96 channels; learned
    positions are added to the tokens; four pre-norm blocks of 3 heads and an MLP of twice the width
    follow, then LayerNorm, the mean of the tokens and `head`. For 3 x 32 x 32 images and 10 classes
    there are 311,146 parameters. Positions are drawn with a standard deviation of 0.02; every other
    layer keeps torch's default initialization.

    Args:
        in_channels: Channels of an image, 1 or more.
        image_size: Height and width in pixels, each 4 or more; what a patch does not fill is cut.
        n_classes: Length of the output, 2 or more.
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], n_classes: int) -> None:
        super().__init__()
        height, width = image_size
        if min(height, width) < 4:
            raise WarminitError(
                f"image_size={height} x {width} is too small for small-vit: its patches have "
                "4 x 4 pixels. Resize the images, or choose resnet20."
            )
        self.patch_embed = nn.Conv2d(in_channels, 96, kernel_size=4, stride=4)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (height // 4) * (width // 4), 96))
        self.blocks = nn.Sequential(*(_TransformerBlock(96, heads=3) for _ in range(4)))
        self.norm = nn.LayerNorm(96)
        self.head = nn.Linear(96, n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, n_classes) of standardized images (N, in_channels, H, W)."""
        tokens = self.patch_embed(images).flatten(2).transpose(1, 2) + self.positions
        tokens = self.norm(self.blocks(tokens))
        return self.head(tokens.mean(1))  # type: ignore[no-any-return]  # a Module returns Any


class _TransformerBlock(nn.Module):
    """Attention and an MLP, each on normalized tokens and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1))
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        tokens = tokens + self.proj(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]  # as above
