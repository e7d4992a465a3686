"""model, images -> model conditioned in place with whitening directions in the centroids' place."""

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
    """Write whitening directions of one batch's patches into a model's first convolution.

    The same path as `prewarm_`, count and scale included, with another basis: the leading
    eigenvectors of the patches' second moment, each divided by the square root of its eigenvalue
    plus eps. Trained first layers approach such a transform (Chowers & Weiss, 2023); patch
    whitening as a first layer is from Page (2019) and Jordan (2024).

    Args:
        model: Any module with a convolution; call before or after the optimizer is made.
        images: (N, C, *size), one training batch as the model is fed, or an iterable of batches;
            uint8 is divided by 255 and, with `mean` and `std`, standardized.
        n_filters: Filters to set; floor(F / 2) by default. At most 2 (C K^2 - 1) are set, see
            `whitening_directions`.
        patches_per_image: Patches an image; derived as for `prewarm_`.
        scale: As for `prewarm_`.
        layers: As for `prewarm_`.
        batches: Batches to read where `images` is a loader, 8 by default.
        mean: Per-channel mean that `images` were standardized with; lets the rules see raw pixels.
        std: Per-channel standard deviation that `images` were standardized with.
        seed: Of the patches' positions, 0 to 2**32 - 1.
        **options: `eps`, `scaling`, `trainable` and `raw_images`, see `WhiteningOptions`.

    Returns:
        A report that prints as a small table.

    Raises:
        WarminitError: For any input that cannot be used; the model is then bit-identical to before.

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
    """Whiten as `whiten_` does, under another name or with images that are read already."""
    others: dict[str, Any] = dict(options)
    eps, trainable = others.pop("eps", RELATIVE_EPS), others.pop("trainable", True)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 <= eps < float("inf"):
        raise WarminitError(
            f"eps={eps!r}; a finite number of at least 0 is needed. The default is {RELATIVE_EPS}."
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
    """Take patches, find their whitening directions and scale them to filters.

    Args:
        batch: Images, as the model is fed.
        hyper: Resolved hyperparameters; n_clusters is the number of filters asked for.
        kernel_size: K of the layer.
        seed: Of the positions.
        eps: Relative to the mean eigenvalue.
        scaling: One factor for the bank, or one for each filter.

    Returns:
        (n, C, *K) float32 on the batch's device, n at most n_clusters.
    """
    patches = batch.patches(hyper.n_patches, hyper.patch_size, torch.Generator().manual_seed(seed))
    directions = whitening_directions(center_patches(patches), hyper.n_clusters, eps=eps)
    bank = scale_bank(directions, hyper.scale, patches=patches, scaling=scaling)
    return shape_filters(bank, hyper.patch_size, kernel_size)


def whitening_directions(patches: Tensor, n_filters: int, *, eps: float = RELATIVE_EPS) -> Tensor:
    """Find the directions that whiten mean-centered patches, the strongest first.

    Args:
        patches: (P, D), one mean removed per patch.
        n_filters: Directions asked for.
        eps: Added to each eigenvalue, relative to their mean trace / D.

    Returns:
        (n, D) float64, on the patches' device: v / sqrt(eigenvalue + eps) for the leading
        eigenvectors v of the second moment, signed so that the largest entry is positive. The null
        direction that centering leaves is never used, so there are m <= D - 1 of them; where
        n_filters > m their negatives follow, in the same order; n = min(n_filters, 2 m). The
        responses of the first m over the patches have the second moment
        diag(eigenvalue / (eigenvalue + eps)), the identity at eps = 0.

    Raises:
        WarminitError: If the patches have no variance.
    """
    moment = second_moment(patches)
    values, vectors = torch.linalg.eigh(moment)
    values, vectors = values.flip(0)[:-1], vectors.flip(1)[:, :-1]
    rank = int((values > _RANK_TOLERANCE * values[:1]).sum()) if len(values) else 0
    if rank == 0:
        raise WarminitError(
            f"the patches of {patches.shape[1]} values have no direction left once their mean is "
            "removed; at least one is needed. Use a larger kernel, more channels or other images."
        )
    count = min(n_filters, rank)
    values, vectors = values[:count], vectors[:, :count].T
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    regularized = values + eps * moment.diagonal().mean()
    directions = vectors * largest.sign() / regularized.sqrt()[:, None]
    return torch.cat([directions, -directions])[:n_filters]
