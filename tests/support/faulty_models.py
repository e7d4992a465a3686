"""a seed -> a model with one fault injected at one drawn step, and all of it as comparable bits."""

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arm_guarantees import bits, global_states

KINDS: tuple[type[BaseException], ...] = (
    TypeError, AssertionError, KeyError, IndexError, RuntimeError, ValueError, AttributeError,
    RecursionError, StopIteration, ZeroDivisionError, NotImplementedError, OSError,
    KeyboardInterrupt, SystemExit,
)  # fmt: skip
PLACES = ("forward", "pre-hook", "hook", "buffer", "train", "output", "weight", "convolution")

RUNNING = ("whitening-small-head", "small-head", "lsuv", "krahenbuhl")


class Fault:
    """Raises at the n-th time that its place is passed; before that, disturbs what it can reach."""

    def __init__(self, place: str, after: int, kind: type[BaseException]) -> None:
        self.place, self.after, self.kind, self.armed = place, after, kind, False

    def reached(self, place: str) -> None:
        if self.armed and place == self.place:
            self.after -= 1
            if self.after < 0:
                raise self.kind("injected")


class Convolution(nn.Conv2d):
    """Its forward and its weight, read by name, may raise."""

    fault = Fault("nowhere", 0, RuntimeError)  # until the model has its own

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        self.fault.reached("convolution")
        return super().forward(input)

    def __getattr__(self, name: str) -> Any:
        if name == "weight":
            self.fault.reached("weight")
        return super().__getattr__(name)


class Odd:
    """An output whose attributes raise."""

    def __init__(self, fault: Fault, out: Tensor) -> None:
        self._fault, self._out = fault, out

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]  # what the survey reads
        self._fault.reached("output")
        return {"logits": self._out}

    __slots__ = ("_fault", "_out")


class Disturbing(nn.Module):
    """Runs its parts, and changes what a forward pass of a real model was seen to change."""

    def __init__(self, draw: random.Random, fault: Fault) -> None:
        super().__init__()
        self.fault, self.habits = fault, draw.sample(sorted(HABITS), draw.randint(0, 4))
        self.habits += ["buffer"] * (fault.place == "buffer" and "buffer" not in self.habits)
        self.register_buffer("seen", torch.zeros(0))
        self.register_buffer("count", torch.zeros(()))
        self.spare: nn.Module = nn.BatchNorm2d(3)
        self.kept: list[int] = []
        self.calls = 0
        self.generator = torch.Generator().manual_seed(1)
        self.base = nn.Parameter(torch.randn(2, 3))
        self.odd = fault.place == "output"
        width = draw.choice((4, 6))
        stem = Convolution(3, width, 3)
        stem.fault = fault
        layers: list[nn.Module] = [stem]
        layers += [draw.choice((nn.ReLU(), nn.BatchNorm2d(width), nn.Dropout(0.2)))]
        layers += [nn.Conv2d(width, 6, 3), nn.ReLU()] * draw.randint(0, 1)
        last = 6 if len(layers) > 2 else width
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * last, 8)]
        layers += [*draw.choice(([], [nn.LayerNorm(8)], [nn.ReLU()])), nn.Linear(8, 3)]
        self.net = nn.Sequential(*layers)
        middle = self.net[draw.randrange(len(layers))]
        middle.register_forward_pre_hook(lambda *_: fault.reached("pre-hook"))
        middle.register_forward_hook(lambda *_: fault.reached("hook"))
        self.train(draw.random() < 0.5)

    def forward(self, images: Tensor) -> Any:
        for habit in self.habits:
            HABITS[habit](self, images)
        self.fault.reached("forward")
        out = self.net(images)
        self.fault.reached("forward")
        return Odd(self.fault, out) if self.odd else out

    def train(self, mode: bool = True) -> "Disturbing":
        self.fault.reached("train")
        return super().train(mode)


def _write_buffer(model: Any, images: Tensor) -> None:
    model.count += 1
    model.fault.reached("buffer")
    model.seen.resize_(len(images)).fill_(3)
    model.fault.reached("buffer")


def _swap(model: Any, _images: Tensor) -> None:
    model.spare = nn.Identity()


