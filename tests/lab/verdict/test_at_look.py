"""What stands beside a sequential verdict is adjusted for the looks: losses, times, failures."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sequential_cases import Values, draw
from study_runs import result, small_study, stored
from warminit.lab.sequential.boundaries import StudentLooks
from warminit.lab.sequential.design import Design
from warminit.lab.sequential.replay import replay
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.at_look import adjusted_failures, look_level
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.failures import compare_failures
from warminit.lab.verdict.times import times

GAINS = [0.10, 0.11, 0.09, 0.12, 0.10, 0.08, 0.11, 0.10]  # decided at the first look
NOISE = [0.05, -0.04, 0.06, -0.05, 0.02, -0.03, 0.04, -0.02]  # never decided
FALLS = [-0.011, -0.004, -0.015, -0.006, -0.012, -0.001, -0.009, -0.013]
EIGHT = {"max_seeds": 8, "futility": 0}


def finished(gains: list[float], falls: list[float], **sequential: Any) -> Analysis:
    study = small_study(arms=["torch-default", "prewarm"], sequential=EIGHT | sequential)
    results: dict[tuple[str, int], Any] = {}
    for place, (seed, gain, fall) in enumerate(zip(study.seeds, gains, falls, strict=False)):
        base = 0.5 + 0.01 * place
        curve = [*[0.4] * (place % 4), *[0.7 + gain] * (4 - place % 4)]
        results["torch-default", seed] = result(0.7, loss=base, curve=[0.3, 0.4, 0.6, 0.7])
        results["prewarm", seed] = result(0.7 + gain, loss=base + fall, curve=curve)
    return analyse(study, stored(study, results))


def arm(analysis: Analysis) -> Cell:
    return analysis.cells[1]


def test_with_one_look_cross_entropy_is_the_plain_paired_t() -> None:
    found = arm(finished(NOISE, FALLS, looks=[8])).cross_entropy
    assert found is not None
    plain = stats.ttest_1samp(FALLS, 0.0)
    interval = plain.confidence_interval(0.95)
    assert found.confidence_interval == pytest.approx((interval.low, interval.high), rel=1e-4)
    assert found.p_holm == pytest.approx(float(plain.pvalue), rel=1e-4)
    worse = stats.ttest_1samp(FALLS, 0.02, alternative="less").pvalue
    assert found.p_noninferiority == pytest.approx(float(worse), rel=1e-3)
    assert found.beside("Cross-entropy").startswith("Cross-entropy is lower: -0.008875 nats (95 %")


def test_cross_entropy_is_tested_at_the_seeds_and_the_level_of_the_look() -> None:
    early, late = (finished(GAINS, FALLS[:n]) for n in (5, 8))
    a, b = arm(early).cross_entropy, arm(late).cross_entropy
    assert a is not None
    assert a == b  # later seeds change nothing
    assert a.n == 5
    assert a.p_two_sided is not None
    assert a.p_two_sided > stats.ttest_1samp(FALLS[:5], 0.0).pvalue
    crossed = StudentLooks((5, 6, 7, 8), 8, 1.0).threshold(0.025)[0]
    t = -stats.ttest_1samp(FALLS[:5], 0.0).statistic
    assert (t >= crossed) == (a.p_two_sided <= 0.05)
    assert a.confidence_interval is not None
    assert (a.confidence_interval[1] < 0) == (a.p_two_sided <= 0.05)


@pytest.mark.parametrize(
    ("gains", "falls", "sequential"),
    [
        (GAINS[:4], FALLS[:4], {}),  # before the first look
        (GAINS, FALLS, {"method": "betting"}),  # cross-entropy has no bound
        (GAINS, [math.nan, *FALLS[1:]], {}),  # a seed without it
        (GAINS, [-0.01] * 8, {}),  # no spread
    ],
)
def test_cross_entropy_that_cannot_be_adjusted_is_not_tested(
    gains: list[float], falls: list[float], sequential: dict[str, Any]
) -> None:
    found = arm(finished(gains, falls, **sequential)).cross_entropy
    assert found is not None
    assert (found.p_holm, found.p_noninferiority, found.confidence_interval) == (None, None, None)
    assert found.beside("Cross-entropy").endswith("nats, not tested.")


def test_at_the_look_that_another_metric_chose_a_null_metric_errs_at_its_level() -> None:
    """The loss goes with the primary metric, whose extremes end the study: the worst case."""
    design = Design(margin=1e-9, futility=0)
    studies = draw(4000, 1, 0.0, seed=11)
    history = replay(design, studies)
    rows, look = np.arange(4000), history.look[:, 0]
    t = np.abs(StudentLooks(design.looks, design.max_seeds, 1.0).evidence(studies[:, 0], 0.0))
    seen, seeds = t[rows, look], np.array(design.looks)[look]
    levels = np.array([look_level(design, n) for n in design.looks])[look]

    def errs(level: Values) -> bool:
        wrong = int((seen >= stats.t.isf(level / 2, seeds - 1)).sum())
        return bool(stats.binomtest(wrong, 4000, 0.05, alternative="greater").pvalue < 1e-4)

    assert not errs(levels)
    assert errs(np.full(4000, 0.05))  # the fault that the adjustment is for


def test_the_interval_of_a_time_is_that_of_its_look() -> None:
    assert look_level(Design(max_seeds=8, looks=(8,)), 8) == pytest.approx(0.05)
    (looked,) = times(finished(GAINS, FALLS))
    assert looked.steps.n == 5
    assert looked.steps.interval is not None
    fixed = small_study(arms=["torch-default", "prewarm"], seeds=8)
    (plain,) = times(analyse(fixed, finished(GAINS[:5], FALLS).runs))
    assert plain.steps.interval is not None
    assert looked.steps.ratio == plain.steps.ratio
    assert looked.steps.interval[0] <= plain.steps.interval[0]
    assert looked.steps.interval[1] > plain.steps.interval[1]


def test_the_exact_p_of_failures_is_divided_by_the_share_of_its_look() -> None:
    all_of_five = compare_failures([True] * 5, [False] * 5)
    share = (1 - math.exp(-5 / 8)) / (1 - math.exp(-1))  # Hwang, Shih and DeCani's, by hand
    found = adjusted_failures(Design(max_seeds=8), all_of_five)
    assert found.p == pytest.approx(0.0625 / share)
    six = compare_failures([True] * 6, [False] * 6)
    more = (1 - math.exp(-6 / 8)) / (1 - math.exp(-1)) - share
    assert adjusted_failures(Design(max_seeds=8), six).p == pytest.approx(0.03125 / more)
    assert adjusted_failures(Design(max_seeds=8, looks=(8,)), six).p == pytest.approx(0.03125)
    none = compare_failures([False] * 5, [False] * 5)
    assert adjusted_failures(Design(max_seeds=8), none).p == 1
