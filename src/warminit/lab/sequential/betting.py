"""bounded differences -> the capital of bets against a mean, valid at every look.

The method does not assume normality, only a bound on the size of every difference. Its price in
seeds is measured in `docs/sequential.md`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from warminit.errors import WarminitError

Values = NDArray[np.float64]

#: Largest share of the capital that a bet may lose: c in the paper.
LARGEST_BET = 0.75


class BettingLooks:
    """Hold bets against a mean, one after each seed; the won capital is the evidence.

    Every method tests one side: is the mean above `null`? For the other side, pass the differences
    and the null with the opposite sign.

    Args:
        looks: Numbers of seeds, increasing.
        max_seeds: Number of seeds for which the size of the bets is chosen; any number is valid.
        bound: Largest size of a difference, which lies between -bound and +bound.
        alpha: Two-sided level for which the size of the bets is chosen; any level is valid.

    Source:
        Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
        the predictable plug-in of Theorem 3 with the horizon of its equation 24.
    """

    def __init__(self, looks: tuple[int, ...], max_seeds: int, bound: float, alpha: float) -> None:
        self.looks, self.max_seeds = looks, max_seeds
        self.bound, self.alpha = bound, alpha

    def evidence(self, differences: Values, null: float) -> Values:
        """Compute the largest log capital up to each look.

        Args:
            differences: Paired differences, shape (..., max_seeds); NaN after the last finished
                seed.
            null: Mean under the null hypothesis, between -bound and +bound.

        Returns:
            The log capital, shape (..., looks), at least 0. Under the null, over all looks, it
            exceeds log(1 / level) with probability at most `level`.

        Raises:
            WarminitError: If a difference is beyond the bound.
        """
        if np.any(np.abs(differences) > self.bound):
            worst = float(np.nanmax(np.abs(differences)))
            raise WarminitError(
                f"bound={self.bound:g}: a paired difference is {worst:g} in size. Pass a bound that"
                " no difference can pass, chosen before the runs; shares from 0 to 1 have bound=1."
            )
        stakes = np.minimum(self._stakes(differences), LARGEST_BET / (self.bound + null))
        capital = np.cumsum(np.log1p(stakes * (differences - null)), axis=-1)
        best = np.maximum(np.maximum.accumulate(capital, axis=-1), 0.0)
        return np.asarray(best[..., np.array(self.looks) - 1])

    def threshold(self, level: float) -> Values:
        """Compute the log capital that rejects at a one-sided level, the same at each look."""
        return np.full(len(self.looks), -math.log(level))

    def lower(self, differences: Values, k: int, level: float) -> float:
        """Compute the lower end of the interval at look k: the smallest mean not rejected."""
        low, high = -self.bound, self.bound
        wanted = self.threshold(level)[k]
        for _ in range(30):  # to a billionth of the bound
            middle = (low + high) / 2
            if self.evidence(differences, middle)[k] >= wanted:
                low = middle
            else:
                high = middle
        return low

    def p_value(self, evidence: float, k: int) -> float:
        """Compute the smallest one-sided level at which look k rejects, at most 1."""
        del k  # capital has one meaning at every look
        return math.exp(-evidence)

    def _stakes(self, differences: Values) -> Values:
        """Compute each seed's stake from the spread of the seeds before it."""
        seeds = np.arange(1, differences.shape[-1] + 1)
        mean = np.cumsum(differences, axis=-1) / (seeds + 1)  # shrunk to 0, the middle of the range
        squares = self.bound**2 + np.cumsum((differences - mean) ** 2, axis=-1)
        variance = squares / (seeds + 1)
        first = np.full((*differences.shape[:-1], 1), self.bound**2)
        earlier = np.concatenate([first, variance[..., :-1]], axis=-1)
        return np.asarray(np.sqrt(2 * math.log(2 / self.alpha) / (self.max_seeds * earlier)))
