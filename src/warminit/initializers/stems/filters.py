"""centroids or directions (n, C * prod(K)) -> filters (n, C, *K): spatial weights, then scale."""

import math
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from warminit.errors import WarminitError
from warminit.images.patches import second_moment

Scale = float | Literal["parity", "match", "unit"]
Scaling = Literal["global", "per-filter"]
NAMED_SCALES = ("parity", "match", "unit")


def check_scaling(scaling: Scaling | None, scale: Scale | None) -> Scaling:
    """Return the scaling of a bank, "global" by default.

    Raises:
        WarminitError: If it is unknown, or combined with a scale that has a factor for each filter.
    """
    if scaling is None:
        return "global"
    if scaling not in get_args(Scaling):
        raise WarminitError(f"scaling={scaling!r}: expected one of {', '.join(get_args(Scaling))}.")
    if scale in {"match", "unit"}:
        raise WarminitError(
            f"scaling={scaling!r} and scale={scale!r}: expected only one of the two, since this "
            "scale has a factor for each filter. Leave scaling out."
        )
    return scaling


def spatial_weights(kernel_size: tuple[int, ...]) -> Tensor:
    """Weight each kernel position by its inverse Manhattan distance from the center (Equation 2).

    Args:
        kernel_size: Kernel size K, one number per spatial dimension; the center is floor(K / 2) in
            each.

    Returns:
        (prod(K),) float64: 1 at the center, falling with distance, never 0.

    Example:
        >>> spatial_weights((3, 3)).view(3, 3)[0]
        tensor([0.3333, 0.5000, 0.3333], dtype=torch.float64)
    """
    distance = torch.zeros((), dtype=torch.float64)
    for kernel in kernel_size:
        along = (torch.arange(kernel, dtype=torch.float64) - kernel // 2).abs()
        distance = (distance[..., None] + along).double()
    return (1 / (1 + distance)).flatten()


def weight_centroids(centroids: Tensor, patch_size: tuple[int, ...]) -> Tensor:
    """Multiply each centroid by the spatial weights, equal for all channels (step 3).

    Args:
        centroids: Centroids (n, C * prod(patch_size)) in the order C, *patch_size.
        patch_size: Size of the patches.

    Returns:
        The same shape, float64; values at a center stay.
    """
    weights = spatial_weights(patch_size).to(centroids.device)
    return centroids.double() * weights.tile(centroids.shape[1] // len(weights))


def scale_bank(
    bank: Tensor, scale: Scale, *, patches: Tensor | None = None, scaling: Scaling = "global"
) -> Tensor:
    """Scale a bank of filters (Equation 3 and its alternatives).

    Args:
        bank: (n, D), float64.
        scale: Standard deviation of the bank: a number, or "parity" for sqrt(2 / D). "unit" gives
            the response of each filter over `patches` the standard deviation 1. "match" gives it
            the expected deviation of a filter of torch's default initialization.
        patches: Patches (P, D) as sampled, not centered; "match" and "unit" require them.
        scaling: "global" for one factor for the whole bank (as in the paper), or "per-filter" for
            one each. For a number or "parity" only.

    Returns:
        (n, D) float64. A filter without a response does not change: nothing is divided by 0.

    Example:
        >>> bank = scale_bank(torch.eye(4, dtype=torch.float64), 0.2)
        >>> round(float(bank.std(correction=0)), 6)
        0.2
    """
    if scale in {"match", "unit"}:
        if patches is None:
            raise WarminitError(
                f"scale={scale!r} without patches: expected patches (P, D). Pass "
                "them, or a number as scale."
            )
        moment, mean = second_moment(patches), patches.mean(0, dtype=torch.float64)
        # It stays on the device: a number would have to come to the host.
        target = _default_response(moment) if scale == "match" else torch.ones_like(moment[0, 0])
        variance = ((bank @ moment) * bank).sum(1) - (bank @ mean).square()
        # Rounding leaves a variance where in truth there is none.
        alive = variance > 1e-12 * bank.square().sum(1) * moment.trace()
        return bank * torch.where(alive, target / variance.clamp(min=0).sqrt(), 1.0)[:, None]
    wanted = math.sqrt(2 / bank.shape[1]) if scale == "parity" else float(scale)
    if scaling == "per-filter":
        return bank / (bank.std(1, correction=0, keepdim=True) + 1e-8) * wanted
    # On the CPU the deviation is NumPy's: its summation order is part of Listing 1's bits.
    std = float(np.std(bank.numpy())) if bank.device.type == "cpu" else bank.std(correction=0)
    return bank / (std + 1e-8) * wanted


def shape_filters(
    bank: Tensor, patch_size: tuple[int, ...], kernel_size: tuple[int, ...] | None = None
) -> Tensor:
    """Reshape a bank to filters, and crop larger patches to their center (Section 4.3).

    Args:
        bank: Bank (n, C * prod(patch_size)) in the order C, *patch_size.
        patch_size: Size of the patches.
        kernel_size: Kernel size, at most `patch_size`, its default; the crop begins at floor((patch
            - kernel) / 2).

    Returns:
        (n, C, *kernel_size), float32.
    """
    filters = bank.float().view(len(bank), -1, *patch_size)
    for axis, (patch, kernel) in enumerate(zip(patch_size, kernel_size or patch_size, strict=True)):
        filters = filters.narrow(axis + 2, (patch - kernel) // 2, kernel)
    return filters


def _default_response(moment: Tensor) -> Tensor:
    """Compute the deviation of the response of a filter of torch's default initialization.

    Its D weights are independent with mean 0 and variance 1 / (3 D), so the expected square of its
    response to a patch p is |p|^2 / (3 D), and over all patches trace(second moment) / (3 D).
    """
    return (moment.trace() / (3 * len(moment))).sqrt()
