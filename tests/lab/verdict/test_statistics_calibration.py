"""simulated studies -> rates that the formulas promise, and planted ones that break them."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

from paired_scores import Pair, Values, compare
from warminit.lab.verdict.tests import paired_t, power, sign_flip

# Each check counts events in simulated studies and asks an exact binomial test whether the count
# fits the promised rate. FALSE_ALARM is the chance that a right formula fails; the seeds are fixed,
# so a check that passes once passes always. The planted formulas must fail the very same check.

FALSE_ALARM = 1e-4
STUDIES = 20_000


def fits(events: NDArray[np.bool_], rate: float) -> bool:
    return bool(stats.binomtest(int(events.sum()), events.size, rate).pvalue > FALSE_ALARM)


def studies(n: int, *, effect: float = 0.0, sd: float = 0.005, seed: int = 0) -> Pair:
    """(STUDIES, n) scores of both arms, correlated over the seeds as paired runs are."""
    rng = np.random.default_rng(seed)
    luck = rng.normal(0.9, 0.004, (STUDIES, n))
    noise = rng.normal(0.0, sd / math.sqrt(2), (2, STUDIES, n))
    return luck + effect + noise[0], luck + noise[1]


Method = Callable[[Values, Values], Any]
Interval = Callable[[Values, Values], Pair]


def rejects_5_percent(p_value: Method, *, effect: float = 0.0, n: int = 4) -> bool:
    arm, baseline = studies(n, effect=effect, sd=0.0004 if effect else 0.005)
    return fits(p_value(arm, baseline) < 0.05, 0.05)


def covers_95_percent(interval: Interval) -> bool:
    low, high = interval(*studies(4, effect=0.002, seed=1))
    return fits((low <= 0.002) & (high >= 0.002), 0.95)


def library(field: str) -> Method:
    return lambda arm, baseline: getattr(paired_t(arm - baseline, margin=0.001), field)


def t_of(arm: Values, baseline: Values, *, null: float = 0.0, ddof: int = 1) -> Any:
    d = arm - baseline
    return (d.mean(-1) - null) / (d.std(-1, ddof=ddof) / math.sqrt(d.shape[-1]))


def interval_with(quantile: float, ddof: int = 1) -> Interval:
    def interval(arm: Values, baseline: Values) -> Pair:
        d = arm - baseline
        half = quantile * d.std(-1, ddof=ddof) / math.sqrt(d.shape[-1])
        return d.mean(-1) - half, d.mean(-1) + half

    return interval


def test_the_calibrated_function_is_the_one_that_a_comparison_uses() -> None:
    arm, baseline = studies(8, effect=0.001)
    t = paired_t(arm[:20] - baseline[:20], margin=0.001)
    for i in range(20):
        c = compare(arm[i], baseline[i])
        assert c.p_one_sided == t.p_greater[i]
        assert c.p_two_sided == t.p_two_sided[i]
        assert c.confidence_interval == (t.low[i], t.high[i])
        assert c.p_equivalence == t.p_equivalence[i]
        assert c.p_noninferiority == t.p_noninferiority[i]


@pytest.mark.parametrize("field", ["p_greater", "p_two_sided"])
def test_without_effect_the_5_percent_test_rejects_5_percent(field: str) -> None:
    assert rejects_5_percent(library(field))


PLANTED_TESTS: dict[str, Method] = {
    "unpaired": lambda a, b: stats.ttest_ind(a, b, axis=-1, alternative="greater").pvalue,
    "normal in place of t": lambda a, b: stats.norm.sf(t_of(a, b)),
    "n degrees of freedom": lambda a, b: stats.t.sf(t_of(a, b), a.shape[-1]),
    "population sd": lambda a, b: stats.t.sf(t_of(a, b, ddof=0), a.shape[-1] - 1),
    "one-sided p by halving": lambda a, b: stats.ttest_rel(a, b, axis=-1).pvalue / 2,
}


@pytest.mark.parametrize("fault", PLANTED_TESTS)
def test_the_rejection_check_fails_on_a_wrong_formula(fault: str) -> None:
    assert not rejects_5_percent(PLANTED_TESTS[fault])


def test_the_interval_covers_95_percent() -> None:
    def interval(arm: Values, baseline: Values) -> Pair:
        t = paired_t(arm - baseline, margin=0.001)
        return t.low, t.high

    assert covers_95_percent(interval)


PLANTED_INTERVALS = {
    "normal quantile": interval_with(1.959964),
    "n degrees of freedom": interval_with(float(stats.t.ppf(0.975, 4))),
    "90 % quantile": interval_with(float(stats.t.ppf(0.95, 3))),
    "population sd": interval_with(float(stats.t.ppf(0.975, 3)), ddof=0),
}


@pytest.mark.parametrize("fault", PLANTED_INTERVALS)
def test_the_coverage_check_fails_on_a_wrong_formula(fault: str) -> None:
    assert not covers_95_percent(PLANTED_INTERVALS[fault])


@pytest.mark.parametrize(
    ("field", "edge"),
    [("p_equivalence", 0.001), ("p_equivalence", -0.001), ("p_noninferiority", -0.001)],
)
def test_on_the_edge_of_the_margin_5_percent_are_called_within(field: str, edge: float) -> None:
    assert rejects_5_percent(library(field), effect=edge, n=8)


def tost(a: Values, b: Values, *, combine: Any, margin: float = 0.001, sides: int = 1) -> Any:
    df = a.shape[-1] - 1
    above, below = (
        stats.t.sf(t_of(a, b, null=-margin), df),
        stats.t.cdf(t_of(a, b, null=margin), df),
    )
    return sides * combine(above, below)


PLANTED_MARGINS: dict[str, tuple[Method, float]] = {
    "the smaller of both p": (lambda a, b: tost(a, b, combine=np.minimum), 0.001),
    "twice the p": (lambda a, b: tost(a, b, combine=np.maximum, sides=2), 0.001),
    "margin forgotten": (lambda a, b: stats.t.sf(t_of(a, b), a.shape[-1] - 1), -0.001),
    "margin doubled": (lambda a, b: tost(a, b, combine=np.maximum, margin=0.002), -0.001),
}


@pytest.mark.parametrize("fault", PLANTED_MARGINS)
def test_the_margin_check_fails_on_a_wrong_formula(fault: str) -> None:
    method, edge = PLANTED_MARGINS[fault]
    assert not rejects_5_percent(method, effect=edge, n=8)


def reaches(promised: float) -> bool:
    arm, baseline = studies(8, effect=0.002, seed=2)
    return fits(paired_t(arm - baseline, margin=0.001).p_greater < 0.05, promised)


def test_studies_find_an_effect_as_often_as_the_power_promises() -> None:
    assert reaches(power(0.002, 0.005, 8))
    two_sided = TTestPower().power(0.4, 8, 0.05, alternative="two-sided")
    normal = stats.norm.sf(stats.norm.isf(0.05) - 0.4 * math.sqrt(8))
    assert not reaches(two_sided)
    assert not reaches(normal)
    assert not reaches(power(0.002, 0.005, 9))


def flips_keep_their_level(p_value: Callable[[Values], float]) -> bool:
    # Six seeds allow p = k / 64 only: at most 0.05 are three of them, so 3 / 64 is the exact level.
    arm, baseline = studies(6, seed=3)
    events = np.array([p_value(d) <= 0.05 for d in (arm - baseline)[:8000]])
    return fits(events, 3 / 64)


def test_sign_flips_keep_their_exact_level_and_the_check_sees_a_wrong_count() -> None:
    signs = np.array(list(itertools.product((1, -1), repeat=6)))

    def both_sides_counted(d: Values) -> float:
        return float(np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-15)) / 2

    def observed_not_counted(d: Values) -> float:
        return float(np.mean(signs @ d > d.sum() + 1e-15))

    assert flips_keep_their_level(lambda d: sign_flip(d)[0])
    assert not flips_keep_their_level(both_sides_counted)
    assert not flips_keep_their_level(observed_not_counted)
