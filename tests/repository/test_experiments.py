"""An arm of the search's own -> what it says it leaves is left."""

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from warminit.lab.networks.build import build_model

ROOT = Path(__file__).parents[2]


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
