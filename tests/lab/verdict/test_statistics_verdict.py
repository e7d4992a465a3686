"""comparisons -> Holm's family and verdicts, against the paper's own figures."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from paired_scores import EXACT, compare
from warminit.lab.verdict.family import holm, holm_adjust
from warminit.lab.verdict.paired import Comparison, relative_error_change

TABLE_3 = {  # accuracy of Kaiming and its sd, difference, relative error, one-sided p
    "MNIST": (0.9928, 0.0004, 0.0005, -6.94, 0.0109),
    "Fashion-MNIST": (0.9267, 0.0019, 0.0016, -2.18, 0.0308),
    "CIFAR-10": (0.7471, 0.0031, 0.0023, -0.91, 0.0322),
    "SVHN": (0.8908, 0.0018, 0.0048, -4.40, 0.0007),
    "CIFAR-100": (0.4282, 0.0034, 0.0068, -1.19, 0.0033),  # -11.89 as printed is a misprint
}


def table_3_cell(name: str) -> Any:
    """Eight seeds with the mean, spread, difference and p that the paper prints."""
    accuracy, sd, difference, _, p = TABLE_3[name]
    spread = difference * math.sqrt(8) / stats.t.isf(p, 7)  # t = mean / (sd / sqrt(8)), solved
    shape = np.array([-1.5, -1, -0.5, -0.2, 0.3, 0.6, 0.9, 1.4])
    shape /= shape.std(ddof=1)
    baseline = accuracy + sd * np.roll(shape, 3)
    return compare(baseline + difference + spread * shape, baseline)


def test_relative_errors_of_table_3() -> None:
    changes = [100 * relative_error_change(a, d) for a, _, d, _, _ in TABLE_3.values()]
    assert [round(x, 2) for x in changes] == [cell[3] for cell in TABLE_3.values()]
    assert round(float(np.mean(changes)), 2) == -3.12


@pytest.mark.parametrize("name", TABLE_3)
def test_a_cell_of_table_3_comes_back_from_eight_scores(name: str) -> None:
    accuracy, sd, difference, error, p = TABLE_3[name]
    c = table_3_cell(name)
    assert round(c.mean_baseline, 4) == accuracy
    assert round(c.sd_baseline, 4) == sd
    assert round(c.mean_difference, 4) == difference
    assert round(-100 * c.relative_error_reduction, 2) == error
    assert round(c.p_one_sided, 4) == p


def test_holm_over_the_papers_five_p() -> None:
    published = holm_adjust([cell[4] for cell in TABLE_3.values()])
    assert [round(p or 0.0, 4) for p in published] == [0.0327, 0.0616, 0.0616, 0.0035, 0.0132]
    # Holm as its author words it: the k-th smallest of m times m - k + 1, never falling.
    p = [0.04, 0.001, 0.5, 0.012]
    assert holm_adjust(p) == pytest.approx((0.08, 0.004, 0.5, 0.036), **EXACT)
    assert holm_adjust([0.9, 0.8]) == (1.0, 1.0)


def test_holm_fills_the_family_from_two_sided_p_and_skips_what_was_not_tested() -> None:
    cells = [table_3_cell(name) for name in TABLE_3]
    untested = compare([0.91], [0.90])
    family = holm([*cells[:2], untested, *cells[2:]])
    assert family[2] == untested
    assert family[2].p_holm is None
    tested = [c for c in family if c.n > 1]
    # Twice the published p, times 3, 2, (2,) 5, 4: the untested one does not count.
    expected = (0.0654, 0.1232, 0.1232, 0.0070, 0.0264)
    assert [c.p_holm for c in tested] == pytest.approx(expected, abs=1e-9)
    # MNIST's half a tenth of a point is small enough to be called equivalent.
    assert [c.outcome for c in tested] == ["equivalent", "undecided", "undecided", "helps", "helps"]
    assert [c.arm for c in family] == ["prewarm"] * 6
    assert holm([]) == ()
    assert holm([untested]) == (untested,)


def shaped(mean: float, sd: float, n: int = 8, **options: Any) -> Any:
    """Differences of exactly this mean and sample sd."""
    shape = np.resize([1.0, -1.0], n)
    baseline = 0.5 + np.linspace(0, 0.01, n)
    return compare(baseline + mean + sd * shape / shape.std(ddof=1), baseline, **options)


VERDICTS = [
    (
        shaped(0.004, 0.002),
        "helps",
        (
            "prewarm helps: 0.40 points above torch-default (95 % interval +0.23 to +0.57),"
            " 8 seeds, Holm p 0.0008."
        ),
    ),
    (
        shaped(-0.004, 0.002),
        "harms",
        (
            "prewarm harms: 0.40 points below torch-default (95 % interval -0.57 to -0.23),"
            " 8 seeds, Holm p 0.0008."
        ),
    ),
    (
        shaped(0.0005, 0.0002),
        "helps",
        (
            "prewarm helps: 0.05 points above torch-default (95 % interval +0.03 to +0.07),"
            " 8 seeds, Holm p 0.0002; the difference is real but lies within 0.1 points (90 %"
            " interval +0.04 to +0.06, TOST p below 0.0001)."
        ),
    ),
    (
        shaped(0.00001, 0.0004),
        "equivalent",
        (
            "prewarm and torch-default are equivalent within 0.1 points: +0.00 points (90 %"
            " interval -0.03 to +0.03), 8 seeds, TOST p 0.0001."
        ),
    ),
    (
        shaped(-0.00001, 0.005),
        "undecided",
        (
            "no detectable difference between prewarm and torch-default with 8 seeds: +0.00 points"
            " (95 % interval -0.42 to +0.42), Holm p 0.9956; more than 1,000,000 seeds would be"
            " needed for the observed difference, and about 199 for one of 0.1 points, the margin."
        ),
    ),
    (
        shaped(0.0005, 0.002, n=10),
        "undecided",
        (
            "no detectable difference between prewarm and torch-default with 10 seeds: +0.05 points"
            " (95 % interval -0.09 to +0.19), Holm p 0.4495; about 128 seeds would be needed for"
            " the observed difference, and about 34 for one of 0.1 points, the margin."
        ),
    ),
    (
        shaped(0.0545, 0.1, n=8),  # so many margins that the number for the margin is no plan
        "undecided",
        (
            "no detectable difference between prewarm and torch-default with 8 seeds: +5.45 points"
            " (95 % interval -2.91 to +13.81), Holm p 0.1671; about 29 seeds would be needed for"
            " the observed difference."
        ),
    ),
    (
        shaped(0.002, 0.001, n=2),
        "undecided",
        (
            "no detectable difference between prewarm and torch-default with 2 seeds: +0.20 points"
            " (95 % interval -0.70 to +1.10), Holm p 0.2163; 2 seeds are too few to tell how many"
            " would be needed."
        ),
    ),
    (
        shaped(-0.3, 0.2, higher_is_better=False),
        "helps",
        (
            "prewarm helps: 0.3 below torch-default (95 % interval -0.4672 to -0.1328),"
            " 8 seeds, Holm p 0.0038."
        ),
    ),
]


@pytest.mark.parametrize(("comparison", "outcome", "sentence"), VERDICTS)
def test_the_verdict_is_one_sentence_with_its_numbers(
    comparison: Comparison, outcome: str, sentence: str
) -> None:
    (c,) = holm([comparison])
    assert c.outcome == outcome
    assert c.verdict == sentence


def test_where_only_the_correction_decides_the_sentence_says_both() -> None:
    """The interval, which is not corrected, leaves out 0: the sentence must not stop there."""
    (c, *_) = holm([shaped(0.00095, 0.0025, n=48), *[shaped(0.0, 0.0025, n=48)] * 5])
    assert c.outcome == "undecided"
    assert c.confidence_interval is not None
    assert c.confidence_interval[0] > 0
    assert (
        "(95 % interval +0.02 to +0.17, for this comparison alone: p 0.0114), Holm p 0.0686 over "
        "all comparisons; about 88 seeds"
    ) in c.verdict


def test_seeds_that_suffice_for_the_margin_are_not_called_needed() -> None:
    (c,) = holm([shaped(0.0005, 0.0024, n=48)])
    assert c.outcome == "undecided"
    assert c.verdict.endswith("; 48 seeds suffice for one of 0.1 points, the margin.")


@settings(max_examples=80, deadline=None)
@given(
    st.floats(-3, 3), st.integers(2, 20), st.integers(1, 30), st.sampled_from([0.0001, 0.001, 0.02])
)
def test_every_number_of_a_verdict_agrees_with_it(
    ratio: float, n: int, family: int, margin: float
) -> None:
    sd = 0.003
    c = shaped(ratio * sd, sd, n=n, margin=margin)
    (c, *_) = holm([c, *[shaped(0.0001, sd, n=n)] * (family - 1)])
    assert c.equivalence_interval is not None
    assert c.confidence_interval is not None
    assert c.p_equivalence is not None
    low, high = c.equivalence_interval
    # Schuirmann: TOST is below alpha exactly where the 1 - 2 alpha interval lies in the margin.
    assert (c.p_equivalence < c.alpha) == (-margin < low and high < margin)
    if c.outcome in {"helps", "harms"}:
        assert min(c.confidence_interval) > 0 or max(c.confidence_interval) < 0
        assert f"points {'above' if ratio > 0 else 'below'} torch-default" in c.verdict
    if c.seeds_to_decide is None:
        assert n < 4
        return
    level = np.asarray(stats.t.isf(0.05 / family / 2, np.arange(1, n)))  # by degrees of freedom
    for name, effect in {"observed": abs(c.mean_difference), "margin": margin}.items():
        needed = c.seeds_to_decide[name]
        chance = stats.nct.sf(level[n - 2], n - 1, effect / sd * math.sqrt(n))
        if abs(chance - 0.8) > 1e-6:
            assert (needed is not None and needed <= n) == (chance > 0.8)
    observed = c.seeds_to_decide["observed"]
    if c.outcome == "undecided":  # what was not found needs more seeds, never fewer
        assert observed is None or observed > n


def test_equivalence_needs_its_own_5_percent() -> None:
    # t = 0.001 / (sd / sqrt(8)) with 7 degrees of freedom: 1.90 is just above the 5 % point 1.895.
    close, loose = (shaped(0.0, 0.001 * math.sqrt(8) / t) for t in (1.90, 1.89))
    assert (close.outcome, loose.outcome) == ("equivalent", "undecided")


def test_without_holm_the_verdict_says_that_nothing_was_corrected() -> None:
    c = shaped(0.004, 0.002)
    assert c.outcome == "helps"
    assert "two-sided p 0.0008, not corrected for other comparisons." in c.verdict


def test_the_family_can_undo_a_finding() -> None:
    c = shaped(0.0043, 0.005)  # two-sided p 0.045
    (alone,) = holm([c])
    assert alone.outcome == "helps"
    assert [x.outcome for x in holm([c, c])] == ["undecided", "undecided"]
