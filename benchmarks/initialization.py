"""one batch, Listing 1 and its rivals -> how many times faster each init is, and its inertia."""

import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch import Tensor, nn

from benchmarks import listing1
from benchmarks.harness import Measured, interleaved, paired_ratio
from benchmarks.images import Images, batch, inertia, threads
from benchmarks.stems import faiss_centroids, measure_stems
from warminit.images.patches import (
    center_patches,
    listing_generator,
    listing_patches,
    sample_patches,
)
from warminit.initializers import init_
from warminit.initializers.network.lsuv import lsuv
from warminit.initializers.prewarm.clustering import kmeans
from warminit.initializers.prewarm.listing1 import conditioned_init
from warminit.initializers.prewarm.method import prewarm_
from warminit.initializers.stems.whitening import whiten_
from warminit.lab.networks.build import build_model

GROUP = "init"
REPEATS = 9
SEEDS = 12
N_CLUSTERS = 16
CPU_TIME = "CPU time of one thread"

SETTINGS = (("mnist", "MNIST", 58, 0.20), ("cifar10", "CIFAR-10", 28, 0.25))
"""Data set, its title, and n_patches and scale as the paper's rules give them."""


def measure(data_root: Path | None) -> list[Measured]:
    """Measure Section 1 of the targets. One thread and CPU time, since machines are shared."""
    found: list[Measured] = []
    with threads(1):
        for name, title, n_patches, scale in SETTINGS:
            given = batch(name, 256, data_root)
            setting = f"{title}, 256 images x {n_patches} patches"
            found += _whole_inits(setting, given, n_patches, scale)
            found.append(_extraction(f"{title}, 256 images x 58 patches", given))
            found.append(_inertia(setting, given, n_patches))
        found += measure_stems(data_root)
    return found


def skipped() -> list[str]:
    """Say what this machine cannot measure."""
    if find_spec("faiss") is None:
        return ['large stems beside faiss: not installed, pip install "warminit[bench]"']
    return []


def simple_cnn(images: Tensor) -> Any:
    """Return the paper's model for images, whose first layer is `conv1`."""
    channels, height, width = images.shape[1:]
    return build_model("simplecnn", channels, (height, width), n_classes=10)


def _whole_inits(setting: str, given: Images, n_patches: int, scale: float) -> list[Measured]:
    images = given.images
    model = simple_cnn(images)
    as_listing: dict[str, Any] = {"n_patches": n_patches, "scale": scale}
    given_rules: dict[str, Any] = {"patches_per_image": n_patches, "scale": scale}
    patches = center_patches(_patches(images, n_patches, 0))
    clusters = N_CLUSTERS
    inits: dict[str, Callable[[], object]] = {
        "Listing 1": partial(listing1.conditioned_init, model, images, clusters, **as_listing),
        "conditioned_init": partial(conditioned_init, model, images, clusters, **as_listing),
        "prewarm_": partial(prewarm_, model, images, n_filters=clusters, **given_rules),
        "prewarm_, rules derived": partial(prewarm_, model, images, mean=given.mean, std=given.std),
        "whiten_": partial(whiten_, model, images, n_filters=clusters, **given_rules),
        "init_ (the default)": partial(init_, model, images),
        "lsuv": partial(lsuv, model, images, seed=0),
    }
    contenders = {name: _on_fresh_weights(model, init) for name, init in inits.items()}
    contenders |= {
        "kmeans (ours, alone)": lambda: kmeans(patches, clusters, _generator(0)),
        "MiniBatchKMeans (alone)": _scikit_learn(MiniBatchKMeans, patches),
        "KMeans (alone)": _scikit_learn(KMeans, patches),
    }
    if find_spec("faiss") is not None:
        contenders["faiss k-means (alone)"] = partial(faiss_centroids, patches, clusters)
    seconds = interleaved(contenders, REPEATS, warmup=2, clock=time.process_time)
    derived = paired_ratio(seconds, "Listing 1", "prewarm_, rules derived")
    return [
        Measured(
            GROUP,
            setting,
            "conditioned_init against Listing 1, times faster",
            1.0,
            "at least",
            paired_ratio(seconds, "Listing 1", "conditioned_init"),
            seconds,
            CPU_TIME,
        ),
        Measured(
            GROUP,
            setting,
            "prewarm_ against Listing 1, times faster end to end",
            8.0,
            "at least",
            paired_ratio(seconds, "Listing 1", "prewarm_"),
            {},
            f"{CPU_TIME}; hyperparameters given to both; {derived:.2f} times with them derived",
        ),
        Measured(
            GROUP,
            setting,
            "whiten_ against prewarm_, times faster",
            1.0,
            "at least",
            paired_ratio(seconds, "prewarm_", "whiten_"),
            {},
            CPU_TIME,
        ),
        Measured(
            GROUP,
            setting,
            "init_ with no arm, ms",
            50.0,
            "at most",
            1000 * statistics.median(seconds["init_ (the default)"]),
            {},
            CPU_TIME,
        ),
    ]


