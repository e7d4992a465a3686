"""scores that leave nothing to test, of any size and spread -> numbers or None, never NaN."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paired_scores import EXACT, compare, draw
from warminit.lab.verdict.family import holm
from warminit.lab.verdict.tests import MAX_SEEDS, power, seeds_for_power

UNTESTED = (
    "confidence_interval",
    "p_one_sided",
    "p_two_sided",
    "p_sign_flip",
    "sign_flip_method",
    "p_wilcoxon",
    "cohens_d",
    "power",
    "power_at",
    "seeds_needed",
    "p_equivalence",
    "p_noninferiority",
    "p_holm",
)


def test_one_seed_gives_no_p_and_says_why() -> None:
    c = compare([0.91], [0.90])
    for name in (*UNTESTED, "sd_arm", "sd_baseline", "sd_difference", "correlation"):
        assert getattr(c, name) is None, name
    assert c.note == "One seed has no spread, so nothing can be tested."
    assert c.outcome == "not tested"
    assert c.relative_error_reduction == pytest.approx(0.1, **EXACT)
    assert c.verdict == (
        "prewarm against torch-default: +1.00 points with 1 seed, not tested"
        " (One seed has no spread, so nothing can be tested)."
    )


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_equal_differences_have_no_variance_though_their_floats_differ(shift: float) -> None:
    baseline = np.array([0.9137, 0.9214, 0.9001, 0.9313])
    c = compare(baseline + shift, baseline)
    for name in UNTESTED:
        assert getattr(c, name) is None, name
    assert c.sd_difference == 0.0
    assert c.sd_baseline == pytest.approx(baseline.std(ddof=1), **EXACT)
    assert c.correlation == pytest.approx(1.0, **EXACT)
    assert c.note == (
        "The paired differences are all equal, so without variance nothing can be tested."
    )
    assert (c.wins, c.ties) == ((4, 0) if shift else (0, 4))


def test_scores_too_small_to_square_count_as_equal() -> None:
    c = compare([1e-200, 3e-200], [2e-200, 1e-200])
    assert c.ties == 2
    assert c.p_two_sided is None


def test_an_arm_that_never_varies_has_no_correlation_but_a_test() -> None:
    c = compare([0.9, 0.9, 0.9], [0.91, 0.92, 0.90])
    assert c.correlation is None
    assert c.note == "One arm never varies: no correlation."
    assert c.p_two_sided is not None


def test_a_baseline_without_errors_has_no_relative_reduction() -> None:
    assert compare([0.9, 0.8], [1.0, 1.0]).relative_error_reduction is None


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=14),
    st.sampled_from([20, 10_000, 26_032]),
)
def test_any_counts_give_finite_numbers_or_none(pairs: list[tuple[int, int]], images: int) -> None:
    a, b = (np.array(x) / images for x in zip(*pairs, strict=True))
    c, mirrored = compare(a, b), compare(b, a)
    values = dataclasses.asdict(c)
    numbers = [v for v in values.values() if isinstance(v, float)]
    numbers += [v for v in (values["confidence_interval"] or ()) if v is not None]
    assert all(math.isfinite(v) for v in numbers)
    assert c.wins + c.ties + c.losses == c.n
    assert (c.wins, c.losses) == (mirrored.losses, mirrored.wins)
    assert c.mean_difference == pytest.approx(-mirrored.mean_difference, **EXACT)
    if c.p_one_sided is not None:
        assert c.p_one_sided == pytest.approx(1 - mirrored.p_one_sided, **EXACT)
        low, high = c.confidence_interval
        assert low <= c.mean_difference <= high
        # The interval leaves out 0 exactly where the two-sided p is below alpha.
        assert (c.p_two_sided < 0.05) == (low > 0 or high < 0)
    assert c.verdict.endswith(".")


@pytest.mark.parametrize("scale", [1e-90, 1e-9, 1e9, 1e90])
def test_a_loss_of_any_size_is_tested_alike(scale: float) -> None:
    arm, baseline = draw(8, effect=0.004, seed=5)
    plain = compare(arm, baseline, unit="", margin=0.001)
    scaled = compare(arm * scale, baseline * scale, unit="", margin=0.001 * scale)
    for name in ("p_one_sided", "p_sign_flip", "p_wilcoxon", "p_equivalence", "power", "wins"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name), rel=1e-9), name


def test_power_figures_of_the_facts() -> None:
    figures = [round(power(0.002, 0.005, n), 2) for n in (8, 16, 32, 64)]
    assert figures == [0.27, 0.45, 0.72, 0.94]


@pytest.mark.parametrize("ratio", [-0.5, 0.0, 0.1, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("n", [2, 8, 33])
def test_power_is_the_noncentral_t_beyond_its_critical_value(ratio: float, n: int) -> None:
    critical = stats.t.isf(0.05, n - 1)
    expected = stats.nct.sf(critical, n - 1, ratio * math.sqrt(n))
    # SciPy's nct and statsmodels' own are good to about seven digits near zero power.
    assert power(ratio * 0.01, 0.01, n) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_power_stays_a_chance_where_scipy_has_gaps() -> None:
    grid = [power(r, 1.0, n) for n in (2, 5, 12, 16, 1000) for r in np.linspace(0.5, 60, 200)]
    assert all(0 < p <= 1 for p in grid)
    assert power(10.0, 1.0, 16) > 1 - 1e-9  # NaN in SciPy 1.17
    assert power(-10.0, 1.0, 16) < 1e-9


@pytest.mark.parametrize("sd", [0.0001, 0.001, 0.005, 0.02])
@pytest.mark.parametrize("effect", [0.001, 0.002, 0.005])
def test_seeds_needed_is_the_first_number_that_reaches_80_percent(effect: float, sd: float) -> None:
    n = seeds_for_power(effect, sd)
    assert n is not None

    def chance(k: int) -> float:
        return stats.nct.sf(stats.t.isf(0.05, k - 1), k - 1, effect / sd * math.sqrt(k))

    assert n >= 2
    assert n == 2 or (chance(n) >= 0.8 > chance(n - 1))


def test_seeds_beyond_a_million_are_none_and_the_verdict_says_so() -> None:
    assert seeds_for_power(0.001, 100.0) is None
    assert seeds_for_power(0.001, 0.4) == pytest.approx((2.4865 * 400) ** 2, rel=1e-3)
    c = compare([10.0, 900.0, 4.0], [400.0, 20.0, 300.0], higher_is_better=False)
    assert c.seeds_needed == {0.001: None, 0.002: None, 0.005: None}
    far = compare([10.0, 900.0, 4.0, 400.0], [400.0, 20.0, 300.0, 404.0], higher_is_better=False)
    assert far.seeds_to_decide["margin"] is None
    close = compare([1.0, 2.0, 3.0, 4.0], [3.0, 4.0, 1.0, 1.9999], higher_is_better=False)
    assert f"more than {MAX_SEEDS:,} seeds would be needed for the observed diff" in close.verdict


def test_a_comparison_plans_with_its_own_spread() -> None:
    arm, baseline = draw(8, effect=0.002, seed=9)
    c = compare(arm, baseline)
    sd = (arm - baseline).std(ddof=1)
    assert list(c.seeds_needed) == list(c.power_at) == [0.001, 0.002, 0.005]
    for effect in c.power_at:
        ncp, critical = effect / sd * math.sqrt(8), stats.t.isf(0.05, 7)
        assert c.power_at[effect] == pytest.approx(stats.nct.sf(critical, 7, ncp), rel=1e-6)
        assert c.seeds_needed[effect] == seeds_for_power(effect, sd)
    ncp = c.mean_difference / sd * math.sqrt(8)
    assert c.power == pytest.approx(stats.nct.sf(stats.t.isf(0.05, 7), 7, ncp), rel=1e-6)


@pytest.mark.parametrize("n", range(2, 21))
def test_one_difference_that_is_not_zero_is_compared_at_every_n(n: int) -> None:
    for sign in (1, -1):
        scores = [0.5] * (n - 1) + [0.5 + 0.1 * sign]
        found = compare(scores, [0.5] * n)
        # Of the two signs of one difference: both have at least a negative sum, one a positive.
        assert found.p_wilcoxon == (0.5 if sign > 0 else 1.0)
        if n <= 16:
            assert found.p_sign_flip == (0.5 if sign > 0 else 1.0)
        assert found.outcome == "undecided"


@pytest.mark.parametrize("n", range(1, 21))
def test_every_count_of_seeds_and_ties_has_its_statistics(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warminit.lab.verdict.tests.SIGN_FLIPS", 9_999)  # the same, sooner
    rng = np.random.default_rng(n)
    for ties in range(n + 1):
        # Whole counts of a test set of 10,000: some of the differences that are left are equal.
        counts = rng.integers(8000, 9000, n)
        steps = rng.integers(1, 6, n) * rng.choice([-1, 1], n)
        steps[:ties] = 0
        c = compare((counts + steps) / 10_000, counts / 10_000)
        assert (c.n, c.ties) == (n, ties)
        assert (c.wins, c.losses) == ((steps > 0).sum(), (steps < 0).sum())
        assert c.mean_difference == pytest.approx(steps.mean() / 10_000, abs=1e-15)
        assert not any(
            math.isnan(each) for each in dataclasses.astuple(c) if isinstance(each, float)
        )
        if np.ptp(steps) == 0:  # also one seed, and ties alone
            assert (c.outcome, c.p_two_sided, c.p_wilcoxon) == ("not tested", None, None)
            continue
        assert "could not" not in c.note
        assert c.p_two_sided == pytest.approx(stats.ttest_1samp(steps, 0).pvalue, rel=1e-6)
        left = np.abs(steps[steps != 0])
        ranks, observed = stats.rankdata(left), np.sign(steps[steps != 0])
        if len(left) <= 12:  # every pattern of signs, by hand
            signs = np.array(list(itertools.product((-1, 1), repeat=len(left))))
            at_least = signs @ ranks >= observed @ ranks - 1e-9
            assert c.p_wilcoxon == pytest.approx(at_least.mean(), abs=1e-12)
            flips = signs @ left >= steps.sum() - 1e-9
            # Of 9,999 drawn flips the standard error is at most 0.005; five of them.
            tolerance = 1e-12 if n <= 16 else 0.025
            assert c.p_sign_flip == pytest.approx(flips.mean(), abs=tolerance)


@pytest.mark.parametrize(
    ("function", "named", "lost"),
    [
        ("paired_t", "The t test", ("p_one_sided", "p_two_sided", "confidence_interval")),
        ("sign_flip", "The sign-flip test", ("p_sign_flip", "sign_flip_method")),
        ("signed_rank", "Wilcoxon's test", ("p_wilcoxon",)),
        ("power", "The power", ("power", "power_at")),
        ("seeds_for_power", "The number of seeds", ("seeds_needed",)),
    ],
)
def test_a_statistic_that_fails_costs_itself_alone(
    function: str, named: str, lost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compare(*draw(8))

    def fails(*_: object, **__: object) -> None:
        raise FloatingPointError("no such number")

    monkeypatch.setattr(f"warminit.lab.verdict.paired.{function}", fails)
    c = compare(*draw(8))
    assert f"{named} could not be computed (FloatingPointError)." in c.note
    for each in dataclasses.fields(c):
        value = getattr(c, each.name)
        if each.name in lost:
            assert value is None
        elif function != "paired_t" and each.name != "note":
            assert value == getattr(whole, each.name), each.name
    assert c.verdict  # also where there is nothing to test with
    (corrected,) = holm([c])
    assert (corrected.p_holm is None) is (function == "paired_t")
