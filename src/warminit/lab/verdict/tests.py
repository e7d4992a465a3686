"""paired differences -> t tests, interval, sign flips and power, by SciPy and statsmodels.

`paired.py` calls these functions for one comparison. `paired_t` takes any number of comparisons at
once (the last axis is the seeds), so the test suite can calibrate it on many simulated studies.
SciPy and statsmodels take a second to import, so they are imported at the first test.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Largest number of seeds at which all 2^n sign flips are counted.
EXACT_SEEDS = 16
#: Number of random sign flips beyond that: a p of 0.05 then has a standard error of about 0.0007.
SIGN_FLIPS = 99_999
#: Largest number of seeds in a plan; beyond it the noncentral t loses its accuracy.
MAX_SEEDS = 1_000_000

FlipMethod = Literal["exact", "monte-carlo"]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PairedT:
    """Hold the results of t tests on paired differences; every array has shape (...).

    Invariant: `low` <= `inner_low` <= mean difference <= `inner_high` <= `high`.
    """

    p_greater: Values
    p_two_sided: Values
    low: Values
    high: Values
    inner_low: Values
    inner_high: Values
    p_equivalence: Values
    p_noninferiority: Values


def paired_t(differences: Values, *, margin: float, alpha: float = 0.05) -> PairedT:
    """Test paired differences against no difference and against the margin.

    Args:
        differences: Paired differences, shape (..., n), n >= 2 seeds on the last axis, positive if
            the arm is better. Each row has a positive variance.
        margin: Half-width of the equivalence region, in the unit of the differences.
        alpha: Level of the intervals: the outer one covers 1 - alpha, the inner one 1 - 2 alpha.
            The inner one lies within the margin exactly if the p of equivalence is below alpha.

    Returns:
        One-sided p (the alternative is a positive mean), two-sided p, and the ends of both
        intervals. The p of equivalence is the larger of two one-sided tests (Schuirmann 1987). The
        p of non-inferiority is for a mean above -margin. All p are in [0, 1].

    Example:
        >>> import numpy as np
        >>> result = paired_t(np.array([1.0, 2.0, 3.0]), margin=5.0)
        >>> round(float(result.p_two_sided), 4)
        0.0742
    """
    from scipy import stats

    two_sided = stats.ttest_1samp(differences, 0.0, axis=-1)
    greater = stats.ttest_1samp(differences, 0.0, axis=-1, alternative="greater")
    above = stats.ttest_1samp(differences, -margin, axis=-1, alternative="greater")
    below = stats.ttest_1samp(differences, margin, axis=-1, alternative="less")
    interval = two_sided.confidence_interval(1.0 - alpha)
    inner = two_sided.confidence_interval(1.0 - 2.0 * alpha)
    return PairedT(
        p_greater=np.asarray(greater.pvalue),
        p_two_sided=np.asarray(two_sided.pvalue),
        low=np.asarray(interval.low),
        high=np.asarray(interval.high),
        inner_low=np.asarray(inner.low),
        inner_high=np.asarray(inner.high),
        p_equivalence=np.maximum(above.pvalue, below.pvalue),
        p_noninferiority=np.asarray(above.pvalue),
    )


def sign_flip(differences: Values, *, seed: int = 0) -> tuple[float, FlipMethod]:
    """Test paired differences by flipping their signs.

    Args:
        differences: Paired differences, shape (n,), n >= 1, positive if the arm is better.
        seed: Seed of the random flips, drawn only beyond 16 seeds; no global generator is touched.

    Returns:
        The one-sided p (the alternative is a positive mean), and the method: "exact" over all 2^n
        flips, or "monte-carlo" over 99,999 random flips. The p is at least 2^-n, or 1 / 100,000.

    Source:
        Fisher 1935; for random flips, Phipson and Smyth 2010: the observed signs count too.

    Example:
        >>> import numpy as np
        >>> sign_flip(np.array([1.0, 2.0, 3.0]))
        (0.125, 'exact')
    """
    from scipy import stats

    exact = len(differences) <= EXACT_SEEDS
    if len(differences) == 1:  # SciPy needs two; a zero changes no share
        differences = np.append(differences, 0.0)
    result = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        # From 2^n on SciPy counts every flip once; below, it draws, and adds the observed signs.
        n_resamples=2**EXACT_SEEDS if exact else SIGN_FLIPS,
        batch=8192,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue), "exact" if exact else "monte-carlo"


def signed_rank(differences: Values) -> float:
    """Test paired differences by the ranks of their sizes.

    Args:
        differences: Paired differences, shape (n,), positive if the arm is better; at least one is
            not zero.

    Returns:
        The one-sided p without the zero differences. It is exact over all 2^n patterns of signs for
        up to 16 differences, or up to 50 without ties. Otherwise it is SciPy's normal
        approximation.

    Source:
        Wilcoxon 1945.

    Example:
        >>> import numpy as np
        >>> signed_rank(np.array([1.0, 2.0, 3.0, 0.0]))
        0.125
    """
    from scipy import stats

    kept = differences[differences != 0]
    if len(kept) > EXACT_SEEDS:
        return float(stats.wilcoxon(kept, alternative="greater").pvalue)
    # The sum of the positive ranks grows with the mean of the signed ones: the same patterns count.
    return sign_flip(np.sign(kept) * stats.rankdata(np.abs(kept)))[0]


def power(effect: float, sd: float, n: int, *, alpha: float = 0.05) -> float:
    """Compute the power of the one-sided paired t test at alpha.

    Args:
        effect: True mean difference, positive if the arm is better.
        sd: Standard deviation of the paired differences, positive, in the unit of `effect`.
        n: Number of seeds, at least 2.
        alpha: Level of the one-sided test.

    Returns:
        A probability in [0, 1]; alpha if the effect is 0.

    Example:
        >>> round(power(0.002, 0.005, 8), 2)
        0.27
    """
    from statsmodels.stats.power import TTestPower

    ratio = effect / sd
    chance = math.nan
    while math.isnan(chance):
        chance = float(TTestPower().power(ratio, n, alpha, alternative="larger"))
        # Far in its tails SciPy's noncentral t has gaps. Power only grows with the effect, so the
        # next effect towards zero with a value is a bound; the power there is 0 or 1 anyway.
        ratio *= 0.95
    return min(max(chance, 0.0), 1.0)


def seeds_for_power(
    effect: float, sd: float, *, target: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Compute the smallest number of seeds at which the one-sided paired t has the target power.

    Args:
        effect: True mean difference to detect, positive.
        sd: Standard deviation of the paired differences, positive, in the unit of `effect`.
        target: Power to reach.
        alpha: Level of the one-sided test.

    Returns:
        A whole number n >= 2 with power(n) >= target and, unless n is 2, power(n - 1) < target.
        None if more than a million seeds are needed.

    Example:
        >>> seeds_for_power(0.002, 0.005)
        41
    """
    enough = 2
    while power(effect, sd, enough, alpha=alpha) < target:
        enough *= 2
        if enough > 2 * MAX_SEEDS:
            return None
    too_few = enough // 2
    # Bisection on whole seeds: statsmodels' solve_power fails to converge near two of them.
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if power(effect, sd, middle, alpha=alpha) < target:
            too_few = middle
        else:
            enough = middle
    return enough if enough <= MAX_SEEDS else None