def _on_fresh_weights(model: nn.Module, init: Callable[[], object]) -> Callable[[], object]:
    """Put the weights back first: those that an init has already written are checked for longer."""
    fresh = {name: value.clone() for name, value in model.state_dict().items()}

    def run() -> None:
        model.load_state_dict(fresh)
        init()

    return run


def _extraction(setting: str, given: Images) -> Measured:
    pixels = given.images.numpy()
    contenders: dict[str, Callable[[], object]] = {
        "Listing 1's loop": partial(listing1.extract_patches, given.images, 3, 58),
        "listing_patches": lambda: listing_patches(pixels, 58, (3, 3), listing_generator(42)),
        "sample_patches": lambda: sample_patches(given.images, 58, (3, 3), _generator(42)),
    }
    random_state = random.getstate()
    seconds = interleaved(contenders, REPEATS, warmup=2, clock=time.process_time)
    random.setstate(random_state)
    fast = paired_ratio(seconds, "Listing 1's loop", "sample_patches")
    return Measured(
        GROUP,
        setting,
        "the same patches as Listing 1's loop, times faster",
        15.0,
        "at least",
        paired_ratio(seconds, "Listing 1's loop", "listing_patches"),
        seconds,
        f"{CPU_TIME}; prewarm_'s own sampling {fast:.0f} times",
    )


def _inertia(setting: str, given: Images, n_patches: int) -> Measured:
    ratios: dict[str, list[float]] = {"prewarm_": [], "Listing 1": [], "again": []}
    for seed in range(SEEDS):
        patches = center_patches(_patches(given.images, n_patches, seed))
        best, again = (
            KMeans(N_CLUSTERS, n_init=3, random_state=state).fit(patches.numpy())
            for state in (seed, 1000 + seed)
        )
        best_of_three = best.inertia_ / len(patches)
        mini = _scikit_learn(MiniBatchKMeans, patches, seed)()
        found = {
            "prewarm_": inertia(patches, kmeans(patches, N_CLUSTERS, _generator(seed))),
            "Listing 1": inertia(patches, torch.from_numpy(mini.cluster_centers_)),
            "again": again.inertia_ / len(patches),
        }
        for name, value in found.items():
            ratios[name].append(value / best_of_three)
    median = {name: statistics.median(values) for name, values in ratios.items()}
    return Measured(
        GROUP,
        setting,
        "prewarm_'s inertia over that of scikit-learn's best of three",
        1.01,
        "at most",
        median["prewarm_"],
        {},
        f"median of {SEEDS} seeds, at worst {max(ratios['prewarm_']):.3f}; Listing 1's clusters "
        f"{median['Listing 1']:.3f}; scikit-learn itself with another seed, at worst "
        f"{max(ratios['again']):.3f}",
    )


def _scikit_learn(kind: Any, patches: Tensor, seed: int = 42) -> Callable[[], Any]:
    return lambda: kind(N_CLUSTERS, n_init=3, random_state=seed).fit(patches.numpy())


def _patches(images: Tensor, n_patches: int, seed: int) -> Tensor:
    return sample_patches(images, n_patches, (3, 3), _generator(seed))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
