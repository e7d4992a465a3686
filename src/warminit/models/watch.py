"""model, one image, a mode of torch -> what the mode sees of the pass; the model is as before."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from warminit.models.record import as_input
from warminit.models.restore import set_modes, undisturbed


def watched(
    model: nn.Module,
    images: Tensor,
    watcher: AbstractContextManager[Any],
    attach: Callable[[], list[Any]] = list,
) -> Exception | None:
    """Run one image through a model in eval mode, within a mode that sees its operations.

    Args:
        model: Any module, not wrapped.
        images: (N, C, *size); the first is used.
        watcher: Entered for the pass.
        attach: Registers hooks for the pass and returns their handles.

    Returns:
        What the model raised, None where it ran.
    """
    image = as_input(model, images[:1])
    with undisturbed(model):
        handles = attach()
        try:
            set_modes(model, training=False)
            with torch.no_grad(), watcher:
                model(image)
        except Exception as error:  # noqa: BLE001 - whatever a model may raise
            return error
        finally:
            for handle in handles:
                handle.remove()
    return None
