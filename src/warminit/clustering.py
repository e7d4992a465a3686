"""patches (P, D) -> centroids (n_clusters, D). K-means: fast in torch, or the paper's own."""

import math
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from warminit.errors import WarminitError

_PIECE_VALUES = 2_000_000
"""What is computed for every value of every patch is computed for so many values a time."""

_START_PATCHES = 4096
_PER_CLUSTER = 64


def kmeans(
    patches: Tensor,
    n_clusters: int,
    generator: torch.Generator,
    *,
    n_init: int = 4,
    max_iter: int = 100,
    tol: float = 1e-4,
) -> Tensor:
    """Cluster by Lloyd's algorithm from greedy k-means++ starts; the best of `n_init` is returned.

    The starts are refined on an evenly spaced part of the patches, at least 4,096 of them, and the
    best of them is then on all.

    Args:
        patches: (P, D), floating point, on any device; nothing is copied to the host but scalars.
        n_clusters: Number of centroids, at most the number of distinct patches.
        generator: On the CPU; the only source of randomness.
        n_init: Independent starts.
        max_iter: Iterations a start at most.
        tol: A start has converged when the centroids move less than `tol` times the mean variance
            of the patches, summed and squared, as in scikit-learn.

    Returns:
        (n_clusters, D), float32 or wider: each centroid is the mean of the patches nearest to it,
        up to `tol`, and no cluster is empty.

    Raises:
        WarminitError: If there are fewer distinct patches than clusters.
    """
    patches = patches if patches.dtype == torch.float64 else patches.float()
    few = patches[:: max(1, len(patches) // max(_START_PATCHES, _PER_CLUSTER * n_clusters))]
    try:
        centroids = _best_start(few, n_clusters, generator, n_init, max_iter, tol)
    except WarminitError:
        if len(few) == len(patches):
            raise
        # What is left out may be just what differs.
        return _best_start(patches, n_clusters, generator, n_init, max_iter, tol)
    return centroids if len(few) == len(patches) else _lloyd(patches, centroids, max_iter, tol)[0]


def _best_start(
    patches: Tensor,
    n_clusters: int,
    generator: torch.Generator,
    n_init: int,
    max_iter: int,
    tol: float,
) -> Tensor:
    squared = _squared_distances(patches, torch.zeros_like(patches[0]))
    starts = (_plus_plus(patches, squared, n_clusters, generator) for _ in range(n_init))
    found = [_lloyd(patches, start, max_iter, tol) for start in starts]
    return min(found, key=lambda each: each[1])[0]


def _lloyd(patches: Tensor, centroids: Tensor, max_iter: int, tol: float) -> tuple[Tensor, float]:
    """Move centroids to the means of their patches until they rest; return them and inertia."""
    squared = _squared_distances(patches, torch.zeros_like(patches[0]))
    threshold = tol * float(patches.var(dim=0, correction=0).mean())
    for _ in range(max_iter):
        labels, distances = _assign(patches, squared, centroids)
        updated = _means(patches, labels, distances, len(centroids))
        shift = float((updated - centroids).square().sum())
        centroids = updated
        if shift <= threshold:
            break
    return centroids, float(_assign(patches, squared, centroids)[1].sum())


def minibatch_kmeans(patches: NDArray[Any], n_clusters: int, seed: int) -> NDArray[Any]:
    """Cluster as Listing 1 does: scikit-learn's `MiniBatchKMeans`, three starts, the run's seed.

    Returns:
        (n_clusters, D) in the dtype that scikit-learn works in.
    """
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(n_clusters=n_clusters, random_state=seed, n_init=3)
    centroids: NDArray[Any] = model.fit(patches).cluster_centers_.copy()
    return centroids


def _plus_plus(
    patches: Tensor, squared: Tensor, n_clusters: int, generator: torch.Generator
) -> Tensor:
    """Greedy k-means++ (Arthur & Vassilvitskii, 2007): of a few candidates, the best each time."""
    n_candidates = 2 + int(math.log(n_clusters))
    draws = torch.rand(n_clusters, n_candidates, generator=generator, dtype=torch.float64)
    draws = draws.to(patches.device)
    first = (draws[0, 0] * len(patches)).long()
    chosen = [patches[first]]
    closest = _squared_distances(patches, chosen[0])
    for step in range(1, n_clusters):
        mass = closest.double().cumsum(0)
        if not bool(mass[-1] > 0):
            raise WarminitError(
                f"the images give only {step} distinct patches, fewer than n_clusters="
                f"{n_clusters}. Pass more varied images, or a smaller n_clusters."
            )
        picks = torch.searchsorted(mass, draws[step] * mass[-1], right=True)
        candidates = patches[picks.clamp_(max=len(patches) - 1)]
        distances = _distances(patches, squared, candidates)
        distances = torch.minimum(distances, closest[:, None])
        winner = distances.sum(0).argmin()
        chosen.append(candidates[winner])
        # The chosen point itself must leave the race: rounding may leave it a trace of mass.
        same = [(part == chosen[-1]).all(1) for part in patches.split(_rows(patches))]
        closest = torch.where(torch.cat(same), 0, distances[:, winner])
    return torch.stack(chosen)


def _distances(patches: Tensor, squared: Tensor, centroids: Tensor) -> Tensor:
    """Squared Euclidean distances (P, n), never below 0."""
    return (
        torch.addmm(squared[:, None], patches, centroids.T, alpha=-2)
        .add_(centroids.square().sum(1))
        .clamp_(min=0)
    )


def _assign(patches: Tensor, squared: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    rows = _rows(patches, len(centroids))
    nearest = [
        _distances(part, part_squared, centroids).min(1)
        for part, part_squared in zip(patches.split(rows), squared.split(rows), strict=True)
    ]
    labels, distances = ([part[which] for part in nearest] for which in (1, 0))
    return torch.cat(labels), torch.cat(distances)


def _means(patches: Tensor, labels: Tensor, distances: Tensor, n_clusters: int) -> Tensor:
    """Mean of each cluster; an empty one takes the patch that its own centroid serves worst."""
    counts, sums = patches.new_zeros(n_clusters), patches.new_zeros(n_clusters, patches.shape[1])
    rows = _rows(patches, n_clusters)
    for part, part_labels in zip(patches.split(rows), labels.split(rows), strict=True):
        members = torch.nn.functional.one_hot(part_labels, n_clusters).to(patches.dtype)
        counts += members.sum(0)
        sums += members.T @ part
    means = sums / counts.clamp(min=1)[:, None]
    empty = counts == 0
    if bool(empty.any()):
        worst = distances.topk(int(empty.sum())).indices
        means[empty] = patches[worst]
    return means


def _squared_distances(patches: Tensor, point: Tensor) -> Tensor:
    """Squared Euclidean distances (P,) to one point, exact to rounding."""
    parts = patches.split(_rows(patches))
    return torch.cat([(part - point).square().sum(1) for part in parts])


def _rows(patches: Tensor, n_clusters: int = 1) -> int:
    return max(1, _PIECE_VALUES // max(n_clusters, patches.shape[1]))
