"""Listing 1 as published, bit for bit: model, one batch -> model with `conv1` conditioned."""

import random
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.images.patches import center_patches, listing_patches
from warminit.initializers.prewarm.clustering import minibatch_kmeans
from warminit.initializers.stems.filters import scale_bank, shape_filters, weight_centroids

ModelT = TypeVar("ModelT", bound=nn.Module)


def conditioned_init(
    model: ModelT,
    batch_images: Tensor,
    n_clusters: int = 16,
    n_patches: int = 25,
    scale: float = 0.20,
    patch_size: int = 3,
    seed: int = 42,
) -> ModelT:
    """Apply Pre-Warm to `model.conv1` before the first forward pass, exactly as Listing 1.

    The same weights come out bit for bit, and the same side effects: the global generators of
    Python, NumPy and torch are reseeded and advanced as the listing does. One thing is added: a
    `patch_size` larger than the kernel is cropped to its center after normalization, as Section 4.3
    says of the grid search. Use `prewarm_` for everything else.

    Args:
        model: Has a convolution `conv1`; its weight is written in place.
        batch_images: (B, C, H, W), standardized, floating point.
        n_clusters: Centroids; the first min(n_clusters, out_channels) become filters.
        n_patches: Patches an image.
        scale: Standard deviation of the weighted centroids.
        patch_size: Patch height and width, at most H and W.
        seed: Of the global generators and of k-means.

    Returns:
        The same model object. Filters from n_clusters on are as they were.

    Raises:
        WarminitError: Wherever the listing raises; the weights are then as they were.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential()
        >>> model.conv1 = torch.nn.Conv2d(1, 32, 3)
        >>> images = torch.randn(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        >>> conditioned_init(model, images, n_clusters=16, n_patches=22) is model
        True
    """
    try:
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        height, width = batch_images.shape[2:]
        if not 1 <= patch_size <= min(height, width):
            raise WarminitError(
                f"patch_size={patch_size} does not fit images of {height} x {width}; it must be "
                f"from 1 to {min(height, width)}. Use a smaller patch_size or larger images."
            )
        patches = listing_patches(batch_images.cpu().numpy(), n_patches, (patch_size,) * 2, random)
        if not np.issubdtype(patches.dtype, np.floating):
            raise WarminitError(
                f"batch_images has dtype {batch_images.dtype}; floating point is needed, since the "
                "listing centers patches in place. Standardize the batch first."
            )
        centroids = minibatch_kmeans(center_patches(patches), n_clusters, seed)
        with torch.no_grad():
            conv1: Any = model.conv1
            weight = conv1.weight
            # Other shapes than (F, C, H, W) are left to the broadcast of `copy_`, as there.
            sizes = weight.shape[2:] if weight.ndim == 4 else (patch_size, patch_size)
            kernel_size = tuple(min(patch_size, kernel) for kernel in sizes)
            weighted = weight_centroids(torch.from_numpy(centroids), (patch_size,) * 2)
            bank = scale_bank(weighted, scale)
            filters = shape_filters(bank, (patch_size,) * 2, kernel_size)
            count = min(n_clusters, weight.shape[0])
            weight[:count].copy_(filters[:count])
    except WarminitError:
        raise
    except Exception as error:
        raise WarminitError(
            f"conditioned_init cannot run where Listing 1 cannot: {type(error).__name__}: {error}. "
            "It needs model.conv1 with a floating point weight, images (B, C, H, W) and at least "
            "n_clusters patches; prewarm_ checks each of these and says which one is amiss."
        ) from error
    return model