def _merge(model: Any, _images: Tensor) -> None:
    model.base.data += 1
    model.net[-1].weight.data.mul_(1.5)


def _replace(model: Any, _images: Tensor) -> None:
    model.base = nn.Parameter(torch.zeros(1))
    model.count = torch.ones(2)


def _resize(model: Any, _images: Tensor) -> None:
    model.base.data = torch.zeros(5)


def _standardize(_model: Any, images: Tensor) -> None:
    images.sub_(0.5).div_(0.25)


def _add_hook(model: Any, _images: Tensor) -> None:
    model.net[0].register_forward_hook(lambda *_: None)


def _remember(model: Any, _images: Tensor) -> None:
    model.calls += 1
    model.kept.append(model.calls)
    model.another = model.calls


def _draw(model: Any, _images: Tensor) -> None:
    random.random()
    np.random.rand()
    torch.rand(2)
    torch.rand(2, generator=model.generator)


def _freeze(model: Any, _images: Tensor) -> None:
    model.base.requires_grad_(requires_grad=False)
    model.net.eval()


def _by_numpy(model: Any, _images: Tensor) -> None:
    model.net[-1].bias.detach().numpy()[...] = 7  # no operator of torch sees this


HABITS: dict[str, Callable[[Any, Tensor], None]] = {
    "buffer": _write_buffer,
    "swap": _swap,
    "merge": _merge,
    "replace": _replace,
    "resize": _resize,
    "standardize": _standardize,
    "hook": _add_hook,
    "remember": _remember,
    "draw": _draw,
    "freeze": _freeze,
    "numpy": _by_numpy,
}


@dataclass(frozen=True, slots=True)
class Case:
    """One model with one method.

    Attributes:
        model: With a wrapper or without.
        inner: The model inside.
        images: What is passed.
        arm: The method, with `options`.
        options: Of the method.
    """

    model: nn.Module
    inner: Disturbing
    images: Tensor
    arm: str
    options: dict[str, Any]


def drawn_case(seed: int, arms: list[str]) -> Case:
    """Draw a model, a fault in it, images and a method; the fault waits until it is armed."""
    draw = random.Random(seed)
    fault = Fault(draw.choice(PLACES), draw.choice((0, 0, 0, 1, 2, 3)), draw.choice(KINDS))
    torch.manual_seed(seed)
    inner = Disturbing(draw, fault)
    model = nn.DataParallel(inner) if draw.random() < 0.2 else inner
    images = torch.rand(8, 3, 10, 10, generator=torch.Generator().manual_seed(seed))
    # Those that run the model twice as often as those that only write.
    arm = draw.choice([*arms, *RUNNING, *RUNNING, *RUNNING])
    options: dict[str, Any] = {}
    if arm in {"lsuv", "krahenbuhl"}:
        options["scope"] = draw.choice(("first", "all"))
    elif draw.random() < 0.3 and arm in {"whitening", "whitening-small-head"}:
        options = {"layers": ["net.0", "net.2"][: draw.randint(1, 2)]}
    return Case(model, inner, images, arm, options)


def everything(case: Case, *, weights: bool = True) -> list[Any]:
    """Return all about a case that a call must leave, as values that compare.

    Without `weights` the values of those that a method may set are left out: all of `net`.
    """
    rows: list[Any] = [
        bits(case.images),
        global_states(),
        case.inner.generator.get_state().tolist(),
    ]
    for name, module in case.model.named_modules():
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                rows.append((name, key, id(value), bits(value)))
            elif isinstance(value, dict):
                rows.append((name, key, [(each, id(part)) for each, part in value.items()]))
            elif isinstance(value, list):
                rows.append((name, key, id(value), pickle.dumps(value)))
            else:
                rows.append((name, key, id(value)))
    for name, each in (*case.model.named_parameters(), *case.model.named_buffers()):
        described = (each.dtype, tuple(each.shape), each.stride(), each.data_ptr())
        values = bits(each) if weights or "net." not in name else b""
        rows.append((name, id(each), values, described, each.requires_grad, each.grad is None))
    return rows
