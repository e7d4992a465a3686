"""scores in many settings -> one answer: interquartile mean, probability of improvement, profile.

A setting is a data set, a network and a protocol. Written from the definitions of Agarwal et al.
2021, "Deep reinforcement learning at the edge of the statistical precipice".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import WarminitError
from warminit.lab.verdict.comparison import Comparison

Values = NDArray[np.float64]
Settings = Mapping[str, ArrayLike]
Draws = list[NDArray[np.intp]]
Statistic = Callable[[list[Values], Draws], Values]

#: Bootstrap samples, as rliable's default times about two.
SAMPLES = 4_999


@dataclass(frozen=True, slots=True)
class Across:
    """Hold one number over all settings, with its interval.

    Attributes:
        value: Statistic of all scores.
        interval: Interval of the percentile bootstrap, which draws seeds within each setting.
    """

    value: float
    interval: tuple[float, float]


def interquartile_mean(scores: Settings, *, alpha: float = 0.05, seed: int = 0) -> Across:
    """Compute the mean of the middle half of all runs of all settings.

    Args:
        scores: Scores by setting, one per seed, on a scale that the settings share: for example,
            differences from the baseline.
        alpha: The interval covers about 1 - alpha.
        seed: Seed of the bootstrap; no global generator is touched.

    Returns:
        The mean without the lowest and the highest quarter of the runs (rounded down).

    Raises:
        WarminitError: If there is no setting, or a setting has no scores or a score that is not
            finite.

    Example:
        >>> interquartile_mean({"a": [0.0, 1.0, 2.0, 9.0]}).value
        1.5
    """
    return _bootstrapped(_settings(scores), _middle, alpha, seed)


def probability_of_improvement(
    arm: Settings, baseline: Settings, *, alpha: float = 0.05, seed: int = 0
) -> Across:
    """Compute the probability that a run of the arm beats a run of the baseline.

    Args:
        arm: Scores of the arm by setting; higher is better.
        baseline: Scores of the baseline, in the same settings.
        alpha: The interval covers about 1 - alpha.
        seed: Seed of the bootstrap; no global generator is touched.

    Returns:
        The share of pairs of runs in which the arm is higher, averaged over the settings. A tie
        counts one half (Mann and Whitney's U over the number of pairs). If both have the same
        seeds, the bootstrap draws pairs.

    Raises:
        WarminitError: As `interquartile_mean`, and if the settings differ.

    Example:
        >>> probability_of_improvement({"a": [1.0, 3.0]}, {"a": [2.0, 3.0]}).value
        0.375
    """
    if list(arm) != list(baseline):
        raise WarminitError(
            f"arm has settings {list(arm)} and baseline {list(baseline)}: expected the same, in"
            " the same order. Leave out the settings that only one has."
        )
    pairs = []
    for one, other in zip(_settings(arm), _settings(baseline), strict=True):
        if len(one) != len(other):
            raise WarminitError(
                f"a setting has {len(one)} runs of the arm and {len(other)} of the baseline:"
                " expected as many. Keep the seeds that both have."
            )
        pairs.append(np.column_stack([one, other]))
    return _bootstrapped(pairs, _improvement, alpha, seed)


def performance_profile(scores: Settings, thresholds: Sequence[float]) -> tuple[float, ...]:
    """Compute the share of runs above each threshold; every setting has the same weight.

    Args:
        scores: For each setting its scores.
        thresholds: Numbers, in any order.

    Returns:
        One share per threshold, in [0, 1]; it never increases with the threshold.

    Example:
        >>> performance_profile({"a": [0.1, 0.3], "b": [0.2]}, [0.0, 0.15, 0.25])
        (1.0, 0.75, 0.25)
    """
    runs = _settings(scores)
    return tuple(float(np.mean([(r > threshold).mean() for r in runs])) for threshold in thresholds)


def significantly_worse(comparisons: Sequence[Comparison]) -> int:
    """Count the settings in which an arm is significantly worse than its baseline.

    Args:
        comparisons: One comparison per setting, corrected by `holm` over all of them.

    Returns:
        The number of comparisons with the outcome "harms".
    """
    return sum(comparison.outcome == "harms" for comparison in comparisons)


def _settings(scores: Settings) -> list[Values]:
    if not scores:
        raise WarminitError("scores={}: expected at least one setting. Pass name -> scores.")
    found = []
    for setting, given in scores.items():
        values = np.asarray(given, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise WarminitError(
                f"scores[{setting!r}] has shape {values.shape}: expected (seeds,) finite numbers."
                " Leave out failed runs, and report them."
            )
        found.append(values)
    return found


def _bootstrapped(settings: list[Values], of: Statistic, alpha: float, seed: int) -> Across:
    """Draw seeds within each setting, so that every setting keeps its weight."""
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(runs), size=(SAMPLES, len(runs))) for runs in settings]
    low, high = np.quantile(of(settings, drawn), [alpha / 2, 1 - alpha / 2])
    value = of(settings, [np.arange(len(runs))[None] for runs in settings])
    return Across(float(value[0]), (float(low), float(high)))


def _middle(settings: list[Values], drawn: Draws) -> Values:
    """Return the mean of the middle half for each draw."""
    chosen = [runs[draw] for runs, draw in zip(settings, drawn, strict=True)]
    runs = np.sort(np.concatenate(chosen, axis=1), axis=1)
    cut = runs.shape[1] // 4
    return np.asarray(runs[:, cut : runs.shape[1] - cut].mean(axis=1))


def _improvement(settings: list[Values], drawn: Draws) -> Values:
    """Return, for each draw, the share of pairs that the arm wins, averaged over settings."""
    shares = []
    for pairs, draw in zip(settings, drawn, strict=True):
        gap = pairs[:, :1] - pairs[:, 1]
        wins = (gap > 0) + 0.5 * (gap == 0)
        # Count the draws of each pair: a share of all pairs of runs is then a quadratic form.
        places = draw + len(pairs) * np.arange(len(draw))[:, None]
        counts = np.bincount(places.ravel(), minlength=draw.size).reshape(draw.shape)
        shares.append(((counts @ wins) * counts).sum(axis=1) / len(pairs) ** 2)
    return np.asarray(np.mean(shares, axis=0))
