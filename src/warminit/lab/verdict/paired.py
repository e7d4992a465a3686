"""paired results -> Comparison: tests and effect sizes of two arms at the same seeds.

`docs/statistics.md` explains the formulas, their sources and the rule of the verdict.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import unexpected
from warminit.lab.verdict.comparison import EFFECTS, Comparison, Outcome
from warminit.lab.verdict.family import seeds_to_decide
from warminit.lab.verdict.tests import paired_t, power, seeds_for_power, sign_flip, signed_rank

__all__ = [
    "Comparison",
    "Outcome",
    "compare_paired",
    "relative_error_change",
]

#: Bound of a score, so that squares stay finite; no metric of a trained run comes close.
LARGEST = 1e100
Values = NDArray[np.float64]
Found = TypeVar("Found")


def compare_paired(
    arm_scores: ArrayLike,
    baseline_scores: ArrayLike,
    *,
    arm: str,
    baseline: str,
    margin: float = 0.001,
    alpha: float = 0.05,
    seed: int = 0,
    higher_is_better: bool = True,
    unit: str | None = None,
) -> Comparison:
    """Compare an arm with its baseline, seed by seed.

    Args:
        arm_scores: Finite scores of the arm, shape (n,), one per seed.
        baseline_scores: Scores of the baseline, shape (n,), at the same seeds in the same order.
        arm: Name of the arm.
        baseline: Name of the baseline.
        margin: Half-width of the equivalence region in the metric's unit; 0.001 is 0.1 points.
        alpha: Level of every test; the interval covers 1 - alpha.
        seed: Seed of the random sign flips, drawn only beyond 16 seeds.
        higher_is_better: Whether higher scores are better; False for a loss. One-sided p, wins,
            error reduction and power then ask whether the arm is lower. Differences stay arm minus
            baseline.
        unit: Unit of the scores: "points" for shares from 0 to 1, printed as percentage points, or
            another name, printed after the number. Default: "points", or "" if lower is better.

    Returns:
        The comparison, with `p_holm` still None. Invariant: wins + ties + losses = n. With one
        seed, or equal differences, every p is None and `note` says why. A statistic that cannot be
        computed is None, and `note` names it.

    Raises:
        WarminitError: If the scores are empty, not finite, not one-dimensional, of unequal number,
            or outside 0 to 1 in points. Also if the margin or alpha is out of range.

    Source:
        Section 5.1 and Table 3 (paired t, error reduction, wins); docs/statistics.md for the rest.

    Example:
        >>> c = compare_paired([0.92, 0.93, 0.94], [0.91, 0.90, 0.93], arm="a", baseline="b")
        >>> c.wins, round(c.mean_difference, 4), round(c.p_one_sided, 4)
        (3, 0.0167, 0.0648)
    """
    unit = unit if unit is not None else ("points" if higher_is_better else "")
    a, b = (
        _scores("arm_scores", arm_scores, unit),
        _scores("baseline_scores", baseline_scores, unit),
    )
    if len(a) != len(b):
        expected = f"{len(b)}, as many as baseline_scores"
        step = "Keep the seeds that both arms finished."
        raise unexpected("len(arm_scores)", len(a), expected, step)
    if not 0 < margin < math.inf:
        raise unexpected("margin", margin, "a positive number", "Pass 0.001 for 0.1 points.")
    if not 0 < alpha < 0.5:
        raise unexpected("alpha", alpha, "a number between 0 and 0.5", "Pass alpha=0.05.")

    n, toward = len(a), 1.0 if higher_is_better else -1.0
    difference = a - b
    gain = toward * difference
    # Accuracies are counts over a test set: two differences of the same count must tie, although
    # their floats may differ in the last bits. Ranks, flips and wins depend on ties.
    tied = _rounded(gain, float(max(np.abs(a).max(), np.abs(b).max())))
    comparison = Comparison(
        arm=arm,
        baseline=baseline,
        n=n,
        mean_arm=float(a.mean()),
        mean_baseline=float(b.mean()),
        mean_difference=float(difference.mean()),
        wins=int((tied > 0).sum()),
        ties=int((tied == 0).sum()),
        losses=int((tied < 0).sum()),
        margin=margin,
        alpha=alpha,
        higher_is_better=higher_is_better,
        unit=unit,
        relative_error_reduction=_error_reduction(a, b, higher_is_better, unit),
    )
    if n == 1:
        return replace(comparison, note="One seed has no spread, so nothing can be tested.")
    correlation = _correlation(a, b)
    comparison = replace(
        comparison,
        sd_arm=float(a.std(ddof=1)),
        sd_baseline=float(b.std(ddof=1)),
        correlation=correlation,
    )
    if np.ptp(tied) == 0:
        note = "The paired differences are all equal, so without variance nothing can be tested."
        return replace(comparison, sd_difference=0.0, note=note)

    mean, sd = float(gain.mean()), float(gain.std(ddof=1))
    notes = [] if correlation is not None else ["One arm never varies: no correlation."]

    def found(name: str, statistic: Callable[[], Found]) -> Found | None:
        try:
            return statistic()
        except Exception as error:  # noqa: BLE001 - the other statistics stay valid
            notes.append(f"{name} could not be computed ({type(error).__name__}).")
            return None

    t = found("The t test", lambda: paired_t(gain, margin=margin, alpha=alpha))
    if t is not None:
        comparison = replace(
            comparison,
            confidence_interval=_ends(toward, t.low, t.high),
            equivalence_interval=_ends(toward, t.inner_low, t.inner_high),
            p_one_sided=float(t.p_greater),
            p_two_sided=float(t.p_two_sided),
            p_equivalence=float(t.p_equivalence),
            p_noninferiority=float(t.p_noninferiority),
        )
    flips = found("The sign-flip test", lambda: sign_flip(tied, seed=seed))
    comparison = replace(
        comparison,
        sd_difference=sd,
        p_sign_flip=flips and flips[0],
        sign_flip_method=flips and flips[1],
        p_wilcoxon=found("Wilcoxon's test", lambda: signed_rank(tied)),
        cohens_d=toward * mean / sd,
        power=found("The power", lambda: power(mean, sd, n, alpha=alpha)),
        power_at=found(
            "The power at an effect",
            lambda: {effect: power(effect, sd, n, alpha=alpha) for effect in EFFECTS},
        ),
        seeds_needed=found(
            "The number of seeds",
            lambda: {effect: seeds_for_power(effect, sd, alpha=alpha) for effect in EFFECTS},
        ),
        seeds_to_decide=found(
            "The number of seeds to decide",
            lambda: seeds_to_decide(abs(mean), sd, n, margin, alpha),
        ),
    )
    return replace(comparison, note=" ".join(notes))


def relative_error_change(acc_baseline: float, difference: float) -> float:
    """Compute the relative change of the classification error, as in Table 3.

    Args:
        acc_baseline: Accuracy of the baseline, 0 <= acc_baseline < 1.
        difference: Accuracy of the arm minus that of the baseline.

    Returns:
        -difference / (1 - acc_baseline), at least -1; negative if the arm makes fewer errors.

    Raises:
        WarminitError: If the baseline makes no error, or its accuracy is not in [0, 1].

    Source:
        Caption of Table 3. Its CIFAR-100 cell is misprinted: the formula gives -1.19 %.

    Example:
        >>> f"{relative_error_change(0.4282, 0.0068):.2%}"
        '-1.19%'
    """
    if not 0 <= acc_baseline < 1:
        expected = "a share from 0 to below 1, where there is an error to reduce"
        raise unexpected("acc_baseline", acc_baseline, expected, "Pass 0.9267 for 92.67 %.")
    return -difference / (1.0 - acc_baseline)


def _ends(toward: float, low: Values, high: Values) -> tuple[float, float]:
    first, second = sorted((toward * float(low), toward * float(high)))
    return first, second


def _scores(name: str, scores: ArrayLike, unit: str) -> Values:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise unexpected(f"{name}.shape", values.shape, "(n,), one score a seed and n >= 1")
    usable = np.abs(values) < LARGEST  # False for NaN
    if not usable.all():
        place = int(np.flatnonzero(~usable)[0])
        expected = f"a finite number below {LARGEST}"
        step = "Report this run as diverged, and leave its seed out of both arms."
        raise unexpected(f"{name}[{place}]", float(values[place]), expected, step)
    if unit == "points" and (values.min() < 0 or values.max() > 1):
        worst = values.min() if values.min() < 0 else values.max()
        step = "Divide percent by 100, or pass the metric's own unit."
        raise unexpected(name, float(worst), "shares from 0 to 1 with unit='points'", step)
    return values


def _rounded(values: Values, scale: float) -> Values:
    """Return values as counts of the scale's 11th digit, which subtraction does not round.

    The counts are whole, so their sums are exact: two flips of the same sum tie.
    """
    if scale < 1 / LARGEST:
        return np.zeros_like(values)
    return np.rint(values * 10.0 ** (11 - math.ceil(math.log10(scale))))


def _error_reduction(a: Values, b: Values, higher_is_better: bool, unit: str) -> float | None:
    """Compute the share of the baseline's errors that the arm avoids; None unless in points."""
    if unit != "points":
        return None
    error_arm, error = float(a.mean()), float(b.mean())
    if higher_is_better:
        error_arm, error = 1.0 - error_arm, 1.0 - error
    return None if error <= 0 else (error - error_arm) / error


def _correlation(a: Values, b: Values) -> float | None:
    """Compute Pearson's correlation over the seeds, None if an arm does not vary.

    Exact sums give the same bits on every processor, and kept verdicts hold them.
    """
    if any(np.ptp(_rounded(values, float(np.abs(values).max()))) == 0 for values in (a, b)):
        return None
    a, b = (values - math.fsum(values) / len(values) for values in (a, b))
    a, b = (values / np.abs(values).max() for values in (a, b))  # squares must not underflow
    spread = math.sqrt(math.fsum(a * a) * math.fsum(b * b))
    return min(1.0, max(-1.0, math.fsum(a * b) / spread))
