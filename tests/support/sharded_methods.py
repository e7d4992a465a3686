"""model sharded by FSDP1 or FSDP2 -> what every method does to it, beside a whole model."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from warminit import diagnose, init_
from warminit.errors import WarminitError
from warminit.initializers import METHODS

EQUAL = "equal"
OF_BODIES = {"dirac", "mimetic", "impulse", "convcov", "zero-residual", "embed-scale", "sinusoidal"}
"""Methods whose own tests have models with the parts that they set."""
CALLS = (*(name for name in METHODS if name not in OF_BODIES), "diagnose")


def in_fsdp2(build: Callable[[], nn.Module], images: Tensor, ranks: int) -> dict[str, str]:
    """Return for every method `EQUAL`, what differs, or the error."""
    answers = {}
    for name in CALLS:
        whole, sharded = build(), build()
        fully_shard(sharded, mesh=init_device_mesh("cpu", (ranks,)))
        wanted = _call(name, whole, images)
        try:
            got = _call(name, sharded, images)
        except WarminitError as error:
            kept = all(map(torch.equal, _values(sharded), _values(build())))
            answers[name] = f"{error} Kept: {kept}"
            continue
        far = [
            float((one - other).abs().max())
            for one, other in zip(_values(whole), _values(sharded), strict=True)
        ]
        answers[name] = EQUAL if max(far) < 1e-6 and got == wanted else f"differs by {max(far)}"
    return answers


def in_fsdp1(build: Callable[[], nn.Module], images: Tensor) -> dict[str, str]:
    """Return the error of every method, and whether this rank's part is as before."""
    answers = {}
    for name in CALLS:
        cpu = torch.device("cpu")
        model = FullyShardedDataParallel(build(), use_orig_params=True, device_id=cpu)
        before = [each.detach().clone() for each in model.parameters()]
        try:
            _call(name, model, images)
            answers[name] = "no error"
        except WarminitError as error:
            kept = all(map(torch.equal, before, model.parameters()))
            answers[name] = f"{error} Kept: {kept}"
    return answers


def _call(name: str, model: nn.Module, images: Tensor) -> Any:
    if name != "diagnose":
        return init_(model, images, name, seed=5).filters_set
    found = diagnose(model, images)
    return [getattr(found, each.name) for each in fields(found)]


def _values(model: nn.Module) -> list[Tensor]:
    parts: list[Any] = [each.detach() for each in model.parameters()]
    return [each.full_tensor() if hasattr(each, "full_tensor") else each for each in parts]
