"""stems with large kernels, images of 224 x 224 -> time against faiss, growth, memory, its cost."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.harness import Measured, interleaved, paired_ratio
from benchmarks.images import Images, batch, inertia
from warminit.images.patches import center_patches, sample_patches
from warminit.images.source import MEMORY_BOUND, Batch, within_memory
from warminit.initializers.prewarm.clustering import kmeans
from warminit.initializers.prewarm.method import kmeans_filters, prewarm_
from warminit.initializers.stems.design_rules import Hyperparameters, derive_rules

GROUP = "large stems"
REPEATS = 3
STEMS = (("ResNet-50", 64, 7), ("ViT-B/16", 768, 16))
CPU_TIME = "CPU time of one thread"


def measure_stems(data_root: Path | None) -> list[Measured]:
    """Measure what the targets ask of large stems, on CIFAR-10 resized to 224 x 224."""
    given = batch("cifar10", 256, data_root, 224)
    found: list[Measured] = []
    if find_spec("faiss") is not None:
        for title, out_channels, kernel in STEMS:
            found += _against_faiss(title, given, out_channels, kernel)
    found += [_memory(given, *STEMS[1]), _growth(given), _image_size(given)]
    return found + _cost_of_the_bound(given, data_root)


def faiss_centroids(patches: Tensor, n_clusters: int, n_iter: int = 25) -> Tensor:
    """Cluster by faiss as it comes, on all patches."""
    import faiss

    values = patches.numpy()
    found = faiss.Kmeans(
        values.shape[1], n_clusters, niter=n_iter, seed=1, max_points_per_centroid=len(values)
    )
    found.train(values)
    return torch.from_numpy(found.centroids)


def _bounded(given: Images, out_channels: int, kernel: int) -> tuple[Batch, Hyperparameters]:
    """Return what `prewarm_` clusters: the rules' patches, or as many as the bound allows."""
    hyper = derive_rules(
        given.images, out_channels, (kernel, kernel), mean=given.mean, std=given.std
    )
    bounded, n_patches, _ = within_memory(
        Batch(given.images), hyper.n_patches, hyper.patch_size, least=hyper.n_clusters
    )
    return bounded, replace(hyper, n_patches=n_patches)


def _against_faiss(title: str, given: Images, out_channels: int, kernel: int) -> list[Measured]:
    bounded, hyper = _bounded(given, out_channels, kernel)
    patches = center_patches(bounded.patches(hyper.n_patches, hyper.patch_size, _generator(0)))
    kept: dict[str, Tensor] = {}

    def keep(name: str, cluster: Callable[[], Tensor]) -> None:
        kept[name] = cluster()

    clusterings: dict[str, Callable[[], Tensor]] = {
        "prewarm_'s k-means": lambda: kmeans(patches, hyper.n_clusters, _generator(0)),
        "faiss": partial(faiss_centroids, patches, hyper.n_clusters),
    }
    seconds = interleaved(
        {name: partial(keep, name, cluster) for name, cluster in clusterings.items()},
        REPEATS,
        clock=time.process_time,
    )
    ours, theirs = (inertia(patches, kept[name]) for name in clusterings)
    setting = (
        f"{title}, {len(patches):,} patches of {patches.shape[1]}, {hyper.n_clusters} clusters"
    )
    ratio = paired_ratio(seconds, *clusterings)
    target = "k-means' time over faiss's"
    note = f"{CPU_TIME}; faiss with its 25 iterations and one initialization"
    return [
        Measured(GROUP, setting, target, 1.5, "at most", ratio, seconds, note),
        Measured(GROUP, setting, "its inertia over faiss's", 1.0, "at most", ours / theirs),
    ]


def _memory(given: Images, title: str, out_channels: int, kernel: int) -> Measured:
    first, model = (nn.Conv2d(3, out_channels, kernel, kernel) for _ in range(2))
    prewarm_(
        first, given.images[:4], patches_per_image=200
    )  # what is imported and set up only once
    before = _memory_peak(reset=True)
    prewarm_(model, given.images, mean=given.mean, std=given.std)
    used = (_memory_peak() - before) / 2**20
    return Measured(
        GROUP,
        f"{title}, 256 images of 224 x 224",
        "memory above the input in MiB",
        MEMORY_BOUND / 2**20,
        "at most",
        used,
        note="growth of the process's resident memory at its peak" if used > 0 else "not on Linux",
    )


