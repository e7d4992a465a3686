"""model -> the layer to condition, by name, metadata, channels or the order of calls."""

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

    A frozen convolution in a model that trains is skipped, since its filters should stay. A model
    whose first convolution only computes the offsets of another layer is refused.

    Without `layer`, three rules apply in order. First, the layer in timm's metadata
    (`pretrained_cfg["first_conv"]`). Second, the only convolution with as many input channels as
    the images. Third, of several, the first that runs on one image in eval mode; afterwards every
    mode, buffer and random state is restored. A linear layer is found if it runs first on patches
    of the images.

    Args:
        model: Any module, wrapped or not.
        layer: Dotted name, or the module.
        images: Images (N, C, *size), scaled as the model is fed; None for the first convolution.
            Only images show the order of a patch's values in a linear layer.
        survey: Survey of the model and these images, if there is one.
        frozen: Whether a frozen convolution counts like any other.

    Returns:
        A layer with a weight that can be written.

    Raises:
        WarminitError: If there is no such layer; the text names the candidates.
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
    """Find the layer to condition for a method that needs no images.

    It is the first convolution, for any images. The images only matter if there is no convolution,
    or if a linear layer is named.

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
    """Return every convolution and linear layer by dotted name, in the model's order.

    Frozen layers of a model that trains are left out, since they should stay.
    """
    kinds = (*CONVOLUTIONS, nn.Linear)
    return {
        name: module
        for name, module in unwrap(model).named_modules()
        if isinstance(module, kinds) and not is_frozen(module, model)
    }


def is_frozen(module: nn.Module, model: nn.Module) -> bool:
    """Tell whether a layer's weight should stay: it does not train, but others do."""
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
        f"{frozen} is frozen (requires_grad=False), and no convolution after it trains: expected a "
        f"convolution that trains. Pass layers={frozen!r} to set the frozen one."
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
    """Add the order of a patch's values to a named linear layer over patches."""
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
        found = "the linear layer over the patches of the images"
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
            f"images has {shape[1]} channels, shape {shape}, and no convolution has as many. "
            f"{candidates(named)} {_goes_through(survey)}"
        )
    first = next(iter(survey.order()), None)
    if first is None:
        raise WarminitError(
            f"no layer of this {type(model).__name__} is called for one image: expected one, to "
            f"find the first. {candidates(named)} Name it with layers=."
        )
    if first in fitting:
        return FoundLayer(first, fitting[first], "the first convolution that runs")
    if isinstance(named[first], CONVOLUTIONS):
        raise WarminitError(
            f"images has {shape[1]} channels, shape {shape}: expected {channels_of(named[first])}, "
            f"as {first!r} runs first. Pass the batch that the model is fed; convert (N, H, W, C) "
            "to (N, C, H, W) by .permute(0, 3, 1, 2)."
        )
    raise WarminitError(
        f"the first layer that runs is {first!r}, a {type(named[first]).__name__}: expected a "
        f"convolution. {candidates(named)}"
    )


def _goes_through(survey: Survey) -> str:
    """Return the next step if no layer fits the images."""
    if survey.lazy or survey.passed.error is not None or not survey.passed.calls:
        return "Pass the batch that the model is fed."
    return (
        "The model accepts the image, so it rearranges the pixels before its first layer. Choose "
        "an initializer that sets no first layer, for example small-head."
    )


def _may_be_first(name: str, named: Mapping[str, nn.Module], survey: Survey) -> bool:
    """Tell whether the only layer that fits the channels runs first.

    Images of (N, H, W, C) fit a later layer with H input channels. A model with a linear layer over
    patches may have a convolution that refines its output.
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
    """Return the input convolutions that timm's metadata name."""
    config: Any = getattr(model, "pretrained_cfg", None)
    value = config.get("first_conv") if isinstance(config, dict) else None
    names = value if isinstance(value, list | tuple) else [value]
    return [name for name in names if isinstance(name, str)]
