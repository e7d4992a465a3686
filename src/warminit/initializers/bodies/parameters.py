"""values for many parameters -> all of them written in place, or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from warminit.errors import WarminitError
from warminit.models.effective import effective_weight
from warminit.models.ranks import is_sharded
from warminit.models.record import CONVOLUTIONS
from warminit.models.restore import restored_on_error
from warminit.models.write import check_weight

Content = Literal["own", "random"]
"""Content that a method sets: its values, or the control, Gaussian values of the same norms."""


@dataclass(frozen=True, slots=True)
class Change:
    """Hold new values of a parameter.

    Attributes:
        name: Dotted name of the parameter, for texts.
        module: Module that holds the parameter.
        attribute: Name of the parameter in that module.
        values: New values of the parameter's whole shape, in any dtype and on any device.
    """

    name: str
    module: nn.Module
    attribute: str
    values: Tensor


def check_content(content: str) -> None:
    """Raise unless `content` is a known name."""
    if content not in get_args(Content):
        raise WarminitError(
            f"content={content!r}: expected 'own' or 'random'. Leave it out for the method's own "
            "content; 'random' is its control."
        )


def check_number(name: str, value: float, *, above: bool = True) -> float:
    """Return a finite number above (or from) 0 as a float, or raise WarminitError."""
    valid = not isinstance(value, bool) and isinstance(value, int | float)
    if not (valid and (value > 0 if above else value >= 0) and value < float("inf")):
        bound = "above 0" if above else "of at least 0"
        raise WarminitError(
            f"{name}={value!r}: expected a finite number {bound}. Leave it out for the default."
        )
    return float(value)


def check_parameter(name: str, module: nn.Module, attribute: str = "weight") -> Tensor:
    """Return a parameter that can be written in place, or raise WarminitError.

    Raises:
        WarminitError: If the parameter is computed, lazy, quantized or without values.
    """
    if parametrize.is_parametrized(module, attribute):
        raise WarminitError(
            f"{name} is parametrized: expected a plain parameter. Initialize the model before you "
            "register the parametrization."
        )
    return check_weight(name, holder(module, attribute))


def holder(module: nn.Module, attribute: str) -> nn.Module:
    """Return a module whose weight is a parameter of another module, the same object."""
    alone: Any = nn.Module()
    alone.weight = getattr(module, attribute)
    return alone  # type: ignore[no-any-return]  # a Module


def whole(parameter: Tensor) -> Tensor:
    """Return a parameter's whole values, detached, gathered from all ranks."""
    sharded: Any = parameter.detach()
    return sharded.full_tensor() if is_sharded(sharded) else sharded  # type: ignore[no-any-return]  # a Tensor


def computes_its_weight(module: nn.Module) -> bool:
    """Tell whether a layer computes with values other than its parameter's.

    A layer that standardizes its weight, for example, would not keep written values.
    """
    weight = module.get_parameter("weight")
    if isinstance(module, CONVOLUTIONS):
        effective = effective_weight(module)
        return effective is None or not torch.equal(effective, whole(weight))
    return type(module).forward is not nn.Linear.forward


def random_like(values: Tensor, generator: torch.Generator, *, by_row: bool = False) -> Tensor:
    """Draw Gaussian values with the norm of other values, for the whole tensor or each row."""
    drawn = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    axes = tuple(range(1 if by_row else 0, values.ndim))
    wanted = values.double().square().sum(axes, keepdim=True).sqrt()
    return drawn * (wanted / drawn.square().sum(axes, keepdim=True).sqrt())


def write_(changes: Sequence[Change]) -> None:
    """Write all values after all checks, or none of them.

    On any error the model is bit-identical to before.

    The Parameter objects, dtype, device, memory format and `requires_grad` stay. With a sharded
    parameter, every rank must call, with the same values.

    Raises:
        WarminitError: If a parameter cannot hold its values.
    """
    holders = []
    for change in changes:
        parameter = check_parameter(change.name, change.module, change.attribute)
        if not bool(torch.isfinite(change.values.to(parameter.dtype)).all()):
            raise WarminitError(
                f"{change.name}: its new values reach {float(change.values.abs().max()):.3g}, "
                f"expected at most {torch.finfo(parameter.dtype).max:.3g} in {parameter.dtype}. "
                "Initialize the model in float32 first."
            )
        holders.append(holder(change.module, change.attribute))
    with torch.no_grad(), restored_on_error(holders):
        for change in changes:
            _copy_(getattr(change.module, change.attribute), change.values)


def _copy_(parameter: Any, values: Tensor) -> None:
    values = values.to(device=parameter.device, dtype=parameter.dtype)
    if not is_sharded(parameter):
        parameter.copy_(values)
        return
    from torch.distributed.tensor import distribute_tensor

    own = distribute_tensor(values, parameter.device_mesh, parameter.placements)
    parameter.to_local().copy_(own.to_local())