def _growth(given: Images) -> Measured:
    """Fit log time against log patches over three decades."""
    hypers = {n: _fixed(n) for n in (4, 40, 400, 4000)}
    patches = {n * 256: hyper for n, hyper in hypers.items()}
    seconds = interleaved(
        {
            f"{number:,} patches": partial(kmeans_filters, Batch(given.images), hyper, (3, 3), 0)
            for number, hyper in patches.items()
        },
        REPEATS,
        clock=time.process_time,
    )
    medians = [statistics.median(each) for each in seconds.values()]
    slope = float(np.polyfit(np.log(list(patches)), np.log(medians), 1)[0])
    last = math.log10(medians[-1] / medians[-2])
    return Measured(
        GROUP,
        "1,024 to 1,024,000 patches of 3 x 3 x 3, 16 clusters",
        "fitted exponent of time over the number of patches",
        1.05,
        "at most",
        slope,
        seconds,
        f"{CPU_TIME}; {last:.2f} over the last decade, where the fixed part no longer counts",
    )


def _image_size(given: Images) -> Measured:
    sizes = (32, 64, 128, 224)
    cut = {size: given.images[:, :, :size, :size].contiguous() for size in sizes}
    seconds = interleaved(
        {
            f"{size} x {size}": partial(kmeans_filters, Batch(images), _fixed(28), (3, 3), 0)
            for size, images in cut.items()
        },
        5 * REPEATS,
        clock=time.process_time,
    )
    medians = [statistics.median(each) for each in seconds.values()]
    slope = float(np.polyfit(np.log([size**2 for size in sizes]), np.log(medians), 1)[0])
    return Measured(
        GROUP,
        "7,168 patches of 3 x 3 x 3 from 256 images of 32 x 32 to 224 x 224",
        "fitted exponent of time over pixels, 0 where they do not matter",
        0.05,
        "at most",
        slope,
        seconds,
        f"{CPU_TIME}, from images to filters; the check that all pixels are finite comes on top",
    )


def _cost_of_the_bound(given: Images, data_root: Path | None) -> list[Measured]:
    """Cluster ViT-B/16's patches from the bound, twice and four times as many."""
    _, out_channels, kernel = STEMS[1]
    _, hyper = _bounded(given, out_channels, kernel)
    others = batch("cifar10", 512, data_root, 224).images[256:]
    unseen = center_patches(_patches(others, 40, kernel, 1))
    found = {}
    for times in (1, 2, 4):
        patches = center_patches(_patches(given.images, times * hyper.n_patches, kernel, 0))
        started = time.process_time()
        centroids = kmeans(patches, hyper.n_clusters, _generator(0))
        found[len(patches)] = inertia(unseen, centroids), time.process_time() - started
    (bounded, _), *_, (most, _) = found.values()
    text = "; ".join(
        f"{number:,} patches {value:.3f} in {seconds:.1f} s"
        for number, (value, seconds) in found.items()
    )
    return [
        Measured(
            "memory bound",
            f"ViT-B/16, inertia on {len(unseen):,} patches of other images",
            "inertia within the bound over that of four times the patches",
            1.05,
            "at most",
            bounded / most,
            note=f"{text}; no target was set, 1.05 is ours",
        )
    ]


def _fixed(n_patches: int) -> Hyperparameters:
    return Hyperparameters(n_clusters=16, n_patches=n_patches, patch_size=(3, 3), scale=0.25)


def _patches(images: Tensor, n_patches: int, kernel: int, seed: int) -> Tensor:
    return sample_patches(images, n_patches, (kernel, kernel), _generator(seed))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _memory_peak(*, reset: bool = False) -> int:
    """Return the largest resident memory in bytes, since the last reset; 0 where it is unknown."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return 0
    if reset:
        clear.write_text("5")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
