"""images, layer shape -> Hyperparameters(n_clusters, n_patches, patch_size, scale)."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from warminit.errors import WarminitError, WarminitWarning
from warminit.filters import Scale
from warminit.images import RawPixels, check_images, raw_pixels, standardization
from warminit.patches import center_patches, sample_patches

PATCH_NORM_CONSTANT = 6.65
"""c of Equation 6, fitted by its author to two data sets with 27-value patches."""

BIMODAL_SEPARABILITY = 0.8
"""Otsu's separability from which a histogram counts as bimodal: a uniform one has 0.75."""

_OTSU_BINS = 256
_NORM_SAMPLE = 50_000
_PIECE_VALUES = 4_000_000
_FITTED_PATCH_VALUES = 27


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Pre-Warm's hyperparameters, and where each comes from.

    Attributes:
        n_clusters: Filters that are conditioned.
        n_patches: Patches an image.
        patch_size: Patch size, one number a spatial dimension.
        scale: Standard deviation of the conditioned filters, or the name of a rule for it.
        otsu_threshold: In raw pixels from 0 to 1, or in the images' own units where raw pixels are
            not known; None where Otsu's rule was not asked.
        foreground_density: Share of pixels above the threshold.
        separability: Between-class over total variance at the threshold, 0 to 1.
        patch_norm: Mean L2 norm of mean-centered raw patches; None where not asked.
        provenance: For each of the first four, one sentence on where it comes from.
    """

    n_clusters: int
    n_patches: int
    patch_size: tuple[int, ...]
    scale: Scale
    otsu_threshold: float | None = None
    foreground_density: float | None = None
    separability: float | None = None
    patch_norm: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OtsuResult:
    """Otsu's threshold of a pixel histogram, the share above it, and how well it separates."""

    threshold: float
    density: float
    separability: float


def derive_rules(
    images: Tensor,
    out_channels: int = 32,
    kernel_size: int | tuple[int, ...] = 3,
    *,
    dilation: tuple[int, ...] = (),
    mean: Sequence[float] | float | Tensor | None = None,
    std: Sequence[float] | float | Tensor | None = None,
    raw_images: Tensor | None = None,
    n_patches: int | None = None,
    seed: int = 0,
) -> Hyperparameters:
    """Derive every hyperparameter from the layer's shape and the images (Table 2).

    The pixel rules are stated on raw pixels from 0 to 1, while training feeds standardized images
    (Section 3.2). Otsu's density is the same in both; the patch norm is not. Raw images are
    recognized by their range; for standardized ones give `mean` and `std`, or `raw_images`, or
    `n_patches` itself.

    Args:
        images: (N, C, H, W): uint8, or floats, raw from 0 to 1 or standardized.
        out_channels: F, filters of the layer.
        kernel_size: K of the layer.
        dilation: Of the layer, 1 everywhere by default.
        mean: Per-channel mean that the images were standardized with.
        std: Per-channel standard deviation that the images were standardized with.
        raw_images: The pixels of the same data before standardization.
        n_patches: Use this number of patches an image and ask no pixel rule.
        seed: Of the random sample that estimates the patch norm (about 50,000 patches).

    Returns:
        Hyperparameters with n_clusters = floor(F / 2) and n_patches from 1 to the number of
        positions in an image.

    Raises:
        WarminitError: If the input cannot be used, or if the patch-norm rule is needed and the raw
            pixels are not known.

    Example:
        >>> import torch
        >>> pixels = torch.zeros(10, 1, 28, 28, dtype=torch.uint8)
        >>> pixels[:, :, 8:20, 8:20] = 200
        >>> rules = derive_rules(pixels)
        >>> rules.n_clusters, rules.n_patches, rules.scale
        (16, 43, 0.2)
    """
    check_seed(seed)
    kernel = as_kernel_size(kernel_size)
    checked = check_images(images, spatial_dims=len(kernel))
    channels = checked.shape[1]
    if not isinstance(out_channels, int | np.integer) or out_channels < 2:
        raise WarminitError(
            f"out_channels={out_channels!r}; at least 2 filters are needed, since half of them are "
            "conditioned. Choose a wider layer."
        )
    positions = count_positions(checked, kernel, dilation)
    scale, why_scale = _scale(channels, kernel)
    if n_patches is not None:
        measured: dict[str, float] = {}
        count, why_count = check_count("n_patches", n_patches), "given"
    else:
        pixels = raw_pixels(checked, standardization(mean, std, channels), raw_images)
        rule, why_count, measured = _pixel_rule(
            checked, pixels, out_channels, kernel, dilation, seed
        )
        count = min(max(1, rule), positions)
        if count != rule:
            why_count += f"; {rule} held between 1 and the {positions} positions of an image"
    return Hyperparameters(
        n_clusters=out_channels // 2,
        n_patches=count,
        patch_size=kernel,
        scale=scale,
        **measured,
        provenance={
            "n_clusters": f"floor(F / 2) with F = {out_channels}",
            "n_patches": why_count,
            "patch_size": "the layer's kernel size",
            "scale": why_scale,
        },
    )


