"""a standardized batch and nothing else -> conditioned, by every method and adapter."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from warminit import init_, methods, prewarm_, whiten_
from warminit.initializers import METHODS

pytestmark = pytest.mark.usefixtures("one_thread")

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def standardized(n: int = 16) -> Tensor:
    pixels = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (pixels - mean) / std


SETS = {method.name: method.sets for method in methods()}


def network() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 900, 5)
    )


@pytest.mark.parametrize("method", sorted(name for name in METHODS if "stem" in SETS[name]))
def test_a_standardized_batch_is_enough(method: str) -> None:
    model, before = network(), network()
    init_(model, standardized(), method)
    assert not torch.equal(model[0].weight, before[0].weight)


@pytest.mark.parametrize("method", [prewarm_, whiten_])
@pytest.mark.parametrize(("n", "each"), [(16, 512), (3, 900), (8192, 1)])
def test_the_number_of_patches_is_stated(method: Any, n: int, each: int) -> None:
    images = standardized(n) if n < 100 else standardized(8)[:, :, :8, :8].repeat(n // 8, 1, 1, 1)
    report = method(network(), images)
    assert report.parameters["patches_per_image"] == each, "8,192 in all, at most one a position"
    assert f"ceil(8192 / {n} images)" in report.provenance["patches_per_image"]
    assert "Pass mean= and std=" in " ".join(report.notes)


def test_it_is_that_of_init_and_the_filters_are_those_of_the_same_number_given() -> None:
    given, fallen_back = network(), network()
    prewarm_(given, standardized(), patches_per_image=512)
    prewarm_(fallen_back, standardized())
    assert torch.equal(given[0].weight, fallen_back[0].weight)
    assert init_(network(), standardized()).parameters["patches_per_image"] == 512


@pytest.mark.parametrize("method", [prewarm_, whiten_])
def test_with_the_statistics_the_rule_holds_and_no_note_is_left(method: Any) -> None:
    report = method(network(), standardized(), mean=MEAN, std=STD)
    assert "6.65" in report.provenance["patches_per_image"]
    assert report.notes == ()
