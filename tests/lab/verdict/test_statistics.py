"""paired scores -> Comparison, against SciPy, statsmodels and cases worked by hand."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from paired_scores import EXACT, compare, draw
from warminit.errors import WarminitError
from warminit.lab.verdict.family import holm_adjust
from warminit.lab.verdict.paired import relative_error_change
from warminit.lab.verdict.tests import signed_rank


def flipped_by_hand(counts: list[int]) -> Fraction:
    """All sign patterns of whole numbers, one after the other: no float, no rounding."""
    patterns = list(itertools.product((1, -1), repeat=len(counts)))
    sums = [sum(s * c for s, c in zip(p, counts, strict=True)) for p in patterns]
    return Fraction(sum(total >= sum(counts) for total in sums), len(patterns))


def t3_cdf(t: float) -> float:
    """Student's t with 3 degrees of freedom in closed form (any table of distributions)."""
    x = t / math.sqrt(3)
    return 0.5 + (x / (1 + x * x) + math.atan(x)) / math.pi


def test_four_seeds_worked_by_hand() -> None:
    # Differences 1, 2, 3, 6 in 1/1000: mean 3, sum of squares about it 4 + 1 + 0 + 9 = 14.
    baseline = np.array([0.90, 0.92, 0.91, 0.93])
    c = compare(baseline + np.array([1, 2, 3, 6]) / 1000, baseline, margin=0.004)
    se = math.sqrt(14 / 3) / 1000 / 2
    assert (c.n, c.wins, c.ties, c.losses) == (4, 4, 0, 0)
    assert c.mean_difference == pytest.approx(0.003, **EXACT)
    assert c.sd_difference == pytest.approx(2 * se, **EXACT)
    assert c.cohens_d == pytest.approx(0.003 / (2 * se), **EXACT)
    assert c.p_one_sided == pytest.approx(1 - t3_cdf(0.003 / se), **EXACT)
    assert c.p_two_sided == pytest.approx(2 * (1 - t3_cdf(0.003 / se)), **EXACT)
    # 3.182446 is the 97.5 % point with 3 degrees of freedom in every printed table.
    assert c.confidence_interval == pytest.approx(
        (0.003 - 3.182446 * se, 0.003 + 3.182446 * se), rel=1e-6
    )
    assert c.p_equivalence == pytest.approx(t3_cdf((0.003 - 0.004) / se), **EXACT)
    assert c.p_noninferiority == pytest.approx(1 - t3_cdf((0.003 + 0.004) / se), **EXACT)
    # All four positive: one pattern of sixteen is as extreme, for the flips and for the ranks.
    assert c.p_sign_flip == c.p_wilcoxon == 1 / 16
    assert c.sign_flip_method == "exact"
    assert c.mean_baseline == pytest.approx(0.915, **EXACT)
    assert c.relative_error_reduction == pytest.approx(0.003 / 0.085, **EXACT)
    # Baseline deviations -15, 5, -5, 15 (500), arm's -17, 4, -5, 18 (654), products 570, in 1e-6.
    assert c.correlation == pytest.approx(570 / math.sqrt(500 * 654), **EXACT)
    assert c.sd_baseline == pytest.approx(math.sqrt(500 / 3) / 1000, **EXACT)
    assert c.sd_arm == pytest.approx(math.sqrt(654 / 3) / 1000, **EXACT)
    assert c.note == ""


@pytest.mark.parametrize("n", [2, 3, 8, 16, 40])
@pytest.mark.parametrize("effect", [-0.004, 0.0, 0.004])
def test_t_tests_agree_with_scipy_and_statsmodels(n: int, effect: float) -> None:
    arm, baseline = draw(n, effect=effect, seed=n)
    c = compare(arm, baseline, margin=0.002)
    one = stats.ttest_rel(arm, baseline, alternative="greater")
    two = stats.ttest_rel(arm, baseline)
    assert c.p_one_sided == pytest.approx(one.pvalue, **EXACT)
    assert c.p_two_sided == pytest.approx(two.pvalue, **EXACT)
    assert c.confidence_interval == pytest.approx(tuple(two.confidence_interval(0.95)), **EXACT)
    p_equivalence, above, _ = ttost_paired(arm, baseline, -0.002, 0.002)
    assert c.p_equivalence == pytest.approx(p_equivalence, **EXACT)
    assert c.p_noninferiority == pytest.approx(above[1], **EXACT)
    assert c.correlation == pytest.approx(np.corrcoef(arm, baseline)[0, 1], **EXACT)
    exact = "exact" if n <= 16 else "monte-carlo"
    assert c.sign_flip_method == exact


@pytest.mark.parametrize(
    ("n", "largest", "method"),
    [
        *((n, 2, stats.PermutationMethod(n_resamples=2**12)) for n in (2, 5, 8, 12)),  # with ties
        *((n, 10**6, "exact") for n in (2, 8, 14, 16, 17, 40)),
        (60, 2, "asymptotic"),
    ],
)
def test_signed_ranks_are_those_of_scipy(n: int, largest: int, method: Any) -> None:
    draw = np.random.default_rng(n)
    kept = draw.integers(1, largest + 1, n) * draw.choice([-1.0, 1.0], n, p=[0.3, 0.7])
    expected = stats.wilcoxon(kept, alternative="greater", method=method).pvalue
    assert signed_rank(np.append(kept, [0.0, 0.0])) == pytest.approx(expected, **EXACT)


COUNTS = [
    [2, 2, -1, 1, 1, -2, 3, 3, -1, 2, 1, 1, -3, 2, 1, -2],
    [3, -1, 4, 1, -5, 9, 2, 6],
    [5, 5, 5, -5, 0, 0, 5, -5],
    [1, 1, 1, 1, 1, 1, 1, 2],
    [-7, -3, 0, 2],
    [8, -8],
    [0, 0, 0, 4, 0, 0, 0, 0, -2, 0, 0, 0, 0, 4, 0],
]


