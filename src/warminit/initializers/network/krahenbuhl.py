"""model, images -> layers whose every channel has unit deviation (Krähenbühl et al., 2016)."""

from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from warminit.checks import check_count, count_positions
from warminit.errors import WarminitError
from warminit.images.patches import sample_patches
from warminit.images.source import Images
from warminit.initializers.network.forward import RunningLayer
from warminit.initializers.network.layerwise import Scope, fit_layers_, is_constant
from warminit.initializers.prewarm.clustering import kmeans
from warminit.initializers.stems.subject import Statistics
from warminit.report import InitReport

Basis = Literal["kmeans", "pca"]

_NULL, _WHITENING_EPS = 1e-6, 1e-3
"""Constant of the published code: smaller eigenvalues are dropped; it is added to the others."""


def krahenbuhl(
    model: nn.Module,
    images: Images,
    *,
    seed: int,
    layers: str | nn.Module | None = None,
    scope: Scope = "all",
    basis: Basis = "kmeans",
    beta: float = 0.0,
    patches_per_image: int = 50,
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Give every channel of every layer unit deviation and mean `beta` over the batch.

    Krähenbühl et al. (2016), "Data-dependent initializations of convolutional neural networks",
    Algorithm 1, and their code (philkr/magic_init). The input layer gets its directions from
    patches of its input. Every later convolution and linear layer is Gaussian. Then, in execution
    order, each channel's weights are divided by the deviation of its output, and its bias becomes
    beta - mean / deviation. The rescaling between layers (their option -cs) is left out. A layer
    without bias keeps its mean, and the report says so. BatchNorm, which their code does not
    support, runs in eval mode.

    Args:
        model: Any module with a convolution.
        images: Training images (N, C, *size), scaled as the model is fed: one batch, or batches of
            a loader.
        seed: Seed of the Gaussian weights, the positions and k-means.
        layers: Input layer, by dotted name or as a module; found as for `prewarm_` by default.
        scope: "all" as published, or "first" for the input layer only.
        basis: Basis of the input layer. "pca": the leading directions of the patches. "kmeans":
            centroids of the whitened patches, each of unit norm. If the patches give fewer
            directions than filters, the rest is Gaussian.
        beta: Mean of every channel that has a bias. Their function's default; their command line
            takes 0.1.
        patches_per_image: Number of patches per image for the basis.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report. In eval mode each set channel has deviation 1 on these images, and mean `beta`
        if it has a bias. A channel with a constant output does not change.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU())
        >>> images = torch.rand(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> report = krahenbuhl(model, images, seed=0, basis="pca")
        >>> round(model[0](images)[:, 0].std().item(), 3)
        1.0
    """
    if basis not in get_args(Basis):
        raise WarminitError(
            f"basis={basis!r}: expected one of {', '.join(get_args(Basis))}. Leave it out for "
            "kmeans."
        )
    if type(beta) not in {int, float} or not abs(beta) < float("inf"):
        raise WarminitError(f"beta={beta!r}: expected a finite number. Leave it out for 0.")
    count = check_count("patches_per_image", patches_per_image)
    return fit_layers_(
        model,
        images,
        partial(_unit_channels, basis=basis, beta=float(beta), patches_per_image=count),
        method="krahenbuhl",
        seed=seed,
        scope=scope,
        parameters={"basis": basis, "beta": float(beta), "patches_per_image": count},
        layers=layers,
        mean=mean,
        std=std,
    )


def _unit_channels(
    layer: RunningLayer,
    generator: torch.Generator,
    *,
    basis: Basis,
    beta: float,
    patches_per_image: int,
) -> int:
    weight, bias = layer.weight.clone(), None if layer.bias is None else layer.bias.clone()
    drawn = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
    if layer.is_input:
        _set_directions(drawn, layer, generator, basis, patches_per_image)
    drawn = drawn.to(layer.weight.device)
    layer.weight.copy_(drawn)
    if layer.bias is not None:
        layer.bias.zero_()
    outputs = layer.run()
    mean, std = outputs.mean(0), outputs.std(0, correction=0)
    alive = ~is_constant(outputs, std, layer.weight)
    divisor = torch.where(alive, std, 1)
    per_filter = (-1, *[1] * (drawn.ndim - 1))
    scaled = drawn / divisor.view(per_filter)
    layer.weight.copy_(torch.where(alive.view(per_filter), scaled, weight))
    if layer.bias is None or bias is None:
        layer.note("no bias, so the mean of its output stays")
    else:
        layer.bias.copy_(torch.where(alive, beta - mean / divisor, bias))
    count = int(alive.sum())
    if count < len(alive):
        layer.note(f"{len(alive) - count} channels not set: their output is constant")
    return count


def _set_directions(
    drawn: Tensor, layer: RunningLayer, generator: torch.Generator, basis: Basis, n_patches: int
) -> None:
    """Write the directions of the layer's input into the first filters of each group."""
    n_filters = len(drawn) // layer.groups
    kernel = tuple(drawn.shape[2:])
    if kernel:
        count_positions(layer.inputs, kernel, layer.dilation)
    short = 0
    for group, inputs in enumerate(layer.inputs.chunk(layer.groups, dim=1) if kernel else [None]):
        if inputs is None:  # a linear layer is fed its patches, and no others are there
            patches = layer.inputs.flatten(0, -2)
            most = n_patches * len(layer.inputs)
            patches = patches[torch.randperm(len(patches), generator=generator)[:most]]
        else:
            patches = sample_patches(inputs, n_patches, kernel, generator, dilation=layer.dilation)
        directions = data_directions(patches, n_filters, basis, generator)
        first = group * n_filters
        drawn[first : first + len(directions)] = directions.cpu().view(-1, *drawn.shape[1:])
        short += n_filters - len(directions)
    if short:
        layer.note(f"{short} of {len(drawn)} filters are Gaussian: the patches give no more")


def data_directions(
    patches: Tensor, n_filters: int, basis: Basis, generator: torch.Generator
) -> Tensor:
    """Return the leading principal directions of patches, or the centroids of whitened patches.

    All patches together are scaled to deviation 1. So the published constants for small eigenvalues
    mean the same on any scale of the images.

    Args:
        patches: Patches (P, D); each value's mean over the patches is removed.
        n_filters: Maximum number of directions.
        basis: "pca": eigenvectors by falling eigenvalue, the largest entry of each positive.
            "kmeans": centroids of the patches, whitened in these directions and scaled to norm 1,
            then mapped back through the whitening.
        generator: Generator of k-means.

    Returns:
        (n, D), float64: each has a response of deviation 1 over the patches. n is at most
        `n_filters`, and at most the rank with "pca". None if there are fewer patches than filters.
    """
    centered = patches.double() - patches.double().mean(0)
    spread = centered.std(correction=0)
    if len(patches) < n_filters or not bool(spread > 0):
        return centered[:0]
    unit = centered / spread
    # On the CPU: the matrix is small, and every device then gets the same eigenvectors.
    values, vectors = torch.linalg.eigh((unit.T @ unit).cpu())
    values, vectors = values.flip(0)[:n_filters], vectors.flip(1)[:, :n_filters]
    values, vectors = values[values >= _NULL], vectors[:, values >= _NULL]
    peaks = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    whitening = (vectors * peaks.sign() / (values + _WHITENING_EPS).sqrt()).to(patches.device)
    directions = whitening.T
    if basis == "kmeans":
        whitened = unit @ whitening
        norms = whitened.norm(dim=1, keepdim=True)
        # Patches at the mean have no direction; what remains of them is rounding.
        there = norms[:, 0] > 1e-9 * norms.max()
        whitened = whitened[there] / norms[there]
        n_distinct = len(whitened.round(decimals=6).unique(dim=0))
        directions = kmeans(whitened, min(n_filters, n_distinct), generator) @ whitening.T
    response = (centered @ directions.T).std(0, correction=0)
    alive = response > 1e-9 * response.max()
    unit_response: Tensor = directions[alive] / response[alive, None]
    return unit_response
