"""model, images -> model conditioned in place by Pre-Warm, InitReport."""

from functools import partial
from typing import Any, Unpack, get_args

import torch
from torch import Tensor, nn

from warminit.checks import check_keywords
from warminit.errors import WarminitError
from warminit.images.patches import Centering, center_patches
from warminit.images.source import Batch, Images
from warminit.initializers.prewarm.clustering import kmeans, minibatch_kmeans
from warminit.initializers.stems.conditioning import condition_, filters_from_images
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.filters import (
    Scale,
    Scaling,
    check_scaling,
    scale_bank,
    shape_filters,
    weight_centroids,
)
from warminit.initializers.stems.keywords import Algorithm, PrewarmOptions, RuleOptions
from warminit.initializers.stems.subject import Layers, Statistics, Subject, only
from warminit.renamed import takes_old_names
from warminit.report import InitReport


@takes_old_names("n_clusters", "n_patches", "engine", "layer")
def prewarm_(
    model: nn.Module,
    images: Images,
    *,
    n_filters: int | None = None,
    patches_per_image: int | None = None,
    scale: Scale | None = None,
    layers: Layers = None,
    batches: int | None = None,
    mean: Statistics = None,
    std: Statistics = None,
    seed: int = 0,
    **options: Unpack[PrewarmOptions],
) -> InitReport:
    """Condition the first convolution on one batch by Pre-Warm (Martinsn, 2026), Section 4.2.

    Only the set filters change. The Parameter object, its dtype, device, memory format and
    `requires_grad` stay, and so does the global random state. `derive_rules` derives every missing
    argument from the layer and the images.

    Args:
        model: Any module with a convolution; call before or after the optimizer is made.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or an iterable
            of batches. uint8 is divided by 255 and, with `mean` and `std`, standardized.
        n_filters: Number of filters to set; floor(F / 2) by default.
        patches_per_image: Number of patches per image; by default derived from Otsu's density or
            the patch norm.
        scale: Standard deviation of the set filters, or "parity", "match" or "unit", see
            `scale_bank`. By default 0.20 or 0.25, at most Kaiming parity.
        layers: Layer, by dotted name or as a module; a list of layers; or a number n for the first
            n convolutions that run. The input layer by default. Later layers are conditioned on
            activations, which include the earlier conditioned layers.
        batches: Number of batches to read if `images` is a loader, 8 by default.
        mean: Per-channel mean that `images` were standardized with; the pixel rules need it.
        std: Per-channel standard deviation that `images` were standardized with.
        seed: Seed of the patches' positions and of k-means, 0 to 2**32 - 1.
        **options: Options for ablations, see `PrewarmOptions`: `patch_size`, `raw_images`,
            `algorithm`, `fraction`, `centering`, `spatial`, `scaling`.

    Returns:
        A report that prints as a small table.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU())
        >>> images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> report = prewarm_(model, images)
        >>> report.layer, report.filters_set
        ('0', 16)
    """
    check_keywords("prewarm_", options, PrewarmOptions)
    rest: dict[str, Any] = dict(options)
    fraction, algorithm = rest.pop("fraction", None), rest.pop("algorithm", "fast")
    ingredients: dict[str, Any] = {
        name: rest.pop(name) for name in ("centering", "spatial", "scaling") if name in rest
    }
    ingredients["scaling"] = check_scaling(ingredients.get("scaling"), scale)
    subject: Images | Subject = images
    if fraction is not None:
        subject = Subject(model, images, batches, mean=mean, std=std)
        n_filters = _filters_of(fraction, n_filters, subject, layers)
    defaults = {"centering": "patch", "spatial": True, "scaling": "global"}
    return condition_(
        model,
        subject,
        partial(kmeans_filters, algorithm=algorithm, **ingredients),
        method="prewarm",
        seed=seed,
        layers=layers,
        batches=batches,
        parameters={
            "algorithm": algorithm,
            **{name: value for name, value in ingredients.items() if value != defaults[name]},
        },
        n_filters=n_filters,
        patches_per_image=patches_per_image,
        scale=scale,
        mean=mean,
        std=std,
        **rest,
    )


