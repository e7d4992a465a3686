"""the caller's autocast, default device and dtype -> switched off for a while."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

import torch

_CALLERS: ContextVar[tuple[torch.device, torch.dtype] | None] = ContextVar("callers", default=None)


@contextmanager
def own_arithmetic() -> Iterator[None]:
    """Compute in float32 on the CPU by default, and outside any autocast.

    Only the model and the images determine device and dtype, so a call gives the same bits for any
    settings of the caller. The caller's settings are restored afterwards, and within
    `callers_defaults`.
    """
    callers = _CALLERS.get() or (torch.get_default_device(), torch.get_default_dtype())
    token = _CALLERS.set(callers)
    try:
        with ExitStack() as stack:
            for kind in ("cpu", "cuda", "mps", "xpu"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            stack.enter_context(_defaults(torch.device("cpu"), torch.float32))
            yield
    finally:
        _CALLERS.reset(token)


@contextmanager
def callers_defaults() -> Iterator[None]:
    """Run the caller's code (a model, a loader) with the caller's default device and dtype."""
    callers = _CALLERS.get()
    if callers is None:
        yield
        return
    with _defaults(*callers):
        yield


@contextmanager
def _defaults(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if torch.get_default_device() == device:
            yield
        else:
            with device:
                yield
    finally:
        torch.set_default_dtype(before)
