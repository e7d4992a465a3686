"""model, images -> model whose wide linear layers a step of Adam moves no more than narrow ones.

What `live.py` does to SimpleCNN's hidden layer, by a rule and for any model, without a small head.
`experiments.quiet:start` in a study file.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from warminit.init_report import InitReport
from warminit.initializers import get_arm
from warminit.layers import PARAMETRIC
from warminit.normalization import is_normalization
from warminit.one_pass import run_once

WIDTH = 512
"""Inputs of a layer that is left as it is."""


class Quieted(NamedTuple):
    """A layer whose weight was multiplied by `factor`, and the one before it, which was divided."""

    layer: str
    before: str
    factor: float


def start(
    model: nn.Module,
    images: Tensor,
    *,
    seed: int,
    arm: str = "whitening",
    width: int = WIDTH,
    n_patches: int | None = None,
) -> InitReport:
    """Apply an arm, then `quiet_`.

    Args:
        model: Any module with a convolution.
        images: One training batch, as the model is fed.
        seed: Of the arm.
        arm: Its name.
        width: As for `quiet_`.
        n_patches: Derived from the data set by the laboratory.

    Returns:
        The arm's report.
    """
    given = {} if arm == "torch-default" else {"n_patches": n_patches}
    report = get_arm(arm)(model, images, seed=seed, **given)
    quiet_(model, images, width)
    return report


def quiet_(model: nn.Module, images: Tensor, width: int = WIDTH) -> list[Quieted]:
    """Make a step of Adam as small a share of a wide layer's values as of one of `width` inputs.

    A linear layer of n inputs draws weights of deviation 1 / sqrt(3 n), and a step at the rate r
    moves each by r. Inputs that are never negative move the values by up to n r times their mean,
    and what they were spreads by their root mean square / sqrt(3): the ratio grows with n. So the
    weight is multiplied by n / width, and the layer before, with its bias, is divided by it.

    Args:
        model: Any module.
        images: (N, C, *size), as the model is fed; the first goes through in eval mode.
        width: Inputs of a layer that is left.

    Returns:
        What was done. The model computes the same but for rounding: where the output would change,
        since what runs in between does not pass a factor on (GELU, a residual), both are left.
    """
    names = {
        module: name
        for name, module in model.named_modules()
        if isinstance(module, PARAMETRIC) or is_normalization(module)
    }
    ran: list[nn.Module] = []
    output, error = run_once(
        model,
        images,
        lambda: [each.register_forward_pre_hook(lambda m, _: ran.append(m)) for each in names],
    )
    if error is not None:
        return []
    made = []
    for before, layer in pairwise(ran):
        if not isinstance(layer, nn.Linear) or layer.in_features <= width:
            continue
        divided = list(before.parameters(recurse=False))
        kept = [(each, each.detach().clone()) for each in (layer.weight, *divided)]
        factor = layer.in_features / width
        with torch.no_grad():
            layer.weight.mul_(factor)
            for each in divided:
                each.div_(factor)
        after, _ = run_once(model, images, list)
        if divided and _same(after, output):
            made.append(Quieted(names[layer], names[before], factor))
            continue
        with torch.no_grad():
            for parameter, value in kept:
                parameter.copy_(value)
    return made


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return False
    return torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(other.std()))
