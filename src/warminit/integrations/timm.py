"""timm model, images -> model conditioned, with its mean and std for the design rules."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from warminit.images.check import is_pixel_span, pixel_span
from warminit.images.source import Images, read_images
from warminit.initializers import get_method, init_, keywords
from warminit.integrations import needs, old_name
from warminit.report import InitReport

with needs("timm", "timm"):
    from timm.data import resolve_data_config


def warm_init_(
    model: nn.Module, images: Images, method: str | Sequence[str] | None = None, **options: Any
) -> InitReport:
    """Initialize a timm model from images that timm's transforms standardized.

    This calls `warminit.init_` with `mean` and `std` of timm's `resolve_data_config`, which
    `timm.data.create_transform` uses. They are left out if they cannot belong to `images`: raw
    pixels from 0 to 1, another standardization, another number of channels.

    Args:
        model: Model of `timm.create_model`.
        images: Training images (N, C, H, W), scaled as the model is fed, or batches of them.
        method: Name from `warminit.methods()`, `module:function`, or a list of names, with the
            default of `init_`.
        **options: Options of `warminit.init_`; `mean` and `std` replace timm's.

    Returns:
        A report that prints as a small table.

    Raises:
        WarminitError: For any invalid input; the model is then bit-identical to before.
    """
    takes = True  # a default and a list of methods do
    if isinstance(method, str):
        names, any_other = keywords(get_method(method))
        takes = any_other or names >= {"mean", "std"}
    if not takes or "mean" in options or "std" in options:
        return init_(model, images, method, **options)
    batch, note = read_images(images, options.pop("batches", None))
    config = resolve_data_config({}, model=model)
    if _may_come_from(config["mean"], config["std"], batch):
        options |= {"mean": config["mean"], "std": config["std"]}
    report = init_(model, batch, method, **options)
    return replace(report, notes=(*report.notes, note)) if note else report


def _may_come_from(mean: Sequence[float], std: Sequence[float], images: Tensor) -> bool:
    """Tell whether images can be pixels standardized with these statistics."""
    if images.ndim != 4 or images.numel() == 0:
        return True
    if len(mean) != images.shape[1]:
        return False
    if images.dtype == torch.uint8:
        return True
    low, high = images.aminmax()
    if low >= 0 and high <= 1:
        return False
    return is_pixel_span(*pixel_span(images, (torch.as_tensor(mean), torch.as_tensor(std))))


def prewarm_(model: nn.Module, images: Images, **options: Any) -> InitReport:
    """Call `warm_init_` with method="prewarm", by its name of 0.1."""
    old_name("prewarm_", "warm_init_")
    return warm_init_(model, images, "prewarm", **options)
