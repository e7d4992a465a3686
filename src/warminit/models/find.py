"""model -> the layer to condition: named, or told from metadata, channels or the order of calls."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from warminit.errors import WarminitError
from warminit.models.effective import weight_shape
from warminit.models.flat_patches import refuse_flat_patches
from warminit.models.record import CONVOLUTIONS, PARAMETRIC, WHOLE_MODEL
from warminit.models.survey import Survey, unwrap
from warminit.models.write import WRITABLE, check_weight


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A convolution that can be conditioned.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism.
        module: The convolution.
        found: How it was chosen.
        behind: Dotted name of the frozen convolution that runs before it; "" where it is fed the
            images themselves.
    """

    name: str
    module: Any
    found: str
    behind: str = ""

    @property
    def spatial_dims(self) -> int:
        """1, 2 or 3."""
        return len(self.module.kernel_size)

    @property
    def in_channels(self) -> int:
        """C, by the weight's shape."""
        return _channels(self.module)

    @property
    def out_channels(self) -> int:
        """F, by the weight's shape."""
        return weight_shape(self.module)[0]

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """K, by the weight's shape."""
        return weight_shape(self.module)[2:]


def find_layer(
    model: nn.Module,
    layer: str | nn.Module | None = None,
    images: Tensor | None = None,
    survey: Survey | None = None,
) -> FoundLayer:
    """Find the convolution to condition.

    A convolution that is frozen, in a model that trains, is passed over: its filters are meant to
    stay. So is none that a layer of another kind takes its offsets from: such a model is refused.

    Without `layer`: what timm's metadata name (`pretrained_cfg["first_conv"]`); else the only
    convolution that takes as many channels as the images have; else, of several, the one that runs
    first when one image goes through in eval mode, after which every mode, buffer and random state
    is as it was.

    Args:
        model: Any module, wrapped or not.
        layer: Dotted name, or the module.
        images: (N, C, *size), as the model is fed; None takes the first convolution.
        survey: Of the model and these images, where it is at hand.

    Returns:
        A convolution whose weight has values that can be written.

    Raises:
        WarminitError: If there is none; the text names the candidates.
    """
    model = unwrap(model)
    named = dict(model.named_modules())
    if layer is not None:
        name, module, how = _named(named, layer, model)
    elif images is None:
        name, module, how = _chosen(model, named, None)
    else:
        survey = survey or Survey(model, images)
        name, module, how = _chosen(model, named, survey)
    behind = ""
    if layer is None:
        _refuse_side_branch(name, survey)
        if is_frozen(module, model):
            behind = name
            name, module, how = _first_that_trains(model, named, name, survey)
    _refuse_quantized({name: module})
    if not isinstance(module, CONVOLUTIONS):
        raise WarminitError(
            f"layer {name!r} is a {type(module).__name__}; a Conv1d, Conv2d or Conv3d is needed. "
            f"{_candidates(named)}"
        )
    result = FoundLayer(name or WHOLE_MODEL, module, how, behind)
    check_weight(result.name, result.module)
    return result


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
) -> tuple[str, nn.Module, str]:
    names = list(named)
    if survey is not None and survey.images.ndim >= 3:
        names = survey.order()
        names = names[names.index(frozen) + 1 :] if frozen in names else names
    for name in names:
        module = named.get(name)
        if isinstance(module, CONVOLUTIONS) and not is_frozen(module, model):
            return name, module, f"the first convolution that trains, {frozen} is frozen"
    raise WarminitError(
        f"{frozen} is frozen (requires_grad=False), and no convolution after it trains; one that "
        f"trains is needed. Pass layers={frozen!r} to set the frozen one."
    )


def _refuse_side_branch(name: str, survey: Survey | None) -> None:
    other = survey.side_branches().get(name) if survey is not None else None
    if other is not None:
        raise WarminitError(
            f"{name} is a side branch: {other} takes the same images and a second tensor, such as "
            f"the offsets that {name} gives, and is no convolution of torch.nn. Pass layers= to "
            "name the layer to set."
        )


def _refuse_programs(model: nn.Module, named: Mapping[str, nn.Module]) -> None:
    kinds = ((torch.jit.ScriptModule, "scripted"), (torch.fx.GraphModule, "exported"))
    for kind, how in kinds:
        if any(isinstance(each, kind) for each in named.values()):
            raise WarminitError(
                f"{type(model).__name__} is {how}: a program without modules of torch.nn, so its "
                f"layers are not known. Condition the model before it is {how}."
            )


def _refuse_quantized(named: dict[str, nn.Module]) -> None:
    for name, module in named.items():
        if "quantized" in type(module).__module__.split("."):
            check_weight(name, module)


