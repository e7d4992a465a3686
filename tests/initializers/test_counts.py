"""What decides the speed of the init, counted and never timed: host copies, operations, memory.

The meta device stands in for a GPU: it computes shapes only, and whatever asks it for a value (a
copy to the host, a Python number, a test of a tensor) raises.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import warminit.initializers.prewarm.clustering
from operation_counts import Operations, operations
from warminit.images.patches import sample_patches
from warminit.images.source import Batch
from warminit.initializers.prewarm.clustering import kmeans
from warminit.initializers.prewarm.method import kmeans_filters, prewarm_
from warminit.initializers.stems.design_rules import Hyperparameters
from warminit.initializers.stems.filters import Scale
from warminit.initializers.stems.whitening import whiten_

pytestmark = pytest.mark.usefixtures("one_thread")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def clustered(patches: Tensor, n_clusters: int = 16, **options: int) -> Operations:
    return operations(lambda: kmeans(patches, n_clusters, generator(), **options))


@pytest.mark.parametrize(("n_clusters", "scale"), [(16, 0.25), (100, "match"), (16, "unit")])
def test_on_a_gpu_no_value_comes_to_the_host(
    n_clusters: int, scale: Scale, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From images to filters, but for one number: whether there are enough distinct patches."""
    plus_plus = warminit.initializers.prewarm.clustering._plus_plus
    waits = []

    def told(few: Tensor, draws: Tensor) -> tuple[Tensor, bool]:
        starts, served = plus_plus(few, draws)
        assert (served.numel(), served.dtype, served.is_meta) == (1, torch.bool, True)
        waits.append(served)
        return starts, True

    monkeypatch.setattr(warminit.initializers.prewarm.clustering, "_plus_plus", told)
    images = torch.empty(64, 3, 32, 32, device="meta")
    hyper = Hyperparameters(n_clusters, n_patches=100, patch_size=(3, 3), scale=scale)
    filters = kmeans_filters(Batch(images), hyper, (3, 3), seed=0)
    assert filters.is_meta
    assert filters.shape == (n_clusters, 3, 3, 3)
    assert len(waits) == 1


def test_the_host_reads_one_number_however_long_it_clusters() -> None:
    patches = torch.randn(5000, 9, generator=generator())
    for n_init, n_iter in ((1, 1), (4, 50)):
        counted = clustered(patches, n_init=n_init, n_iter=n_iter)
        assert counted.names["_local_scalar_dense"] == 1


def test_no_loop_over_patches_or_starts() -> None:
    few = torch.randn(3000, 9, generator=generator())
    many = torch.randn(30_000, 9, generator=generator())
    counts = [
        clustered(patches, n_init=n_init).names.total()
        for patches, n_init in ((few, 1), (few, 8), (many, 2))
    ]
    assert counts[0] == counts[1] == counts[2]
    # About 4 microseconds each: at 16 clusters they are a good part of the time that it takes.
    assert counts[0] <= 850


def test_no_loop_over_images_or_patches_when_sampling() -> None:
    small, large = torch.zeros(8, 3, 20, 20), torch.zeros(512, 3, 40, 40)
    counts = [
        operations(lambda: sample_patches(small, 2, (3, 3), generator())).names.total(),
        operations(lambda: sample_patches(large, 50, (3, 3), generator())).names.total(),
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("layout", "rows"), [(torch.contiguous_format, 3 * 3), (torch.channels_last, 3 * 3 * 3)]
)
def test_a_row_of_a_patch_is_read_at_once(layout: torch.memory_format, rows: int) -> None:
    images = torch.zeros(64, 3, 20, 20).to(memory_format=layout)
    # Its index is the largest tensor beside the patches themselves, where each value has its own.
    most = operations(lambda: sample_patches(images, 10, (3, 3), generator())).largest
    assert most == 640 * 27
    reads: list[int] = []

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func.overloadpacket.__name__ == "index_select":
                reads.append(args[2].numel())
            return func(*args, **(kwargs or {}))

    with Reads():  # type: ignore[no-untyped-call] # torch gives it no types
        sample_patches(images, 10, (3, 3), generator())
    assert reads == [640 * rows]


@pytest.mark.parametrize("arm", [prewarm_, whiten_])
def test_nothing_as_large_as_the_images_is_made(arm: Any) -> None:
    images = torch.randn(64, 3, 64, 64, generator=generator())
    model = nn.Conv2d(3, 32, 3)
    counted = operations(lambda: arm(model, images, patches_per_image=20, scale=0.25, layers=model))
    assert counted.largest < images.numel() / 4


def test_memory_beside_the_patches_does_not_grow_with_them() -> None:
    def beside(n_patches: int) -> int:
        patches = torch.randn(n_patches, 147, generator=generator())
        return clustered(patches, 32).largest

    assert beside(60_000) == beside(30_000) <= 2_000_000
