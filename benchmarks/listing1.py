"""model, batch -> model conditioned, as plainly as Section 5.2 states it."""

import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor


def extract_patches(images: Tensor, patch_size: int, n_patches: int) -> NDArray[Any]:
    """Cut patches out of (N, C, H, W), one after another, at positions of `random.randint`."""
    pixels = images.cpu().numpy()
    height, width = pixels.shape[2:]
    patches = []
    for image in pixels:
        for _ in range(n_patches):
            row = random.randint(0, height - patch_size)
            column = random.randint(0, width - patch_size)
            patch = image[:, row : row + patch_size, column : column + patch_size]
            patches.append(patch.flatten())
    return np.array(patches)


def conditioned_init(
    model: Any, images: Tensor, n_clusters: int, n_patches: int, scale: float, seed: int = 42
) -> None:
    """Write weighted, scaled centroids of centered patches into `model.conv1` (Listing 1)."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - as the listing does
    weight = model.conv1.weight
    channels, size = weight.shape[1], weight.shape[2]
    patches = extract_patches(images, size, n_patches)
    patches -= patches.mean(axis=1, keepdims=True)
    clustering = MiniBatchKMeans(n_clusters=n_clusters, random_state=seed, n_init=3).fit(patches)
    near = [
        1 / (1 + abs(row - size // 2) + abs(column - size // 2))
        for row in range(size)
        for column in range(size)
    ]
    filters = clustering.cluster_centers_ * np.tile(near, channels)
    filters = filters / (np.std(filters) + 1e-8) * scale
    with torch.no_grad():
        shaped = torch.tensor(filters.reshape(-1, channels, size, size), dtype=torch.float32)
        weight[:n_clusters].copy_(shaped)
