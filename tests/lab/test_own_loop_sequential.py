"""`compare(..., until_decided=True)`: a loop of one's own is run until it is decided."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from warminit.errors import WarminitError, WarminitWarning
from warminit.lab import compare
from warminit.lab.own_loop import Init

IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(3))
CALLS: list[int] = []
FAILS: set[int] = set()


def train(init: Init, seed: int) -> dict[str, float]:
    """The accuracy falls with the size of the filters, and a little with the seed."""
    CALLS.append(seed)
    layer = nn.Conv2d(1, 4, 3)
    model = nn.Sequential(layer)
    init(model, IMAGES)
    size = float(layer.weight.detach().abs().mean())
    if seed in FAILS and size > 0.3:
        raise RuntimeError("the loop's own complaint")
    return {"accuracy": 1 / (1 + size) - 0.01 * (seed % 7)}


ARMS = ["torch-default", "he-normal"]


@pytest.fixture(autouse=True)
def fresh() -> None:
    CALLS.clear()
    FAILS.clear()


def test_it_ends_when_it_is_decided_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    analysis = compare(train, ARMS, until_decided=True, out=tmp_path, quiet=True)
    (comparison,) = analysis.comparisons
    assert comparison.outcome == "harms"
    assert Counter(CALLS) == dict.fromkeys((42, 7, 13, 99, 2025), 2)
    assert (analysis.asked, analysis.spared, analysis.missing) == (36, 26, 0)
    CALLS.clear()
    # A call for a fixed study finds the same runs under the same keys.
    fixed = compare(train, ARMS, seeds=6, out=tmp_path, quiet=True)
    assert CALLS == [1, 1]
    assert {run.key for run in analysis.runs} < {run.key for run in fixed.runs}


def test_a_number_of_seeds_is_the_most_and_a_failed_run_ends_its_comparison(tmp_path: Path) -> None:
    FAILS.add(13)
    with pytest.warns(
        WarminitWarning, match=r"1 of 10 runs failed.*Their comparisons were ended\."
    ):
        analysis = compare(train, ARMS, 6, until_decided=True, out=tmp_path, quiet=True)
    (comparison,) = analysis.comparisons
    assert "is undecidable, because a run failed" in comparison.verdict
    assert len(analysis.study.seeds) == 6
    FAILS.clear()
    CALLS.clear()
    again = compare(train, ARMS, 6, until_decided=True, out=tmp_path, quiet=True)
    assert CALLS == [13]
    assert again.comparisons[0].outcome == "harms"


def test_there_must_be_something_to_decide(tmp_path: Path) -> None:
    with pytest.raises(WarminitError, match="expected an arm beside the baseline"):
        compare(train, ARMS[:1], until_decided=True, out=tmp_path)
