"""model -> input layer drawn anew: the published variance rules, through `torch.nn.init`."""

import math
import time
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from warminit.init_report import InitReport
from warminit.layers import find_layer
from warminit.rules import check_seed


class _Draw(Protocol):
    def __call__(self, tensor: Tensor, *, generator: torch.Generator) -> Tensor: ...


def torch_default(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layer: str | nn.Module | None = None,
) -> InitReport:
    """Draw the layer as `nn.Conv2d` does: kaiming_uniform, a = sqrt(5) (He et al., 2015).

    This is the baseline that the paper calls Kaiming. The standard deviation is
    1 / sqrt(3 * fan_in). Given the seed that a model was built with, a model whose first draw is
    this layer's weight keeps its bits.

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Not used.
        seed: Of the draw.
        layer: Dotted name of the layer, or the module; the first convolution by default.

    Returns:
        The report; every weight lies within 1 / sqrt(fan_in).
    """
    draw = partial(nn.init.kaiming_uniform_, a=math.sqrt(5))
    return _redraw(model, draw, arm="torch-default", seed=seed, layer=layer)


def he_normal(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    layer: str | nn.Module | None = None,
) -> InitReport:
    """Draw the layer from a normal distribution of deviation sqrt(2 / fan_in) (He et al., 2015).

    This is the Kaiming rule that Section 4.4 argues with, 2.45 times torch's default.

    Args:
        model: Any module with an `nn.Conv2d`; biases stay.
        images: Not used.
        seed: Of the draw.
        layer: Dotted name of the layer, or the module; the first convolution by default.

    Returns:
        The report; the weight's variance is 2 / fan_in in expectation.
    """
    draw = partial(nn.init.kaiming_normal_, nonlinearity="relu")
    return _redraw(model, draw, arm="he-normal", seed=seed, layer=layer)


def _redraw(
    model: nn.Module, draw: _Draw, *, arm: str, seed: int, layer: str | nn.Module | None
) -> InitReport:
    started = time.perf_counter()
    check_seed(seed)
    target = find_layer(model, layer)
    weight = target.module.weight
    # Drawn on the CPU in float32, so that every device and dtype starts from the same values.
    drawn = torch.empty(weight.shape)
    draw(drawn, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        weight.copy_(drawn)
    return InitReport(
        arm=arm,
        layer=target.name,
        found=target.found,
        filters_set=len(weight),
        out_channels=len(weight),
        parameters={"std": float(drawn.std())},
        seed=seed,
        seconds=time.perf_counter() - started,
    )
