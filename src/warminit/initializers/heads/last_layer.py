"""model, one image -> the linear layer that gives the model's output, its weight made small."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from warminit.errors import WarminitError
from warminit.models.deep import activations
from warminit.models.layer import FoundLayer
from warminit.models.outputs import close
from warminit.models.ranks import agreed, is_sharded
from warminit.models.record import WHOLE_MODEL
from warminit.models.restore import said
from warminit.models.survey import Survey
from warminit.models.write import check_weight

HEAD = 0.1
"""Deviation of a small head's weight, as a share of the default of `nn.Linear`."""

FAINT = 0.02
"""Root mean square of outputs that are small already: the value of SimpleCNN's small head."""

SEEN = 8
"""Images in the measurement of a head's outputs."""

_INSTEAD = "Or scale the layer yourself: with torch.no_grad(): model.head.weight.mul_(0.1)."
_ENDS: tuple[Callable[[Tensor], Tensor], ...] = (lambda out: out, torch.sigmoid)
_ENDS_OF_CLASSES = (*_ENDS, lambda out: out.softmax(-1), lambda out: out.log_softmax(-1))
"""Functions that a model may apply to its head's output. The softmax of a single output is always
1."""


@dataclass(frozen=True, slots=True)
class Head:
    """Describe the layer that computes a model's output.

    Attributes:
        name: Dotted name, without the wrappers of compilation and data parallelism.
        module: Linear layer with an unshared weight.
        normalized_by: Dotted name of the normalization (or the function) between the last layer
            with weights and this one; "" if there is none.
    """

    name: str
    module: nn.Linear
    normalized_by: str


def find_head(survey: Survey) -> Head:
    """Find the linear layer whose output is the model's output.

    For one image, the model must return the layer's output, or its softmax, log-softmax or sigmoid.
    If the model returns a tuple, a dictionary or an output object, one tensor in it counts.

    Args:
        survey: Survey of the model.

    Returns:
        The head, and the normalization of its input. The head runs once with a plain weight that
        trains and is not shared.

    Raises:
        WarminitError: If there is no such layer, or more than one.
    """
    model = survey.model
    if survey.lazy:
        raise WarminitError(
            f"{survey.lazy} is lazy: expected a layer with a shape, to find the head. Run one "
            f"batch through the model first. {_INSTEAD}"
        )
    passed = survey.passed
    if passed.error is not None:
        raise WarminitError(
            f"{survey.not_through()}, so its head is not known: {said(passed.error)}. {_INSTEAD}"
        ) from passed.error
    ends = [
        call
        for call in passed.calls
        if call.vector is not None
        and any(_is_made_of(each, call.vector) for each in passed.returned)
    ]
    names = list(dict.fromkeys(call.name for call in ends))
    if len(names) != 1:
        raise WarminitError(
            f"linear layers whose output is the model's output: {', '.join(names) or 'none'}: "
            f"expected one as the head. {_INSTEAD}"
        )
    head: Any = ends[0].module
    own = [call for call in passed.calls if call.module is head]
    _check_its_own(model, head, names[0], len(own))
    before = survey.last_before(own[0])
    return Head(names[0], head, before.name if before and before.normalizes else "")


def shrink_(head: Head, share: float) -> float:
    """Shrink a head's weight to at most a share of torch's default deviation.

    `nn.Linear` draws its weight with the deviation 1 / sqrt(3 in_features). The bias stays: it may
    hold the class frequencies. With a sharded weight, every rank must call.

    Args:
        head: Result of `find_head`.
        share: Share of the default deviation, from 0 to 1.

    Returns:
        The factor, at most 1. A head that is small already keeps its bits, so a second call changes
        nothing beyond rounding.

    Raises:
        WarminitError: If the weight is not finite or cannot be written. The weight is then
            unchanged.
    """
    weight: Any = head.module.weight
    whole = weight.detach().full_tensor() if is_sharded(weight) else weight.detach()
    deviation = float(whole.double().square().mean().sqrt()) if whole.numel() else math.nan
    if not math.isfinite(deviation):
        raise WarminitError(
            f"the {whole.numel()} weights of {head.name} have the deviation {deviation}: expected "
            f"a finite number. Initialize the layer first. {_INSTEAD}"
        )
    wanted = share / math.sqrt(3 * head.module.in_features)
    if deviation <= wanted:
        return 1.0
    try:
        with torch.no_grad():
            weight.mul_(wanted / deviation)
    except RuntimeError as error:  # a type or a storage that torch does not write to
        raise WarminitError(
            f"the weight of {head.name}, {weight.dtype}, cannot be written: {error}. {_INSTEAD}"
        ) from error
    return wanted / deviation


def output_size(model: nn.Module, head: Head, images: Tensor) -> float:
    """Measure a head's outputs on the first 8 images, without the bias.

    BatchNorm uses the statistics of these images, as in training. Under a process group every rank
    must call, and all get the value of rank 0.

    Args:
        model: Module in which the head was found.
        head: Result of `find_head`.
        images: (N, C, *size), as the model is fed.

    Returns:
        The root mean square, at least 0; NaN if the model cannot run on the images.
    """
    weight: Any = head.module.weight
    whole = weight.detach().full_tensor() if is_sharded(weight) else weight.detach()
    try:
        fed = activations(model, FoundLayer(head.name, head.module, "the head"), images[:SEEN])
        size = float(F.linear(fed.float(), whole.float()).square().mean().sqrt())
    except WarminitError:  # BatchNorm of one value, say
        size = math.nan
    return agreed(size)


def check_share(share: float) -> float:
    """Return `head_scale` as a float, or raise WarminitError."""
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise WarminitError(
            f"head_scale={share!r}: expected a number from 0 to 1, the head's deviation as a share "
            f"of torch's default. The default is {HEAD}."
        )
    return float(share)


def _check_its_own(model: nn.Module, head: nn.Linear, name: str, calls: int) -> None:
    """Raise unless a head runs once with a plain weight that trains and that nothing else uses."""
    weight = check_weight(name, head)
    sharing = [
        other or WHOLE_MODEL
        for other, module in model.named_modules()
        if any(_is_same(each, weight) for each in module.parameters(recurse=False))
    ]
    wrong = "" if weight.requires_grad else "frozen"
    if parametrize.is_parametrized(head, "weight"):
        wrong = "parametrized"
    elif len(sharing) > 1:
        wrong = f"shared by {' and '.join(sharing)}"
    elif calls > 1:
        wrong = f"used {calls} times for one image"
    if wrong:
        raise WarminitError(
            f"the weight of {name} is {wrong}: expected an unshared weight that trains. {_INSTEAD}"
        )


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two parameters share memory."""
    if one is other or is_sharded(one) or is_sharded(other):
        return one is other
    return one.data_ptr() == other.data_ptr() != 0


def _is_made_of(returned: Tensor, out: Tensor) -> bool:
    if returned.numel() != out.numel():
        return False
    ends = _ENDS if out.numel() == 1 else _ENDS_OF_CLASSES
    return any(close(returned, end(out.float())) for end in ends)
