"""model conditioned so far, images -> the activations that the next layer sees."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from warminit.errors import WarminitError
from warminit.models.find import FoundLayer, is_frozen
from warminit.models.record import CONVOLUTIONS, as_input
from warminit.models.restore import fully_sharded, said, set_modes, undisturbed
from warminit.models.survey import Survey, unwrap
from warminit.models.write import check_weight


class _Reached(BaseException):  # no error: the layer is reached, and no `except` is to stop that
    pass


def chosen_layers(survey: Survey, first: FoundLayer, layers: Any) -> list[FoundLayer]:
    """Return the convolutions to condition, in the order in which they run.

    Args:
        survey: Of the model.
        first: The input layer; it comes first where `layers` is a number.
        layers: How many convolutions, or which: dotted names or modules.

    Raises:
        WarminitError: If a name is no convolution that runs, or there are fewer than asked for.
    """
    named = dict(survey.model.named_modules())
    order = [name for name in survey.order() if isinstance(named.get(name), CONVOLUTIONS)]
    if isinstance(layers, int) and not isinstance(layers, bool):
        order = [name for name in order if not is_frozen(named[name], survey.model)]
        if first.name in order:
            order = order[order.index(first.name) :]
        if not 1 <= layers <= len(order):
            raise WarminitError(
                f"layers={layers}; the model runs {len(order)} convolutions from {first.name} on. "
                f"Choose 1 to {len(order)}, or name them."
            )
        names = order[:layers]
    elif not isinstance(layers, Sequence):
        raise WarminitError(
            f"layers={layers!r}: expected a dotted name, a module, several of these, or how many. "
            "Leave it out for the input layer."
        )
    else:
        names_of = {module: name for name, module in named.items()}
        layers = [
            names_of.get(each, "?") if isinstance(each, nn.Module) else each for each in layers
        ]
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
        WarminitError: If the layer is not reached, or the model raises.
    """
    inner = unwrap(model)
    fed: list[Tensor] = []
    # FSDP2 expects a pass that has begun to end.
    whole_pass = bool(fully_sharded(inner))

    def take(_module: nn.Module, args: Any, kwargs: Any) -> None:
        given = (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))
        if not fed and (first := next(given, None)) is not None:
            fed.append(first.detach().clone() if whole_pass else first.detach())
        if not whole_pass:
            raise _Reached

    batch = as_input(inner, images)
    with undisturbed(inner):
        set_modes(inner, training=False)
        for module in inner.modules():
            if isinstance(module, _NormBase):
                module.training = True
        handle = target.module.register_forward_pre_hook(take, with_kwargs=True)
        try:
            with torch.no_grad():
                inner(batch)
        except _Reached:
            pass
        except Exception as error:
            raise WarminitError(
                f"images of shape {tuple(images.shape)} do not go through the model as far as "
                f"{target.name}: {said(error)}. Pass the batch that the model is fed."
            ) from error
        finally:
            handle.remove()
    if fed:
        return fed[0]
    raise WarminitError(
        f"{target.name} is not reached when the images go through the model. Leave it out of "
        "layers."
    )
