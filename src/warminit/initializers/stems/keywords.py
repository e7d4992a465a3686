"""The keywords that methods share, each declared once."""

from typing import Literal, TypedDict

from torch import Tensor

from warminit.images.patches import Centering
from warminit.initializers.stems.filters import Scale, Scaling
from warminit.initializers.stems.subject import Layers, Statistics

Algorithm = Literal["fast", "paper"]
"""Of k-means: in torch on the images' device, or the paper's, bit for bit as in Listing 1."""


class RuleOptions(TypedDict, total=False):
    """What replaces a derived number.

    Attributes:
        n_filters: Filters to set, in each group; floor(F / 2) by default.
        patches_per_image: Patches an image; by Otsu's density or the patch norm by default.
        scale: Standard deviation of the set filters: a number, "parity", "match" or "unit".
        patch_size: At least the kernel's size; larger patches are cropped to their center.
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
    """What every method that writes filters takes beside its own keywords.

    Attributes:
        layers: Which layers, see `Layers`; each after the first is conditioned on the activations
            that the model, conditioned so far, gives it.
        batches: Batches to read where the images are a loader, 8 by default.
    """

    layers: Layers
    batches: int | None


class PrewarmOptions(TypedDict, total=False):
    """What only an ablation of Pre-Warm needs.

    Attributes:
        patch_size: At least the kernel's size, its default; larger patches are cropped.
        raw_images: Raw pixels for the rules, in place of `mean` and `std`.
        algorithm: "fast" clusters in torch on the images' device; "paper" gives the bits of
            Listing 1, for an undilated Conv2d.
        fraction: Share of the filter bank to set, above 0 and at most 1; the paper's is 0.5.
        centering: "patch" removes a patch's mean, "channel" one a channel, "none" nothing.
        spatial: False leaves the spatial weights out.
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
    """What only an ablation of whitening needs.

    Attributes:
        eps: Regularization relative to the mean eigenvalue, at least 0; 0.0466 by default.
        scaling: One factor for the bank ("global"), or one for each filter ("per-filter").
        trainable: False keeps the set filters as they are: their gradient is set to zero by a hook
            on the weight. Weight decay still shrinks them, and a copy of the model has no hook.
        raw_images: Raw pixels for the rules, in place of `mean` and `std`.
    """

    eps: float
    scaling: Scaling | None
    trainable: bool
    raw_images: Tensor | None


class WhiteningKeywords(WhiteningOptions, total=False):
    """All keywords of `whiten_` but `seed`."""

    n_filters: int | None
    patches_per_image: int | None
    scale: Scale | None
    layers: Layers
    batches: int | None
    mean: Statistics
    std: Statistics
