"""timm:name -> what builds that model of timm for images of a size."""

import difflib
from typing import Any

from torch import nn

from warminit.errors import WarminitError

PREFIX = "timm:"


def timm_builder(name: str) -> Any:
    """Find what builds a model of timm; timm is imported only here.

    Args:
        name: `timm:resnet18`, or with options of the model, whole numbers, behind colons:
            `timm:vit_tiny_patch16_224:patch_size=4`. Where a model is built for one size of image,
            `img_size` is the image's.

    Returns:
        A callable (in_channels, image_size, n_classes) -> nn.Module, with timm's initialization.

    Raises:
        WarminitError: If timm is not installed, has no such model, or an option is no number.
    """
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another torch
        raise WarminitError(
            f"model={name!r}: timm cannot be imported ({error}). Install it: "
            'pip install "warminit[timm]".'
        ) from error
    model_name, *given = name.removeprefix(PREFIX).split(":")
    if not timm.is_model(model_name):
        near = difflib.get_close_matches(model_name, timm.list_models(), n=1, cutoff=0.0)
        raise WarminitError(
            f"model={name!r}: timm has no model {model_name!r}. Did you mean {PREFIX}{near[0]}?"
        )
    options = dict(_option(name, each) for each in given)
    fixed = getattr(timm.get_pretrained_cfg(model_name), "fixed_input_size", False)

    def build(in_channels: int, image_size: tuple[int, int], n_classes: int) -> nn.Module:
        sizes: dict[str, Any] = {"img_size": image_size} if fixed else {}
        try:
            model: nn.Module = timm.create_model(
                model_name,
                pretrained=False,
                in_chans=in_channels,
                num_classes=n_classes,
                **(sizes | options),
            )
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise WarminitError(
                f"model={name!r} cannot be built for images of {image_size[0]} x {image_size[1]}: "
                f"{error}. Choose options that it takes, such as {PREFIX}{model_name}:patch_size=4."
            ) from error
        return model

    return build


def _option(name: str, text: str) -> tuple[str, int]:
    key, _, value = text.partition("=")
    if not key.isidentifier() or not value.isdecimal():
        raise WarminitError(
            f"model={name!r}: {text!r} is no option=number. Write {PREFIX}name:patch_size=4."
        )
    return key, int(value)
