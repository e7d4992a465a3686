"""a batch of images -> checked images (N, C, *size), and their raw pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from warminit.errors import WarminitError

# Un-standardizing in float32 can leave [0, 1] by rounding; one 8-bit step is 0.0039.
_PIXEL_TOLERANCE = 1e-3


DTYPES = frozenset((torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64))
"""Accepted dtypes; torch also counts float8 as floating point."""


def is_dense(images: Tensor) -> bool:
    """Tell whether images are a dense tensor with values."""
    return not images.is_nested and not images.is_meta and images.layout == torch.strided


def check_images(
    images: Tensor,
    *,
    spatial_dims: int = 2,
    channels: int | None = None,
    name: str = "images",
) -> Tensor:
    """Check a batch and return it detached, without a copy.

    Args:
        images: Batch (N, C, *size), floating point, or uint8 pixels.
        spatial_dims: Number of spatial dimensions, 2 for (N, C, H, W).
        channels: Required number of channels C, or None for any.
        name: Name of the argument in error texts.

    Returns:
        The same values, which are not empty, finite and not all equal.

    Raises:
        WarminitError: If the batch does not meet these conditions.
    """
    axes = ("N", "C", *("D", "H", "W")[3 - spatial_dims :])
    layout = f"({', '.join(axes)})"
    if not isinstance(images, Tensor):
        raise WarminitError(
            f"{name} is a {type(images).__name__}: expected a torch.Tensor {layout}. Convert it "
            "first, for example with torch.as_tensor."
        )
    if images.is_nested:
        raise WarminitError(
            f"{name} is a nested tensor: expected a dense tensor {layout}. Resize or crop the "
            "images to one size and stack them."
        )
    if not is_dense(images):
        kind = "on the meta device" if images.is_meta else f"{images.layout}"
        raise WarminitError(
            f"{name} is {kind}, shape {tuple(images.shape)}: expected a dense tensor with values. "
            "Pass loaded images, converted with .to_dense() where they are sparse."
        )
    if images.ndim != len(axes):
        raise WarminitError(
            f"{name} has {images.ndim} dimensions, shape {tuple(images.shape)}: expected "
            f"{len(axes)}: {layout}. Add or remove dimensions with reshape or unsqueeze."
        )
    if 0 in images.shape:
        raise WarminitError(
            f"{name} is empty: shape {tuple(images.shape)}: expected at least 1 in every dimension "
            f"of {layout}. Pass one training batch."
        )
    if images.dtype not in DTYPES:
        raise WarminitError(
            f"{name} has dtype {images.dtype}: expected floating point of 16, 32 or 64 bits or "
            "torch.uint8. Convert pixels from 0 to 255 with .to(torch.uint8), other values with "
            ".float()."
        )
    if channels is not None and images.shape[1] != channels:
        raise WarminitError(
            f"{name} has {images.shape[1]} channels, shape {tuple(images.shape)}: expected "
            f"{channels} for this layer. Pass the batch that the model is fed, or name another "
            "layer with layers=."
        )
    images = images.detach()
    # NaN and infinities show in the extremes, so that no copy of the images is needed to see them.
    low, high = (float(value) for value in images.aminmax())
    if not math.isfinite(low) or not math.isfinite(high):
        bad = sum(int((~torch.isfinite(image)).sum()) for image in images)
        raise WarminitError(
            f"{name} has {bad} NaN or infinite values out of {images.numel()}: expected finite "
            "values. Check the normalization (a standard deviation of 0?) and the source."
        )
    if low == high:
        raise WarminitError(
            f"{name} is constant: every value is {low:g}: expected patches of at least two "
            "different values. Pass a batch of real training images."
        )
    return images


def channel_values(values: Sequence[float] | float | Tensor, channels: int, name: str) -> Tensor:
    """Check `mean` or `std` and return it as (C,) float32; a number counts for all channels."""
    try:
        result = torch.as_tensor(values, dtype=torch.float32).flatten()
    except (TypeError, ValueError, RuntimeError) as error:
        raise WarminitError(
            f"{name}={values!r}: expected a number or a list of {channels} numbers, one per "
            "channel. Pass the statistics that the images were standardized with."
        ) from error
    if result.numel() == 1:
        result = result.expand(channels)
    if result.numel() != channels:
        raise WarminitError(
            f"{name} has {result.numel()} values: expected 1, or one for each of {channels} "
            "channels. Pass a single number, or one value per channel."
        )
    if not bool(torch.isfinite(result).all()) or (name == "std" and bool((result <= 0).any())):
        need = "finite and above 0" if name == "std" else "finite"
        raise WarminitError(
            f"{name}={result.tolist()}: expected values that are {need}. Pass the statistics that "
            "the images were standardized with."
        )
    return result


def standardization(
    mean: Sequence[float] | float | Tensor | None,
    std: Sequence[float] | float | Tensor | None,
    channels: int,
) -> tuple[Tensor, Tensor] | None:
    """Check the pair (mean, std) and return it as two (C,) tensors, or None if both are missing.

    Raises:
        WarminitError: If one is missing, or does not fit the channels.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        given, missing = ("std", "mean") if mean is None else ("mean", "std")
        raise WarminitError(
            f"{given} was given and {missing} is None: expected both or none. Pass {missing} too, "
            f"or leave {given} out."
        )
    return channel_values(mean, channels, "mean"), channel_values(std, channels, "std")


