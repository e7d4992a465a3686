"""What a model's code changes as it runs is put back: each kind alone, by hand."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from arm_guarantees import bits, global_states
from warminit.models.restore import restored_on_error, undisturbed

pytestmark = pytest.mark.usefixtures("one_thread")


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


def make() -> Any:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4))
    model.register_buffer("seen", torch.zeros(0))
    model.register_buffer("later", None)
    model.tied = model[2].weight
    model.table, model.names, model.marks = torch.ones(3), ["a"], {"x": [1, 2]}
    model.own = (torch.Generator().manual_seed(1), np.random.default_rng(1), random.Random(1))
    model.generator, model.rng, model.python = model.own
    model.calls = 0
    model[0].weight.grad = torch.ones_like(model[0].weight)
    return model


def resize_buffer(model: Any) -> None:
    model.seen.resize_(5).fill_(2)


def replace_buffers(model: Any) -> None:
    model.seen, model.later = torch.ones(2), torch.ones(1)


def by_numpy(model: Any) -> None:
    model[2].bias.detach().numpy()[...] = 9


def negative_zero(model: Any) -> None:
    model[1].running_mean.fill_(-0.0)  # equal to zero, and other bits


def another_memory(model: Any) -> None:
    model[2].bias.data = torch.zeros(7, dtype=torch.float64)


def parametrized(model: Any) -> None:
    parametrize.register_parametrization(model[0], "weight", Doubled())


def draws(model: Any) -> None:
    random.random(), np.random.rand(), torch.rand(1)
    torch.rand(1, generator=model.generator), model.rng.random(), model.python.random()


DISTURBED: dict[str, Callable[[Any], object]] = {
    "a parameter": lambda model: model[0].weight.data.add_(1),
    "a tied parameter": lambda model: model.tied.data.mul_(3),
    "through NumPy": by_numpy,
    "NaN": lambda model: model[0].bias.data.fill_(float("nan")),
    "a zero's sign": negative_zero,
    "a gradient": lambda model: model[0].weight.grad.mul_(2),
    "no gradient": lambda model: model.zero_grad(),
    "another memory": another_memory,
    "another parameter": lambda model: setattr(model[0], "weight", nn.Parameter(torch.zeros(1))),
    "requires_grad": lambda model: model.requires_grad_(requires_grad=False),
    "a buffer": lambda model: model[1].running_var.add_(1),
    "a resized buffer": resize_buffer,
    "other buffers": replace_buffers,
    "a tensor beside": lambda model: model.table.fill_(4),
    "a module": lambda model: setattr(model, "1", nn.Identity()),
    "a module gone": lambda model: model.__delitem__(1),
    "another class": parametrized,
    "modes": lambda model: model.eval(),
    "hooks": lambda model: model[0].register_forward_pre_hook(lambda *_: None),
    "attributes": lambda model: model.__dict__.update(calls=5, more=1),
    "a list": lambda model: model.names.append("b"),
    "a list in a dictionary": lambda model: model.marks["x"].clear(),
    "random states": draws,
}


def content(model: Any) -> list[Any]:
    rows: list[Any] = [global_states(), model.generator.get_state().tolist()]
    rows += [repr(model.rng.bit_generator.state), model.python.getstate()]
    rows += [model.names[:], {name: each[:] for name, each in model.marks.items()}]
    for module in model.modules():
        rows.append((id(module), type(module), list(vars(module))))
        for name, value in vars(module).items():
            held = [*value.items()] if isinstance(value, dict) else value
            rows.append((name, id(value), repr([(key, id(each)) for key, each in held])
                         if isinstance(value, dict) else id(held)))  # fmt: skip
    tensors = [*model.parameters(), *model.buffers(), model.table, model[0].weight.grad]
    for each in tensors:
        place = each.data_ptr() if each.numel() else 0
        shape = (tuple(each.shape), each.stride(), each.dtype, place, each.requires_grad)
        rows.append((id(each), bits(each), shape, id(each.grad)))
    return rows


@pytest.mark.parametrize("kind", DISTURBED)
def test_each_kind_is_put_back(kind: str) -> None:
    model = make()
    before = content(model)
    with undisturbed(model):
        DISTURBED[kind](model)
    assert content(model) == before


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", [each for each in DISTURBED if each != "random states"])
def test_each_kind_is_put_back_where_what_follows_raises(
    kind: str, error: type[BaseException]
) -> None:
    model = make()
    before = content(model)

    def half() -> None:
        with restored_on_error([model]):
            DISTURBED[kind](model)
            raise error

    with pytest.raises(error):
        half()
    assert content(model) == before


def test_what_is_as_before_is_not_written() -> None:
    model = make()
    versions = [each._version for each in (*model.parameters(), *model.buffers())]
    with undisturbed(model):
        pass
    assert [each._version for each in (*model.parameters(), *model.buffers())] == versions


def test_without_an_error_all_stays_that_was_changed() -> None:
    model = make()
    with restored_on_error([model]):
        model[0].weight.data.fill_(3)
    assert bool((model[0].weight == 3).all())