def _named(
    named: dict[str, nn.Module], layer: str | nn.Module, model: nn.Module
) -> tuple[str, nn.Module, str]:
    if isinstance(layer, str):
        if layer not in named:
            raise WarminitError(
                f"layers={layer!r} is missing from this {type(model).__name__}; a dotted name of a "
                f"convolution is needed. {_candidates(named)}"
            )
        return layer, named[layer], "given by name"
    if not isinstance(layer, nn.Module):
        raise WarminitError(
            f"layers={layer!r} is a {type(layer).__name__}; a dotted name or a module is needed. "
            f"{_candidates(named)}"
        )
    names = [name for name, module in named.items() if module is layer]
    if not names:
        raise WarminitError(
            f"layers={type(layer).__name__}(...) is not a module of this {type(model).__name__}. "
            f"{_candidates(named)}"
        )
    return names[0], layer, "given as a module"


def _chosen(
    model: nn.Module, named: dict[str, nn.Module], survey: Survey | None
) -> tuple[str, nn.Module, str]:
    convolutions = {name: m for name, m in named.items() if isinstance(m, CONVOLUTIONS)}
    if not convolutions:
        _refuse_quantized(named)
        _refuse_programs(model, named)
        refuse_flat_patches(named, survey)
        raise WarminitError(
            f"{type(model).__name__} has no convolution among its {len(named)} modules; one is "
            f"needed as its first layer. {_candidates(named)} Pass another model."
        )
    dims = {len(module.kernel_size) for module in convolutions.values()}
    if survey is None or survey.images.ndim - 2 not in dims:
        refuse_flat_patches(named, survey)
        # Without usable images to go by; the caller checks them against this layer.
        name = next(iter(convolutions))
        return name, convolutions[name], "the model's first convolution"
    images = survey.images
    # A lazy convolution does not know its channels yet: it is found, and refused as lazy.
    fitting = {
        name: module
        for name, module in convolutions.items()
        if any(map(is_lazy, module.parameters()))
        or (_channels(module) == images.shape[1] and len(module.kernel_size) == images.ndim - 2)
    }
    told = _first_conv_of_metadata(model)
    if told in fitting:
        return told, fitting[told], "timm's metadata"
    if len(fitting) == 1 and _may_be_first(next(iter(fitting)), convolutions, survey):
        name, module = next(iter(fitting.items()))
        return name, module, f"the only convolution that takes {images.shape[1]} channels"
    if not fitting:
        raise WarminitError(
            f"images has {images.shape[1]} channels, shape {tuple(images.shape)}, and no "
            f"convolution takes them. {_candidates(named)} Pass the batch that the model is fed."
        )
    first = next(iter(survey.order()), None)
    if first is None:
        raise WarminitError(
            f"no layer of this {type(model).__name__} is called when one image goes through, so "
            f"which is first is not known. {_candidates(named)} Name it with layers=."
        )
    if first in convolutions and first not in fitting:
        raise WarminitError(
            f"images has {images.shape[1]} channels, shape {tuple(images.shape)}, and the first "
            f"layer that runs, {first!r}, takes {_channels(convolutions[first])}. Pass the batch "
            "that the model is fed; images of (N, H, W, C) become (N, C, H, W) by "
            ".permute(0, 3, 1, 2)."
        )
    if first not in fitting:
        refuse_flat_patches(named, survey)
        raise WarminitError(
            f"the first layer that runs is {first!r}, a {type(named[first]).__name__}; a "
            f"convolution is needed. {_candidates(named)}"
        )
    return first, fitting[first], "the first convolution that runs"


def _channels(module: Any) -> int:
    channels: int = weight_shape(module)[1] * module.groups
    return channels


def _may_be_first(name: str, convolutions: Mapping[str, nn.Module], survey: Survey) -> bool:
    """Tell whether no other layer is seen to run before the only one that takes the channels.

    Images of (N, H, W, C) fit a later layer with as many channels as they are high.
    """
    if name == next(iter(convolutions)):
        return True
    try:
        ran = survey.order()
    except WarminitError:  # It takes more than images, say: nothing is known of the order.
        return True
    return not ran or ran[0] == name


def _first_conv_of_metadata(model: nn.Module) -> str | None:
    config: Any = getattr(model, "pretrained_cfg", None)
    value = config.get("first_conv") if isinstance(config, dict) else None
    names = value if isinstance(value, list | tuple) else [value]
    return next((name for name in names if isinstance(name, str)), None)


def _candidates(named: dict[str, nn.Module]) -> str:
    rows = []
    for name, module in named.items():
        if isinstance(module, PARAMETRIC):
            kind = type(module).__name__
            width: Any = getattr(module, "in_channels", None)
            width = _channels(module) if isinstance(module, CONVOLUTIONS) else width
            rows.append(f"{name} ({kind}, {width} channels)" if width else f"{name} ({kind})")
    shown = ", ".join(rows[:6]) or "none"
    more = f" and {len(rows) - 6} more" if len(rows) > 6 else ""
    return f"Layers with weights: {shown}{more}."
