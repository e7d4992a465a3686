"""model conditioned so far, images -> the activations that the next layer sees."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.models.find import is_frozen
from warminit.models.layer import FoundLayer
from warminit.models.reach import fed_to
from warminit.models.record import CONVOLUTIONS
from warminit.models.survey import Survey, unwrap
from warminit.models.write import check_weight


def chosen_layers(survey: Survey, first: FoundLayer, layers: Any) -> list[FoundLayer]:
    """Return the convolutions to condition, in the order in which they run.

    Args:
        survey: Survey of the model.
        first: The input layer; it comes first where `layers` is a number.
        layers: How many convolutions, or which: dotted names or modules.

    Raises:
        WarminitError: If a name is no convolution that runs, or there are fewer than asked for.
    """
    named = dict(survey.model.named_modules())
    order = [
        name
        for name in survey.order()
        if isinstance(named.get(name), CONVOLUTIONS) or named.get(name) is first.module
    ]
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
        target: A layer of it.
        images: (N, C, *size), as the model is fed.

    Returns:
        (N, in_channels, *size of that layer), detached; of a linear layer over flattened patches
        (N * patches, C, *K), each patch as an image of its own.

    Raises:
        WarminitError: If the layer is not reached, or the model raises.
    """
    fed = fed_to(unwrap(model), target.module, target.name, [images], batch_statistics=True)[0]
    return fed if target.flat is None else target.flat.filters(fed)
