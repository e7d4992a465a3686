"""model, images -> model conditioned in place, InitReport. Pre-Warm on any first convolution."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.patches import Centering, center_patches
from warminit.images.source import Batch, Images
from warminit.initializers.prewarm.clustering import kmeans, minibatch_kmeans
from warminit.initializers.stems.conditioning import condition_, filters_from_images
from warminit.initializers.stems.filters import (
    Scale,
    Scaling,
    scale_bank,
    shape_filters,
    weight_centroids,
)
from warminit.initializers.stems.rules import Hyperparameters
from warminit.initializers.stems.subject import Statistics
from warminit.report import InitReport

Engine = Literal["fast", "paper"]


def prewarm_(
    model: nn.Module,
    images: Images,
    *,
    n_clusters: int | None = None,
    n_patches: int | None = None,
    scale: Scale | None = None,
    patch_size: int | tuple[int, ...] | None = None,
    mean: Statistics = None,
    std: Statistics = None,
    raw_images: Tensor | None = None,
    layer: str | nn.Module | None = None,
    layers: int | Sequence[str] | None = None,
    batches: int | None = None,
    engine: Engine = "fast",
    seed: int = 0,
) -> InitReport:
    """Condition a model's first convolution on one batch, in place (Section 4.2).

    The Parameter object, its dtype, device, memory format and `requires_grad` stay; only the
    filters that are set change; the global random state is not touched. Everything that is not
    given is derived from the layer and the images by `derive_rules`.

    Args:
        model: Any module with a convolution; call before or after the optimizer is made.
        images: (N, C, *size), one training batch as the model is fed, or an iterable of batches;
            uint8 is divided by 255 and, with `mean` and `std`, standardized.
        n_clusters: Filters to set; derived as floor(F / 2).
        n_patches: Patches an image; derived by Otsu's density or the patch norm.
        scale: Standard deviation of the set filters; derived as 0.20 or 0.25, capped by parity. Or
            "parity", "match" or "unit", see `scale_bank`.
        patch_size: At least the kernel's size, which it defaults to; filters of larger patches are
            cropped to their center.
        mean: Per-channel mean that `images` were standardized with; lets the rules see raw pixels.
        std: Per-channel standard deviation that `images` were standardized with.
        raw_images: Raw pixels for the rules, in place of `mean` and `std`.
        layer: Dotted name of the layer, or the module; found by `find_layer` by default.
        layers: Condition the first n convolutions, or those that are named, one after another.
        batches: How many batches to read where `images` is a loader, 8 by default.
        engine: "fast" clusters in torch on the images' device; "paper" gives the bits of
            `conditioned_init` with the same seed and hyperparameters.
        seed: Of the call's own generator, 0 to 2**32 - 1.

    Returns:
        A report that prints as a small table.

    Raises:
        WarminitError: For any input that cannot be used; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU())
        >>> images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> report = prewarm_(model, images)
        >>> report.layer, report.filters_set
        ('0', 16)
    """
    return condition_(
        model,
        images,
        partial(kmeans_filters, engine=engine),
        arm="prewarm",
        seed=seed,
        layer=layer,
        layers=layers,
        batches=batches,
        parameters={"engine": engine},
        n_clusters=n_clusters,
        n_patches=n_patches,
        scale=scale,
        patch_size=patch_size,
        mean=mean,
        std=std,
        raw_images=raw_images,
    )


def prewarm_filters(
    images: Tensor,
    out_channels: int = 32,
    kernel_size: int | tuple[int, ...] = 3,
    *,
    n_clusters: int | None = None,
    n_patches: int | None = None,
    scale: Scale | None = None,
    patch_size: int | tuple[int, ...] | None = None,
    mean: Statistics = None,
    std: Statistics = None,
    raw_images: Tensor | None = None,
    engine: Engine = "fast",
    seed: int = 0,
) -> Tensor:
    """Compute the filters that `prewarm_` writes, from images alone.

    In scikit-learn's terms, for whoever wants to exchange a stage: patches at random positions are
    `feature_extraction.image.PatchExtractor`, less each one's mean; the centroids are those of
    `cluster.MiniBatchKMeans(n_init=3)` with engine="paper", and of `cluster.KMeans` up to 1 % of
    its inertia with "fast"; `whiten_` has `decomposition.PCA(whiten=True)` in their place. Then
    come the spatial weights and the scale, a product each. docs/integrations.md has it as code.

    Args:
        images: (N, C, H, W), one training batch as the model is fed.
        out_channels: F, filters of the layer that they are for.
        kernel_size: K of that layer.
        n_clusters: As for `prewarm_`; so are all the others.
        n_patches: Patches an image.
        scale: Standard deviation of the filters.
        patch_size: At least `kernel_size`.
        mean: Per-channel mean that `images` were standardized with.
        std: Per-channel standard deviation that `images` were standardized with.
        raw_images: Raw pixels for the rules.
        engine: "fast" or "paper".
        seed: Of the call's own generator.

    Returns:
        (n_clusters, C, *K) float32 on the images' device. Where patches are no larger than the
        kernel, its standard deviation is `scale` to rounding.

    Raises:
        WarminitError: For any input that cannot be used.

    Example:
        >>> import torch
        >>> images = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> prewarm_filters(images, n_patches=20).shape
        torch.Size([16, 1, 3, 3])
    """
    return filters_from_images(
        images,
        out_channels,
        kernel_size,
        partial(kmeans_filters, engine=engine),
        seed=seed,
        n_clusters=n_clusters,
        n_patches=n_patches,
        scale=scale,
        patch_size=patch_size,
        mean=mean,
        std=std,
        raw_images=raw_images,
    )


def kmeans_filters(
    batch: Batch,
    hyper: Hyperparameters,
    kernel_size: tuple[int, ...],
    seed: int,
    *,
    engine: Engine = "fast",
    centering: Centering = "patch",
    spatial: bool = True,
    scaling: Scaling = "global",
) -> Tensor:
    """Take patches, cluster them and turn the centroids into filters (Section 4.2).

    Args:
        batch: Images, as the model is fed.
        hyper: Resolved hyperparameters.
        kernel_size: K of the layer.
        seed: Of the positions and of k-means.
        engine: "fast" or "paper".
        centering: What is removed from each patch before clustering: "patch", "channel", "none".
        spatial: Whether centroids are weighted by distance from the center.
        scaling: One factor for the bank ("global"), or one for each filter ("per-filter").

    Returns:
        (n_clusters, C, *K) float32 on the batch's device.
    """
    if engine == "paper":
        patches = batch.listed_patches(hyper.n_patches, hyper.patch_size, seed)
        centered = center_patches(patches.numpy(), centering, batch.channels)
        centroids = torch.from_numpy(minibatch_kmeans(centered, hyper.n_clusters, seed))
    elif engine == "fast":
        patches = batch.patches(
            hyper.n_patches, hyper.patch_size, torch.Generator().manual_seed(seed)
        )
        centroids = kmeans(
            center_patches(patches, centering, batch.channels),
            hyper.n_clusters,
            torch.Generator().manual_seed(seed),
        )
    else:
        raise WarminitError(f"engine={engine!r}; one of {', '.join(get_args(Engine))} is needed.")
    bank = weight_centroids(centroids, hyper.patch_size) if spatial else centroids.double()
    bank = scale_bank(bank, hyper.scale, patches=patches, scaling=scaling)
    return shape_filters(bank, hyper.patch_size, kernel_size).to(batch.device)
