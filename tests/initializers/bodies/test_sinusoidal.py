"""Sine waves: value by value by a loop, the variance, and what the paper says of their rows."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from body_cases import Transformer, images
from warminit.errors import WarminitError
from warminit.initializers.bodies.sinusoidal import sinusoidal

pytestmark = pytest.mark.usefixtures("one_thread")


def by_loops(filters: int, values: int, gain: float) -> Any:
    waves = [
        [
            math.sin((i + 1) * (2 * math.pi * j / values + 2 * math.pi / filters))
            for j in range(values)
        ]
        for i in range(filters)
    ]
    deviation = float(np.std(waves, ddof=1))
    return [[gain / math.sqrt(values) / deviation * each for each in row] for row in waves]


@pytest.mark.parametrize("gain", [math.sqrt(2), 0.5])
@pytest.mark.parametrize(
    "layer", [nn.Linear(7, 5), nn.Conv2d(4, 6, 3), nn.Conv2d(4, 8, 3, groups=2), nn.Conv1d(2, 3, 5)]
)
def test_every_value(layer: nn.Conv2d, gain: float) -> None:
    sinusoidal(nn.Sequential(layer), images(), seed=0, gain=gain)
    rows = layer.weight.detach().flatten(1).numpy()
    np.testing.assert_allclose(rows, by_loops(rows.shape[0], rows.shape[1], gain), atol=1e-6)
    assert not bool(layer.bias.any())  # type: ignore[union-attr]  # it has one


def test_a_constant_input_gives_zero() -> None:
    """A whole wave sums to zero: every row but those at the sampling rate ignores the mean."""
    layer = nn.Linear(64, 32)
    sinusoidal(nn.Sequential(layer), images(), seed=0)
    assert float(layer(torch.ones(1, 64)).detach().abs().max()) < 1e-5


def test_attention_has_three_weights() -> None:
    attention = nn.MultiheadAttention(12, 3, batch_first=True)
    report = sinusoidal(Transformer(attention), images(), seed=0)
    q, k, v = attention.in_proj_weight.detach().chunk(3)
    assert torch.equal(q, k)
    assert torch.equal(q, v)
    np.testing.assert_allclose(q.numpy(), by_loops(12, 12, math.sqrt(2)), atol=1e-6)
    named = ["patches", "attention.in_proj_weight", "attention.out_proj", "head"]
    assert report.layer.split(", ") == named


def test_no_seed_counts_but_in_the_control() -> None:
    layers = [nn.Linear(9, 8) for _ in range(4)]
    contents: Any = ("own", "own", "random", "random")
    for layer, seed, content in zip(layers, (0, 1, 0, 1), contents, strict=True):
        sinusoidal(nn.Sequential(layer), images(), seed=seed, content=content)
    own, same, random, other = (layer.weight.detach() for layer in layers)
    assert torch.equal(own, same)
    assert not torch.equal(random, other)
    torch.testing.assert_close(random.norm(), own.norm())
    assert abs(float((random * own).sum() / own.norm() ** 2)) < 0.5


def test_waves_that_are_zero_stay_out() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(4, 4))
    assert sinusoidal(model, images(), seed=0).layer == "1"
    with pytest.raises(WarminitError, match=r"no convolution or linear layer to set: expected"):
        sinusoidal(nn.Sequential(nn.Linear(1, 1)), images(), seed=0)
