"""stem, new weights -> a model for another number of channels, or no change at all."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError
from warminit.models.input_layers import Stem, batch_norm_mean
from warminit.models.restore import restored_on_error, said
from warminit.models.survey import Survey

_CHANNELS = ("in_channels", "in_chans", "num_channels", "_in_channels")
"""Attributes that hold the number of channels in torch, timm, Transformers and others."""


def exchange_(
    stem: Stem,
    weights: Sequence[Tensor],
    constants: Sequence[Tensor | None],
    describe: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> tuple[str, ...]:
    """Give the layers that receive the images weights of another number of channels.

    A weight of another shape is a new Parameter of the same dtype, device, memory format and
    `requires_grad`. A weight of the same shape is written into the old Parameter. Attributes with
    the number of channels, and Transformers' `config.num_channels`, are updated. Then the model
    runs once on an image of zeros.

    Args:
        stem: Present stem of the model.
        weights: Weights (F, C, *K) for each layer.
        constants: Constants (F,) to add to each layer's outputs, or None. They go into the bias, or
            else into the running mean of the next BatchNorm, or else into a new bias.
        describe: Function from timm's `pretrained_cfg` to its changes.

    Returns:
        Notes for the report.

    Raises:
        WarminitError: If the weights are not finite in the layer's dtype, or if the model ran
            before but not with them. Nothing has changed then.
    """
    model, before, channels = stem.survey.model, stem.in_channels, weights[0].shape[1]
    means = [
        None if constant is None or layer.module.bias is not None
        else batch_norm_mean(stem.survey, layer.module)
        for layer, constant in zip(stem.layers, constants, strict=True)
    ]  # fmt: skip
    around = [
        module
        for module in model.modules()
        if any(part is layer.module for layer in stem.layers for part in module.modules())
    ]
    held: dict[int, Any] = {
        id(each): each for each in (getattr(module, "config", None) for module in around)
    }
    configs = [each for each in held.values() if getattr(each, "num_channels", None) == before]
    notes: list[str] = []
    try:
        with torch.no_grad(), restored_on_error([model]):
            for module in around:
                _rename_channels(module, before, channels)
                _describe(module, describe)
            for layer, weight, constant, mean in zip(
                stem.layers, weights, constants, means, strict=True
            ):
                layer.module.in_channels = channels
                notes += _set_weight(layer.name, layer.module, weight)
                if constant is not None:
                    notes += _add_constant(layer.name, layer.module, constant, mean)
            for config in configs:
                config.num_channels = channels
            notes += _check_runs(stem, channels)
    except BaseException:
        for config in configs:
            config.num_channels = before
        raise
    return tuple(notes)


def _rename_channels(module: nn.Module, before: int, channels: int) -> None:
    held = vars(module)
    for name in _CHANNELS:
        if type(held.get(name)) is int and held[name] == before:
            setattr(module, name, channels)


def _describe(module: Any, describe: Callable[[Any], Mapping[str, Any]]) -> None:
    """Change timm's metadata in a copy: other models may hold the same dict."""
    config = vars(module).get("pretrained_cfg")
    if isinstance(config, dict):
        alias = vars(module).get("default_cfg") is config
        module.pretrained_cfg = {**config, **describe(config)}
        if alias:
            module.default_cfg = module.pretrained_cfg


def _set_weight(name: str, module: Any, weight: Tensor) -> list[str]:
    old: nn.Parameter = module.weight
    values = weight.to(old.device, old.dtype)
    _check_finite(name, values, weight)
    if values.shape == old.shape:
        old.copy_(values)
        return []
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(old.ndim)
    if last is not None and old.is_contiguous(memory_format=last) and not old.is_contiguous():
        values = values.contiguous(memory_format=last)
    else:
        values = values.contiguous()
    module.weight = nn.Parameter(values, requires_grad=old.requires_grad)
    after = "make the optimizer, and any copy or wrapper of the model (EMA, DDP), after this call"
    return [f"{name}.weight is a new Parameter: {after}"]


def _add_constant(name: str, module: Any, constant: Tensor, mean: Tensor | None) -> list[str]:
    old = module.weight
    if module.bias is not None:
        module.bias.add_(constant.to(old.device, old.dtype))
        _check_finite(name, module.bias, constant)
        return []
    if mean is not None:
        mean -= constant.to(mean.device, mean.dtype)
        _check_finite(name, mean, constant)
        return [
            f"the running mean of the BatchNorm after {name} absorbs the difference of the means"
        ]
    values = constant.to(old.device, old.dtype)
    _check_finite(name, values, constant)
    module.bias = nn.Parameter(values, requires_grad=old.requires_grad)
    return [f"{name} has a bias now, which absorbs the difference of the means"]


def _check_finite(name: str, values: Tensor, wanted: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise WarminitError(
            f"the adapted filters of {name}, or their bias, reach {float(wanted.abs().max()):.3g}, "
            f"beyond what {values.dtype} holds. Standardize the images, or adapt the model in "
            "float32."
        )


def _check_runs(stem: Stem, channels: int) -> list[str]:
    """Raise if the model ran before but not now: something else counts the channels."""
    before = stem.survey
    if stem.note:
        return [stem.note]
    image = before.images.new_zeros(1, channels, *before.images.shape[2:])
    passed = Survey(before.model, image).passed
    reached = {id(call.module) for call in passed.calls if call.ended is not None}
    missed = [each.name for each in stem.layers if id(each.module) not in reached]
    if (passed.error is not None and before.passed.error is None) or missed:
        why = "" if passed.error is None else f": {said(passed.error)}"
        names = ", ".join(each.name for each in stem.layers)
        raise WarminitError(
            f"{type(before.model).__name__} does not run on {channels} channels, though {names} "
            f"would take them{why}. Something else in the model counts channels. Build the model "
            f"for {channels} channels."
        )
    return []
