"""autocast, default device and dtype, grad mode, flags -> the same bits as without them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from arm_guarantees import bits, values
from warminit import derive_rules, diagnose, init_, prewarm_filters
from warminit.initializers import METHODS

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Makes tensors of its own as it runs, on the default device and of the default dtype."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        factory = {"device": "cpu", "dtype": torch.float32}
        self.stem = nn.Conv2d(3, 16, 3, **factory)  # type: ignore[arg-type]
        self.norm = nn.BatchNorm2d(16, **factory)  # type: ignore[arg-type]
        self.body = nn.Conv2d(16, 8, 3, **factory)  # type: ignore[arg-type]
        self.head = nn.Linear(8, 10, **factory)  # type: ignore[arg-type]
        self.made: list[tuple[torch.device, torch.dtype]] = []

    def forward(self, images: Tensor) -> Tensor:
        own = torch.zeros(2)
        self.made.append((own.device, own.dtype))
        scores: Tensor = self.head(self.body(self.norm(self.stem(images)).relu()).mean((2, 3)))
        return scores


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)


ELSEWHERE = {"mimetic", "impulse", "convcov", "zero-residual"}
"""Methods for parts that this network has not."""

AROUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "device context": lambda: torch.device("meta"),
    "default device": default_device,
    "default bfloat16": lambda: default_dtype(torch.bfloat16),
    "default float64": lambda: default_dtype(torch.float64),
    "no_grad": torch.no_grad,
    "deterministic": deterministic,
}


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("method", sorted(set(METHODS) - ELSEWHERE))
def test_every_method_gives_the_same_bits(method: str, around: str) -> None:
    alone, inside = Net(), Net()
    options = {"layers": 2} if method in {"whitening", "prewarm"} else {}
    init_(alone, IMAGES, method, **options)
    with AROUND[around]():
        settings = torch.get_default_device(), torch.get_default_dtype()
        autocast = torch.is_autocast_enabled("cpu")
        init_(inside, [IMAGES] if "device" not in around else IMAGES, method, **options)
        assert (torch.get_default_device(), torch.get_default_dtype()) == settings
        assert torch.is_autocast_enabled("cpu") is autocast
    assert values(inside) == values(alone)
    # The caller's own code runs with the caller's defaults.
    assert set(inside.made) <= {settings}
    assert len(inside.made) == len(alone.made)


@pytest.mark.parametrize("around", AROUND)
def test_so_do_filters_rules_and_diagnosis(around: str) -> None:
    rules = derive_rules(IMAGES)
    filters = prewarm_filters(IMAGES, patches_per_image=20)
    found = diagnose(Net(), IMAGES)
    with AROUND[around]():
        assert derive_rules(IMAGES) == rules
        assert bits(prewarm_filters(IMAGES, patches_per_image=20)) == bits(filters)
        assert diagnose(Net(), IMAGES) == found
