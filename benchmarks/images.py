"""data set -> one standardized batch, as the benchmarks cluster it; on one thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from warminit.lab.data.load import load_dataset


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """(N, C, H, W) standardized, and the statistics that it was standardized with."""

    images: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]


def batch(name: str, count: int, data_root: Path | None, size: int | None = None) -> Images:
    """Return images of a data set, the same ones on every call, resized to `size` if given."""
    dataset = load_dataset(name, data_root=data_root)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(dataset.train_images), generator=generator)[:count]
    images = dataset.train_images[chosen].float() / 255
    if size is not None:
        images = F.interpolate(images, (size, size), mode="bilinear").clamp_(0, 1)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (dataset.mean, dataset.std))
    return Images((images - mean) / std, dataset.mean, dataset.std)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run torch, NumPy, scikit-learn and faiss on so many threads for a while."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(limits=count):
            if find_spec("faiss") is not None:
                import faiss

                faiss.omp_set_num_threads(count)
            yield
    finally:
        torch.set_num_threads(before)


def inertia(patches: Tensor, centroids: Tensor) -> float:
    """Return the mean squared distance of patches to their nearest centroids, in float64."""
    centroids = centroids.double()
    squared = centroids.square().sum(1)
    total = 0.0
    for part in patches.split(4096):
        wide = part.double()
        nearest = (squared - 2 * wide @ centroids.T).amin(1) + wide.square().sum(1)
        total += float(nearest.clamp(min=0).sum())
    return total / len(patches)
