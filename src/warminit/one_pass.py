"""model, one image -> what it returns, with everything about the model left as it was."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def run_once(
    model: nn.Module, images: Tensor, attach: Callable[[], list[Any]]
) -> tuple[Any, Exception | None]:
    """Run one image through a model in eval mode, and leave all as it was.

    Args:
        model: Any module.
        images: (N, C, *size); the first image is used.
        attach: Registers hooks for the pass and returns their handles.

    Returns:
        What the model returned, and what it raised; one of them is None.
    """
    weight = next(iter(model.parameters()), torch.zeros(()))
    image = images[:1].to(device=weight.device, dtype=weight.dtype)
    with undisturbed(model):
        handles = attach()
        try:
            model.eval()
            with torch.no_grad():
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
            with torch.no_grad():
                for buffer, value in buffers:
                    # What is as it was is not written: autograd may have saved it.
                    if not torch.equal(buffer, value):
                        buffer.copy_(value)
            for module in fully_sharded(model):
                module.reshard()


def fully_sharded(model: nn.Module) -> list[Any]:
    """Return the modules whose weights FSDP2 gathers before they run and shards again after."""
    return [module for module in model.modules() if isinstance(module, _fsdp_module())]


def _fsdp_module() -> type:
    # Importing it costs; a model can only hold one where somebody has imported it already.
    home: Any = sys.modules.get("torch.distributed.fsdp")
    return getattr(home, "FSDPModule", type(None))
