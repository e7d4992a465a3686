"""evaluation curves at the same seeds -> steps that an arm needs to an accuracy, as a ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import WarminitError

Values = NDArray[np.float64]

#: Bootstrap samples; the ends of the interval then have an error of about 2 % of its width.
SAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class TimeTo:
    """Hold the steps that an arm and its baseline need to one threshold.

    Attributes:
        threshold: Accuracy to reach.
        n: Number of seeds.
        steps_arm: Restricted mean steps of the arm: the mean over the seeds of the step of arrival,
            or of the horizon if the run never arrives.
        steps_baseline: Restricted mean steps of the baseline.
        arrived_arm: Number of seeds at which the arm arrived.
        arrived_baseline: Number of seeds at which the baseline arrived.
        horizon: Last step; a run that never arrives counts as arriving here.
        ratio: steps_arm / steps_baseline; below 1 if the arm is faster.
        interval: Interval of the ratio, by the percentile bootstrap over seeds; None with one seed.
        spacing: Widest gap between two evaluations, the resolution of a step of arrival.
    """

    threshold: float
    n: int
    steps_arm: float
    steps_baseline: float
    arrived_arm: int
    arrived_baseline: int
    horizon: float
    ratio: float
    interval: tuple[float, float] | None
    spacing: float


def time_to(
    steps: Sequence[float],
    arm: ArrayLike,
    baseline: ArrayLike,
    threshold: float,
    *,
    alpha: float = 0.05,
    seed: int = 0,
    higher_is_better: bool = True,
) -> TimeTo:
    """Compare the steps that two arms need to reach a threshold.

    Args:
        steps: Step, or second, of each evaluation, shape (evaluations,), positive and increasing.
        arm: Metric of the arm, shape (seeds, evaluations); NaN after a run has diverged.
        baseline: Metric of the baseline, at the same seeds in the same order.
        threshold: Value to reach, for example the baseline's final accuracy.
        alpha: The interval covers about 1 - alpha.
        seed: Seed of the bootstrap; no global generator is touched.
        higher_is_better: Whether a higher metric is better; for a loss (False), a run arrives at or
            below the threshold.

    Returns:
        Both restricted means and their ratio. The bootstrap draws pairs of runs, so variation that
        both arms share cancels. A run arrives at its first evaluation that reaches the threshold.

    Raises:
        WarminitError: If steps do not increase, curves have other shapes, or there is no seed.

    Source:
        Royston and Parmar 2013 (restricted mean); Efron 1979.

    Example:
        >>> found = time_to([100, 200], [[0.9, 0.9], [0.8, 0.9]], [[0.8, 0.9], [0.8, 0.8]], 0.9)
        >>> found.steps_arm, found.steps_baseline, found.ratio, found.arrived_baseline
        (150.0, 200.0, 0.75, 1)
    """
    at = np.asarray(steps, dtype=np.float64)
    if at.ndim != 1 or at.size == 0 or at[0] <= 0 or (np.diff(at) <= 0).any():
        raise WarminitError(
            f"steps={list(steps)[:4]}: expected positive, rising numbers, one an evaluation. Sort"
            " the evaluations, and leave out step 0."
        )
    curves = [np.asarray(curve, dtype=np.float64) for curve in (arm, baseline)]
    for name, curve in zip(("arm", "baseline"), curves, strict=True):
        if curve.ndim != 2 or curve.shape != (len(curves[0]), at.size) or not len(curve):
            raise WarminitError(
                f"{name} has shape {curve.shape}: expected (seeds, {at.size}), the same seeds in"
                " both. Keep the seeds that both arms have."
            )
    toward = 1.0 if higher_is_better else -1.0
    reached = [toward * curve >= toward * threshold for curve in curves]
    arrivals = [np.where(r.any(axis=1), at[r.argmax(axis=1)], at[-1]) for r in reached]
    means = [float(a.mean()) for a in arrivals]
    return TimeTo(
        threshold=threshold,
        n=len(curves[0]),
        steps_arm=means[0],
        steps_baseline=means[1],
        arrived_arm=int(reached[0].any(axis=1).sum()),
        arrived_baseline=int(reached[1].any(axis=1).sum()),
        horizon=float(at[-1]),
        ratio=means[0] / means[1],
        interval=_interval(arrivals[0], arrivals[1], alpha, seed),
        spacing=float(np.diff(at, prepend=0.0).max()),
    )


def _interval(arm: Values, baseline: Values, alpha: float, seed: int) -> tuple[float, float] | None:
    n = len(arm)
    if n == 1:
        return None
    drawn = np.random.default_rng(seed).integers(n, size=(SAMPLES, n))
    ratios = arm[drawn].mean(axis=1) / baseline[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
