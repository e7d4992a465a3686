"""model -> the layer to condition: named, or told from metadata, channels or the order of calls."""

import itertools
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from warminit.errors import WarminitError
from warminit.models.flat_patches import find_flat_patches
from warminit.models.layer import FoundLayer, channels_of
from warminit.models.record import CONVOLUTIONS, WHOLE_MODEL
from warminit.models.refuse import (
    candidates,
    pass_images,
    refuse_programs,
    refuse_quantized,
    refuse_side_branch,
)
from warminit.models.survey import Survey, unwrap
from warminit.models.write import WRITABLE, check_weight


def find_layer(
    model: nn.Module,
    layer: str | nn.Module | None = None,
    images: Tensor | None = None,
    survey: Survey | None = None,
    *,
    frozen: bool = False,
) -> FoundLayer:
    """Find the layer to condition: a convolution, or a linear layer over flattened patches.

    A convolution that is frozen, in a model that trains, is passed over: its filters are meant to
    stay. So is none that a layer of another kind takes its offsets from: such a model is refused.

    Without `layer`: what timm's metadata name (`pretrained_cfg["first_conv"]`); else the only
    convolution that takes as many channels as the images have; else, of several, the one that runs
    first when one image goes through in eval mode, after which every mode, buffer and random state
    is as before. A linear layer is taken if it runs first and is fed patches of the images.

    Args:
        model: Any module, wrapped or not.
        layer: Dotted name, or the module.
        images: (N, C, *size), as the model is fed; None takes the first convolution. Only images
            tell the order in which a linear layer takes the values of a patch.
        survey: Survey of the model and these images, where it is at hand.
        frozen: Whether a frozen convolution is taken like any other.

    Returns:
        A layer whose weight has values that can be written.

    Raises:
        WarminitError: If there is none; the text names the candidates.
    """
    model = unwrap(model)
    named = dict(model.named_modules())
    survey = survey if images is None else survey or Survey(model, images)
    if layer is not None:
        result = _named(named, layer, model, survey)
    else:
        result = _chosen(model, named, survey if images is not None else None)
        refuse_side_branch(result.name, survey)
        if not frozen and is_frozen(result.module, model):
            result = _first_that_trains(model, named, result.name, survey)
    refuse_quantized({result.name: result.module})
    if not isinstance(result.module, CONVOLUTIONS) and result.flat is None:
        raise WarminitError(
            f"layer {result.name!r} is a {type(result.module).__name__}: expected a Conv1d, Conv2d "
            f"or Conv3d. {candidates(named)}{pass_images({'': result.module}, survey)}"
        )
    result = replace(result, name=result.name or WHOLE_MODEL)
    check_weight(result.name, result.module)
    return result


def first_layer(
    model: nn.Module, layer: str | nn.Module | None = None, images: Tensor | None = None
) -> FoundLayer:
    """Find the layer to condition where no image is needed to make its filters.

    The first convolution, whatever the images are; they are only looked at where a model has none,
    or where a linear layer is named.

    Raises:
        WarminitError: As `find_layer`.
    """
    inner = unwrap(model)
    named = dict(inner.named_modules())
    module = named.get(layer) if isinstance(layer, str) else layer
    linear = isinstance(module, nn.Linear)
    if not linear and (
        layer is not None or any(isinstance(each, CONVOLUTIONS) for each in named.values())
    ):
        images = None
    return find_layer(inner, layer, images)


def affine_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return every convolution and linear layer of a model by its dotted name, in its own order.

    Those that are frozen in a model that trains are left out: they are meant to stay.
    """
    kinds = (*CONVOLUTIONS, nn.Linear)
    return {
        name: module
        for name, module in unwrap(model).named_modules()
        if isinstance(module, kinds) and not is_frozen(module, model)
    }


def is_frozen(module: nn.Module, model: nn.Module) -> bool:
    """Tell whether a layer's weight is meant to stay: it does not train, and others do."""
    own = dict(module.named_parameters())
    weights = [each for name, each in own.items() if name != "bias"]
    others = {id(each) for each in model.parameters() if each.requires_grad}
    return (
        bool(weights)
        and all(each.dtype in WRITABLE and not each.requires_grad for each in weights)
        and bool(others - {id(each) for each in own.values()})
    )


def _first_that_trains(
    model: nn.Module, named: Mapping[str, nn.Module], frozen: str, survey: Survey | None
) -> FoundLayer:
    names = list(named)
    if survey is not None and survey.images.ndim >= 3:
        names = survey.order()
        names = names[names.index(frozen) + 1 :] if frozen in names else names
    for name in names:
        module = named.get(name)
        if isinstance(module, CONVOLUTIONS) and not is_frozen(module, model):
            found = f"the first convolution that trains, {frozen} is frozen"
            return FoundLayer(name, module, found, frozen)
    raise WarminitError(
        f"{frozen} is frozen (requires_grad=False), and no convolution after it trains: expected "
        f"one that trains. Pass layers={frozen!r} to set the frozen one."
    )


def _named(
    named: dict[str, nn.Module],
    layer: str | nn.Module,
    model: nn.Module,
    survey: Survey | None,
) -> FoundLayer:
    if isinstance(layer, str):
        if layer not in named:
            raise WarminitError(
                f"layers={layer!r} is missing from this {type(model).__name__}: expected a dotted "
                f"name of a convolution. {candidates(named)}"
            )
        return _with_patches(FoundLayer(layer, named[layer], "given by name"), named, survey)
    if not isinstance(layer, nn.Module):
        raise WarminitError(
            f"layers={layer!r} is a {type(layer).__name__}: expected a dotted name or a module. "
            f"{candidates(named)}"
        )
    names = [name for name, module in named.items() if module is layer]
    if not names:
        raise WarminitError(
            f"layers={type(layer).__name__}(...) is not a module of this {type(model).__name__}. "
            f"{candidates(named)}"
        )
    return _with_patches(FoundLayer(names[0], layer, "given as a module"), named, survey)


