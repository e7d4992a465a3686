"""filters -> a layer's effective weight, written in place and read back."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from warminit.errors import WarminitError
from warminit.models.effective import effective_weight, in_eval_mode
from warminit.models.ranks import is_sharded
from warminit.models.restore import restored_on_error

WRITABLE = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))
"""Accepted dtypes of weights; torch also counts float8 as floating point."""

_SAME_DIRECTION = 0.999
"""Cosine between a filter and its effective weight above which only the scale is lost."""


def check_weight(name: str, module: nn.Module) -> Tensor:
    """Return a layer's weight if it can be written in place, or raise WarminitError.

    Raises:
        WarminitError: For lazy, meta and quantized weights, and for weights that a hook computes.
    """
    # In eval mode: reading a spectral-normed weight in training would advance its buffers.
    with in_eval_mode(module):
        weight: Any = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise WarminitError(
            f"{name} is a {type(module).__name__} whose weight is a {type(weight).__name__}: "
            "expected a floating point tensor. Condition the model before it is quantized."
        )
    if is_lazy(weight):
        raise WarminitError(
            f"{name} is lazy: expected a weight with values. Run one batch through the model first."
        )
    if weight.is_meta:
        raise WarminitError(
            f"{name} is on the meta device: its weight, shape {tuple(weight.shape)}, has no "
            "values. Move the model first with model.to_empty(device=...) and initialize it."
        )
    if weight.is_complex():
        raise WarminitError(
            f"{name} has a weight of {weight.dtype}: expected real weights, since filters are "
            "real. Name a layer of real weights with layers=."
        )
    if weight.dtype not in WRITABLE:
        raise WarminitError(
            f"{name} has a weight of {weight.dtype}: expected floating point of 16, 32 or 64 bits. "
            "Condition the model before it is quantized."
        )
    if weight.layout is not torch.strided or weight.is_nested:
        raise WarminitError(
            f"{name} has a weight of layout {weight.layout}: expected a dense weight. Condition "
            "the model before you make its weights sparse."
        )
    if torch.is_inference_mode_enabled() or weight.is_inference():
        raise WarminitError(
            f"{name} cannot be written under torch.inference_mode(), nor can a weight made under "
            "it: expected an ordinary weight. Build and initialize the model outside."
        )
    if any(n > 1 and step == 0 for n, step in zip(weight.shape, weight.stride(), strict=True)):
        raise WarminitError(
            f"{name} has an expanded weight, shape {tuple(weight.shape)} with strides "
            f"{weight.stride()}: its values share memory. Pass it through .clone() first."
        )
    if not isinstance(weight, nn.Parameter) and not parametrize.is_parametrized(module, "weight"):
        raise WarminitError(
            f"{name}.weight is a {type(weight).__name__} that a hook computes, and cannot be "
            "written: expected an nn.Parameter, or a weight of torch.nn.utils.parametrizations. "
            "Condition the model before you add the hook."
        )
    return weight


def write_rows_(name: str, module: nn.Module, rows: Tensor, filters: Tensor) -> tuple[str, ...]:
    """Write filters into rows of a layer's weight, and read the effective weight back.

    The Parameter objects, dtype, device, memory format and `requires_grad` stay; all other rows
    keep their bits.

    Args:
        name: Dotted name of the layer, for texts.
        module: Convolution or linear layer.
        rows: Indices (n,) of filters.
        filters: Filters (n, C / groups, *K), or (n, D) for a linear layer, float32.

    Returns:
        Notes for the report: empty, or a note that the layer discards the filters' scale.

    Raises:
        WarminitError: If the layer's effective weight differs from the written filters. The layer
            is then bit-identical to before.
    """
    weight = check_weight(name, module)
    rows = rows.to(weight.device)
    filters = filters.to(weight.device)
    if not bool(torch.isfinite(filters.to(weight.dtype)).all()):
        raise WarminitError(
            f"the filters reach {float(filters.abs().max()):.3g}, beyond what {name}'s "
            f"{weight.dtype} holds, {torch.finfo(weight.dtype).max:.3g}. Choose a smaller scale."
        )
    with torch.no_grad(), restored_on_error([module]):
        parametrized = parametrize.is_parametrized(module, "weight")
        if parametrized and is_sharded(weight):
            raise WarminitError(
                f"{name} is both parametrized and sharded; the weight of one of the two alone "
                "can be written. Condition the model before it is sharded."
            )
        before = effective_weight(module)
        if parametrized:
            _assign_parametrized_(module, rows, filters)
        elif is_sharded(weight):
            _write_sharded_(weight, rows, filters)
        else:
            weight[rows] = filters.to(weight.dtype)
        return _read_back(name, module, rows, filters.to(weight.dtype), before)


def check_freezable(module: nn.Module) -> None:
    """Raise unless a hook can freeze rows of a layer's weight."""
    if parametrize.is_parametrized(module, "weight"):
        raise WarminitError(
            "trainable=False: expected a plain weight, not a parametrized one. Freeze the "
            "parametrization's own parameters instead."
        )


