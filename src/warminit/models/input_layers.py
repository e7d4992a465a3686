"""model -> every convolution that receives its images, and the next layer, by one pass."""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from warminit.errors import WarminitError
from warminit.models.find import find_layer, first_convs
from warminit.models.layer import FoundLayer, channels_of
from warminit.models.ranks import is_sharded
from warminit.models.record import CONVOLUTIONS, PARAMETRIC, as_input
from warminit.models.restore import said, set_modes, undisturbed
from warminit.models.survey import Survey, unwrap
from warminit.models.write import check_weight

_SIZE = {1: 1024, 2: 64, 3: 32}
"""Image size for a model of unknown input size, by number of dimensions."""


@dataclass(frozen=True, slots=True)
class Stem:
    """Hold the layers that receive the images.

    Attributes:
        layers: One layer, or several in parallel, with the same number of channels.
        survey: Survey of the model and one image of zeros.
        note: Reason why the layers could not be verified in a pass; "" if they were.
    """

    layers: tuple[FoundLayer, ...]
    survey: Survey
    note: str = ""

    @property
    def in_channels(self) -> int:
        """Number of channels C."""
        return self.layers[0].in_channels


def find_stem(
    model: nn.Module, layer: str | nn.Module | None = None, size: tuple[int, ...] = ()
) -> Stem:
    """Find every convolution that receives the images, for any number of channels.

    The first is the result of `find_layer`, frozen or not. The others are those in timm's metadata,
    and those with the same input tensor (RepVGG, CrossViT).

    Args:
        model: Any module, wrapped or not.
        layer: Dotted name, or the module.
        size: Size of an image; by default from the model's metadata.

    Raises:
        WarminitError: If there is none, or if it cannot be exchanged: a linear layer, groups, or a
            weight that is sharded, computed or used twice.
    """
    inner = unwrap(model)
    named: dict[Any, Any] = dict(inner.named_modules())
    chosen = [*named.values()] if layer is None else [named.get(layer, layer)]
    if not any(isinstance(each, CONVOLUTIONS) for each in chosen) and any(
        isinstance(each, nn.Linear) for each in chosen
    ):
        raise WarminitError(
            f"{type(inner).__name__} receives its images by a Linear, and its weight does not show "
            "the channels: expected a Conv1d, Conv2d or Conv3d. Name one with layers=."
        )
    first = find_layer(inner, layer, frozen=True)
    image = torch.zeros(1, first.in_channels, *(size or _size(inner, first)))
    survey = Survey(inner, image)
    if layer is None:
        first = find_layer(inner, None, image, survey, frozen=True)
    calls = [each for each in survey.passed.calls if isinstance(each.module, PARAMETRIC)]
    call = next((each for each in calls if each.module is first.module), None)
    found, note = {first.module: first.name}, ""
    if call is None and not calls:
        why = "" if survey.passed.error is None else f": {said(survey.passed.error)}"
        note = f"{survey.not_through()}{why}. So {first.name} was not verified in a pass"
    elif call is None or not call.fed or call.fed[-1 - first.spatial_dims] != first.in_channels:
        raise WarminitError(
            f"{first.name} takes {first.in_channels} channels, but not those of the images: an "
            f"image of as many is changed, or fails, before it. The first layer that runs is "
            f"{calls[0].name}. Pass layers= to name the layer that takes the images."
        )
    else:
        beside = [each for each in calls if each.place == call.place and each.fed == call.fed]
        found = {each.module: each.name for each in beside if each.module} | found
    if layer is None:
        found = {named[name]: name for name in first_convs(inner) if name in named} | found
    layers = tuple(
        replace(first, name=name, module=module)
        for module, name in found.items()
        if isinstance(module, CONVOLUTIONS) and channels_of(module) == first.in_channels
    )
    for each in layers:
        _check_exchangeable(inner, each)
    return Stem(layers, survey, note)


def batch_norm_mean(survey: Survey, layer: nn.Module) -> Tensor | None:
    """Return the running mean of the BatchNorm that alone receives a layer's output, else None.

    A constant added to the layer's outputs can be subtracted from that mean.
    """
    uses = _Uses()
    with undisturbed(survey.model):
        handle = layer.register_forward_hook(uses.gave)
        try:
            set_modes(survey.model, training=False)
            # A model that fails later has shown what it does with the layer's output.
            with torch.no_grad(), suppress(Exception), uses:
                survey.model(as_input(survey.model, survey.images))
        finally:
            handle.remove()
    mean = uses.seen[0] if len(uses.seen) == 1 else None
    alone = sum(each is mean for each in uses.means) == 1
    return mean if alone else None  # a BatchNorm that normalizes others too keeps its mean


class _Uses(TorchFunctionMode):
    """Record each function that receives one layer's output.

    Attributes:
        seen: For each such function the running mean of a BatchNorm, None for any other.
        means: Running means of all functions of the pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor | None] = []
        self.means: list[Tensor | None] = []
        self._given: list[Any] = []

    def gave(self, _module: nn.Module, _args: Any, output: Any) -> None:
        self._given.append(output)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        mean = None
        if getattr(func, "__name__", "") == "batch_norm":
            mean = kwargs.get("running_mean", args[1] if len(args) > 1 else None)
            self.means.append(mean)
        taken = [*args, *kwargs.values()]
        taken += [each for group in taken if isinstance(group, list | tuple) for each in group]
        if isinstance(result, Tensor | list | tuple) and any(
            each is given for each in taken for given in self._given
        ):
            self.seen.append(mean)
        return result


def _check_exchangeable(model: nn.Module, layer: FoundLayer) -> None:
    """Raise unless a layer can get a weight of another shape."""
    weight = check_weight(layer.name, layer.module)
    reason = ""
    if layer.groups != 1:
        reason = f"has {layer.groups} groups, so its filters see only a part of the channels"
    elif parametrize.is_parametrized(layer.module):
        reason = "is parametrized, so its weight is computed"
    elif is_sharded(weight):
        reason = "is sharded over ranks"
    elif _is_shared(model, weight) or _is_shared(model, layer.module.bias):
        reason = "shares its weight or its bias with another layer"
    if reason:
        raise WarminitError(
            f"{layer.name} {reason}: expected a plain convolution of one group. Adapt the model "
            "before its weight is changed that way, or name another layer with layers=."
        )


def _is_shared(model: nn.Module, parameter: Tensor | None) -> bool:
    held = [each for module in model.modules() for each in module.parameters(recurse=False)]
    return sum(parameter is each for each in held) > 1


def _size(model: Any, first: FoundLayer) -> tuple[int, ...]:
    """Return a model's image size, by the metadata of timm and others."""
    config = getattr(model, "pretrained_cfg", None)
    if isinstance(config, dict) and len(config.get("input_size") or ()) == 1 + first.spatial_dims:
        return tuple(config["input_size"][1:])
    told = getattr(getattr(model, "config", model), "image_size", None)
    return (told if type(told) is int else _SIZE[first.spatial_dims],) * first.spatial_dims