def as_model_input(images: Tensor, statistics: tuple[Tensor, Tensor] | None) -> Tensor:
    """Scale images or patches as the model is fed: uint8 pixels are scaled, floats stay.

    Args:
        images: Images or patches (N, C, ...), with any number of further dimensions.
        statistics: (mean, std), each (C,), that uint8 pixels are standardized with.

    Returns:
        Floating point, the same shape. uint8 pixels are divided by 255 and, if (mean, std) are
        known, standardized with them.
    """
    if images.dtype != torch.uint8:
        return images
    pixels = images.float() / 255
    if statistics is None:
        return pixels
    mean, std = (_per_channel(value, images) for value in statistics)
    return (pixels - mean) / std


@dataclass(frozen=True, slots=True)
class RawPixels:
    """Compute pixels from 0 to 1 piece by piece, without a copy of the images.

    Attributes:
        images: Images (N, C, *size): uint8, floats in [0, 1], or standardized floats.
        statistics: (mean, std) that undo the standardization, or None.
    """

    images: Tensor
    statistics: tuple[Tensor, Tensor] | None = None

    def of(self, part: Tensor) -> Tensor:
        """Return the pixels in [0, 1], float32 or wider, of images or patches (N, C, ...)."""
        if part.dtype == torch.uint8:
            return part.float() / 255
        if self.statistics is None:
            return part
        mean, std = (_per_channel(value, part) for value in self.statistics)
        return (part * std + mean).clamp(0, 1)


def raw_pixels(
    images: Tensor,
    statistics: tuple[Tensor, Tensor] | None = None,
    raw_images: Tensor | None = None,
) -> RawPixels | None:
    """Find the pixels in [0, 1] that the design rules use (Section 3.2).

    Args:
        images: Checked images (N, C, *size): uint8, raw or standardized.
        statistics: (mean, std) that the images were standardized with; None if there was no
            standardization, or if it is not known.
        raw_images: Raw pixels, uint8 or in [0, 1], which replace the images.

    Returns:
        The pixels; None if only standardized images are known.

    Raises:
        WarminitError: If `raw_images` are not in [0, 1], or `statistics` do not give such pixels.
    """
    if raw_images is not None:
        pixels = check_images(
            raw_images, spatial_dims=images.ndim - 2, channels=images.shape[1], name="raw_images"
        )
        low, high = (float(value) for value in pixels.aminmax())
        if pixels.dtype != torch.uint8 and (low < 0 or high > 1):
            raise WarminitError(
                f"raw_images span {low:.4g} to {high:.4g}: expected raw pixels: uint8, or floats "
                "from 0 to 1. Divide by 255, or pass them before they are standardized."
            )
        return RawPixels(pixels)
    if images.dtype == torch.uint8:
        return RawPixels(images)
    if statistics is not None:
        mean, std = (value.tolist() for value in statistics)
        low, high = (float(value) for value in images.aminmax())
        if low >= 0 and high <= 1 and any(m != 0 or s != 1 for m, s in zip(mean, std, strict=True)):
            raise WarminitError(
                f"images span {low:.4g} to {high:.4g}, which are raw pixels: expected standardized "
                "images, since mean and std were passed. Standardize the images first, or leave "
                "mean and std out."
            )
        low, high = pixel_span(images, statistics)
        if not is_pixel_span(low, high):
            raise WarminitError(
                f"images * std + mean spans {low:.4g} to {high:.4g}: expected raw pixels from 0 to "
                "1. Pass the mean and std that standardized these images (of pixels in [0, 1], not "
                "0 to 255), or raw_images."
            )
        return RawPixels(images, statistics)
    low, high = (float(value) for value in images.aminmax())
    return RawPixels(images) if low >= 0 and high <= 1 else None


def pixel_span(images: Tensor, statistics: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Return the smallest and the largest value of images (N, C, *size) * std + mean."""
    channels = (images.select(1, channel).aminmax() for channel in range(images.shape[1]))
    mean, std = (value.tolist() for value in statistics)
    ends = [
        (float(low) * s + m, float(high) * s + m)
        for (low, high), m, s in zip(channels, mean, std, strict=True)
    ]
    return min(low for low, _ in ends), max(high for _, high in ends)


def is_pixel_span(low: float, high: float) -> bool:
    """Tell whether values are pixels from 0 to 1, up to the rounding of a standardization."""
    return low >= -_PIXEL_TOLERANCE and high <= 1 + _PIXEL_TOLERANCE


def _per_channel(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device).view(-1, *[1] * (images.ndim - 2))
