"""patches (P, D) -> centroids (n_clusters, D) by k-means: fast in torch, or as in the paper."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from warminit.errors import WarminitError

_PIECE_VALUES = 2_000_000
"""Number of values (clusters times patches) that are computed at a time."""

_START_PATCHES = 2048
_START_PER_CLUSTER = 8
_START_ITERATIONS = 6
_CANDIDATES = 8

_STEP, _MOMENTUM = 1.8, 0.3
"""Overshoot and momentum of an update: a third of Lloyd's iterations suffice."""

_FEW_VALUES, _BLOCK = 12, 16
"""Table widths for quick products on a CPU: below the first, or multiples of the second."""

_MANY_CLUSTERS = 64
"""Number of clusters from which adding patches to sums is faster on a CPU than a product."""


def kmeans(
    patches: Tensor,
    n_clusters: int,
    generator: torch.Generator,
    *,
    n_init: int = 2,
    n_iter: int = 6,
) -> Tensor:
    """Cluster by Lloyd's algorithm after greedy k-means++; return the best of `n_init` runs.

    Each run draws and refines its centroids on an evenly spaced part of the patches: about 2,048
    patches or 8 per cluster. The best run is then refined on all patches. The number of iterations
    is fixed, so on a GPU the host waits only once, to check for enough distinct patches.

    Args:
        patches: Patches (P, D), floating point; all work is done on their device.
        n_clusters: Number of centroids, at most the number of distinct patches.
        generator: Generator on the CPU; the only source of randomness.
        n_init: Number of independent runs.
        n_iter: Number of iterations over all patches, at least 1. All but the last move beyond the
            means, with momentum. Enough iterations reach a fixed point of Lloyd's algorithm.

    Returns:
        (n_clusters, D), float32 or wider. Each centroid is the mean of the patches that were
        nearest to it in the last iteration, or a patch if there were none.

    Raises:
        WarminitError: If there are fewer distinct patches than clusters.
    """
    patches = patches if patches.dtype == torch.float64 else patches.float()
    few = patches[:: max(1, len(patches) // max(_START_PATCHES, _START_PER_CLUSTER * n_clusters))]
    draws = torch.rand(n_clusters, n_init, _CANDIDATES, generator=generator, dtype=torch.float64)
    draws = draws.to(patches.device)
    starts, served = _plus_plus(few[::2] if len(few) >= _START_PATCHES else few, draws)
    if not bool(served):
        # What was left out may be just what makes the number.
        starts, few = _distinct_starts(patches, draws), patches
    few = _laid_out(few)
    starts, counts = _lloyd(few, starts, _START_ITERATIONS)
    # Selected by a tensor of one index: a number would have to come to the host.
    best = _nearness(few, starts).sum(1).argmax(0, keepdim=True)
    centroids = _filled(few, starts.index_select(0, best)[0], counts.index_select(0, best)[0] == 0)
    starts, counts = _lloyd(_laid_out(patches), centroids[None], n_iter)
    return _filled(few, starts[0], counts[0] == 0)


def minibatch_kmeans(patches: NDArray[Any], n_clusters: int, seed: int) -> NDArray[Any]:
    """Cluster as Listing 1 does: scikit-learn's `MiniBatchKMeans(n_init=3)` with the run's seed.

    Returns:
        (n_clusters, D) in scikit-learn's dtype.
    """
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(n_clusters=n_clusters, random_state=seed, n_init=3)
    centroids: NDArray[Any] = model.fit(patches).cluster_centers_.copy()
    return centroids


def _plus_plus(patches: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Choose centroids by greedy k-means++ (Arthur & Vassilvitskii, 2007).

    Args:
        patches: Patches (P, D).
        draws: Uniform numbers (n_clusters, n_init, candidates) in [0, 1), float64.

    Returns:
        (n_init, n_clusters, D), and whether every step found a new distinct patch.
    """
    _, n_init, n_candidates = draws.shape
    centered = patches - patches.mean(0)
    centered = centered / centered.abs().amax().clamp(min=torch.finfo(patches.dtype).tiny)
    # What rounding leaves between equal patches must not count as a distance.
    squared = centered.square().sum(1) * (1 - 32 * torch.finfo(patches.dtype).eps)
    # Whole numbers: their cumulated sums are the same on every run, those of floats on a GPU not.
    unit = 2**44 / squared.sum().clamp(min=1)
    ones = torch.ones_like(squared)
    as_points = torch.cat([centered.T, squared[None], ones[None]]) * unit
    as_centers = torch.cat([centered * -2, ones[:, None], squared[:, None]], dim=1)
    picks = (draws[0, :, 0] * len(patches)).long()
    closest = (as_centers.index_select(0, picks) @ as_points).clamp_(min=0)
    chosen = [picks]
    total = torch.ones((), device=patches.device)
    first_of_each = n_candidates * torch.arange(n_init, device=patches.device)
    for draw in draws[1:]:
        mass = closest.cumsum(1, dtype=torch.int64)
        total = mass[:, -1:]
        picks = torch.searchsorted(mass, (draw * total).long(), right=True).flatten()
        picks = picks.clamp_(max=len(patches) - 1)
        distances = (as_centers.index_select(0, picks) @ as_points).clamp_(min=0)
        distances = torch.minimum(distances.view(n_init, n_candidates, -1), closest[:, None])
        best = distances.sum(2).argmin(1).add_(first_of_each)
        closest = distances.flatten(0, 1).index_select(0, best)
        chosen.append(picks.index_select(0, best))
    # Distances only ever fall: where something is left at the last step, there was at every one.
    return patches[torch.stack(chosen, dim=1)], (total > 0).all()


def _distinct_starts(patches: Tensor, draws: Tensor) -> Tensor:
    """Start from distinct patches, or raise if there are too few."""
    distinct = patches.unique(dim=0)
    if len(distinct) < len(draws):
        raise WarminitError(
            f"the images give only {len(distinct)} distinct patches: expected at least "
            "n_filters="
            f"{len(draws)}. Pass more varied images, or a smaller n_filters."
        )
    starts, served = _plus_plus(distinct.double(), draws)
    return torch.where(served, starts, distinct[: len(draws)]).to(patches.dtype)


def _lloyd(patches: Tensor, centroids: Tensor, n_iter: int) -> tuple[Tensor, Tensor]:
    """Move centroids (n_init, n_clusters, D) to and beyond the means of their patches.

    Returns:
        The centroids, and the counts (n_init, n_clusters) of the last assignment. If a count is 0,
        the centroid has no meaning.
    """
    found = before = centroids.flatten(0, 1)
    for left in reversed(range(n_iter)):
        sums, counts = _sums(patches, found.view_as(centroids))
        means = torch.where(counts[:, None] > 0, sums / counts[:, None], found)
        if left:
            means = found.lerp(means, _STEP).add_(found - before, alpha=_MOMENTUM)
        found, before = means, found
    return found.view_as(centroids), counts.view(centroids.shape[:2])


def _sums(patches: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Sum and count the patches of each cluster; on a tie, a patch counts in each."""
    n_init, n_clusters, size = centroids.shape
    sums = patches.new_zeros(n_init * n_clusters, patches.shape[1])
    counts = patches.new_zeros(n_init * n_clusters)
    for part in patches.split(_rows(centroids)):
        scores = _scores(part, centroids)
        if n_clusters >= _MANY_CLUSTERS and patches.is_cpu:
            for start, labels in enumerate(scores.max(1).indices):
                clusters = labels + start * n_clusters
                sums.index_add_(0, clusters, part)
                counts += clusters.bincount(minlength=len(counts))
        else:
            members = scores.eq_(scores.amax(1, keepdim=True)).flatten(0, 1)
            counts += members.sum(1)
            sums.addmm_(members, part)
    return sums[:, :size], counts


def _scores(patches: Tensor, centroids: Tensor) -> Tensor:
    """Return the closeness (|p|^2 - |p - c|^2) / 2 of each patch, (n_init, n_clusters, P)."""
    flat = centroids.flatten(0, 1)
    halves = torch.linalg.vecdot(flat, flat) * -0.5
    values = patches.T[: flat.shape[1]]
    return torch.addmm(halves[:, None], flat, values).view(*centroids.shape[:2], -1)


def _laid_out(patches: Tensor) -> Tensor:
    """Pad a small table, so products with it are up to twice as fast.

    Returns:
        Patches (P, D or more); columns beyond D are 0.
    """
    if patches.numel() > _PIECE_VALUES:
        return patches
    if patches.shape[1] < _FEW_VALUES:
        return patches.T.contiguous().T
    return torch.nn.functional.pad(patches, (0, -patches.shape[1] % _BLOCK))


def _filled(patches: Tensor, centroids: Tensor, empty: Tensor) -> Tensor:
    """Give empty clusters the patches farthest from their centroid."""
    distances = patches.square().sum(1) - 2 * _nearness(patches, centroids[None])[0]
    worst = distances.topk(min(len(centroids), len(patches))).indices
    rank = (empty.cumsum(0) - 1).clamp_(min=0)
    return torch.where(empty[:, None], patches[worst[rank], : centroids.shape[1]], centroids)


def _nearness(patches: Tensor, centroids: Tensor) -> Tensor:
    """Return (|p|^2 - |p - c|^2) / 2 for the nearest centroid of each run, (n_init, P)."""
    parts = patches.split(_rows(centroids))
    return torch.cat([_scores(part, centroids).amax(1) for part in parts], dim=1)


def _rows(centroids: Tensor) -> int:
    return max(1, _PIECE_VALUES // max(centroids.shape[0] * centroids.shape[1], centroids.shape[2]))
