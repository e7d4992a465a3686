"""name -> nn.Module: the laboratory's networks, timm's or a user's."""

import difflib
import importlib
import inspect
from collections.abc import Callable

from torch import nn

from warminit.errors import WarminitError
from warminit.lab.networks.simple import ResNet20, SimpleCNN, SmallViT
from warminit.lab.networks.timm_models import PREFIX, timm_builder

ModelBuilder = Callable[[int, tuple[int, int], int], nn.Module]
"""(in_channels, image_size, n_classes) -> model."""

MODELS: dict[str, ModelBuilder] = {
    "simplecnn": SimpleCNN,
    "simplecnn-nobn": lambda in_channels, image_size, n_classes: SimpleCNN(
        in_channels, image_size, n_classes, batch_norm=False
    ),
    "simplecnn-k7": lambda in_channels, image_size, n_classes: SimpleCNN(
        in_channels, image_size, n_classes, kernel_size=7
    ),
    "resnet20": lambda in_channels, _, n_classes: ResNet20(in_channels, n_classes),
    "small-vit": SmallViT,
}


def model_builder(name: str) -> ModelBuilder:
    """Return the builder of a model by name; a study checks its names with it.

    Args:
        name: Key of `MODELS`, `timm:` and the name of a timm model (see `timm_builder`), or
            `module:function` of the user. timm and the user's module are imported only here.

    Returns:
        A callable (in_channels, image_size, n_classes) -> nn.Module.

    Raises:
        WarminitError: If the model is unknown; the text suggests the nearest name.
    """
    if name in MODELS:
        return MODELS[name]
    if name.startswith(PREFIX):
        builder: ModelBuilder = timm_builder(name)
        return builder
    if ":" in name:
        return _imported_builder(name)
    raise WarminitError(
        f"model={name!r}: expected one of {', '.join(MODELS)}, timm:name, or "
        f"module:function. {_nearest(name, MODELS)}"
    )


def build_model(
    name: str, in_channels: int, image_size: tuple[int, int], n_classes: int
) -> nn.Module:
    """Build a model by name, with torch's default initialization.

    Initial weights are drawn from torch's global generator, so seed it before the call.

    Args:
        name: A key of `MODELS`, `timm:` and a model's name, or `module:function` of the user,
            called with the keywords in_channels, image_size and n_classes.
        in_channels: Channels of an image, 1 or more.
        image_size: Height and width in pixels, each 1 or more.
        n_classes: Number of classes, 2 or more.

    Returns:
        A model on the CPU that maps images (N, in_channels, *image_size) to logits (N, n_classes).

    Raises:
        WarminitError: For an unknown name, unsupported sizes, or a user's function that returns no
            module.

    Example:
        >>> build_model("simplecnn", 1, (28, 28), 10).fc1.in_features
        3136
    """
    builder = model_builder(name)
    for label, value, least in (
        ("in_channels", in_channels, 1),
        ("image_size", min(image_size), 1),
        ("n_classes", n_classes, 2),
    ):
        if value < least:
            raise WarminitError(
                f"{label}={image_size if label == 'image_size' else value}: expected at least "
                f"{least} to build {name}. Check the data set."
            )
    return builder(in_channels, image_size, n_classes)


def _imported_builder(name: str) -> ModelBuilder:
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:  # ValueError: an empty module name
        raise WarminitError(
            f"model={name!r}: module {module_name!r} cannot be imported ({error}). Pass "
            "module:function, with the module installed or in a folder on PYTHONPATH."
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        found = [key for key, value in vars(module).items() if callable(value)]
        raise WarminitError(
            f"model={name!r}: module {module_name!r} has no function {function_name!r}. "
            f"{_nearest(function_name, found)}"
        )
    call = f"{function_name}(in_channels, image_size, n_classes)"

    def build(in_channels: int, image_size: tuple[int, int], n_classes: int) -> nn.Module:
        sizes = {"in_channels": in_channels, "image_size": image_size, "n_classes": n_classes}
        try:
            inspect.signature(function).bind(**sizes)
        except TypeError as error:
            raise WarminitError(
                f"model={name!r} cannot be called as {call}: {error}. Accept these three keywords."
            ) from error
        model = function(**sizes)
        if not isinstance(model, nn.Module):
            raise WarminitError(
                f"model={name!r}: {call} returned a {type(model).__name__}: expected a "
                "torch.nn.Module. Return the model itself."
            )
        return model

    return build


def _nearest(name: str, known: "dict[str, ModelBuilder] | list[str]") -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
    return f"Did you mean {close[0]!r}?" if close else "It defines none."
