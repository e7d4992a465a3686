"""model, batches -> the inputs of one layer; the model does not change."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from warminit.errors import WarminitError
from warminit.models.record import as_input
from warminit.models.restore import fully_sharded, said, set_modes, undisturbed


class _Reached(BaseException):  # no error: the layer is reached, and no `except` is to stop that
    pass


def fed_to(
    model: nn.Module,
    layer: nn.Module,
    name: str,
    batches: Iterable[Tensor],
    *,
    batch_statistics: bool,
) -> list[Tensor]:
    """Run batches through a model in eval mode, up to one layer.

    Args:
        model: Any module, not wrapped.
        layer: Layer of the model.
        name: Name of the layer, for texts.
        batches: Batches (N, C, *size), scaled as the model is fed.
        batch_statistics: Whether BatchNorm uses the statistics of the batch, as in training; its
            running statistics do not change.

    Returns:
        The layer's first input tensor for each batch, detached.

    Raises:
        WarminitError: If the layer is not reached, or the model fails.
    """
    fed: list[Tensor] = []
    now: list[Tensor] = []
    # FSDP2 expects a pass that has begun to end.
    whole_pass = bool(fully_sharded(model))

    def take(_module: nn.Module, args: Any, kwargs: Any) -> None:
        given = (each for each in (*args, *kwargs.values()) if isinstance(each, Tensor))
        if not now and (first := next(given, None)) is not None:
            now.append(first.detach().clone() if whole_pass else first.detach())
        if not whole_pass:
            raise _Reached

    with undisturbed(model):
        set_modes(model, training=False)
        for module in model.modules():
            if batch_statistics and isinstance(module, _NormBase):
                module.training = True
        handle = layer.register_forward_pre_hook(take, with_kwargs=True)
        try:
            for batch in batches:
                now.clear()
                with torch.no_grad():
                    _run(model, batch, name)
                fed += now
                if not now:
                    raise WarminitError(
                        f"{name} is not reached by these images: expected a layer that runs. Leave "
                        "it out of layers."
                    )
        finally:
            handle.remove()
    return fed


def _run(model: nn.Module, batch: Tensor, name: str) -> None:
    try:
        model(as_input(model, batch))
    except _Reached:
        pass
    except Exception as error:
        raise WarminitError(
            f"images of shape {tuple(batch.shape)} do not reach {name}: {said(error)}. Pass the "
            "batch that the model is fed."
        ) from error
