"""scores in many settings -> one number each, worked by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from paired_scores import compare, draw
from warminit.errors import WarminitError
from warminit.lab.verdict.across import (
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
    significantly_worse,
)
from warminit.lab.verdict.family import holm


def test_the_interquartile_mean_cuts_a_quarter_at_either_end_of_all_runs() -> None:
    # Sorted: 0 1 2 3 4 5 50 60; two go at either end.
    scores = {"a": [50.0, 0.0, 3.0, 1.0], "b": [2.0, 60.0, 4.0, 5.0]}
    assert interquartile_mean(scores).value == (2 + 3 + 4 + 5) / 4
    runs = np.random.default_rng(0).normal(size=37)
    assert interquartile_mean({"a": runs}).value == pytest.approx(stats.trim_mean(runs, 0.25))


def test_the_bootstrap_draws_within_each_setting() -> None:
    # Each setting is constant, so no draw within settings can change the number.
    assert interquartile_mean({"a": [1.0] * 3, "b": [5.0] * 3}).interval == (3.0, 3.0)
    # One setting of two runs: 0, 1/2 or 1 with chances 1/4, 1/2, 1/4.
    assert interquartile_mean({"a": [0.0, 1.0]}).interval == (0.0, 1.0)
    assert interquartile_mean({"a": [0.0, 1.0]}, alpha=0.6).interval == (0.5, 0.5)


def test_the_probability_of_improvement_counts_pairs_of_runs() -> None:
    arm = {"a": [3.0, 1.0, 2.0], "b": [1.0, 1.0]}
    baseline = {"a": [2.0, 0.0, 2.5], "b": [1.0, 2.0]}
    by_hand = [
        np.mean([1.0 if x > y else 0.5 if x == y else 0.0 for x, y in itertools.product(*pair)])
        for pair in zip(arm.values(), baseline.values(), strict=True)
    ]
    found = probability_of_improvement(arm, baseline)
    assert found.value == pytest.approx(np.mean(by_hand))
    u = stats.mannwhitneyu(arm["a"], baseline["a"]).statistic / 9
    assert by_hand[0] == pytest.approx(u)
    assert found.interval[0] <= found.value <= found.interval[1]
    always = probability_of_improvement({"a": [2.0, 3.0]}, {"a": [0.0, 1.0]})
    assert (always.value, always.interval) == (1.0, (1.0, 1.0))


def test_the_bootstrap_of_the_improvement_keeps_pairs_together() -> None:
    # Pair 1 is (1, 0), pair 2 is (3, 2): the arm leads in 3 of 4 pairs of runs, and in every draw
    # that takes one pair twice. Drawn apart, (1, 1) against (2, 2) would give 0.
    found = probability_of_improvement({"a": [1.0, 3.0]}, {"a": [0.0, 2.0]})
    assert (found.value, found.interval) == (0.75, (0.75, 1.0))


def test_the_profile_counts_every_setting_alike() -> None:
    scores = {"a": [0.1, 0.2, 0.3, 0.4], "b": [0.2]}
    assert performance_profile(scores, [0.0, 0.2, 0.35, 0.4]) == (1.0, 0.25, 0.125, 0.0)


def test_significantly_worse_counts_what_holm_leaves() -> None:
    worse = compare(*draw(12, effect=-0.02))
    better = compare(*draw(12, effect=0.02, seed=1))
    level = compare(*draw(12, seed=2))
    assert significantly_worse(holm([worse, better, level, worse])) == 2


@pytest.mark.parametrize("scores", [{}, {"a": []}, {"a": [float("nan")]}, {"a": [[1.0]]}])
def test_bad_scores_are_one_clear_error(scores: dict[str, list[float]]) -> None:
    with pytest.raises(WarminitError, match="expected"):
        interquartile_mean(scores)


def test_settings_and_seeds_must_agree() -> None:
    with pytest.raises(WarminitError, match="expected the same"):
        probability_of_improvement({"a": [1.0]}, {"b": [1.0]})
    with pytest.raises(WarminitError, match="expected as many"):
        probability_of_improvement({"a": [1.0]}, {"a": [1.0, 2.0]})
