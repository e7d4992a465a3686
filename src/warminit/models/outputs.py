"""outputs of a model or a layer -> their tensors, and whether two hold the same values."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor


def close(returned: Tensor, expected: Tensor) -> bool:
    """Tell whether two tensors agree up to the rounding of the first's dtype."""
    rounding = 4 * torch.finfo(returned.dtype).eps if returned.is_floating_point() else 0.0
    found, wanted = (each.detach().flatten().float() for each in (returned, expected))
    return torch.allclose(wanted, found, rtol=max(1e-5, rounding))


def tensors(output: Any) -> list[Tensor]:
    """Return the dense tensors in a model's outputs."""
    if isinstance(output, Tensor):
        dense = output.layout is torch.strided and not output.is_quantized
        return [output] if dense else []
    if is_dataclass(output):
        output = [getattr(output, each.name) for each in fields(output)]
    elif not isinstance(output, Mapping | list | tuple):
        # Of any other object its own tensors, and not what else it holds.
        output = [
            each for each in getattr(output, "__dict__", {}).values() if isinstance(each, Tensor)
        ]
    values = output.values() if isinstance(output, Mapping) else output
    return [tensor for each in values for tensor in tensors(each)]
