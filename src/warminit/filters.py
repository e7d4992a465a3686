"""centroids (n, C * prod(K)) -> filters (n, C, *K): spatial weights, then scale."""

import math

import numpy as np
import torch
from torch import Tensor


def spatial_weights(kernel_size: tuple[int, ...]) -> Tensor:
    """Weight each kernel position by its inverse Manhattan distance from the center (Equation 2).

    Args:
        kernel_size: K, one number a spatial dimension; the center is floor(K / 2) in each.

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


def scale_to_std(bank: Tensor, scale: float) -> Tensor:
    """Scale a whole bank to a standard deviation, one factor for all of it (Equation 3).

    Returns:
        bank / (std(bank) + 1e-8) * scale: its standard deviation is `scale` up to the 1e-8.
    """
    # On the CPU the deviation is NumPy's: its summation order is part of Listing 1's bits.
    std = float(np.std(bank.numpy())) if bank.device.type == "cpu" else bank.std(correction=0)
    return bank / (std + 1e-8) * scale


def centroids_to_filters(
    centroids: Tensor,
    patch_size: tuple[int, ...],
    scale: float,
    kernel_size: tuple[int, ...] | None = None,
) -> Tensor:
    """Turn centroids into filters (Section 4.2, steps 3 to 5).

    Args:
        centroids: (n, C * prod(patch_size)) in the order C, *patch_size.
        patch_size: Size of the patches.
        scale: Standard deviation of the bank before a crop.
        kernel_size: Where smaller than `patch_size`, filters are cropped to their center after
            scaling (Section 4.3). None means `patch_size`.

    Returns:
        (n, C, *kernel_size), float32.
    """
    channels = centroids.shape[1] // math.prod(patch_size)
    weights = spatial_weights(patch_size).to(centroids.device).tile(channels)
    bank = scale_to_std(centroids.double() * weights, scale)
    filters = bank.float().view(-1, channels, *patch_size)
    for axis, (patch, kernel) in enumerate(zip(patch_size, kernel_size or patch_size, strict=True)):
        filters = filters.narrow(axis + 2, (patch - kernel) // 2, kernel)
    return filters
