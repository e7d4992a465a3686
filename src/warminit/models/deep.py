"""model conditioned so far, images -> the activations that the next layer sees."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from warminit.errors import WarminitError
from warminit.models.find import (
    CONVOLUTIONS,
    FoundLayer,
    execution_order,
    unwrap,
)
from warminit.models.one_pass import fully_sharded, undisturbed
from warminit.models.write import check_weight


class _Reached(Exception):  # noqa: N818 - not an error: the layer that was asked for is reached
    pass


def chosen_layers(
    model: nn.Module, first: FoundLayer, layers: int | Sequence[str], images: Tensor
) -> list[FoundLayer]:
    """Return the convolutions to condition, in the order in which they run.

    Args:
        model: Any module.
        first: The input layer; it comes first where `layers` is a number.
        layers: How many convolutions, or their dotted names.
        images: (N, C, *size).

    Raises:
        WarminitError: If a name is no convolution that runs, or there are fewer than asked for.
    """
    named = dict(unwrap(model).named_modules())
    order = [
        name
        for name in execution_order(unwrap(model), images)
        if isinstance(named[name], CONVOLUTIONS)
    ]
    if isinstance(layers, int) and not isinstance(layers, bool):
        if first.name in order:
            order = order[order.index(first.name) :]
        if not 1 <= layers <= len(order):
            raise WarminitError(
                f"layers={layers}; the model runs {len(order)} convolutions from {first.name} on. "
                f"Choose 1 to {len(order)}, or name them."
            )
        names = order[:layers]
    elif isinstance(layers, str) or not isinstance(layers, Sequence):
        raise WarminitError(
            f"layers={layers!r} is a {type(layers).__name__}; a number or a list of dotted names "
            "is needed. Use layer= for a single name."
        )
    else:
        missing = [name for name in layers if name not in order]
        if missing or not layers:
            raise WarminitError(
                f"layers={list(layers)!r}: {', '.join(map(repr, missing)) or 'nothing'} is not a "
                f"convolution that runs. Those that run are: {', '.join(order)}."
            )
        names = [name for name in order if name in layers]
    for name in names:
        check_weight(name, named[name])
    return [
        first if name == first.name else FoundLayer(name, named[name], "in the order of execution")
        for name in names
    ]


def activations(model: nn.Module, target: FoundLayer, images: Tensor) -> Tensor:
    """Return what a layer is fed when the images go through the model.

    BatchNorm uses the statistics of the batch, as in the first training step, and its running
    statistics are as before afterwards; dropout is off.

    Args:
        model: Any module.
        target: A convolution of it.
        images: (N, C, *size), as the model is fed.

    Returns:
        (N, in_channels, *size of that layer), detached.

    Raises:
        WarminitError: If the layer is not reached.
    """
    inner = unwrap(model)
    fed: list[Tensor] = []
    # FSDP2 expects a pass that has begun to end.
    whole_pass = bool(fully_sharded(inner))

    def take(_module: nn.Module, inputs: Any) -> None:
        if not fed:
            fed.append(inputs[0].detach())
        if not whole_pass:
            raise _Reached

    entry = next(inner.parameters())
    with undisturbed(inner):
        inner.eval()
        for module in inner.modules():
            if isinstance(module, _NormBase):
                module.training = True
        handle = target.module.register_forward_pre_hook(take)
        try:
            with torch.no_grad():
                inner(images.to(device=entry.device, dtype=entry.dtype))
        except _Reached:
            pass
        finally:
            handle.remove()
    if fed:
        return fed[0]
    raise WarminitError(
        f"{target.name} is not reached when the images go through the model. Leave it out of "
        "layers."
    )
