"""model, one image -> the linear layer that gives the model's output, its weight made small."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn, no_grad
from torch.nn.utils import parametrize

from warminit.effective import is_sharded
from warminit.errors import WarminitError
from warminit.layers import run_once, unwrap
from warminit.weights import check_weight

HEAD = 0.1
"""Deviation of a small head's weight, as a share of what `nn.Linear` draws."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last layer of a model.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism.
        module: A linear layer with a weight of its own.
    """

    name: str
    module: nn.Linear


def find_head(model: nn.Module, images: Tensor) -> Head:
    """Find the linear layer whose output has the size of the model's own.

    One image goes through in eval mode, after which every mode, buffer and random state is as it
    was.

    Args:
        model: Any module, wrapped or not.
        images: (N, C, *size), as the model is fed; the first is used.

    Returns:
        The last layer with a weight that runs.

    Raises:
        WarminitError: If that layer is not linear, shares its weight, or gives each image another
            number of values than the model does.
    """
    model = unwrap(model)
    calls, output = run_once(model, images)
    named = dict(model.named_modules())
    name = calls[-1] if calls else ""
    last: Any = named[name] if calls else None
    if not isinstance(last, nn.Linear):
        kind = f"{name}, a {type(last).__name__}" if calls else "none"
        raise WarminitError(
            f"the last layer that runs is {kind}; an nn.Linear is needed as the head. Use an arm "
            "without a small head, such as whitening."
        )
    if (found := _values(output)) != last.out_features:
        raise WarminitError(
            f"the model gives {found} values an image and {name}, the last layer that runs, "
            f"{last.out_features}; they must agree for it to be the head. Use an arm without a "
            "small head, such as whitening."
        )
    weight = check_weight(name, last)
    sharing = [
        other
        for other, module in named.items()
        if any(each is weight for each in module.parameters(recurse=False))
    ]
    if len(sharing) > 1 or parametrize.is_parametrized(last, "weight"):
        shared = f"shared by {' and '.join(sharing)}" if len(sharing) > 1 else "parametrized"
        raise WarminitError(
            f"the weight of {name} is {shared}; one of its own is needed to make it small. Use an "
            "arm without a small head, such as whitening."
        )
    return Head(name, last)


def shrink_(head: Head, share: float) -> float:
    """Multiply a head's weight so that its deviation is at most a share of torch's default.

    `nn.Linear` draws its weight with the deviation 1 / sqrt(3 in_features). The bias stays: it may
    hold what is known of the classes.

    Args:
        head: Of `find_head`.
        share: From 0 to 1.

    Returns:
        The factor, at most 1: a head that is small already keeps its bits, so that a second call
        changes nothing but for rounding.
    """
    weight: Any = head.module.weight
    whole = weight.detach().full_tensor() if is_sharded(weight) else weight.detach()
    deviation = float(whole.double().square().mean().sqrt())
    wanted = share / math.sqrt(3 * head.module.in_features)
    if deviation <= wanted:
        return 1.0
    with no_grad():
        weight.mul_(wanted / deviation)
    return wanted / deviation


def check_share(share: float) -> float:
    """Return `head` as a float, or raise WarminitError."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise WarminitError(
            f"head={share!r}; a number from 0 to 1 is needed, the head's deviation as a share of "
            f"torch's default. The default is {HEAD}."
        )
    return float(share)


def _values(output: Any) -> int | None:
    """Count the values that a model gives one image: of a tensor, of `logits`, or of the first."""
    if isinstance(output, dict):
        output = output.get("logits", next(iter(output.values()), None))
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, list | tuple) and output:
        output = output[0]
    return output.numel() if isinstance(output, Tensor) else None
