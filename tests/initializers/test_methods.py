"""`methods()` against what each method does: what it refuses to work without, and what it sets."""

from typing import Any

import pytest
import torch
from torch import nn

from arm_cases import bits, make_images
from warminit import WarminitError, init_, methods
from warminit.initializers import Method

IMAGES = make_images(16, 3, 12, 12)
METHODS = {each.name: each for each in methods()}
ELSEWHERE = {"attention", "depthwise convolution", "residual blocks"}
"""Parts that the net below has not; tests/initializers/bodies has models with them."""
USUAL = [name for name, each in METHODS.items() if not ELSEWHERE & set(each.needs)]


def net(dims: int = 2) -> nn.Sequential:
    """A net whose parts are named as `Method.sets` names them, with a layer between them."""
    conv: Any = nn.Conv2d if dims == 2 else nn.Conv1d
    torch.manual_seed(1)  # not the seed of the methods
    parts = {
        "stem": conv(3, 8, 3), "act": nn.ReLU(), "body": conv(8, 5, 3), "again": nn.ReLU(),
        "flat": nn.Flatten(), "head": nn.Linear(5 * 8**dims, 3),
    }  # fmt: skip
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model


def refused(method: Method, model: nn.Module, images: Any, **options: Any) -> bool:
    try:
        init_(model, images, method.name, **options)
    except WarminitError:
        return True
    return False


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(USUAL)))
def test_parts_that_are_not_there(name: str) -> None:
    assert refused(METHODS[name], net(), IMAGES)


@pytest.mark.parametrize("name", USUAL)
def test_what_it_sets(name: str) -> None:
    model = net()
    before = {key: bits(each) for key, each in model.named_parameters()}
    assert not refused(METHODS[name], model, IMAGES)
    changed = {key for key, each in model.named_parameters() if bits(each) != before[key]}
    found = {key.split(".")[0] for key in changed}
    wanted = {"stem", "body", "head"} if METHODS[name].sets == "every layer" else None
    parts = set(METHODS[name].sets.replace("convolutions", "body").split(", "))
    assert found == (wanted or parts)


@pytest.mark.parametrize("name", USUAL)
def test_what_it_needs(name: str) -> None:
    method = METHODS[name]
    # Without a convolution, or with one of one dimension; without a linear layer at the end.
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3))
    assert refused(method, linear, IMAGES) is any("convolution" in each for each in method.needs)
    series = IMAGES[..., 0]
    model = nn.Sequential(net(1)[:-1], nn.LazyLinear(3))
    model(series)
    assert refused(method, model, series) is ("2-D convolution" in method.needs)
    assert refused(method, net()[:-2], IMAGES) is ("linear head" in method.needs)
    assert refused(method, net(), None) is ("images" in method.needs)


def test_they_print_as_a_table() -> None:
    lines = str(methods()).splitlines()
    assert repr(methods()) == str(methods())
    assert lines[0].split() == ["name", "sets", "needs", "summary"]
    starts = [lines[0].index(word) for word in lines[0].split()]
    for line, each in zip(lines[1:], METHODS.values(), strict=True):
        cells = [line[i:j].strip() for i, j in zip(starts, [*starts[1:], None], strict=True)]
        assert cells == [each.name, each.sets, ", ".join(each.needs), each.summary]
