"""one rank under torchrun -> what it did and saw, in a file. The ranks behind test_distributed.py.

Each scenario gets the rank and the number of ranks, and returns what the test compares. A
`WarminitError` is part of the answer; any other error ends the rank, and with it the test.
"""

import datetime as dt
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from sharded_methods import in_fsdp1, in_fsdp2
from warminit import init_, prewarm_, whiten_
from warminit.errors import WarminitError

SEED, N_PATCHES, SCALE = 5, 7, 0.2
FSDP2_ON_CPU = hasattr(torch.cpu.Stream, "record_event")
"""torch 2.6 has FSDP2 for GPUs alone: on a CPU its forward fails, whatever the model."""


def shard(rank: int, equal: bool = False) -> Tensor:
    """The images of a rank: other images on each, and not the same number of them."""
    generator = torch.Generator().manual_seed(100 + rank)
    return torch.rand(6 if equal else 4 + 2 * rank, 3, 9, 9, generator=generator)


class Net(nn.Module):
    """Two convolutions take three channels, so that finding the first one runs the model."""

    def __init__(self) -> None:
        super().__init__()
        self.side = nn.Conv2d(3, 8, 1, bias=False)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.deeper = nn.Conv2d(8, 6, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.norm(self.stem(images)) + self.side(images)
        deeper: Tensor = self.deeper(features.relu())
        return deeper


def net() -> Net:
    torch.manual_seed(3)
    return Net()


def prewarmed(rank: int, _ranks: int) -> Any:
    model = net()
    report = prewarm_(model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    return report.layer, model.state_dict()


def whitened(rank: int, _ranks: int) -> Any:
    model = net()
    whiten_(model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    return model.stem.weight.detach()


def derived(rank: int, _ranks: int) -> Any:
    """Every hyperparameter from the images: rank 0's rules hold for all."""
    model = net()
    return dict(prewarm_(model, shard(rank) ** (1 + rank)).parameters), model.stem.weight.detach()


def in_ddp(rank: int, _ranks: int) -> Any:
    model = DistributedDataParallel(net())
    report = prewarm_(model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    model(shard(rank)).square().mean().backward()  # its buckets still hold the same parameters
    assert model.module.stem.weight.grad is not None
    return report.layer, model.module.stem.weight.detach()


def in_fsdp(rank: int, ranks: int) -> Any:
    model = net()
    mesh = init_device_mesh("cpu", (ranks,))
    fully_shard(model.deeper, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert isinstance(model, FSDPModule)
    parameters = {name: id(each) for name, each in model.named_parameters()}
    report = prewarm_(model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    assert {name: id(each) for name, each in model.named_parameters()} == parameters
    whole = {name: each.full_tensor() for name, each in model.named_parameters()}  # type: ignore[attr-defined]
    answer = model(shard(0))
    plain = net()
    plain.load_state_dict(whole, strict=False)
    torch.testing.assert_close(answer, plain(shard(0)))  # the pass computes with the filters
    return report.layer, {name: each.detach() for name, each in whole.items()}


def deep_in_fsdp(rank: int, ranks: int) -> Any:
    model = net()
    mesh = init_device_mesh("cpu", (ranks,))
    fully_shard(model.deeper, mesh=mesh)
    fully_shard(model, mesh=mesh)
    named = ["stem", "deeper"]
    prewarm_(model, shard(rank), layers=named, patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    return {name: each.full_tensor().detach() for name, each in model.named_parameters()}  # type: ignore[attr-defined]


class _Standardized(nn.Conv2d):
    """Computes with its weight less each filter's mean, over its deviation, as NFNets do."""

    def forward(self, images: Tensor) -> Tensor:
        centered = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        weight = centered / centered.std((1, 2, 3), keepdim=True)
        features: Tensor = self._conv_forward(images, weight, self.bias)
        return features


class _Mirrored(nn.Conv2d):
    """Computes with its weight upside down, so that it is not the filters that were written."""

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self._conv_forward(images, self.weight.flip(2), self.bias)
        return features


def sharded_alone(kind: type[nn.Conv2d]) -> Callable[[int, int], Any]:
    """Return what a report notes, or the error, and whether the weight is then as it was."""

    def scenario(rank: int, ranks: int) -> Any:
        torch.manual_seed(3)
        layer = kind(3, 8, 3)
        before, model = layer.weight.detach().clone(), nn.Sequential(layer)
        fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
        try:
            report = prewarm_(
                model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED
            )
            text = " ".join(report.notes)
        except WarminitError as error:
            text = str(error)
        now: Any = layer.weight
        return text, torch.equal(now.full_tensor(), before)

    return scenario


class Classifier(Net):
    """The same with a head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(super().forward(images).mean((2, 3)))
        return logits


def classifier() -> Classifier:
    torch.manual_seed(3)
    return Classifier()


def small_head(rank: int, _ranks: int) -> Any:
    model = DistributedDataParallel(classifier())
    init_(model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    return model.module.state_dict()


def small_head_in_fsdp(rank: int, ranks: int) -> Any:
    model = classifier()
    mesh = init_device_mesh("cpu", (ranks,))
    fully_shard(model.head, mesh=mesh)
    fully_shard(model, mesh=mesh)
    init_(model, shard(rank), patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    return {name: each.full_tensor().detach() for name, each in model.named_parameters()}  # type: ignore[attr-defined]


def head_refused(rank: int, ranks: int) -> Any:
    """One rank has no images: all are to say so, and no rank is to wait for another's pass."""
    model = classifier()
    fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    try:
        init_(model, empty_on_one(rank), "small-head", seed=SEED)
    except WarminitError as error:
        return str(error)
    return ""


def deep(rank: int, _ranks: int) -> Any:
    model = net()
    named = ["stem", "deeper"]
    prewarm_(model, shard(rank), layers=named, patches_per_image=N_PATCHES, scale=SCALE, seed=SEED)
    return model.state_dict()


def refused(images: Callable[[int], Any], **options: Any) -> Callable[[int, int], Any]:
    """Every rank is to raise; returned is its text, and whether its model is as it was."""

    def scenario(rank: int, _ranks: int) -> Any:
        model = net()
        before = {name: each.clone() for name, each in model.state_dict().items()}
        try:
            prewarm_(model, images(rank), **options)
        except WarminitError as error:
            kept = all(torch.equal(each, before[n]) for n, each in model.state_dict().items())
            return str(error), kept
        return "", False

    return scenario


def broken_on_one(rank: int) -> Any:
    return shard(rank) if rank != 1 else shard(rank) * float("nan")


def gray_on_one(rank: int) -> Any:
    return shard(rank) if rank != 1 else shard(rank)[:, :1]


def empty_on_one(rank: int) -> Any:
    return [shard(rank)] if rank != 1 else []


def failing_on_one(rank: int) -> Any:
    if rank == 1:
        yield torch.rand(2, 3, 9, 9)
        raise WarminitError("the disk of this rank is gone.")
    yield shard(rank)


def small_on_one(rank: int) -> Any:
    return shard(rank) if rank != 1 else shard(rank)[:, :, :2, :2]


def constant_everywhere(_rank: int) -> Any:
    images = torch.zeros(4, 3, 9, 9)
    images[:, :, ::2] = 1
    return images


SCENARIOS: dict[str, Callable[[int, int], Any]] = {
    "prewarm": prewarmed,
    "whitening": whitened,
    "derived": derived,
    "ddp": in_ddp,
    "fsdp": in_fsdp,
    "standardized fsdp": sharded_alone(_Standardized),
    "mirrored fsdp": sharded_alone(_Mirrored),
    "small head": small_head,
    "small head fsdp": small_head_in_fsdp,
    "small head without a batch fsdp": head_refused,
    "every method fsdp": lambda rank, ranks: in_fsdp2(classifier, shard(rank), ranks),
    "every method in FSDP1": lambda rank, _ranks: in_fsdp1(classifier, shard(rank)),
    "deep": deep,
    "deep fsdp": deep_in_fsdp,
    "NaN": refused(broken_on_one),
    "other channels": refused(gray_on_one),
    "no batch": refused(empty_on_one),
    "a loader that fails": refused(failing_on_one),
    "smaller than the kernel": refused(small_on_one),
    "too few distinct patches": refused(
        constant_everywhere, patches_per_image=N_PATCHES, n_filters=8
    ),
}


def main(folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=dt.timedelta(seconds=120))
    rank, ranks = dist.get_rank(), dist.get_world_size()
    here = {n: f for n, f in SCENARIOS.items() if FSDP2_ON_CPU or not n.endswith("fsdp")}
    torch.save({n: f(rank, ranks) for n, f in here.items()}, Path(folder) / f"{rank}.pt")
    dist.barrier()
    # Not destroy_process_group: gloo's threads now and then abort a rank that is done.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
