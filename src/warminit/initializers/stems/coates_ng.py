"""model, images -> input layer set to the dictionary of Coates & Ng's spherical k-means."""

from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.source import Batch, Images
from warminit.initializers.stems.conditioning import condition_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.filters import scale_bank, shape_filters
from warminit.initializers.stems.keywords import StemOptions
from warminit.report import InitReport

_ITERATIONS = 10
"""Number of damped updates; fixed, so that the same seed gives the same bits."""


def coates_ng(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    norm_eps: float = 0.0025,
    zca_eps: float = 0.1,
    **options: Unpack[StemOptions],
) -> InitReport:
    """Set filters to a dictionary learned by spherical k-means on whitened patches.

    Coates & Ng (2012), "Learning feature representations with k-means". Each patch loses its mean
    and is divided by sqrt(variance + norm_eps). The patches are ZCA-whitened with W = V (L +
    zca_eps I)^(-1/2) V^T of their covariance. Ten damped updates of spherical k-means give unit
    directions d. A layer sees raw patches, so the linear steps before d are folded into the filter:
    C W d, where C = I - 11^T / D removes the brightness. Two steps are left out: the division by
    each patch's contrast, which is not linear, and the mean of the normalized patches, which would
    be a bias.

    Args:
        model: Any module with a convolution; biases stay.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or batches of
            a loader.
        seed: Seed of the positions and of the first directions.
        norm_eps: Share of the variance of the sampled pixels, above 0. The paper's value is 10 on
            pixels from 0 to 255. At CIFAR-10's deviation of 63 this is 0.0025 of the variance.
        zca_eps: Number added to the eigenvalues, above 0; the paper's value for patches of unit
            contrast.
        **options: Options of `prewarm_`, including `layers` and `batches`; count and scale are
            Pre-Warm's.

    Returns:
        The report. If patches are no larger than the kernel, each set filter sums to zero, so it
        does not respond to brightness.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Conv2d(1, 8, 3)
        >>> images = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> report = coates_ng(model, images, seed=0, patches_per_image=20)
        >>> report.filters_set, bool(model.weight[:4].sum((1, 2, 3)).abs().max() < 1e-5)
        (4, True)
    """
    for name, value in (("norm_eps", norm_eps), ("zca_eps", zca_eps)):
        if type(value) not in {int, float} or not 0 < value < float("inf"):
            raise WarminitError(
                f"{name}={value!r}: expected a finite number above 0, since flat patches and flat "
                "directions are divided by its square root. Leave it out for the paper's value."
            )
    return condition_(
        model,
        images,
        partial(_dictionary, norm_eps=float(norm_eps), zca_eps=float(zca_eps)),
        method="coates-ng",
        seed=seed,
        parameters={"norm_eps": norm_eps, "zca_eps": zca_eps},
        **options,
    )


def _dictionary(
    batch: Batch,
    hyper: Hyperparameters,
    kernel_size: tuple[int, ...],
    seed: int,
    *,
    norm_eps: float,
    zca_eps: float,
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    patches = batch.patches(hyper.n_patches, hyper.patch_size, generator).double()
    n_values = patches.shape[1]
    # Per channel, so that a shift of one channel against another does not count as contrast.
    by_channel = patches.view(len(patches), batch.channels, -1).transpose(0, 1).flatten(1)
    variance = by_channel.var(1, correction=0).mean()
    if not bool(variance > 0):
        raise WarminitError(
            f"the images give only {len(patches.unique(dim=0))} distinct patches, all of them "
            "constant: expected at least one that varies. Pass more varied images, or more patches."
        )
    normalized = normalize_contrast(patches, norm_eps * float(variance))
    whitening = zca(normalized, zca_eps)
    whitened = (normalized - normalized.mean(0)) @ whitening
    start = torch.randn(hyper.n_clusters, n_values, generator=generator, dtype=torch.float64)
    directions = spherical_kmeans(whitened, start.to(batch.device))
    bank = directions @ whitening
    bank = bank - bank.mean(1, keepdim=True)
    bank = scale_bank(bank, hyper.scale, patches=patches)
    return shape_filters(bank, hyper.patch_size, kernel_size).to(batch.device)


def normalize_contrast(patches: Tensor, norm_eps: float) -> Tensor:
    """Remove each patch's mean and divide by sqrt(its variance + norm_eps), all channels at once.

    Args:
        patches: Patches (P, D).
        norm_eps: Number in the patches' units squared, above 0.

    Returns:
        (P, D); rows sum to zero and have a variance below 1.
    """
    centered = patches - patches.mean(1, keepdim=True)
    normalized: Tensor = centered / (centered.square().mean(1, keepdim=True) + norm_eps).sqrt()
    return normalized


def zca(patches: Tensor, eps: float) -> Tensor:
    """Return the whitening matrix that is nearest to the identity.

    Args:
        patches: (P, D), float64; their mean is removed first.
        eps: Added to each eigenvalue of their covariance, above 0.

    Returns:
        (D, D), symmetric: V (L + eps I)^(-1/2) V^T. Signs of eigenvectors cancel.
    """
    centered = patches - patches.mean(0)
    # On the CPU: the matrix is small, and every device then gets the same eigenvectors.
    values, vectors = torch.linalg.eigh((centered.T @ centered / len(patches)).cpu())
    # Rounding can leave a null direction slightly below 0.
    whitening: Tensor = (vectors / (values.clamp(min=0) + eps).sqrt()) @ vectors.T
    return whitening.to(patches.device)


def spherical_kmeans(patches: Tensor, start: Tensor, *, n_iterations: int = _ITERATIONS) -> Tensor:
    """Run the chapter's damped updates: S := one projection a patch, D := norm(X S^T + D).

    Each patch is assigned to the direction with its largest projection in magnitude, with that
    projection as its code. An updated direction is never zero: along the old direction it has 1
    plus the sum of squared codes.

    Args:
        patches: (P, D), whitened.
        start: Initial directions (n, D), no row zero; normalized first.
        n_iterations: Number of updates.

    Returns:
        (n, D): unit rows. A direction without patches stays.
    """
    directions: Tensor = start / start.norm(dim=1, keepdim=True)
    for _ in range(n_iterations):
        projections = patches @ directions.T
        chosen = projections.abs().argmax(1, keepdim=True)
        codes = torch.zeros_like(projections).scatter_(1, chosen, projections.gather(1, chosen))
        directions = codes.T @ patches + directions
        directions = directions / directions.norm(dim=1, keepdim=True)
    return directions
