"""An arm of the search's own -> what it says it leaves is left."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from warminit.lab.models import build_model

ROOT = Path(__file__).parents[1]


def experiment(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "experiments" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def some_images() -> Tensor:
    return torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("divided", ["input", "output"])
def test_a_hidden_layer_that_a_step_moves_less_computes_the_same(divided: str) -> None:
    images = some_images()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: Any = build_model("simplecnn", 3, (32, 32), 10)
    changed = copy.deepcopy(model)
    experiment("live").start(changed, images, seed=0, divided=divided)
    torch.testing.assert_close(changed(images), model(images))
    torch.testing.assert_close(changed.fc1.weight, 10 * model.fc1.weight)


def _linear_after(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), *between, nn.Flatten(), nn.Linear(16 * 32 * 32, 10)
    )


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("simplecnn", [("fc1", "bn2", 8.0)]),
        ("simplecnn-nobn", [("fc1", "conv2", 8.0)]),
        ("resnet20", []),
        ("small-vit", []),
        (nn.Sequential(nn.Conv2d(3, 2, 32), nn.Flatten(), nn.Linear(2, 10)), []),
        (_linear_after(nn.ReLU()), [("3", "0", 32.0)]),
        (_linear_after(nn.GELU()), []),  # it does not pass a factor on
        (_linear_after(nn.BatchNorm2d(16, affine=False)), []),  # nothing to divide
    ],
)
def test_a_wide_layer_is_quieted_and_the_outputs_stay(
    model: nn.Module | str, expected: list[Any]
) -> None:
    if isinstance(model, str):
        model = build_model(model, 3, (32, 32), 10)
    images = some_images()
    quieted = copy.deepcopy(model)
    assert experiment("quiet").quiet_(quieted, images) == expected
    for each in (model, quieted):
        each.train()
    with torch.random.fork_rng():
        torch.testing.assert_close(quieted(images), model(images), rtol=1e-3, atol=1e-4)
    changed = [
        name
        for (name, one), two in zip(model.named_parameters(), quieted.parameters(), strict=True)
        if not torch.equal(one, two)
    ]
    touched = {name for layer, before, _ in expected for name in (layer, before)}
    assert {name.rpartition(".")[0] for name in changed} == touched