def otsu(pixels: RawPixels, low: float = 0.0, high: float = 1.0) -> OtsuResult:
    """Find Otsu's threshold over 256 bins of [low, high] (Equation 4).

    Args:
        pixels: Values in [low, high]; images are read one piece after another.
        low: Lower edge of the first bin.
        high: Upper edge of the last bin.

    Returns:
        The center of the bin that maximizes the between-class variance, the share of pixels above
        it, and between-class over total variance, which lies in [0, 1].
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
    """Yield pixel values with their counts: all 256 at once for uint8, else some images a time."""
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
        pixels: Of images (N, C, *size).
        kernel_size: K of the patches.
        seed: Of the sample of about 50,000 patches (fewer of more than 256 values), spread evenly
            over the images.
        dilation: Of the patches.

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


def as_kernel_size(
    kernel_size: int | tuple[int, ...], dims: int | None = None, name: str = "kernel_size"
) -> tuple[int, ...]:
    """Return a kernel size as a tuple; one number serves `dims` dimensions, 2 by default."""
    sizes: tuple[Any, ...] = (
        tuple(kernel_size)
        if isinstance(kernel_size, tuple | list)
        else (kernel_size,) * (dims or 2)
    )
    dims = dims or len(sizes)
    if len(sizes) != dims or not 1 <= dims <= 3 or not all(map(_is_size, sizes)):
        raise WarminitError(
            f"{name}={kernel_size!r}; whole numbers of at least 1 are needed, one or one for each "
            f"of {dims} spatial dimensions. Pass the layer's kernel_size."
        )
    return tuple(int(size) for size in sizes)


def _is_size(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def check_count(name: str, value: int) -> int:
    """Check that a count is a whole number of at least 1, and return it."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise WarminitError(
            f"{name}={value!r}; a whole number of at least 1 is needed. Leave it out to have it "
            "derived."
        )
    return int(value)


def check_seed(seed: int) -> None:
    """Raise unless a seed is one that torch, NumPy and scikit-learn all take."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise WarminitError(
            f"seed={seed!r}; a whole number from 0 to 2**32 - 1 is needed, since NumPy and "
            "scikit-learn take no other. Choose another seed."
        )


def count_positions(
    images: Tensor, patch_size: tuple[int, ...], dilation: tuple[int, ...] = ()
) -> int:
    """Count the positions of a (dilated) patch in an image: at least 1, or an error."""
    size = tuple(images.shape[2:])
    steps = dilation or (1,) * len(size)
    covered = [step * (k - 1) + 1 for k, step in zip(patch_size, steps, strict=True)]
    if any(cover > extent for cover, extent in zip(covered, size, strict=True)):
        raise WarminitError(
            f"patches of {_times(covered)} do not fit images of {_times(size)}; a patch must "
            "not be larger than the image. Use larger images or a smaller patch_size."
        )
    return math.prod(extent - cover + 1 for cover, extent in zip(covered, size, strict=True))


def _scale(channels: int, kernel: tuple[int, ...]) -> tuple[float, str]:
    wanted, why = (0.20, "one channel") if channels == 1 else (0.25, "two or more channels")
    fan_in = channels * math.prod(kernel)
    parity = math.sqrt(2 / fan_in)
    if parity < wanted:
        return parity, f"Kaiming parity sqrt(2 / {fan_in}), below the {wanted:.2f} of {why}"
    return wanted, f"the paper's value for {why}"


def _pixel_rule(
    images: Tensor,
    pixels: RawPixels | None,
    out_channels: int,
    kernel: tuple[int, ...],
    dilation: tuple[int, ...],
    seed: int,
) -> tuple[int, str, dict[str, float]]:
    """Apply Equation 5 to bimodal one-channel images, Equation 6 to all others."""
    channels = images.shape[1]
    measured: dict[str, float] = {}
    why_norm = f"there are {channels} channels"
    if channels == 1:
        # An affine map of one channel changes neither the density nor the separability.
        low, high = (0.0, 1.0) if pixels is not None else (float(v) for v in images.aminmax())
        split = otsu(pixels or RawPixels(images), low, high)
        measured = {
            "otsu_threshold": split.threshold,
            "foreground_density": split.density,
            "separability": split.separability,
        }
        if split.separability >= BIMODAL_SEPARABILITY:
            why = f"floor((F / 4) / d) with Otsu's foreground density d = {split.density:.4f}"
            return math.floor(out_channels / 4 / split.density), why, measured
        why_norm = (
            f"Otsu's separability is {split.separability:.2f}, below {BIMODAL_SEPARABILITY}, so "
            "the histogram is not bimodal"
        )
    if pixels is None:
        low, high = (float(value) for value in images.aminmax())
        raise WarminitError(
            f"images span {low:.4g} to {high:.4g}, and the patch-norm rule needs raw pixels from 0 "
            f"to 1 ({why_norm}). Pass mean= and std= that the images were standardized with, or "
            "raw_images=, or n_patches= itself; divide pixels from 0 to 255 by 255."
        )
    if channels == 1:
        text = f"{why_norm}; the patch-norm rule is used in place of Otsu's."
        warnings.warn(text[0].upper() + text[1:], WarminitWarning, stacklevel=3)
    norm = mean_patch_norm(pixels, kernel, seed, dilation=dilation)
    why = f"floor((F / 4) * {PATCH_NORM_CONSTANT} * mean patch norm {norm:.3f}), since {why_norm}"
    values = channels * math.prod(kernel)
    if values != _FITTED_PATCH_VALUES:
        why += (
            f"; extrapolated: {PATCH_NORM_CONSTANT} was fitted on {_FITTED_PATCH_VALUES}-value "
            f"patches, these have {values}"
        )
    rule = math.floor(out_channels / 4 * PATCH_NORM_CONSTANT * norm)
    return rule, why, {**measured, "patch_norm": norm}


def _times(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)