@pytest.mark.parametrize("counts", COUNTS)
def test_sign_flips_and_ranks_count_ties_of_whole_images_exactly(counts: list[int]) -> None:
    # The same difference in images is not the same float at another accuracy.
    base = 9001 + 37 * np.arange(len(counts)) % 211
    arm, baseline = (base + counts) / 10_000, base / 10_000
    c = compare(arm, baseline)
    assert c.p_sign_flip == float(flipped_by_hand(counts))
    # Wilcoxon is the same count over the signed ranks of the differences that are not zero.
    kept = [x for x in counts if x]
    ranks = 2 * stats.rankdata(np.abs(kept))  # doubled: half ranks become whole numbers
    signed = [int(r) * (1 if x > 0 else -1) for r, x in zip(ranks, kept, strict=True)]
    assert c.p_wilcoxon == pytest.approx(float(flipped_by_hand(signed)), **EXACT)
    assert c.wins == sum(x > 0 for x in counts)
    assert c.ties == counts.count(0)
    assert c.losses == sum(x < 0 for x in counts)


def test_monte_carlo_flips_agree_with_the_exact_count_and_name_themselves() -> None:
    arm, baseline = draw(17, effect=0.001, seed=3)
    d = arm - baseline
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) & 1)
    exact = float(np.mean(signs @ d >= d.sum() - 1e-15))
    c = compare(arm, baseline, seed=1)
    # Five standard errors of 99,999 draws: a false alarm once in two million seeds.
    assert c.p_sign_flip == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 99_999))
    assert c.sign_flip_method == "monte-carlo"
    assert compare(arm, baseline, seed=1).p_sign_flip == c.p_sign_flip
    assert compare(arm, baseline, seed=2).p_sign_flip != c.p_sign_flip


def test_random_flips_count_the_observed_signs_too() -> None:
    # Thirty wins: one pattern in 2^30 is as extreme, so 99,999 draws find it once in 10,000 seeds.
    baseline = np.linspace(0.8, 0.9, 30)
    assert compare(baseline + np.linspace(0.001, 0.002, 30), baseline).p_sign_flip == 1 / 100_000


def test_no_global_generator_is_touched() -> None:
    compare(*draw(20))  # whatever loads late has loaded
    np.random.seed(1)
    expected = np.random.random(3)
    np.random.seed(1)
    compare(*draw(20))
    assert (np.random.random(3) == expected).all()


def test_a_loss_is_better_where_it_is_lower() -> None:
    higher, lower = draw(8, effect=0.004, seed=5)
    up = compare(higher, lower, unit="")
    down = compare(lower, higher, higher_is_better=False)
    for name in ("p_one_sided", "p_two_sided", "p_sign_flip", "p_wilcoxon", "power", "wins"):
        assert getattr(down, name) == pytest.approx(getattr(up, name), **EXACT), name
    assert down.p_noninferiority == pytest.approx(up.p_noninferiority, **EXACT)
    assert down.mean_difference == pytest.approx(-up.mean_difference, **EXACT)
    assert down.cohens_d == pytest.approx(-up.cohens_d, **EXACT)
    low, high = up.confidence_interval
    assert down.confidence_interval == pytest.approx((-high, -low), **EXACT)
    assert down.outcome == up.outcome == "helps"
    assert down.relative_error_reduction is None  # a loss has no share of errors
    errors = compare(1 - higher, 1 - lower, higher_is_better=False, unit="points")
    assert errors.relative_error_reduction == pytest.approx(
        (higher - lower).mean() / (1 - lower.mean()), **EXACT
    )


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (([], []), {}, "arm_scores.shape=(0,): expected (n,), one score a seed"),
    (([[0.9]], [0.9]), {}, "arm_scores.shape=(1, 1): expected"),
    (([0.9, 0.8], [0.9]), {}, "len(arm_scores)=2: expected 1, as many as baseline_scores"),
    (([0.9, 0.8], [0.9, math.nan]), {}, "baseline_scores[1]=nan: expected a finite number below"),
    (([1e101], [0.9]), {"unit": ""}, "arm_scores[0]=1e+101: expected a finite number below"),
    (([0.9, 0.8], [0.9, math.nan]), {}, "leave its seed out of both arms"),
    (([92.1, 93.0], [91.0, 92.0]), {}, "arm_scores=93.0: expected shares from 0 to 1 with"),
    (([0.9, 0.8], [-0.5, 0.9]), {}, "Divide percent by 100, or pass the metric's own unit"),
    (([0.9], [0.8]), {"margin": 0.0}, "margin=0.0: expected a positive number. Pass 0.001"),
    (([0.9], [0.8]), {"alpha": 0.5}, "alpha=0.5: expected a number between 0 and 0.5. Pass"),
]


@pytest.mark.parametrize(("scores", "options", "text"), BAD)
def test_bad_input_is_named_with_the_next_step(
    scores: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(WarminitError) as error:
        compare(*scores, **options)
    assert text in str(error.value)


def test_bad_p_and_bad_accuracy_are_named() -> None:
    with pytest.raises(WarminitError, match=r"p_values=1\.5: expected a p from 0 to 1"):
        holm_adjust([0.5, 1.5])
    with pytest.raises(
        WarminitError, match=r"acc_baseline=1\.0: expected a share from 0 to below 1"
    ):
        relative_error_change(1.0, 0.0)
    with pytest.raises(WarminitError, match=r"0\.9267 for 92\.67 %"):
        relative_error_change(92.67, 0.1)
