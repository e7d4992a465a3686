"""Steppers of tiny models, and models that do something odd."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from training_cases import make_dataset, make_spec
from warminit.lab.runs.batches import place_split
from warminit.lab.runs.stepping import Stepper

CPU = torch.device("cpu")


def stepper(model: nn.Module, **settings: Any) -> Stepper:
    split = place_split(make_dataset(shape=(3, 8, 8)), "train", CPU)
    taken = Stepper(model, split, 3, make_spec(**settings).protocol, 7, (1e-3, 1e-5))
    taken.plan()
    return taken


class Odd(nn.Module):
    """A linear model that does something more in its forward pass."""

    def __init__(self, what: Callable[["Odd"], object]) -> None:
        super().__init__()
        self.head = nn.Linear(192, 3)
        self.what = [what]  # in a list: no plain attribute
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.what[0](self)
        logits: Tensor = self.head(images.flatten(1))
        return logits


def count(model: Odd) -> None:
    model.calls += 1
