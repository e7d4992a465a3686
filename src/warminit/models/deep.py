"""partly conditioned model, images -> the inputs of the next layer."""

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
    """Return the convolutions to condition, in execution order.

    Args:
        survey: Survey of the model.
        first: Input layer, the first of the list if `layers` is a number.
        layers: Number of convolutions, or a list of dotted names or modules.

    Raises:
        WarminitError: If a name is not a convolution that runs, or if there are too few
            convolutions.
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
            f"layers={layers!r}: expected a dotted name, a module, a list of these, or a number. "
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
                f"convolution that runs: expected one of {', '.join(order)}."
            )
        names = [name for name in order if name in layers]
    for name in names:
        check_weight(name, named[name])
    return [
        first if name == first.name else FoundLayer(name, named[name], "in execution order")
        for name in names
    ]


def activations(model: nn.Module, target: FoundLayer, images: Tensor) -> Tensor:
    """Return the inputs of a layer for these images.

    BatchNorm uses the statistics of the batch, as in the first training step; its running
    statistics do not change. Dropout is off.

    Args:
        model: Any module.
        target: Layer of the model.
        images: Images (N, C, *size), scaled as the model is fed.

    Returns:
        (N, in_channels, *size of that layer), detached. For a linear layer over flattened patches
        (N * patches, C, *K), each patch as one image.

    Raises:
        WarminitError: If the layer is not reached, or the model fails.
    """
    fed = fed_to(unwrap(model), target.module, target.name, [images], batch_statistics=True)[0]
    return fed if target.flat is None else target.flat.filters(fed)
