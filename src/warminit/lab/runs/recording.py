"""work for a device -> the same work, on a GPU recorded as a CUDA graph and replayed."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from warminit.errors import WarminitWarning
from warminit.models.randomness import random_state

T = TypeVar("T")


def record_graph(work: Callable[[], T]) -> Callable[[], T]:
    """Record work on the current stream of a GPU, which must not be the default stream.

    Nothing is computed meanwhile.

    Returns:
        A function that replays the work and returns the same tensors with new values. If torch
        cannot record the work, a warning and the work itself.
    """
    graph = torch.cuda.CUDAGraph()
    collecting = gc.isenabled()
    gc.disable()  # freeing what an earlier run has left behind would break the recording
    try:
        # thread_local: what other threads of the program do on the GPU meanwhile is theirs.
        with torch.cuda.graph(
            graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"
        ):
            result = work()
    except RuntimeError as error:
        warnings.warn(
            f"the work of a step cannot be recorded as a CUDA graph ({error}); it runs without a "
            "graph, which is slower but gives the same results.",
            WarminitWarning,
            stacklevel=2,
        )
        failed = graph  # torch may clear memory of the stream's other graphs when this one goes
        return lambda: (work(), failed)[0]
    finally:
        if collecting:
            gc.enable()

    def replay() -> T:
        graph.replay()
        return result

    return replay


def recorded(
    work: Callable[[], T],
    model: nn.Module,
    device: torch.device,
    record: Callable[[Callable[[], T]], Callable[[], T]] | None = None,
) -> Callable[[], T]:
    """Return a function for the same work, which is a recording from the third call on.

    The first two calls execute the work, so libraries and optimizers can set up their state. The
    second call is monitored. Work that draws random numbers, waits for the device or changes
    attributes of the model would differ in a replay, and is never recorded.

    Args:
        work: Work on tensors at fixed addresses.
        model: Model to monitor.
        device: Device of the work.
        record: Function that makes the recording. None: `record_graph` on a GPU, none on the CPU.
    """
    if record is None:
        if device.type != "cuda":
            return work
        record = record_graph

    def calls() -> Iterator[T]:
        yield work()
        before = _on_the_host(model, device)
        with _waits_counted(device) as waits:
            result = work()
        same = not waits and _on_the_host(model, device) == before
        yield result
        again = record(work) if same else work
        while True:
            yield again()

    return calls().__next__


def _on_the_host(model: nn.Module, device: torch.device) -> object:
    """Return the state that a replay does not change: random generators, attributes of modules."""
    attributes = [
        (key, value)
        for module in model.modules()
        for key, value in vars(module).items()
        if value is None or isinstance(value, bool | int | float | str)
    ]
    return random_state(device), attributes


@contextmanager
def _waits_counted(device: torch.device) -> Iterator[list[str]]:
    """Collect torch's warnings on operations that wait for the GPU."""
    waits: list[str] = []
    if device.type != "cuda":
        yield waits
        return
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    for each in told:
        text = str(each.message)
        if "called a synchronizing CUDA operation" in text:
            waits.append(text)
        elif "Synchronization debug mode" not in text:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
