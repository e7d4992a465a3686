"""looks, level -> the paired t that rejects at each look, so that all looks share one level.

Without an effect, the t statistics at 2, 3, 4, ... seeds form a Markov chain: the direction of the
vector of differences is independent of its length. One integral per seed therefore gives the exact
boundaries, without simulation. `docs/sequential.md` explains the rule and its measured error rates.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Values = NDArray[np.float64]

# The grid over the normal score of t. A score beyond 8 is past every level in use.
_EDGE, _NODES, _DRAWS = 8.0, 641, 400
_GRID = np.linspace(-_EDGE, _EDGE, _NODES)
_STEP = 2 * _EDGE / (_NODES - 1)


def spent(looks: Sequence[int], max_seeds: int, level: float, *, gamma: float) -> Values:
    """Compute the part of the level that may be spent up to each look.

    Args:
        looks: Numbers of seeds, increasing, at most `max_seeds`.
        max_seeds: Number of seeds at which the whole level is spent.
        level: One-sided level of the whole study.
        gamma: Shape of the spending: 1 spends early, 0 evenly, below 0 late.

    Returns:
        The spent level, shape (looks,), increasing; `level` at `max_seeds`.

    Source:
        Hwang, Shih and DeCani 1990.

    Example:
        >>> [round(float(a), 4) for a in spent((5, 10, 20), 20, 0.025, gamma=1)]
        [0.0087, 0.0156, 0.025]
    """
    fraction = np.asarray(looks) / max_seeds
    if gamma == 0:
        return np.asarray(level * fraction)
    return np.asarray(level * np.expm1(-gamma * fraction) / math.expm1(-gamma))


def nominal_levels(looks: Sequence[int], cumulative: Sequence[float]) -> Values:
    """Compute the one-sided p at which the paired t rejects at each look.

    Args:
        looks: Numbers of seeds, increasing, each at least 2.
        cumulative: Probability of a rejection up to each look, increasing, in (0, 0.5).

    Returns:
        One-sided p, shape (looks,). Invariant: without an effect and with normal differences, the
        test rejects by look k with probability `cumulative[k]`.

    Example:
        >>> [round(float(q), 4) for q in nominal_levels((5, 10), (0.0125, 0.025))]
        [0.0125, 0.0153]
    """
    # going[i]: the probability that a path at grid point i has crossed no boundary so far.
    going, seeds, before = np.ones(_NODES), looks[0], 0.0
    nominal = []
    for look, total in zip(looks, cumulative, strict=True):
        while seeds < look:
            going, seeds = _backward(seeds) @ going, seeds + 1
        above = _tail(look)
        inside = (going[1:] + going[:-1]) / 2
        new = np.append(np.cumsum((-np.diff(above) * inside)[::-1])[::-1], 0.0)
        wanted, before = total - before, total
        cell = int(np.flatnonzero(new >= wanted)[-1])
        level = above[cell + 1] + (wanted - new[cell + 1]) / inside[cell]
        nominal.append(level)
        going = _cut(going, float(normal_score(stats.t.isf(level, look - 1), look)))
    return np.array(nominal)


class StudentLooks:
    """Hold paired t tests at looks that share one level.

    Every method tests one side: is the mean above `null`? For the other side, pass the differences
    and the null with the opposite sign.

    Args:
        looks: Numbers of seeds, increasing, each at least 2.
        max_seeds: Number of seeds at which the whole level is spent.
        gamma: Shape of the spending of the level, as for `spent`.
    """

    def __init__(self, looks: tuple[int, ...], max_seeds: int, gamma: float) -> None:
        self.looks, self.max_seeds, self.gamma = looks, max_seeds, gamma

    def evidence(self, differences: Values, null: float) -> Values:
        """Compute the t statistic at each look, -inf if the differences do not vary.

        Args:
            differences: Paired differences, shape (..., max_seeds).
            null: Mean under the null hypothesis.

        Returns:
            The t statistics, shape (..., looks).
        """
        found = np.full((*differences.shape[:-1], len(self.looks)), -np.inf)
        for k, n in enumerate(self.looks):
            mean, error = _mean_and_error(differences[..., :n])
            np.divide(mean - null, error, out=found[..., k], where=error > 0)
        return found

    def threshold(self, level: float) -> Values:
        """Compute the smallest t at each look that rejects at a one-sided level."""
        return _thresholds(self.looks, self.max_seeds, self.gamma, level)

    def lower(self, differences: Values, k: int, level: float) -> float:
        """Compute the lower end of the interval at look k: the smallest mean not rejected."""
        mean, error = _mean_and_error(differences[: self.looks[k]])
        return float(mean - self.threshold(level)[k] * error) if error > 0 else -math.inf

    def p_value(self, evidence: float, k: int) -> float:
        """Compute the smallest one-sided level at which look k rejects, at most 0.5."""
        low, high = 1e-13, 0.499
        if evidence <= self.threshold(high)[k]:
            return 0.5
        if evidence >= self.threshold(low)[k]:
            return low
        found = optimize.brentq(
            lambda x: self.threshold(math.exp(x))[k] - evidence,
            math.log(low),
            math.log(high),
            xtol=1e-8,
        )
        return math.exp(found)


def normal_score(t: Values, n: int) -> Values:
    """Compute the normal score of a t statistic of n seeds, by Wallace's approximation (1959)."""
    return np.asarray(np.sign(t) * np.sqrt((n - 1.5) * np.log1p(t * t / (n - 1))))