def freeze_rows_(module: nn.Module, rows: Tensor) -> None:
    """Freeze rows of a layer's weight, by a hook that sets their gradient to zero."""
    weight: Any = module.weight
    if not weight.requires_grad:
        return

    def without_rows(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[rows.to(gradient.device)] = 0
        return gradient

    weight.register_hook(without_rows)


def _assign_parametrized_(module: nn.Module, rows: Tensor, filters: Tensor) -> None:
    """Set rows of a parametrized weight through its right inverse; keep the other rows."""
    originals = [(each, each.detach(), each.detach().clone()) for each in module.parameters()]
    conv: Any = module
    with in_eval_mode(module):
        weight = conv.weight.detach().clone()
    weight[rows] = filters.to(weight.dtype)
    try:
        conv.weight = weight
    except (NotImplementedError, RuntimeError, ValueError, TypeError) as error:
        raise WarminitError(
            f"the parametrization of this {type(module).__name__} takes no weight: {error}. "
            "Condition the model before the parametrization is registered."
        ) from error
    finally:
        for tensor, place, _ in originals:
            # torch gives an original new memory; whoever holds the old one would lose it.
            if tensor.data_ptr() != place.data_ptr():
                value = tensor.detach().clone()
                tensor.set_(place)  # type: ignore[call-overload] # as torch itself does it
                tensor.copy_(value)
    others = torch.ones(len(weight), dtype=torch.bool, device=weight.device)
    others[rows] = False
    for tensor, _, before in originals:
        if len(tensor.shape) and len(tensor) == len(weight):
            tensor[others] = before[others]


def _read_back(
    name: str, module: nn.Module, rows: Tensor, filters: Tensor, before: Tensor | None
) -> tuple[str, ...]:
    """Compare the effective weight with the filters and the other rows' former values."""
    effective = effective_weight(module)
    kind = type(module).__name__
    if effective is None or before is None:
        function = "linear function" if isinstance(module, nn.Linear) else "convolution"
        raise WarminitError(
            f"{name} is a {kind} without a {function} in its forward: expected one, to verify the "
            "filters. Name another layer with layers=."
        )
    made, meant = effective[rows].double().flatten(1), filters.double().flatten(1)
    tolerance = 8 * torch.finfo(filters.dtype).eps * float(meant.abs().max())
    others = torch.ones(len(effective), dtype=torch.bool, device=effective.device)
    others[rows] = False
    moved = (effective[others] - before[others]).abs()
    worst = float((made - meant).abs().max())
    if worst <= tolerance and not bool((moved > tolerance).any()):
        return ()
    centered_made, centered_meant = (each - each.mean(1, keepdim=True) for each in (made, meant))
    cosines = torch.cosine_similarity(centered_made, centered_meant, dim=1)
    if bool((cosines >= _SAME_DIRECTION).all()) and not bool((moved > tolerance).any()):
        note = "standardizes its weight: the filters keep their shape and lose their scale and mean"
        return (f"{name} ({kind}) {note}",)
    raise WarminitError(
        f"{name} ({kind}) changes its weight: its effective weight differs from the filters by up "
        f"to {worst:.3g}, cosine down to {float(cosines.min()):.3f}, or other filters moved with "
        "them. Nothing was written. Condition the model before you register the parametrization."
    )


def _write_sharded_(weight: Any, rows: Tensor, filters: Tensor) -> None:
    """Write into a DTensor: every rank writes its part of the rows."""
    full = weight.full_tensor()
    full[rows] = filters.to(full.dtype)
    write_values_(weight, full)


def write_values_(weight: Any, values: Tensor) -> None:
    """Copy values into a weight; if it is sharded, every rank writes its part."""
    if not is_sharded(weight):
        weight.copy_(values)
        return
    from torch.distributed.tensor import distribute_tensor

    full = values.to(weight.device, weight.dtype)
    local = distribute_tensor(full, weight.device_mesh, weight.placements).to_local()
    weight.to_local().copy_(local)
