"""comparisons -> Holm's family and verdicts, against the paper's own figures."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from paired_scores import EXACT, compare
from warminit.lab.verdict.paired import (
    Comparison,
    holm,
    holm_adjust,
    relative_error_change,
)

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
            "prewarm helps: +0.40 points (95 % interval +0.23 to +0.57) over torch-default,"
            " 8 seeds, Holm p 0.0008."
        ),
    ),
    (
        shaped(-0.004, 0.002),
        "harms",
        (
            "prewarm harms: -0.40 points (95 % interval -0.57 to -0.23) over torch-default,"
            " 8 seeds, Holm p 0.0008."
        ),
    ),
    (
        shaped(0.0005, 0.0002),
        "helps",
        (
            "prewarm helps: +0.05 points (95 % interval +0.03 to +0.07) over torch-default,"
            " 8 seeds, Holm p 0.0002; the difference is real but lies within 0.1 points (TOST p"
            " below 0.0001)."
        ),
    ),
    (
        shaped(0.00001, 0.0004),
        "equivalent",
        (
            "prewarm and torch-default are equivalent within 0.1 points: +0.00 points (95 %"
            " interval -0.03 to +0.03), 8 seeds, TOST p 0.0001."
        ),
    ),
    (
        shaped(-0.00001, 0.005),
        "undecided",
        (
            "no detectable difference between prewarm and torch-default with 8 seeds: +0.00 points"
            " (95 % interval -0.42 to +0.42), Holm p 0.9956; about 41 seeds would be needed to see"
            " 0.2 points."
        ),
    ),
    (
        shaped(0.0005, 0.002, n=10),
        "undecided",
        (
            "no detectable difference between prewarm and torch-default with 10 seeds: +0.05 points"
            " (95 % interval -0.09 to +0.19), Holm p 0.4495; 10 seeds suffice to see 0.2 points,"
            " and about 27 seeds would be needed to see 0.1 points."
        ),
    ),
    (
        shaped(-0.3, 0.2, higher_is_better=False),
        "helps",
        (
            "prewarm helps: -0.3 (95 % interval -0.4672 to -0.1328) over torch-default,"
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


def test_a_verdict_where_every_planned_effect_is_in_reach() -> None:
    (c,) = holm([shaped(0.00095, 0.0025, n=48)])  # p 0.011: undecided only in a family
    (c, *_) = holm([c, *[shaped(0.0, 0.0025, n=48)] * 5])
    assert c.outcome == "undecided"
    assert c.verdict.endswith("; 48 seeds suffice to see 0.1 points.")


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