@lru_cache(maxsize=4096)
def _thresholds(looks: tuple[int, ...], max_seeds: int, gamma: float, level: float) -> Values:
    cumulative = spent(looks, max_seeds, level, gamma=gamma)
    nominal = nominal_levels(looks, cumulative.tolist())
    thresholds = np.asarray(stats.t.isf(nominal, np.array(looks) - 1))
    thresholds.flags.writeable = False  # the cache shares this array
    return thresholds


def _mean_and_error(values: Values) -> tuple[Values, Values]:
    """Return the mean and its standard error, 0 if the values differ by rounding only."""
    n = values.shape[-1]
    largest = np.abs(values).max(axis=-1)
    varies = np.ptp(values, axis=-1) > 1e-9 * largest
    error = values.std(axis=-1, ddof=1) / math.sqrt(n)
    return values.mean(axis=-1), np.where(varies, error, 0.0)


@lru_cache(maxsize=256)
def _tail(n: int) -> Values:
    """Compute P(T > t) at every grid point."""
    t = np.sign(_GRID) * np.sqrt((n - 1) * np.expm1(_GRID**2 / (n - 1.5)))
    return np.asarray(stats.t.sf(t, n - 1))


@lru_cache(maxsize=128)
def _backward(n: int) -> Values:
    """Compute the probability of each grid point at n seeds (columns), given one at n + 1 (rows).

    Let c be the cosine between n + 1 differences and the vector of ones; t is a function of it.
    Given c, the last difference over the length of all is c / sqrt(n + 1) + s sqrt((1 - c^2) n /
    (n + 1)), where s is one coordinate of a uniform direction in n dimensions, independent of c.
    """
    sine2 = np.exp(-(_GRID**2) / (n - 0.5))[:, None]
    cosine = np.sign(_GRID)[:, None] * np.sqrt(1 - sine2)
    quantile = stats.t.ppf((np.arange(_DRAWS) + 0.5) / _DRAWS, n - 1)
    coordinate = quantile / np.sqrt(n - 1 + quantile**2)
    last = cosine / math.sqrt(n + 1) + np.sqrt(sine2 * n / (n + 1)) * coordinate
    earlier = (math.sqrt(n + 1) * cosine - last) / np.sqrt(n * np.maximum(1 - last**2, 1e-30))
    sine2_earlier = np.maximum(1 - np.minimum(earlier**2, 1.0), 1e-60)
    place = np.sign(earlier) * np.sqrt(-(n - 1.5) * np.log(sine2_earlier))
    position = np.clip((place + _EDGE) / _STEP, 0, _NODES - 1 - 1e-9)
    left = position.astype(np.int64)
    share = (position - left) / _DRAWS
    cells = np.arange(_NODES)[:, None] * _NODES + left
    weights = [1 / _DRAWS - share, share]
    sums = [
        np.bincount((cells + side).ravel(), weight.ravel(), _NODES**2)
        for side, weight in enumerate(weights)
    ]
    return np.asarray((sums[0] + sums[1]).reshape(_NODES, _NODES))


def _cut(going: Values, boundary: float) -> Values:
    """Set the part above the boundary to zero; the node behind it keeps the integral exact."""
    cell = min(int((boundary + _EDGE) / _STEP), _NODES - 2)
    kept = going.copy()
    kept[cell + 1 :] = 0.0
    kept[cell + 1] = going[cell] * ((boundary - _GRID[cell]) / _STEP - 0.5)
    return kept
