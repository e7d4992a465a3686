"""model, batch -> model conditioned as the paper prints it. Listing 1, indentation restored.

The oracle of `conditioned_init`. It is kept as plain as the paper: two loops, one NumPy call a
step, no validation, no speed. Nothing here may be imported from or shared with the package. The
text is that of Section 5.2; only the blank lines and the annotations are new.
"""

import random
from typing import Any

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans


def extract_patches(images: Any, patch_size: int, n_patches: int) -> Any:
    """Helper function of Listing 1, verbatim."""
    B, C, H, W = images.shape  # noqa: RUF059 - verbatim
    patches = []
    imgs_np = images.cpu().numpy()
    for b in range(B):
        for _ in range(n_patches):
            i = random.randint(0, H - patch_size)
            j = random.randint(0, W - patch_size)
            patch = imgs_np[b, :, i : i + patch_size, j : j + patch_size]
            patches.append(patch.flatten())
    return np.array(patches)


def distance_weights(patch_size: int) -> Any:
    """Helper function of Listing 1, verbatim."""
    c = patch_size // 2
    weights = [
        1.0 / (1 + abs(i - c) + abs(j - c)) for i in range(patch_size) for j in range(patch_size)
    ]
    return np.array(weights)


def conditioned_init(
    model: Any,
    batch_images: Any,
    n_clusters: int = 16,
    n_patches: int = 25,
    scale: float = 0.20,
    patch_size: int = 3,
    seed: int = 42,
) -> Any:
    """Apply Pre-Warm to conv1 before the first forward pass."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    # Extract and mean-center patches
    patches = extract_patches(batch_images, patch_size, n_patches)
    patches -= patches.mean(axis=1, keepdims=True)
    # K-means clustering
    kmeans = MiniBatchKMeans(n_clusters=n_clusters, random_state=seed, n_init=3)
    kmeans.fit(patches)
    centroids = kmeans.cluster_centers_.copy()
    # Spatial weighting + normalization
    dw = distance_weights(patch_size)
    C_in = batch_images.shape[1]
    dw_full = np.tile(dw, C_in)
    centroids = centroids * dw_full[np.newaxis, :]
    centroids = centroids / (np.std(centroids) + 1e-8) * scale
    # Write to first n_clusters filters of conv1
    weight_tensor = torch.tensor(
        centroids.reshape(n_clusters, C_in, patch_size, patch_size), dtype=torch.float32
    )
    with torch.no_grad():
        target = model.conv1.weight
        num_to_copy = min(n_clusters, target.shape[0])
        target[:num_to_copy].copy_(weight_tensor[:num_to_copy])
    return model
