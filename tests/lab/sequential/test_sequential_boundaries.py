"""looks, level -> boundaries of the paired t, against exact cases and simulated paths."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from warminit.lab.sequential.boundaries import StudentLooks, nominal_levels, normal_score, spent

Values = NDArray[np.float64]
LOOKS = tuple(range(5, 19))
PATHS = 200_000


def t_paths(seed: int) -> Values:
    """The t statistics of PATHS studies without an effect, at every look of LOOKS."""
    x = np.random.default_rng(seed).standard_normal((PATHS, 18))
    n = np.arange(1, 19)
    mean = np.cumsum(x, axis=1) / n
    variance = (np.cumsum(x * x, axis=1) - n * mean**2)[:, 1:] / n[:-1]
    return (mean[:, 1:] / np.sqrt(variance / n[1:]))[:, 3:]


def crosses_as_promised(thresholds: Values, level: float) -> bool:
    """Whether the share of paths that crossed by each look fits what the level allows by then."""
    crossed = np.maximum.accumulate(t_paths(3) >= thresholds, axis=1).sum(axis=0)
    promised = spent(LOOKS, 18, level, gamma=1)
    tests = [
        stats.binomtest(int(c), PATHS, p).pvalue for c, p in zip(crossed, promised, strict=True)
    ]
    return min(tests) > 1e-4


@pytest.mark.parametrize("level", [0.025, 0.0025])
def test_as_many_paths_cross_by_each_look_as_the_level_allows(level: float) -> None:
    assert crosses_as_promised(StudentLooks(LOOKS, 18, 1.0).threshold(level), level)


@pytest.mark.parametrize("fault", ["one look's t at every look", "no path left out", "normal"])
def test_the_same_check_sees_a_wrong_boundary(fault: str) -> None:
    degrees, total = np.array(LOOKS) - 1, spent(LOOKS, 18, 0.025, gamma=1)
    wrong = {
        "one look's t at every look": stats.t.isf(np.full(14, 0.025), degrees),
        # each look uses its part of the level as if no earlier look had stopped a path
        "no path left out": stats.t.isf(np.diff(total, prepend=0.0), degrees),
        "normal": stats.norm.isf(
            stats.t.sf(StudentLooks(LOOKS, 18, 1.0).threshold(0.025), degrees)
        ),
    }
    assert not crosses_as_promised(np.asarray(wrong[fault]), 0.025)


def test_the_first_look_is_the_ordinary_t_and_one_look_is_the_ordinary_test() -> None:
    first = StudentLooks(LOOKS, 18, 1.0).threshold(0.025)[0]
    assert first == pytest.approx(stats.t.isf(spent((5,), 18, 0.025, gamma=1)[0], 4), rel=1e-9)
    assert StudentLooks((13,), 13, 1.0).threshold(0.025)[0] == pytest.approx(
        stats.t.isf(0.025, 12), rel=1e-9
    )


def test_two_looks_at_2_and_3_seeds_agree_with_an_integral_over_the_sphere() -> None:
    # t depends on the direction of (x1, x2, x3) only, which is uniform on the sphere.
    q = nominal_levels((2, 3), (0.04, 0.1))
    height, angle = np.meshgrid(
        (np.arange(2000) + 0.5) / 1000 - 1, (np.arange(2000) + 0.5) / 1000 * math.pi
    )
    radius = np.sqrt(1 - height**2)
    x1, x2, x3 = radius * np.cos(angle), radius * np.sin(angle), height
    t2 = (x1 + x2) / np.abs(x1 - x2)
    total = x1 + x2 + x3
    t3 = total / np.sqrt((1 - total**2 / 3) / 2) / math.sqrt(3)
    crossed_first = t2 >= stats.t.isf(q[0], 1)
    crossed = crossed_first | (t3 >= stats.t.isf(q[1], 2))
    assert crossed_first.mean() == pytest.approx(0.04, abs=5e-5)
    assert crossed.mean() == pytest.approx(0.1, abs=1e-4)  # the grids of both sides


def test_the_level_is_spent_by_the_formula_of_hwang_shih_and_decani() -> None:
    half = (1 - math.exp(-0.5)) / (1 - math.exp(-1))
    assert spent((10, 20), 20, 0.05, gamma=1) == pytest.approx([0.05 * half, 0.05])
    assert spent((5, 20), 20, 0.05, gamma=0) == pytest.approx([0.0125, 0.05])
    late = (math.exp(2) - 1) / (math.exp(4) - 1)
    assert spent((10,), 20, 0.05, gamma=-4) == pytest.approx([0.05 * late])


def test_a_larger_level_never_has_a_higher_boundary() -> None:
    # Holm hands levels on between comparisons; this order is what makes that hold (Maurer, Bretz).
    rule = StudentLooks(LOOKS, 18, 1.0)
    levels = [0.05 / m for m in (200, 50, 20, 10, 5, 3, 2, 1)]
    thresholds = np.array([rule.threshold(level) for level in levels])
    assert (np.diff(thresholds, axis=0) < 0).all()


def test_the_p_value_is_the_level_at_which_the_look_just_rejects() -> None:
    rule = StudentLooks(LOOKS, 18, 1.0)
    for level in (0.2, 0.025, 0.001):
        for k in (0, 4, 13):
            assert rule.p_value(float(rule.threshold(level)[k]), k) == pytest.approx(
                level, rel=1e-6
            )
    assert rule.p_value(-1.0, 3) == 0.5
    assert StudentLooks((9,), 9, 1.0).p_value(2.5, 0) == pytest.approx(stats.t.sf(2.5, 8), rel=1e-6)


def test_the_statistic_is_scipys_and_no_variance_is_no_evidence() -> None:
    x = np.random.default_rng(0).normal(0.01, 0.02, 18)
    rule = StudentLooks((5, 18), 18, 1.0)
    expected = [stats.ttest_1samp(x[:n], 0.004).statistic for n in (5, 18)]
    assert rule.evidence(x, 0.004) == pytest.approx(expected)
    assert (rule.evidence(np.full(18, 0.1) + 1e-17, 0.0) == -np.inf).all()
    assert rule.lower(np.full(18, 0.1), 0, 0.025) == -math.inf


def test_the_normal_score_is_close_to_the_exact_one() -> None:
    t = np.array([-4.0, -1.0, 0.0, 0.5, 2.0, 6.0])
    for n in (5, 18):
        exact = stats.norm.isf(stats.t.sf(t, n - 1))
        assert normal_score(t, n) == pytest.approx(exact, abs=0.05)
