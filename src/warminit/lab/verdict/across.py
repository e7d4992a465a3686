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
    """One number over all settings, with its interval.

    Attributes:
        value: The statistic of all scores.
        interval: By the percentile bootstrap that draws seeds within each setting.
    """

    value: float
    interval: tuple[float, float]


def interquartile_mean(scores: Settings, *, alpha: float = 0.05, seed: int = 0) -> Across:
    """Compute the mean of the middle half of all runs of all settings.

    Args:
        scores: For each setting its scores, one a seed, on a scale that settings share, such as
            differences from the baseline.
        alpha: The interval covers about 1 - alpha.
        seed: Seed of the bootstrap; no global generator is touched.

    Returns:
        The interquartile mean: a quarter of the runs is cut at either end (rounded down).

    Raises:
        WarminitError: For no setting, or a setting whose scores are empty or not finite.

    Example:
        >>> interquartile_mean({"a": [0.0, 1.0, 2.0, 9.0]}).value
        1.5
    """
    return _bootstrapped(_settings(scores), _middle, alpha, seed)


def probability_of_improvement(
    arm: Settings, baseline: Settings, *, alpha: float = 0.05, seed: int = 0
) -> Across:
    """Compute how likely a run of the arm beats a run of the baseline, in a setting at random.

    Args:
        arm: For each setting the arm's scores, higher is better.
        baseline: The baseline's, in the same settings.
        alpha: The interval covers about 1 - alpha.
        seed: Seed of the bootstrap; no global generator is touched.

    Returns:
        The mean over the settings of the share of pairs of runs in which the arm is higher; a tie
        counts one half (Mann and Whitney's U over the number of pairs). With the same seeds in
        both, the bootstrap draws pairs.

    Raises:
        WarminitError: As `interquartile_mean`, and for settings that differ.

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
    """Compute the share of runs above each threshold, every setting counting alike.

    Args:
        scores: For each setting its scores.
        thresholds: Any numbers.

    Returns:
        One share a threshold, in [0, 1], never rising with the threshold.

    Example:
        >>> performance_profile({"a": [0.1, 0.3], "b": [0.2]}, [0.0, 0.15, 0.25])
        (1.0, 0.75, 0.25)
    """
    runs = _settings(scores)
    return tuple(float(np.mean([(r > threshold).mean() for r in runs])) for threshold in thresholds)


def significantly_worse(comparisons: Sequence[Comparison]) -> int:
    """Count the settings in which an arm is significantly worse than its baseline.

    Args:
        comparisons: One a setting, corrected by `holm` over all of them.

    Returns:
        How many have the outcome "harms".
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
    """Return the mean of the middle half, one a draw."""
    chosen = [runs[draw] for runs, draw in zip(settings, drawn, strict=True)]
    runs = np.sort(np.concatenate(chosen, axis=1), axis=1)
    cut = runs.shape[1] // 4
    return np.asarray(runs[:, cut : runs.shape[1] - cut].mean(axis=1))


def _improvement(settings: list[Values], drawn: Draws) -> Values:
    """Return the mean over the settings of the share of pairs that the arm wins, one a draw."""
    shares = []
    for pairs, draw in zip(settings, drawn, strict=True):
        gap = pairs[:, :1] - pairs[:, 1]
        wins = (gap > 0) + 0.5 * (gap == 0)
        # How often each pair was drawn: a share of all pairs of runs is then a quadratic form.
        places = draw + len(pairs) * np.arange(len(draw))[:, None]
        counts = np.bincount(places.ravel(), minlength=draw.size).reshape(draw.shape)
        shares.append(((counts @ wins) * counts).sum(axis=1) / len(pairs) ** 2)
    return np.asarray(np.mean(shares, axis=0))
