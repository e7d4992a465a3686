"""model -> everything about it that an arm must leave as it is, to be compared before and after."""

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIXTURES = Path(__file__).parent / "fixtures"


def bits(tensor: Tensor) -> bytes:
    # .view(uint8) takes bfloat16 too, which NumPy does not know. Of a copy: what NumPy has seen can
    # not be resized any more.
    return (
        tensor.detach().cpu().clone().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
    )


def identity(model: nn.Module) -> list[Any]:
    """What stays even where values are written: objects, modes, hooks, buffers, gradients."""
    rows: list[Any] = []
    for name, p in model.named_parameters():
        grad = None if p.grad is None else (id(p.grad), bits(p.grad))
        rows.append((name, id(p), p.dtype, p.device, p.stride(), p.requires_grad, grad))
    for name, buffer in model.named_buffers():
        rows.append((name, id(buffer), bits(buffer)))
    for name, module in model.named_modules():
        hooks = [list(each.items()) for each in (module._forward_hooks, module._forward_pre_hooks)]
        rows.append((name, id(module), module.training, hooks, list(module.__dict__)))
    return rows


def values(model: nn.Module) -> dict[str, bytes]:
    return {name: bits(p) for name, p in model.named_parameters()}


def versions(model: nn.Module) -> list[int]:
    """How often each tensor was written: equal counts mean that nothing was put back either."""
    return [t._version for t in (*model.parameters(), *model.buffers())]


def global_states() -> bytes:
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().tolist()))
