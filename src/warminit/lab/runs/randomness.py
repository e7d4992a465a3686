"""device -> the state of every global random generator: read, put back, kept, seeded."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class RandomState:
    """Where the global generators of Python, NumPy and torch are; two are equal or not.

    Attributes:
        python: Of `random`.
        numpy: Of `numpy.random`'s own functions: name, key as bytes, the rest.
        torch: Of torch's generator on the CPU, as bytes.
        gpu: Of that of the GPU in question, as bytes; empty where there is none.
    """

    python: tuple[Any, ...]
    numpy: tuple[Any, ...]
    torch: bytes
    gpu: bytes


def random_state(device: torch.device) -> RandomState:
    """Read the generators of the host, and that of the device where it is a GPU."""
    name, key, *rest = np.random.get_state()  # noqa: NPY002 - it is what is read
    gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.empty(0)
    return RandomState(
        random.getstate(),
        (name, np.asarray(key).tobytes(), *rest),
        torch.get_rng_state().numpy().tobytes(),
        gpu.numpy().tobytes(),
    )


def set_random_state(state: RandomState, device: torch.device) -> None:
    """Put the generators where they were when the state was read."""
    random.setstate(state.python)
    name, key, *rest = state.numpy
    np.random.set_state((name, np.frombuffer(key, np.uint32), *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(_bytes(state.torch))
    if device.type == "cuda":
        torch.cuda.set_rng_state(_bytes(state.gpu), device)


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch as they were."""
    before = random_state(device)
    try:
        yield
    finally:
        set_random_state(before, device)


def seed_everything(seed: int, device: torch.device) -> None:
    """Seed the global generators; torch.manual_seed would also reseed GPUs that are not kept."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a user's arm or model may draw from it
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _bytes(state: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)