@takes_old_names("n_clusters", "n_patches", "engine")
def prewarm_filters(
    images: Tensor,
    out_channels: int = 32,
    kernel_size: int | tuple[int, ...] = 3,
    *,
    algorithm: Algorithm = "fast",
    seed: int = 0,
    **options: Unpack[RuleOptions],
) -> Tensor:
    """Compute the filters that `prewarm_` writes, from images alone.

    Each stage has a counterpart in scikit-learn. Patches at random positions, minus their means:
    `feature_extraction.image.PatchExtractor`. Centroids: `cluster.MiniBatchKMeans(n_init=3)` for
    algorithm="paper", or `cluster.KMeans` up to 1 % of its inertia for "fast". `whiten_` uses
    `decomposition.PCA(whiten=True)` instead of clustering. The spatial weights and the scale are
    one product each. docs/integrations.md shows this as code.

    Args:
        images: Training images (N, C, H, W), scaled as the model is fed.
        out_channels: Number of filters F of the layer.
        kernel_size: Kernel size K of the layer.
        algorithm: Algorithm of k-means, "fast" or "paper".
        seed: Seed of the call's own generator.
        **options: Options of `prewarm_`, see `RuleOptions`: `n_filters`, `patches_per_image`,
            `scale`, `patch_size`, `mean`, `std`, `raw_images`.

    Returns:
        (n_filters, C, *K) float32 on the images' device. If patches are no larger than the kernel,
        the standard deviation is `scale` up to rounding.

    Raises:
        WarminitError: For any invalid input.

    Example:
        >>> import torch
        >>> images = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> prewarm_filters(images, patches_per_image=20).shape
        torch.Size([16, 1, 3, 3])
    """
    check_keywords("prewarm_filters", options, RuleOptions)
    return filters_from_images(
        images,
        out_channels,
        kernel_size,
        partial(kmeans_filters, algorithm=algorithm),
        seed=seed,
        **options,
    )


def _filters_of(fraction: float, n_filters: int | None, subject: Subject, layers: Layers) -> int:
    """Return the number of filters in a share of the bank."""
    if n_filters is not None:
        raise WarminitError(
            f"fraction={fraction} and n_filters={n_filters}: expected one of the two. Leave one "
            "out."
        )
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise WarminitError(
            f"fraction={fraction!r}: expected a number above 0 and at most 1. The paper's is 0.5."
        )
    return max(1, round(fraction * subject.first(only(layers)).out_channels))


def kmeans_filters(
    batch: Batch,
    hyper: Hyperparameters,
    kernel_size: tuple[int, ...],
    seed: int,
    *,
    algorithm: Algorithm = "fast",
    centering: Centering = "patch",
    spatial: bool = True,
    scaling: Scaling = "global",
) -> Tensor:
    """Take patches, cluster them and turn the centroids into filters (Section 4.2).

    Args:
        batch: Images, scaled as the model is fed.
        hyper: Resolved hyperparameters.
        kernel_size: Kernel size K of the layer.
        seed: Seed of the positions and of k-means.
        algorithm: "fast" or "paper".
        centering: Mean removed from each patch before clustering: "patch", "channel" or "none".
        spatial: Whether centroids are weighted by distance from the center.
        scaling: "global" for one factor for the bank, or "per-filter" for one each.

    Returns:
        (n_clusters, C, *K) float32 on the batch's device.
    """
    if algorithm == "paper":
        patches = batch.listed_patches(hyper.n_patches, hyper.patch_size, seed)
        centered = center_patches(patches.numpy(), centering, batch.channels)
        centroids = torch.from_numpy(minibatch_kmeans(centered, hyper.n_clusters, seed))
    elif algorithm == "fast":
        patches = batch.patches(
            hyper.n_patches, hyper.patch_size, torch.Generator().manual_seed(seed)
        )
        centroids = kmeans(
            center_patches(patches, centering, batch.channels),
            hyper.n_clusters,
            torch.Generator().manual_seed(seed),
        )
    else:
        raise WarminitError(
            f"algorithm={algorithm!r}: expected one of {', '.join(get_args(Algorithm))}."
        )
    bank = weight_centroids(centroids, hyper.patch_size) if spatial else centroids.double()
    bank = scale_bank(bank, hyper.scale, patches=patches, scaling=scaling)
    return shape_filters(bank, hyper.patch_size, kernel_size).to(batch.device)
