"""patches on every rank -> the patches of all ranks; an error on one rank -> on all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from warminit.errors import WarminitError

ValueT = TypeVar("ValueT")


def world_size() -> int:
    """Return the number of ranks: 1 if no process group is initialized."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_sharded(weight: Tensor | None) -> bool:
    """Tell whether a weight is a DTensor, each rank holding a part."""
    return hasattr(weight, "full_tensor") and hasattr(weight, "device_mesh")


def whole(tensor: Any) -> Tensor:
    """Return a whole tensor; if it is sharded, every rank must call."""
    gathered: Tensor = tensor.full_tensor() if is_sharded(tensor) else tensor
    return gathered


def pooled(patches: Tensor) -> Tensor:
    """Return the patches of all ranks, in the order of the ranks.

    Args:
        patches: Patches (P, D) on each rank; P may differ.

    Returns:
        (sum of P, D) with the same bits on every rank; with one rank, `patches`.
    """
    if world_size() == 1:
        return patches
    sent = patches.to(_device_of_ranks(patches.device)).contiguous()
    count = torch.tensor([len(sent)], device=sent.device)
    each_count = [torch.zeros_like(count) for _ in range(world_size())]
    dist.all_gather(each_count, count)
    counts = [int(each) for each in each_count]
    if len(sent) < max(counts):
        sent = torch.cat([sent, sent.new_zeros(max(counts) - len(sent), sent.shape[1])])
    gathered = sent.new_empty(len(counts), *sent.shape)
    dist.all_gather(list(gathered), sent)
    if len(set(counts)) == 1:
        result = gathered.flatten(0, 1)
    else:
        result = torch.cat([part[:each] for part, each in zip(gathered, counts, strict=True)])
    return result.to(patches.device)


def agreed(value: ValueT) -> ValueT:
    """Return rank 0's value on every rank."""
    if world_size() == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    result: ValueT = box[0]
    return result


def agreed_tensor(value: Tensor) -> Tensor:
    """Return rank 0's tensor on every rank, bit for bit."""
    if world_size() == 1:
        return value
    sent = value.to(_device_of_ranks(value.device)).contiguous()
    dist.broadcast(sent, src=0)
    return sent.to(value.device)


@contextmanager
def all_or_none() -> Iterator[None]:
    """Raise on every rank if the code inside raises on one, so no rank waits forever.

    The code inside must not communicate. The failed rank raises its error; the others raise one
    that names the rank and its text.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        if world_size() == 1:
            raise
        failure = error
    if world_size() == 1:
        return
    texts: list[str | None] = [None] * world_size()
    dist.all_gather_object(texts, None if failure is None else str(failure))
    if failure is not None:
        raise failure
    for rank, text in enumerate(texts):
        if text is not None:
            raise WarminitError(f"rank {rank} failed, so no rank was changed. Its error: {text}")


def _device_of_ranks(device: torch.device) -> torch.device:
    """Return the device for sending tensors: images and model may be on different devices."""
    backend = dist.get_backend()
    if backend == dist.Backend.NCCL:
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu") if backend == dist.Backend.GLOO else device
