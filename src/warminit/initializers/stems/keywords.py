"""keywords that several methods share, each declared once."""

from typing import Literal, TypedDict

from torch import Tensor

from warminit.images.patches import Centering
from warminit.initializers.stems.filters import Scale, Scaling
from warminit.initializers.stems.subject import Layers, Statistics

Algorithm = Literal["fast", "paper"]
"""K-means: "fast" in torch on the images' device, or "paper", bit for bit as in Listing 1."""


class RuleOptions(TypedDict, total=False):
    """Options that replace derived numbers.

    Attributes:
        n_filters: Number of filters to set in each group; floor(F / 2) by default.
        patches_per_image: Number of patches per image; by default derived from Otsu's density or
            the patch norm.
        scale: Standard deviation of the set filters: a number, "parity", "match" or "unit".
        patch_size: Patch size, at least the kernel's size; larger patches are cropped to their
            center.
        mean: Per-channel mean that the images were standardized with.
        std: Per-channel standard deviation that the images were standardized with.
        raw_images: Raw pixels for the rules, in place of `mean` and `std`.
    """

    n_filters: int | None
    patches_per_image: int | None
    scale: Scale | None
    patch_size: int | tuple[int, ...] | None
    mean: Statistics
    std: Statistics
    raw_images: Tensor | None


class StemOptions(RuleOptions, total=False):
    """Options of every method that writes filters.

    Attributes:
        layers: Layers to set, see `Layers`. Later layers are conditioned on activations, which
            include the earlier conditioned layers.
        batches: Number of batches to read if the images are a loader, 8 by default.
    """

    layers: Layers
    batches: int | None


class PrewarmOptions(TypedDict, total=False):
    """Options for ablations of Pre-Warm.

    Attributes:
        patch_size: Patch size, at least the kernel's size, its default; larger patches are cropped.
        raw_images: Raw pixels for the rules, in place of `mean` and `std`.
        algorithm: "fast" clusters in torch on the images' device; "paper" gives the bits of Listing
            1, for a Conv2d without dilation.
        fraction: Share of the filter bank to set, above 0 and at most 1; the paper's is 0.5.
        centering: "patch" removes one mean per patch, "channel" one per channel, "none" no mean.
        spatial: Whether the spatial weights are applied.
        scaling: "global" scales the bank by one factor, "per-filter" each filter by its own.
    """

    patch_size: int | tuple[int, ...] | None
    raw_images: Tensor | None
    algorithm: Algorithm
    fraction: float | None
    centering: Centering
    spatial: bool
    scaling: Scaling | None


class WhiteningOptions(TypedDict, total=False):
    """Options for ablations of whitening.

    Attributes:
        eps: Regularization relative to the mean eigenvalue, at least 0; 0.0466 by default.
        scaling: "global" for one factor for the bank, or "per-filter" for one each.
        trainable: Whether the set filters train. False sets their gradient to zero by a hook on the
            weight. Weight decay still shrinks the filters, and a copy of the model has no hook.
        raw_images: Raw pixels for the rules, in place of `mean` and `std`.
    """

    eps: float
    scaling: Scaling | None
    trainable: bool
    raw_images: Tensor | None


class WhiteningKeywords(WhiteningOptions, total=False):
    """All options of `whiten_` except `seed`."""

    n_filters: int | None
    patches_per_image: int | None
    scale: Scale | None
    layers: Layers
    batches: int | None
    mean: Statistics
    std: Statistics
