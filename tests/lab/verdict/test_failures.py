"""failed runs by seed -> counts and McNemar's exact p."""

import math

import pytest
from statsmodels.stats.contingency_tables import mcnemar

from warminit.errors import WarminitError
from warminit.lab.verdict.failures import compare_failures, failed


def test_a_table_by_hand_and_by_statsmodels() -> None:
    both, arm_only, baseline_only, neither = 2, 1, 7, 5
    arm = [True] * (both + arm_only) + [False] * (baseline_only + neither)
    baseline = [True] * both + [False] * arm_only + [True] * baseline_only + [False] * neither
    found = compare_failures(arm, baseline)
    assert (found.n, found.arm, found.baseline) == (15, 3, 9)
    assert (found.arm_only, found.baseline_only) == (1, 7)
    # Of 8 seeds that differ, 0 or 1 on the rare side: 2 (1 + 8) / 2^8.
    assert found.p == pytest.approx(18 / 256)
    assert found.p == pytest.approx(mcnemar([[2, 1], [7, 5]], exact=True).pvalue)
    assert compare_failures(baseline, arm).p == pytest.approx(found.p)


def test_failures_at_the_same_seeds_say_nothing() -> None:
    assert compare_failures([True, False], [True, False]).p == 1.0


def test_stuck_and_diverged_runs_have_failed() -> None:
    assert failed([0.95, 0.1, 0.05, math.nan, math.inf], chance=0.1).tolist() == [
        False,
        True,
        True,
        True,
        True,
    ]
    losses = failed([0.2, 2.303, math.nan, -math.inf], chance=2.3, higher_is_better=False)
    assert losses.tolist() == [False, True, True, True]


@pytest.mark.parametrize(("arm", "baseline"), [([], []), ([True], [True, False])])
def test_bad_input_is_one_clear_error(arm: list[bool], baseline: list[bool]) -> None:
    with pytest.raises(WarminitError, match="the same seeds"):
        compare_failures(arm, baseline)
