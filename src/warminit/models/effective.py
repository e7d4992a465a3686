"""module -> its effective weight, after parametrizations and hooks."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from warminit.models.ranks import is_sharded
from warminit.models.restore import undisturbed


def effective_weight(module: nn.Module) -> Tensor | None:
    """Return the effective weight of a layer, or None if none is seen.

    The module runs alone, in eval mode, on one image of zeros (a vector for a linear layer). The
    weight that reaches torch's convolution or linear function is read. So parametrizations and
    layers that standardize their weight are covered. The module does not change. The parts of a
    sharded weight are gathered, so every rank must call.
    """
    weight = next(module.parameters())
    image = torch.zeros(_fitting(module), dtype=weight.dtype, device=weight.device)
    # Not a dispatch mode: torch imports its compiler for one, which takes a second.
    seen: Any = _Seen(F.linear) if isinstance(module, nn.Linear) else _Seen(*CONVOLUTIONS)
    # The class's own forward: hooks of the user are not for this image.
    no_autocast = torch.autocast(image.device.type, enabled=False)
    quiet = warnings.catch_warnings(action="ignore")
    # torch has something to say on padding="same"; it will say it to the first real image.
    alone = undisturbed(module), _gathered(module), in_eval_mode(module)
    with quiet, ExitStack() as stack:
        for each in (*alone, torch.no_grad(), no_autocast, seen):
            stack.enter_context(each)
        # A forward that takes more than an image fails; what was seen before that, was seen.
        with suppress(Exception):
            type(module).forward(module, image)
    found: Tensor | None = seen.weight
    return found


def _fitting(module: Any) -> tuple[int, ...]:
    """Return the input shape of a layer."""
    _, width, *kernel_size = weight_shape(module)
    if isinstance(module, nn.Linear):
        return 1, width
    # Twice what the kernel covers, so that every padding mode has enough to take from.
    most = 0 if isinstance(module.padding, str) else max(module.padding)
    size = [
        2 * (dilation * (kernel - 1) + 1 + most)
        for kernel, dilation in zip(kernel_size, module.dilation, strict=True)
    ]
    return 1, width * module.groups, *size


def weight_shape(module: Any) -> tuple[int, ...]:
    """Return the shape (F, C / groups, *K) of a convolution's weight, (F, D) of a linear layer's.

    After an exchange of the weight (fewer channels, pruned filters, another kernel), the module's
    attributes still have the former values.
    """
    if isinstance(module, nn.Linear):
        told: tuple[int, ...] = (module.out_features, module.in_features)
    else:
        told = (module.out_channels, module.in_channels // module.groups, *module.kernel_size)
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    if weight is None or is_lazy(weight) or weight.ndim != len(told):
        return told
    return tuple(weight.shape)


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode for a while, then restore the mode of every part."""
    modes = [(each, each.training) for each in module.modules()]
    for each, _ in modes:
        each.training = False
    try:
        yield
    finally:
        for each, training in modes:
            each.training = training


@contextmanager
def _gathered(module: nn.Module) -> Iterator[None]:
    """Let a module compute with whole parameters for a while, if ranks hold parts of them."""
    held: dict[str, Any] = dict(module._parameters)  # noqa: SLF001 - setting them by name would register them anew
    whole = {name: each.full_tensor() for name, each in held.items() if is_sharded(each)}
    module._parameters.update(  # noqa: SLF001 - as above
        {name: nn.Parameter(each, requires_grad=False) for name, each in whole.items()}
    )
    try:
        yield
    finally:
        module._parameters.update(held)  # noqa: SLF001 - as above


CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d, torch.convolution)


class _Seen(TorchFunctionMode):
    """Record the weight of the first call to one of some functions."""

    def __init__(self, *functions: Any) -> None:
        super().__init__()
        self.functions = functions
        self.weight: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {**dict(zip(("input", "weight"), args, strict=False)), **(kwargs or {})}
        if self.weight is None and func in self.functions and "weight" in given:
            self.weight = given["weight"].detach().clone()
        return func(*args, **(kwargs or {}))
