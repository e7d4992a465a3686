"""raw pixels -> Otsu's threshold of their histogram, and the mean norm of their patches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from warminit.images.check import RawPixels
from warminit.images.patches import center_patches, sample_patches

_OTSU_BINS = 256
_NORM_SAMPLE = 50_000
_PIECE_VALUES = 4_000_000


@dataclass(frozen=True, slots=True)
class OtsuResult:
    """Hold Otsu's threshold of a pixel histogram, the share above it, and its separability."""

    threshold: float
    density: float
    separability: float


def otsu(pixels: RawPixels, low: float = 0.0, high: float = 1.0) -> OtsuResult:
    """Find Otsu's threshold over 256 bins of [low, high] (Equation 4).

    Args:
        pixels: Values in [low, high]; images are read one piece after another.
        low: Lower edge of the first bin.
        high: Upper edge of the last bin.

    Returns:
        The threshold, the share of pixels above it, and the separability. The threshold is the
        center of the bin with the largest between-class variance. The separability is between-class
        over total variance, in [0, 1].
    """
    edges = np.histogram_bin_edges([], bins=_OTSU_BINS, range=(low, high))
    centers = (edges[:-1] + edges[1:]) / 2
    counts = sum(
        np.histogram(values, bins=_OTSU_BINS, range=(low, high), weights=weights)[0]
        for values, weights in _pieces(pixels)
    )
    share = counts / np.sum(counts)
    below, mass = np.cumsum(share), np.cumsum(share * centers)
    above, total = 1 - below, mass[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((total * below - mass) ** 2 / (below * above), posinf=0.0)
    best = int(between[:-1].argmax())
    variance = float((share * (centers - total) ** 2).sum())
    threshold = float(centers[best])
    foreground = sum(
        np.count_nonzero(values > threshold)
        if weights is None
        else float(weights[values > threshold].sum())
        for values, weights in _pieces(pixels)
    )
    return OtsuResult(
        threshold=threshold,
        density=foreground / pixels.images.numel(),
        separability=min(1.0, float(between[best]) / variance) if variance > 0 else 0.0,
    )


def _pieces(pixels: RawPixels) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
    """Yield pixel values with counts: all 256 at once for uint8, else some images at a time."""
    if pixels.images.dtype == torch.uint8:
        counts = torch.bincount(pixels.images.flatten(), minlength=256)
        yield np.arange(256) / 255, counts.cpu().double().numpy()
        return
    at_once = max(1, _PIECE_VALUES // pixels.images[0].numel())
    for part in pixels.images.split(at_once):
        yield pixels.of(part).flatten().cpu().double().numpy(), None


def mean_patch_norm(
    pixels: RawPixels,
    kernel_size: tuple[int, ...],
    seed: int = 0,
    *,
    dilation: tuple[int, ...] = (),
) -> float:
    """Estimate the mean L2 norm of mean-centered patches of raw pixels (Section 4.4).

    Args:
        pixels: Pixels of images (N, C, *size).
        kernel_size: Size K of the patches.
        seed: Seed of the sample of about 50,000 patches (fewer of more than 256 values), spread
            evenly over the images.
        dilation: Dilation of the patches.

    Returns:
        The sample's mean, in units of the full pixel range; 0 only for flat patches.
    """
    generator = torch.Generator().manual_seed(seed)
    images = pixels.images
    channels = images.shape[1]
    values = channels * math.prod(kernel_size)
    sample = min(_NORM_SAMPLE, max(1, _NORM_SAMPLE * 256 // values))
    if len(images) > sample:
        chosen = torch.randperm(len(images), generator=generator)[:sample]
        images = images[chosen.to(images.device)]
    each = math.ceil(sample / len(images))
    patches = sample_patches(images, each, kernel_size, generator, dilation=dilation)
    raw = pixels.of(patches.view(len(patches), channels, -1)).flatten(1).float()
    return float(center_patches(raw).norm(dim=1).double().mean())
