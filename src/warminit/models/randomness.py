"""global and private random generators -> their states: read, restored, kept, seeded."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class RandomState:
    """Hold the states of the global generators of Python, NumPy and torch, to compare.

    Attributes:
        python: State of `random`.
        numpy: State of `numpy.random`'s own functions: name, key as bytes, the rest.
        torch: State of torch's generator on the CPU, as bytes.
        gpus: States of the GPUs' generators, by number, as bytes.
    """

    python: tuple[Any, ...]
    numpy: tuple[Any, ...]
    torch: bytes
    gpus: dict[int, bytes]


def random_state(device: torch.device | None = None) -> RandomState:
    """Read the generators of the host, and of one device or of every GPU.

    Args:
        device: GPU with a generator to read; None for all GPUs that torch has started.
    """
    name, key, *rest = np.random.get_state()  # noqa: NPY002 - it is what is read
    gpus = {index: torch.cuda.get_rng_state(index).numpy().tobytes() for index in _gpus(device)}
    return RandomState(
        random.getstate(),
        (name, np.asarray(key).tobytes(), *rest),
        torch.get_rng_state().numpy().tobytes(),
        gpus,
    )


def set_random_state(state: RandomState) -> None:
    """Restore the generators to a state."""
    random.setstate(state.python)
    name, key, *rest = state.numpy
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(_bytes(state.torch))
    for index, each in state.gpus.items():
        torch.cuda.set_rng_state(_bytes(each), index)


@contextmanager
def random_state_kept(
    device: torch.device | None = None, generators: Iterable[torch.Generator] = ()
) -> Iterator[None]:
    """Restore the global generators of Python, NumPy and torch, and private ones, afterwards.

    Args:
        device: Device, as for `random_state`.
        generators: Private generators of torch.
    """
    before = random_state(device)
    private = [(each, each.get_state()) for each in generators]
    try:
        yield
    finally:
        set_random_state(before)
        for generator, state in private:
            generator.set_state(state)


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed the global generators; torch.manual_seed would also reseed other GPUs."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a user's arm or model may draw from it
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _gpus(device: torch.device | None) -> list[int]:
    if device is None:
        return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    if device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]


def _bytes(state: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)
