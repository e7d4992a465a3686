"""model, layer, one image -> what runs next: a normalization, or the next layer with weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from warminit.models.find import PARAMETRIC, unwrap
from warminit.models.one_pass import run_once

_FUNCTIONS = frozenset(("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"))
"""torch's normalizations of what a layer gives, by the name of the function."""


class Passed(NamedTuple):
    """What an image passes on its way: a normalization, or a layer with weights.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism; of a
            normalization that is no module, the function's.
        normalizes: Whether it is a normalization: then what it gives has lost the scale of what it
            is fed, though a path around it, as in a pre-activation block, still has it.
    """

    name: str
    normalizes: bool


def is_normalization(module: nn.Module) -> bool:
    """Tell a normalization, torch's or another's, from a block that has one in its name.

    Local response normalization is none: it leaves values of about one as they are.
    """
    named = any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
    return (
        named
        and not isinstance(module, nn.LocalResponseNorm)
        and not any(isinstance(part, PARAMETRIC) for part in module.modules())
    )


def weights_and_normalizations(model: nn.Module) -> dict[nn.Module, str]:
    """Return a model's layers with weights and its normalizations, by what they are called.

    What computes a weight (weight normalization, say) is neither: no image goes through it.
    """
    return {
        module: name or "(the model itself)"
        for name, module in model.named_modules()
        if (isinstance(module, PARAMETRIC) or is_normalization(module))
        and "parametrizations" not in name.split(".")
    }


class Normalizing(TorchFunctionMode):
    """A context in which torch's normalizations are noted as functions, whoever calls them."""

    def __init__(self, note: Callable[[Passed], None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in _FUNCTIONS:
            self._note(Passed(name, normalizes=True))
        return func(*args, **(kwargs or {}))


def runs_next(model: nn.Module, layer: nn.Module, images: Tensor) -> Passed | None:
    """Return what an image reaches right after a layer.

    One image goes through in eval mode, after which every mode, buffer and random state is as it
    was. A normalization is seen that is a module with "norm" in the name of its class, or a
    function of torch; one that is written out is not.

    Args:
        model: Any module, wrapped or not.
        layer: A module of it that is called.
        images: (N, C, *size), as the model is fed; the first is used.

    Returns:
        The first normalization, convolution or linear layer that is called after the layer's first
        call; None where there is none, or the image does not get so far.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3))
        >>> runs_next(model, model[0], torch.zeros(1, 1, 8, 8))
        Passed(name='1', normalizes=True)
    """
    model = unwrap(model)
    if any(is_lazy(each) for each in model.parameters()):
        return None  # An image would give them their shapes.
    names = weights_and_normalizations(model)
    reached: list[nn.Module] = []
    after: list[Passed] = []

    def note(following: Passed) -> None:
        if reached:
            after.append(following)

    def attach() -> list[Any]:
        # From the layer's end to the next one's start: within, a layer may normalize its weight.
        return [
            layer.register_forward_hook(lambda *_: reached.append(layer)),
            *(
                module.register_forward_pre_hook(
                    lambda module, _: note(Passed(names[module], is_normalization(module)))
                )
                for module in names
            ),
        ]

    run_once(model, images, attach, Normalizing(note))  # Also where it fails: what ran before, ran.
    return after[0] if after else None
