"""kmeans against scikit-learn, by hand, and by what its docstring promises of the centroids."""

import itertools
from collections.abc import Callable
from importlib.resources import files

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch import Tensor

from arm_cases import bits, state_of_generators
from warminit.errors import WarminitError
from warminit.initializers.prewarm.clustering import kmeans, minibatch_kmeans

pytestmark = pytest.mark.usefixtures("one_thread")


def cluster(patches: Tensor, n_clusters: int, seed: int = 0, n_iter: int = 6) -> Tensor:
    return kmeans(patches, n_clusters, torch.Generator().manual_seed(seed), n_iter=n_iter)


def nearest(patches: Tensor, centroids: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Label of each patch and squared distance to its centroid, one pair at a time in float64."""
    apart = patches.double().numpy()[:, None] - centroids.double().numpy()[None]
    squared = (apart**2).sum(2)
    return squared.argmin(1), squared.min(1)


def blobs(seed: int = 0) -> Tensor:
    draw = np.random.RandomState(seed)
    centers = 4 * draw.randn(12, 9)
    return torch.from_numpy(centers[draw.randint(12, size=1500)] + draw.randn(1500, 9)).float()


def fashion_patches() -> Tensor:
    """11 patches of each of 128 embedded images, standardized and centered, cut out by NumPy."""
    with np.load(str(files("warminit") / "data" / "fashion_mini.npz")) as stored:
        images = stored["train_images"][:128] / 255.0
    images = (images - images.mean()) / images.std()
    draw = np.random.RandomState(0)
    rows = [
        image[i : i + 3, j : j + 3].ravel()
        for image in images
        for i, j in draw.randint(26, size=(11, 2))
    ]
    patches = np.array(rows)
    return torch.from_numpy(patches - patches.mean(1, keepdims=True)).float()


@pytest.mark.parametrize(("data", "n_clusters"), [(blobs, 12), (fashion_patches, 16)])
def test_inertia_is_scikit_learns(data: Callable[[], Tensor], n_clusters: int) -> None:
    """At most 1 % above the best of three starts in the median of eight seeds, 4 % on each.

    On natural patches the best of three of two other seeds are up to 1.4 % apart themselves.
    """
    patches = data()
    ratios = []
    for seed in range(8):
        oracle = KMeans(n_clusters, n_init=3, random_state=seed).fit(patches.numpy())
        inertia = nearest(patches, cluster(patches, n_clusters, seed))[1].sum()
        ratios.append(inertia / oracle.inertia_)
    assert np.median(ratios) <= 1.01
    assert max(ratios) <= 1.04


def test_many_clusters_are_those_of_few() -> None:
    """Summed patch by patch, not by a product: the same means, held against scikit-learn too."""
    patches = blobs()
    oracle = KMeans(80, n_init=3, random_state=0).fit(patches.numpy())
    centroids = cluster(patches, 80, n_iter=200)
    labels, distances = nearest(patches, centroids)
    assert distances.sum() <= 1.01 * oracle.inertia_
    for label in range(80):
        mean = patches.double().numpy()[labels == label].mean(0)
        np.testing.assert_allclose(centroids[label].numpy(), mean, atol=2e-5)


def test_four_points_by_hand() -> None:
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [10.0, 0.0], [10.0, 1.0]])
    for seed in range(5):
        found = cluster(points, 2, seed)
        assert sorted(found.tolist()) == [[0.0, 0.5], [10.0, 0.5]]
    assert cluster(points, 1).tolist() == [[5.0, 0.5]]
    assert sorted(cluster(points, 4).tolist()) == points.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_each_centroid_is_the_mean_of_its_nearest_patches(seed: int) -> None:
    patches = fashion_patches()
    centroids = cluster(patches, 16, seed, n_iter=1000)  # to a fixed point of Lloyd
    labels, _ = nearest(patches, centroids)
    for label in range(16):
        mean = patches.double().numpy()[labels == label].mean(0)
        # float32 sums of about 100 values of size 1
        np.testing.assert_allclose(centroids[label].numpy(), mean, atol=2e-5)


def test_after_the_default_iterations_the_means_are_close() -> None:
    patches = fashion_patches()
    centroids = cluster(patches, 16)
    labels, _ = nearest(patches, centroids)
    means = np.array([patches.double().numpy()[labels == label].mean(0) for label in range(16)])
    # Another step of Lloyd would move them, summed and squared, by far less than the variance of
    # one value: no inertia worth the time is left in more iterations.
    assert ((means - centroids.numpy()) ** 2).sum() < 5e-3 * patches.numpy().var(axis=0).mean()


def test_no_cluster_is_ever_empty() -> None:
    """Small integer grids with many ties and duplicates, up to one cluster a distinct point."""
    draw = np.random.RandomState(0)
    for case in range(150):
        points = draw.randint(0, 4, size=(draw.randint(4, 30), 2))
        distinct = len(np.unique(points, axis=0))
        n_clusters = distinct - case % 3
        if n_clusters < 1:
            continue
        patches = torch.from_numpy(points).float()
        centroids = cluster(patches, n_clusters, case)
        labels, _ = nearest(patches, centroids)
        assert set(labels) == set(range(n_clusters)), f"case {case}: {points.tolist()}"


def test_an_empty_cluster_is_filled_by_the_patch_served_worst() -> None:
    # No start of k-means++ leaves one empty here, so the private step is asked directly.
    from warminit.initializers.prewarm.clustering import _filled

    points = torch.tensor([[0.0], [1.0], [9.0], [7.0]])
    centroids = torch.tensor([[0.5], [40.0], [50.0]])
    filled = _filled(points, centroids, torch.tensor([False, True, True]))
    assert filled.tolist() == [[0.5], [9.0], [7.0]]


def test_a_cluster_that_loses_its_patches_is_not_lost() -> None:
    """One start far from everything: Lloyd's algorithm alone would leave it there forever."""
    import warminit.initializers.prewarm.clustering as engine

    patches = blobs()
    far = torch.cat([patches[:11], torch.full((1, 9), 1e3)])[None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_plus_plus", lambda few, draws: (far, torch.tensor(True)))
        labels, _ = nearest(patches, cluster(patches, 12))
    assert set(labels) == set(range(12))


def test_patches_that_differ_only_where_the_start_does_not_look() -> None:
    """10,000 equal patches, and 3 that differ, none of them among the evenly spaced ones."""
    patches = torch.zeros(10_000, 4)
    patches[[1, 2, 3], [0, 1, 2]] = torch.tensor([1.0, 2.0, 3.0])
    assert sorted(cluster(patches, 4).sum(1).tolist()) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_close_pairs_far_apart_are_told_apart(offset: float) -> None:
    corners = [[0.0, 0.0], [0.0, 1.0], [3000.0, 0.0], [3000.0, 1.0]]
    points = torch.tensor(corners) + offset
    assert sorted(cluster(points.repeat(5, 1), 4).tolist()) == sorted(points.tolist())


def test_as_many_clusters_as_distinct_patches_finds_each() -> None:
    distinct = torch.tensor(list(itertools.product((0.0, 1.0, 5.0), repeat=2)))
    patches = distinct.repeat(7, 1)
    found = cluster(patches, 9)
    assert sorted(found.tolist()) == sorted(distinct.tolist())


def test_fewer_distinct_patches_than_clusters_is_an_error() -> None:
    patches = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]).repeat(10, 1)
    with pytest.raises(
        WarminitError,
        match=r"only 3 distinct patches: expected at least n_filters=4\. Pass more varied",
    ):
        cluster(patches, 4)


@pytest.mark.parametrize(
    ("given", "worked_in"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_dtypes(given: torch.dtype, worked_in: torch.dtype) -> None:
    centroids = cluster(blobs().to(given), 5)
    assert centroids.dtype == worked_in
    assert centroids.shape == (5, 9)


def test_the_generator_is_the_only_source_of_randomness() -> None:
    patches = blobs()
    before, kept = state_of_generators(), patches.clone()
    assert bits(cluster(patches, 7, seed=3)) == bits(cluster(patches, 7, seed=3))
    assert bits(cluster(patches, 7, seed=3)) != bits(cluster(patches, 7, seed=4))
    assert state_of_generators() == before
    assert torch.equal(patches, kept)


def test_the_papers_clustering_is_scikit_learns_minibatch() -> None:
    patches = fashion_patches().numpy()
    before = state_of_generators()
    found = minibatch_kmeans(patches, 8, 42)
    assert state_of_generators() == before
    oracle = MiniBatchKMeans(n_clusters=8, random_state=42, n_init=3).fit(patches)
    assert np.array_equal(found, oracle.cluster_centers_)
