"""model -> the layer to condition; filters (n, C, *K) -> its weight, in place."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from warminit.errors import WarminitError

_KS_LIMIT = 2.23
"""Kolmogorov-Smirnov limit of sqrt(n) * D: a true sample exceeds it once in 10,000 times."""


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer that can be conditioned: its dotted name, itself, and how it was chosen."""

    name: str
    module: nn.Conv2d
    found: str


def find_layer(model: nn.Module, layer: str | nn.Module | None = None) -> FoundLayer:
    """Find the convolution to condition.

    Args:
        model: Any module.
        layer: Its dotted name, or itself; None takes the first convolution of the model.

    Returns:
        A convolution whose weight can be read and written.

    Raises:
        WarminitError: If there is none, or if its weight cannot be written.
    """
    if not isinstance(model, nn.Module):
        raise WarminitError(
            f"model is a {type(model).__name__}; a torch.nn.Module is needed. Pass the model "
            "itself."
        )
    named = dict(model.named_modules())
    convolutions = {name: m for name, m in named.items() if isinstance(m, nn.Conv2d)}
    choices = ", ".join(convolutions) or "none"
    if layer is None:
        if not convolutions:
            raise WarminitError(
                f"{type(model).__name__} has no nn.Conv2d among its {len(named)} modules. Pass a "
                "model whose first layer is a convolution, or name one with layer=."
            )
        name, found = next(iter(convolutions)), "the model's first convolution"
    elif isinstance(layer, str):
        name, found = layer, "given by name"
    elif not isinstance(layer, nn.Module):
        raise WarminitError(
            f"layer={layer!r} is a {type(layer).__name__}; a dotted name or a module is needed. "
            f"The model's convolutions are: {choices}."
        )
    else:
        names = [candidate for candidate, module in named.items() if module is layer]
        if not names:
            raise WarminitError(
                f"layer={type(layer).__name__}(...) is not a module of this "
                f"{type(model).__name__}. Its convolutions are: {choices}."
            )
        name, found = names[0], "given as a module"
    if name not in convolutions:
        got = type(named[name]).__name__ if name in named else "missing"
        raise WarminitError(
            f"layer={name!r} is {got}; an nn.Conv2d is needed. The model's convolutions are: "
            f"{choices}."
        )
    result = FoundLayer(name or "(the model itself)", convolutions[name], found)
    check_weight(result.name, result.module)
    return result


def check_weight(name: str, module: nn.Module) -> nn.Parameter:
    """Return a layer's weight if it exists and can be written in place, or raise."""
    weight: Any = module.weight
    if is_lazy(weight):
        raise WarminitError(
            f"{name} is lazy: its weight has no shape yet, and one with values is needed. "
            "Run one batch through the model first."
        )
    if weight.is_meta:
        raise WarminitError(
            f"{name} is on the meta device: its weight, shape {tuple(weight.shape)}, has no "
            "values. Move the model first with model.to_empty(device=...) and initialize it."
        )
    if is_parametrized(module, "weight"):
        raise WarminitError(
            f"{name} has a parametrized weight, shape {tuple(weight.shape)}, which is "
            "computed and cannot be written; a plain one is needed. Condition the model before the "
            "parametrization is registered, or remove it first."
        )
    if not isinstance(weight, nn.Parameter):
        raise WarminitError(
            f"{name}.weight is a {type(weight).__name__} that a hook computes, and cannot be "
            "written; an nn.Parameter is needed. Condition the model before the hook is added."
        )
    if not weight.is_floating_point():
        raise WarminitError(
            f"{name} has a weight of {weight.dtype}; floating point is needed. Condition the "
            "model before it is quantized."
        )
    return weight


def write_filters_(layer: FoundLayer, filters: Tensor) -> int:
    """Write filters into the first places of a layer's weight.

    The Parameter object, dtype, device, memory format and `requires_grad` stay; filters beyond
    those that are written keep their bits.

    Args:
        layer: From `find_layer`.
        filters: (n, C, *K); more than the layer has are left out.

    Returns:
        The number of filters written: min(n, out_channels).
    """
    weight = layer.module.weight
    count = min(len(filters), len(weight))
    with torch.no_grad():
        weight[:count].copy_(filters[:count])
    return count


def looks_trained(weight: Tensor) -> bool:
    """Tell whether a weight is unlike a fresh draw of every usual initializer.

    The values are held by a Kolmogorov-Smirnov test against the uniform, normal and truncated
    normal distributions of torch's default, He, Glorot and LeCun, and against the fixed deviations
    0.01 and 0.02. One fresh layer in 10,000 is called trained by chance; a short training moves the
    values off all of these.
    """
    values = weight.detach().float().flatten().cpu().double().sort().values
    fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
    variances = [1 / fan_in, 1 / fan_out, 2 / fan_in, 2 / fan_out, 2 / (fan_in + fan_out)]
    deviations = [math.sqrt(v) for v in (1 / (3 * fan_in), *variances)] + [0.01, 0.02]
    return all(
        _ks_distance(values, deviation, kind) > _KS_LIMIT / math.sqrt(values.numel())
        for deviation in deviations
        for kind in ("uniform", "normal", "truncated")
    )


def _ks_distance(values: Tensor, deviation: float, kind: str) -> float:
    """Largest distance between the sorted values' distribution and a zero-mean one."""
    if kind == "uniform":
        bound = deviation * math.sqrt(3)
        expected = ((values / bound + 1) / 2).clamp(0, 1)
    elif kind == "normal":
        expected = torch.special.ndtr(values / deviation)
    else:
        # Truncated at two deviations of the normal behind it, which shrinks its own to 0.8796.
        z = (values / deviation * 0.879626).clamp(-2, 2)
        edge = torch.special.ndtr(torch.tensor(-2.0, dtype=torch.float64))
        expected = (torch.special.ndtr(z) - edge) / (1 - 2 * edge)
    n = values.numel()
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    return float(torch.maximum(steps - expected, expected - steps + 1 / n).max())


def freeze_filters_(layer: FoundLayer, count: int) -> None:
    """Keep a layer's first filters as they are, by a hook that sets their gradient to zero."""

    def without_first(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[:count] = 0
        return gradient

    layer.module.weight.register_hook(without_first)


def affine_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return every convolution and linear layer of a model by its dotted name, in its own order."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    return {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
