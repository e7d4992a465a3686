"""model, images -> input layer scaled to a chosen root mean square of its outputs."""

import copy
import time
from typing import Any

import torch
from torch import Tensor, nn

from warminit.checks import check_seed
from warminit.errors import WarminitError
from warminit.images.check import check_images
from warminit.images.source import Images
from warminit.initializers.bodies.parameters import (
    Change,
    check_number,
    check_parameter,
    holder,
    whole,
    write_,
)
from warminit.initializers.stems.subject import Statistics, Subject
from warminit.models.deep import activations
from warminit.models.effective import in_eval_mode
from warminit.models.ranks import agreed, all_or_none
from warminit.models.restore import restored_on_error
from warminit.models.surroundings import own_arithmetic
from warminit.report import InitReport

_MOST_IMAGES = 256
"""Images in the measurement; 256 give the root mean square to 1 %."""


@own_arithmetic()
def embed_scale(
    model: nn.Module,
    images: Images | Subject,
    *,
    seed: int,
    rms: float = 1.0,
    layers: str | nn.Module | None = None,
    mean: Statistics = None,
    std: Statistics = None,
) -> InitReport:
    """Scale the input layer to a chosen root mean square of its outputs.

    Weight and bias are multiplied by one factor, so the content of the filters stays. This control
    measures how much of a gain comes from the scale of a vision transformer's tokens. LSUV applies
    the same rule to every layer, with the variance instead of the second moment (Mishkin & Matas,
    2016).

    Args:
        model: Any module with a convolution.
        images: Training images (N, C, *size), scaled as the model is fed, or batches of them; the
            first 256 are used.
        seed: Not used; the method is not random.
        rms: Root mean square of the layer's outputs after the call, above 0; 1 by default.
        layers: Dotted name of the layer, or the module; by default the input layer.
        mean: Per-channel mean to standardize uint8 images with.
        std: Per-channel standard deviation to standardize uint8 images with.

    Returns:
        The report, with the former root mean square and the factor. A second pass verifies the
        result.

    Raises:
        WarminitError: If the outputs are zero or not finite, or if the layer does not keep the
            scale. The model is then bit-identical to before.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(1, 8, 4, stride=4))
        >>> images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> report = embed_scale(model, images, seed=0, rms=2.0)
        >>> round(model(images).square().mean().sqrt().item(), 3)
        2.0
    """
    started = time.perf_counter()
    check_seed(seed)
    rms = check_number("rms", rms)
    subject = Subject.of(model, images, mean=mean, std=std)
    with all_or_none():
        target = subject.first(layers)
        conv = target.module
        checked = check_images(
            subject.images, spatial_dims=target.spatial_dims, channels=target.in_channels
        )
        names = ["weight"] if conv.bias is None else ["weight", "bias"]
        for name in names:
            check_parameter(f"{target.name}.{name}", conv, name)
        fed = subject.as_fed(checked[:_MOST_IMAGES])
    if target.flat is not None:
        fed = target.as_weight(activations(model, target, fed))
    before = agreed(_root_mean_square(conv, fed))
    if not 0 < before < float("inf"):
        raise WarminitError(
            f"the outputs of {target.name} have root mean square {before:.3g}: expected a finite "
            "number above 0. Initialize the layer first."
        )
    factor = rms / before
    changes = [
        Change(f"{target.name}.{name}", conv, name, whole(getattr(conv, name)).double() * factor)
        for name in names
    ]
    with restored_on_error([holder(conv, name) for name in names]):
        write_(changes)
        after = agreed(_root_mean_square(conv, fed))
        # Of rounded weights each is off by half of the last digit at most.
        if abs(after / rms - 1) > max(1e-4, 4 * torch.finfo(conv.weight.dtype).eps):
            raise WarminitError(
                f"the outputs of {target.name} have root mean square {after:.4g} after the write: "
                f"expected {rms:.4g}. A layer that computes its weight loses the scale: name "
                "another layer with layers=."
            )
    return InitReport(
        method="embed-scale",
        layer=target.name,
        found=target.found,
        filters_set=target.out_channels,
        out_channels=target.out_channels,
        parameters={"rms": rms, "rms_before": before, "factor": factor},
        seed=seed,
        seconds=time.perf_counter() - started,
        notes=() if subject.note is None else (subject.note,),
    )


def _root_mean_square(module: nn.Module, images: Tensor) -> float:
    """Measure a layer's outputs on images, with whole parameters and without its hooks."""
    alone: Any = copy.copy(module)
    held = module._parameters  # noqa: SLF001 - torch has no public way to give a copy its own
    alone._parameters = {  # noqa: SLF001 - as above
        name: each if each is None else nn.Parameter(whole(each), requires_grad=False)
        for name, each in held.items()
    }
    images = images.to(device=alone.weight.device, dtype=alone.weight.dtype)
    no_autocast = torch.autocast(images.device.type, enabled=False)
    with in_eval_mode(alone), torch.no_grad(), no_autocast:
        out = type(module).forward(alone, images)
    return float(out.double().square().mean().sqrt())
