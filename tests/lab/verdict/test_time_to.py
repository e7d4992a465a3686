"""curves by seed -> restricted mean steps, their ratio and its interval, worked by hand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from warminit.errors import WarminitError
from warminit.lab.verdict.time_to import time_to

STEPS = [100, 200, 400]


def test_three_seeds_by_hand_one_of_which_never_arrives() -> None:
    arm = [[0.9, 0.8, 0.9], [0.1, 0.9, 0.95], [0.1, 0.2, 0.3]]  # 100, 200, censored at 400
    baseline = [[0.1, 0.9, 0.9], [0.1, 0.2, 0.9], [0.1, 0.2, 0.89]]  # 200, 400, censored at 400
    found = time_to(STEPS, arm, baseline, 0.9)
    assert [found.steps_arm, found.steps_baseline] == pytest.approx([700 / 3, 1000 / 3])
    assert found.ratio == pytest.approx(0.7)
    assert (found.arrived_arm, found.arrived_baseline, found.horizon) == (2, 2, 400)
    assert (found.spacing, found.n) == (200, 3)


def test_the_interval_of_two_seeds_is_the_three_ratios_that_pairs_can_give() -> None:
    # Pairs (100, 200) and (400, 400): the ratios 0.5, 500 / 600 and 1, with chances 1/4, 1/2, 1/4.
    arm, baseline = [[0.9, 0, 0], [0, 0, 0.9]], [[0, 0.9, 0], [0, 0, 0.9]]
    assert time_to(STEPS, arm, baseline, 0.9).interval == (0.5, 1.0)
    assert time_to(STEPS, arm, baseline, 0.9, alpha=0.6).interval == pytest.approx((5 / 6, 5 / 6))


def test_pairs_share_their_luck() -> None:
    # Every arm needs half the steps of its baseline, whatever the seed: the ratio is certain.
    arm, baseline = np.eye(2)[[0, 1, 0, 1]], np.eye(3)[[1, 2, 1, 2]]
    arm = np.column_stack([arm, np.zeros(4)])
    assert time_to([100, 200, 400], arm, baseline, 1.0).interval == pytest.approx((0.5, 0.5))


def test_a_loss_arrives_from_above_and_a_diverged_run_never() -> None:
    found = time_to([1, 2], [[2.0, 1.0], [math.nan, math.nan]], [[1.0, 0.5]] * 2, 1.0,
                    higher_is_better=False)  # fmt: skip
    assert (found.steps_arm, found.steps_baseline, found.arrived_arm) == (2.0, 1.0, 1)


def test_the_interval_covers_the_ratio_of_many_studies() -> None:
    # Steps of arrival 1 to 8 uniform; the baseline needs two more: true ratio 4.5 / 6.5.
    rng, steps, hits = np.random.default_rng(0), np.arange(1, 11), 0
    for study in range(200):
        arrive = rng.integers(1, 9, 20)
        arm = (steps >= arrive[:, None]).astype(float)
        baseline = (steps >= rng.permutation(arrive)[:, None] + 2).astype(float)
        low, high = time_to(steps.tolist(), arm, baseline, 1.0, seed=study).interval or (0, 0)
        hits += low <= 4.5 / 6.5 <= high
    # 95 % promised; the percentile bootstrap of 20 seeds gives a little less
    assert hits >= 0.9 * 200


def test_nothing_but_the_seed_decides_the_interval() -> None:
    rng = np.random.default_rng(1)
    arm, baseline = (rng.uniform(0, 1, (12, 20)) for _ in range(2))
    steps = list(range(1, 21))
    np.random.seed(0)
    expected = np.random.get_state(legacy=False)["state"]["key"].copy()
    one, two = (time_to(steps, arm, baseline, 0.9, seed=3) for _ in range(2))
    assert one == two
    assert one != time_to(steps, arm, baseline, 0.9, seed=4)
    assert (np.random.get_state(legacy=False)["state"]["key"] == expected).all()
    assert time_to(steps, arm[:1], baseline[:1], 0.9).interval is None


BAD: list[tuple[str, Callable[[], Any]]] = [
    ("expected positive, rising", lambda: time_to([2, 1], [[0, 1]], [[0, 1]], 0.5)),
    ("expected positive, rising", lambda: time_to([0, 1], [[0, 1]], [[0, 1]], 0.5)),
    ("baseline has shape (2, 2)", lambda: time_to([1, 2], [[0, 1]], [[0, 1]] * 2, 0.5)),
    ("arm has shape (2,)", lambda: time_to([1, 2], [0, 1], [[0, 1]], 0.5)),
]


@pytest.mark.parametrize(("text", "call"), BAD)
def test_bad_input_is_one_clear_error(text: str, call: Callable[[], Any]) -> None:
    with pytest.raises(WarminitError) as caught:
        call()
    assert text in str(caught.value)
