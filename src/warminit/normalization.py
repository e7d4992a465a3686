"""model, layer, one image -> what runs next: a normalization, or the next layer with weights."""

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from warminit.layers import PARAMETRIC, unwrap
from warminit.one_pass import run_once


class Next(NamedTuple):
    """What runs next after a layer, of normalizations and layers with weights.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism.
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


def runs_next(model: nn.Module, layer: nn.Module, images: Tensor) -> Next | None:
    """Return what an image reaches right after a layer.

    One image goes through in eval mode, after which every mode, buffer and random state is as it
    was. A normalization that is no module of its own is not seen.

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
        Next(name='1', normalizes=True)
    """
    model = unwrap(model)
    if any(is_lazy(each) for each in model.parameters()):
        return None  # An image would give them their shapes.
    names = weights_and_normalizations(model)
    ran: list[nn.Module] = []

    def note(module: nn.Module, _inputs: Any) -> None:
        ran.append(module)

    # What ran before an error, ran: detectors stop after their backbone without targets.
    run_once(model, images, lambda: [module.register_forward_pre_hook(note) for module in names])
    after = ran[ran.index(layer) + 1 :] if layer in ran else []
    return next((Next(names[each], is_normalization(each)) for each in after), None)