def _with_patches(
    found: FoundLayer, named: Mapping[str, nn.Module], survey: Survey | None
) -> FoundLayer:
    """Add how a named linear layer takes the values of a patch, where it takes patches."""
    if not isinstance(found.module, nn.Linear):
        return found
    first = find_flat_patches(named, survey)
    return replace(found, flat=first[1]) if first and first[0] == found.name else found


def _chosen(model: nn.Module, named: dict[str, nn.Module], survey: Survey | None) -> FoundLayer:
    convolutions = {name: m for name, m in named.items() if isinstance(m, CONVOLUTIONS)}
    if not convolutions:
        refuse_quantized(named)
        refuse_programs(model, named)
    dims = {len(module.kernel_size) for module in convolutions.values()}
    fitting: dict[str, nn.Module] = {}
    if survey is not None:
        images = survey.images
        # A lazy convolution does not know its channels yet: it is found, and refused as lazy.
        fitting = {
            name: module
            for name, module in convolutions.items()
            if any(map(is_lazy, module.parameters()))
            or (
                channels_of(module) == images.shape[1]
                and len(module.kernel_size) == images.ndim - 2
            )
        }
        told = next(iter(first_convs(model)), "")
        if told in fitting:
            return FoundLayer(told, fitting[told], "timm's metadata")
        if len(fitting) == 1 and _may_be_first(next(iter(fitting)), named, survey):
            name, module = next(iter(fitting.items()))
            found = f"the only convolution that takes {images.shape[1]} channels"
            return FoundLayer(name, module, found)
    if (flat := find_flat_patches(named, survey)) is not None:
        found = "the linear layer that takes the patches of the images"
        return FoundLayer(flat[0], named[flat[0]], found, flat=flat[1])
    if not convolutions:
        raise WarminitError(
            f"{type(model).__name__} has no convolution among its {len(named)} modules: expected "
            f"one as its first layer. {candidates(named)}{pass_images(named, survey)} Pass another "
            "model."
        )
    if survey is None or survey.images.ndim - 2 not in dims:
        # Without usable images to go by; the caller checks them against this layer.
        name = next(iter(convolutions))
        return FoundLayer(name, convolutions[name], "the model's first convolution")
    return _first_to_run(model, named, fitting, survey)


def _first_to_run(
    model: nn.Module,
    named: dict[str, nn.Module],
    fitting: Mapping[str, nn.Module],
    survey: Survey,
) -> FoundLayer:
    shape = tuple(survey.images.shape)
    if not fitting:
        raise WarminitError(
            f"images has {shape[1]} channels, shape {shape}, and no convolution takes them. "
            f"{candidates(named)} {_goes_through(survey)}"
        )
    first = next(iter(survey.order()), None)
    if first is None:
        raise WarminitError(
            f"no layer of this {type(model).__name__} is called when one image goes through, so "
            f"which is first is not known. {candidates(named)} Name it with layers=."
        )
    if first in fitting:
        return FoundLayer(first, fitting[first], "the first convolution that runs")
    if isinstance(named[first], CONVOLUTIONS):
        raise WarminitError(
            f"images has {shape[1]} channels, shape {shape}, and the first layer that runs, "
            f"{first!r}, takes {channels_of(named[first])}. Pass the batch that the model is fed; "
            "images of (N, H, W, C) become (N, C, H, W) by .permute(0, 3, 1, 2)."
        )
    raise WarminitError(
        f"the first layer that runs is {first!r}, a {type(named[first]).__name__}: expected a "
        f"convolution. {candidates(named)}"
    )


def _goes_through(survey: Survey) -> str:
    """Return the next step where no layer takes the images: are they the wrong ones?"""
    if survey.lazy or survey.passed.error is not None or not survey.passed.calls:
        return "Pass the batch that the model is fed."
    return (
        "An image goes through the model all the same: it rearranges the pixels before its first "
        "layer. Choose an initializer that sets no first layer, such as small-head."
    )


def _may_be_first(name: str, named: Mapping[str, nn.Module], survey: Survey) -> bool:
    """Tell whether no other layer is seen to run before the only one that takes the channels.

    Images of (N, H, W, C) fit a later layer with as many channels as they are high; and a model
    that takes its patches by a linear layer may have a convolution that refines its output.
    """
    before = [named[each] for each in itertools.takewhile(lambda each: each != name, named)]
    if not any(isinstance(each, (*CONVOLUTIONS, nn.Linear)) for each in before):
        return True
    if not any(isinstance(each, CONVOLUTIONS) for each in before):
        with suppress(WarminitError):
            return find_flat_patches(named, survey) is None
        return True
    try:
        ran = survey.order()
    except WarminitError:  # It takes more than images, say: nothing is known of the order.
        return True
    return not ran or ran[0] == name


def first_convs(model: nn.Module) -> list[str]:
    """Return the names of the convolutions that take the images, as timm's metadata say."""
    config: Any = getattr(model, "pretrained_cfg", None)
    value = config.get("first_conv") if isinstance(config, dict) else None
    names = value if isinstance(value, list | tuple) else [value]
    return [name for name in names if isinstance(name, str)]
