"""model, images -> model conditioned in place with whitening directions."""

from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from warminit.checks import check_count, check_keywords
from warminit.errors import WarminitError
from warminit.images.patches import center_patches, second_moment
from warminit.images.source import Batch, Images
from warminit.initializers.stems.conditioning import condition_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.filters import (
    Scale,
    Scaling,
    check_scaling,
    scale_bank,
    shape_filters,
)
from warminit.initializers.stems.keywords import WhiteningKeywords, WhiteningOptions
from warminit.initializers.stems.subject import Layers, Statistics, Subject
from warminit.renamed import takes_old_names
from warminit.report import InitReport

RELATIVE_EPS = 0.0466
"""eps over the mean eigenvalue: on standardized CIFAR-10 (mean eigenvalue 0.214) eps is 0.01."""

_RANK_TOLERANCE = 1e-9


@takes_old_names("n_patches", "layer")
def whiten_(
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
    **options: Unpack[WhiteningOptions],
) -> InitReport:
    """Set a model's first convolution to whitening directions of one batch's patches.

    Count and scale are those of `prewarm_`, but the basis is another one. It has the leading
    eigenvectors of the patches' second moment, each divided by the square root of its eigenvalue
    plus eps. Trained first layers approach a whitening transform (Chowers & Weiss, 2023). Patch
    whitening as a first layer is from Page (2019) and Jordan (2024).

    Args:
        model: Any module with a convolution; call before or after the optimizer is made.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or an iterable
            of batches. uint8 is divided by 255 and, with `mean` and `std`, standardized.
        n_filters: Number of filters to set; floor(F / 2) by default, at most 2 (C K^2 - 1), see
            `whitening_directions`.
        patches_per_image: Number of patches per image; derived as for `prewarm_`.
        scale: Scale of the filters, as for `prewarm_`.
        layers: Layers to set, as for `prewarm_`.
        batches: Number of batches to read if `images` is a loader, 8 by default.
        mean: Per-channel mean that `images` were standardized with; the pixel rules need it.
        std: Per-channel standard deviation that `images` were standardized with.
        seed: Seed of the patches' positions, 0 to 2**32 - 1.
        **options: Options for ablations, see `WhiteningOptions`: `eps`, `scaling`, `trainable`,
            `raw_images`.

    Returns:
        A report that prints as a small table.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU())
        >>> images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> whiten_(model, images).filters_set
        16
    """
    check_keywords("whiten_", options, WhiteningOptions)
    return whiten_subject_(
        model,
        images,
        "whitening",
        seed,
        n_filters=n_filters,
        patches_per_image=patches_per_image,
        scale=scale,
        layers=layers,
        batches=batches,
        mean=mean,
        std=std,
        **options,
    )


def whiten_subject_(
    model: nn.Module,
    images: Images | Subject,
    method: str,
    seed: int,
    **options: Unpack[WhiteningKeywords],
) -> InitReport:
    """Whiten as `whiten_` does, with another method name or with images that are read already."""
    others: dict[str, Any] = dict(options)
    eps, trainable = others.pop("eps", RELATIVE_EPS), others.pop("trainable", True)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < float("inf"):
        raise WarminitError(
            f"eps={eps!r}: expected a finite number of at least 0. The default is {RELATIVE_EPS}."
        )
    n_filters = others.pop("n_filters", None)
    if n_filters is not None:
        n_filters = check_count("n_filters", n_filters)
    scaling = check_scaling(others.pop("scaling", None), options.get("scale"))
    return condition_(
        model,
        images,
        partial(whitening_filters, eps=eps, scaling=scaling),
        method=method,
        seed=seed,
        parameters={"eps": eps} | ({} if trainable else {"trainable": False}),
        trainable=trainable,
        n_filters=n_filters,
        **others,
    )


def whitening_filters(
    batch: Batch,
    hyper: Hyperparameters,
    kernel_size: tuple[int, ...],
    seed: int,
    *,
    eps: float = RELATIVE_EPS,
    scaling: Scaling = "global",
) -> Tensor:
    """Sample patches, find their whitening directions and scale them to filters.

    Args:
        batch: Images, scaled as the model is fed.
        hyper: Resolved hyperparameters; n_clusters is the requested number of filters.
        kernel_size: Kernel size K of the layer.
        seed: Seed of the positions.
        eps: Regularization relative to the mean eigenvalue.
        scaling: "global" for one factor for the bank, or "per-filter" for one each.

    Returns:
        (n, C, *K) float32 on the batch's device, n at most n_clusters.
    """
    patches = batch.patches(hyper.n_patches, hyper.patch_size, torch.Generator().manual_seed(seed))
    directions = whitening_directions(center_patches(patches), hyper.n_clusters, eps=eps)
    bank = scale_bank(directions, hyper.scale, patches=patches, scaling=scaling)
    return shape_filters(bank, hyper.patch_size, kernel_size)


def whitening_directions(patches: Tensor, n_filters: int, *, eps: float = RELATIVE_EPS) -> Tensor:
    """Compute whitening directions of mean-centered patches, the strongest first.

    Args:
        patches: Patches (P, D), each with its mean removed.
        n_filters: Requested number of directions.
        eps: Number added to each eigenvalue, relative to their mean, trace / D.

    Returns:
        (n, D) float64, on the patches' device: v / sqrt(eigenvalue + eps) for the leading
        eigenvectors v of the second moment. Each sign makes the largest entry positive. The null
        direction of the centering is never used, so there are m <= D - 1 directions. If n_filters >
        m, their negatives follow in the same order: n = min(n_filters, 2 m). The responses of the
        first m have the second moment diag(eigenvalue / (eigenvalue + eps)), the identity at eps =
        0.

    Raises:
        WarminitError: If the patches have no variance.
    """
    moment = second_moment(patches)
    values, vectors = torch.linalg.eigh(moment)
    values, vectors = values.flip(0)[:-1], vectors.flip(1)[:, :-1]
    rank = int((values > _RANK_TOLERANCE * values[:1]).sum()) if len(values) else 0
    if rank == 0:
        raise WarminitError(
            f"the patches of {patches.shape[1]} values have no direction after their mean is "
            "removed: expected at least one. Use a larger kernel, more channels or other images."
        )
    count = min(n_filters, rank)
    values, vectors = values[:count], vectors[:, :count].T
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    regularized = values + eps * moment.diagonal().mean()
    directions = vectors * largest.sign() / regularized.sqrt()[:, None]
    return torch.cat([directions, -directions])[:n_filters]
