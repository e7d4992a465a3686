"""failed runs by seed -> counts, and an exact paired test of these counts."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import WarminitError

#: A run below this share of its arm's best is stuck; in the kept studies this finds all, no other.
SHARE = 0.5
#: If an arm's best run is below this accuracy, its training was too short to call a run stuck.
LEAST = 0.3


@dataclass(frozen=True, slots=True)
class Failures:
    """Hold the failed runs of an arm and its baseline at the same seeds.

    Attributes:
        n: Number of seeds.
        arm: Number of failed runs of the arm.
        baseline: Number of failed runs of the baseline.
        arm_only: Number of seeds at which only the arm failed.
        baseline_only: Number of seeds at which only the baseline failed.
        p: Two-sided exact p of McNemar's test; 1 if both fail at the same seeds.
    """

    n: int
    arm: int
    baseline: int
    arm_only: int
    baseline_only: int
    p: float

    def sentence(self, arm: str, baseline: str) -> str:
        """Return the counts and the test as a sentence; "" if no run failed."""
        if not self.arm + self.baseline:
            return ""
        p = f"{self.p:.4f}" if self.p >= 0.0001 else "below 0.0001"
        return (
            f"Failed runs (stuck, diverged or ended by an error): {arm} {self.arm} of {self.n},"
            f" {baseline} {self.baseline} of {self.n}, exact p {p}. Their seeds are not in the"
            " differences."
        )


def failed(final: ArrayLike, *, chance: float, higher_is_better: bool = True) -> NDArray[np.bool_]:
    """Mark the runs that diverged or are stuck.

    Args:
        final: Final metric, shape (seeds,); not finite for a run that diverged.
        chance: Metric of a constant guess. A run that is not better is stuck.
        higher_is_better: Whether a higher metric is better; False for a loss.

    Returns:
        Booleans, shape (seeds,), True for a failed run.

    Example:
        >>> failed([0.93, 0.1, float("nan")], chance=0.1).tolist()
        [False, True, True]
    """
    values = np.asarray(final, dtype=np.float64)
    better = values > chance if higher_is_better else values < chance
    return np.asarray(~(better & np.isfinite(values)))


def stuck_below(final: Iterable[float]) -> float:
    """Return the accuracy below which a run of an arm is stuck, given all its accuracies.

    Args:
        final: Final accuracies of the arm on one data set and model; values that are not finite do
            not count.

    Returns:
        Half of the best accuracy; 0 if the best is below 0.3. An arm that is poor at every seed is
        worse, not stuck.

    Example:
        >>> stuck_below([0.6, 0.58, 0.2]), stuck_below([0.2, 0.05])
        (0.3, 0.0)
    """
    best = max((value for value in final if math.isfinite(value)), default=0.0)
    return SHARE * best if best >= LEAST else 0.0


def compare_failures(arm: Sequence[bool], baseline: Sequence[bool]) -> Failures:
    """Compare how often two arms fail at the same seeds.

    Args:
        arm: Whether the arm's run failed, one value per seed.
        baseline: Whether the baseline's run failed, at the same seeds in the same order.

    Returns:
        The counts and the exact p. Seeds at which both or neither failed do not affect the p.

    Raises:
        WarminitError: If there is no seed, or the numbers of seeds differ.

    Source:
        McNemar 1947; the p is `scipy.stats.binomtest` on the seeds at which one arm failed.

    Example:
        >>> compare_failures([False] * 8, [True] * 6 + [False] * 2).p
        0.03125
    """
    a, b = np.asarray(arm, dtype=bool), np.asarray(baseline, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape or not a.size:
        raise WarminitError(
            f"arm has shape {a.shape} and baseline {b.shape}: expected (n,) in both, the same"
            " seeds. Keep the seeds that both arms have."
        )
    arm_only, baseline_only = int((a & ~b).sum()), int((b & ~a).sum())
    p = 1.0
    if arm_only + baseline_only:
        from scipy import stats

        p = float(stats.binomtest(arm_only, arm_only + baseline_only, 0.5).pvalue)
    return Failures(a.size, int(a.sum()), int(b.sum()), arm_only, baseline_only, p)
