"""model, one image -> what it returns, with everything about the model left as it was."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def run_once(
    model: nn.Module,
    images: Tensor,
    attach: Callable[[], list[Any]],
    within: AbstractContextManager[Any] | None = None,
) -> tuple[Any, Exception | None]:
    """Run one image through a model in eval mode, and leave all as it was.

    Args:
        model: Any module.
        images: (N, C, *size); the first image is used.
        attach: Registers hooks for the pass and returns their handles.
        within: Entered for the pass: what sees the functions that it calls.

    Returns:
        What the model returned, and what it raised; one of them is None.
    """
    weight = _first_weight(model)
    image = images[:1].to(device=weight.device, dtype=weight.dtype)
    with undisturbed(model):
        handles = attach()
        try:
            # Not model.eval(): a model's own may merge or swap weights, and would not be undone.
            for module in model.modules():
                module.training = False
            with torch.no_grad(), within or nullcontext():
                return model(image), None
        except Exception as error:  # noqa: BLE001 - whatever a model may raise
            return None, error
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Run the model without compiling it; put modes, buffers and random states back as they were.

    So are the weights that FSDP2 gathers for a pass: each rank holds its own part again.
    """
    modes = [(module, module.training) for module in model.modules()]
    # A forward pass may write into a buffer, or put another tensor in its place.
    named = [(module._buffers, dict(module._buffers)) for module, _ in modes]  # noqa: SLF001 - torch has no public name for it
    buffers = [(each, each.detach().clone()) for each in model.buffers() if not each.is_meta]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is what is kept
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices), torch.compiler.set_stance("force_eager"):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - as above
            for module, training in modes:
                module.training = training
            for place, objects in named:
                place.clear()
                place.update(objects)
            with torch.no_grad():
                for buffer, value in buffers:
                    # What is as it was is not written: autograd may have saved it.
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)
            for module in fully_sharded(model):
                module.reshard()


def _first_weight(model: nn.Module) -> Tensor:
    """Return the tensor whose device and dtype an image for the model has."""
    kinds = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = (weight for module in (*layers, model) for weight in module.parameters())
    return next((each for each in weights if each.dtype.is_floating_point), torch.zeros(()))


def fully_sharded(model: nn.Module) -> list[Any]:
    """Return the modules whose weights FSDP2 gathers before they run and shards again after."""
    return [module for module in model.modules() if isinstance(module, _fsdp_module())]


def _fsdp_module() -> type:
    # Importing it costs; a model can only hold one where somebody has imported it already.
    home: Any = sys.modules.get("torch.distributed.fsdp")
    return getattr(home, "FSDPModule", type(None))
