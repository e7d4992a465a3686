"""evaluation curves at the same seeds -> how many steps an arm needs to an accuracy, as a ratio."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from warminit.errors import WarminitError

Values = NDArray[np.float64]

#: Bootstrap samples: an end of the interval is then known to about 2 % of its width.
SAMPLES = 9_999


@dataclass(frozen=True, slots=True)
class TimeTo:
    """How long an arm and its baseline take to one threshold.

    Attributes:
        threshold: The accuracy to reach.
        n: Number of seeds.
        steps_arm: Restricted mean steps: the mean over the seeds of the smaller of the step of
            arrival and the horizon.
        steps_baseline: The same of the baseline.
        arrived_arm: Seeds at which the arm arrived.
        arrived_baseline: Seeds at which the baseline arrived.
        horizon: The last step; a run that never arrives counts as this many.
        ratio: steps_arm / steps_baseline; below 1 where the arm is faster.
        interval: Interval of the ratio, by the percentile bootstrap over seeds; None with one seed.
        spacing: The widest gap between two evaluations: no step of arrival is known better.
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
        steps: Shape (evaluations,), rising and positive: the step, or second, of each evaluation.
        arm: Shape (seeds, evaluations), the metric; NaN from where a run has diverged.
        baseline: The same of the baseline, at the same seeds in the same order.
        threshold: The value to reach, such as the baseline's final accuracy.
        alpha: The interval covers about 1 - alpha.
        seed: Seed of the bootstrap; no global generator is touched.
        higher_is_better: False for a loss: a run arrives at or below the threshold.

    Returns:
        Both restricted means and their ratio. Seeds are drawn as pairs, so the luck that both arms
        share cancels. A seed arrives at its first evaluation at the threshold.

    Raises:
        WarminitError: For steps that do not rise, curves of other shapes, or no seed.

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
