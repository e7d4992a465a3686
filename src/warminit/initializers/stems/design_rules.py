"""images, layer shape -> Hyperparameters(n_clusters, n_patches, patch_size, scale)."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from torch import Tensor

from warminit.checks import as_kernel_size, check_count, check_seed, count_positions
from warminit.errors import WarminitError, WarminitWarning
from warminit.images.check import RawPixels, check_images, raw_pixels, standardization
from warminit.images.pixels import mean_patch_norm, otsu
from warminit.initializers.stems.filters import Scale
from warminit.layout import Layout, Tabled, plain
from warminit.models.surroundings import own_arithmetic

PATCH_NORM_CONSTANT = 6.65
"""Constant c of Equation 6, fitted by the author to two data sets with 27-value patches."""

BIMODAL_SEPARABILITY = 0.8
"""Otsu's separability from which a histogram counts as bimodal: a uniform one has 0.75."""

_FITTED_PATCH_VALUES = 27

TOTAL_PATCHES = 8192
"""Total number of patches if no pixel rule applies: enough for a second moment."""


@dataclass(frozen=True, slots=True)
class Hyperparameters(Tabled):
    """Hold Pre-Warm's hyperparameters and the source of each.

    Attributes:
        n_clusters: Number of conditioned filters.
        n_patches: Number of patches per image.
        patch_size: Patch size, one number per spatial dimension.
        scale: Standard deviation of the conditioned filters, or the name of a rule for it.
        otsu_threshold: Threshold in raw pixels from 0 to 1, or in the images' units if raw pixels
            are not known. None if Otsu's rule was not used.
        foreground_density: Share of pixels above the threshold.
        separability: Between-class over total variance at the threshold, 0 to 1.
        patch_norm: Mean L2 norm of mean-centered raw patches; None if it was not used.
        provenance: Source of each of the first four, one sentence each. The key "fallback" says
            what a rule requires if it could not be applied.
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

    def tables(self) -> list[Layout]:
        """Return one table: each number, and where it comes from."""
        values = {each.name: getattr(self, each.name) for each in fields(self)[:-1]}
        rows = [
            (name, plain(value), self.provenance.get(name, ""))
            for name, value in values.items()
            if value is not None
        ]
        fallback = self.provenance.get("fallback")
        return [Layout("hyperparameters", rows, below=[f"note: {fallback}"] if fallback else [])]


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

    The pixel rules use raw pixels from 0 to 1, but training uses standardized images (Section 3.2).
    Otsu's density is the same for both; the patch norm is not. Raw images are recognized by their
    range. For standardized images, pass `mean` and `std`, or `raw_images`. Without them the
    patch-norm rule does not apply: 8,192 patches in total are used, and a note says so.

    Args:
        images: Images (N, C, H, W): uint8, or floats, raw from 0 to 1 or standardized.
        out_channels: Number of filters F of the layer.
        kernel_size: Kernel size K of the layer.
        dilation: Dilation of the layer, 1 everywhere by default.
        mean: Per-channel mean that the images were standardized with.
        std: Per-channel standard deviation that the images were standardized with.
        raw_images: Pixels of the same images before standardization.
        n_patches: Number of patches per image, which replaces the pixel rules.
        seed: Seed of the random sample that estimates the patch norm (about 50,000 patches).

    Returns:
        Hyperparameters with n_clusters = floor(F / 2) and n_patches from 1 to the number of
        positions in an image.

    Raises:
        WarminitError: For any invalid input.

    Example:
        >>> import torch
        >>> pixels = torch.zeros(10, 1, 28, 28, dtype=torch.uint8)
        >>> pixels[:, :, 8:20, 8:20] = 200
        >>> rules = derive_rules(pixels)
        >>> rules.n_clusters, rules.n_patches, rules.scale
        (16, 43, 0.2)
    """
    kernel = as_kernel_size(kernel_size)
    with own_arithmetic():
        return rules_of(
            check_images(images, spatial_dims=len(kernel)),
            out_channels,
            kernel,
            dilation=dilation,
            mean=mean,
            std=std,
            raw_images=raw_images,
            n_patches=n_patches,
            seed=seed,
        )


def rules_of(
    checked: Tensor,
    out_channels: int,
    kernel: tuple[int, ...],
    *,
    dilation: tuple[int, ...] = (),
    mean: Sequence[float] | float | Tensor | None = None,
    std: Sequence[float] | float | Tensor | None = None,
    raw_images: Tensor | None = None,
    n_patches: int | None = None,
    seed: int = 0,
) -> Hyperparameters:
    """Derive as `derive_rules` does, from checked images."""
    check_seed(seed)
    if raw_images is not None and (mean is not None or std is not None):
        raise WarminitError(
            "raw_images and mean or std: expected only one of the two, since either gives the raw "
            "pixels. Leave raw_images out."
        )
    channels = checked.shape[1]
    if not isinstance(out_channels, int | np.integer) or out_channels < 2:
        raise WarminitError(
            f"out_channels={out_channels!r}: expected at least 2 filters, since half of them are "
            "conditioned. Choose a wider layer."
        )
    positions = count_positions(checked, kernel, dilation)
    scale, why_scale = scale_rule(channels, kernel)
    measured: dict[str, float] = {}
    fallback: dict[str, str] = {}
    if n_patches is not None:
        count, why_count = check_count("n_patches", n_patches), "given"
    else:
        pixels = raw_pixels(checked, standardization(mean, std, channels), raw_images)
        rule, why_count, measured, fallback = _pixel_rule(
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
            **fallback,
        },
    )


def share_of_total(images: int) -> tuple[int, str]:
    """Return the patches per image that give 8,192 in total, and a sentence on it."""
    return -(-TOTAL_PATCHES // images), f"ceil({TOTAL_PATCHES} / {images} images)"


def scale_rule(channels: int, kernel: tuple[int, ...]) -> tuple[float, str]:
    """Return the standard deviation of filters for a number of channels, and its source."""
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
) -> tuple[int, str, dict[str, float], dict[str, str]]:
    """Apply Equation 5 to bimodal one-channel images, Equation 6 to all others.

    Returns:
        The number of patches per image, its source, the measurements, and the fallback.
    """
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
            return math.floor(out_channels / 4 / split.density), why, measured, {}
        why_norm = (
            f"Otsu's separability is {split.separability:.2f}, below {BIMODAL_SEPARABILITY}, so "
            "the histogram is not bimodal"
        )
    if pixels is None:
        low, high = (float(value) for value in images.aminmax())
        count, why = share_of_total(len(images))
        note = (
            f"the number of patches is {why}: the images span {low:.4g} to {high:.4g}, and the "
            "patch-norm rule needs raw pixels from 0 to 1. Pass mean= and std= that the images "
            "were standardized with to apply the rule, and divide pixels from 0 to 255 by 255"
        )
        return count, f"{why}, since no raw pixels are known", measured, {"fallback": note}
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
    return rule, why, {**measured, "patch_norm": norm}, {}
