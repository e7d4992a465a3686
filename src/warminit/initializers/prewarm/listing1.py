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
    """Apply Pre-Warm to `model.conv1` before the first forward pass, exactly as in Listing 1.

    The weights agree bit for bit, and so do the side effects: the global generators of Python,
    NumPy and torch are reseeded and advanced. One thing is added: patches larger than the kernel
    are cropped to their center after normalization, as Section 4.3 says of the grid search. Use
    `prewarm_` for everything else.

    Args:
        model: Module with a convolution `conv1`; its weight is written in place.
        batch_images: Images (B, C, H, W), standardized, floating point.
        n_clusters: Number of centroids; the first min(n_clusters, out_channels) become filters.
        n_patches: Number of patches per image.
        scale: Standard deviation of the weighted centroids.
        patch_size: Patch height and width, at most H and W.
        seed: Seed of the global generators and of k-means.

    Returns:
        The same model object. The filters after the first n_clusters do not change.

    Raises:
        WarminitError: If the listing would fail. The weights are then unchanged.

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
                f"patch_size={patch_size} does not fit images of {height} x {width}: expected 1 "
                f"to {min(height, width)}. Use a smaller patch_size or larger images."
            )
        patches = listing_patches(batch_images.cpu().numpy(), n_patches, (patch_size,) * 2, random)
        if not np.issubdtype(patches.dtype, np.floating):
            raise WarminitError(
                f"batch_images has dtype {batch_images.dtype}: expected floating point, since the "
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
            "It requires model.conv1 with a floating point weight, images (B, C, H, W) and at "
            "least n_clusters patches. Call prewarm_ to see which of these is missing."
        ) from error
    return model
