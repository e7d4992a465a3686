"""runs of one arm on one data set and model -> its scores by seed, and its comparison."""

import math
import statistics
from dataclasses import dataclass, field

from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.failures import Failures


@dataclass(frozen=True, slots=True)
class Cell:
    """Hold the results of one arm on one data set and model.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        arm: Label of the arm.
        scores: Primary metric by seed, for the finished runs.
        failed: Seeds with a run that failed, is stuck, or has no finite value of the metric.
        comparison: Comparison with the baseline at the shared seeds; None for the baseline itself,
            and if there is no shared seed.
        losses: Cross-entropy by seed of the same runs, if they report it.
        cross_entropy: Comparison of `losses`; None also if cross-entropy is the primary metric.
        failures: Failed runs of the arm and the baseline, at the seeds that have ended in both.
    """

    dataset: str
    model: str
    arm: str
    scores: dict[int, float]
    failed: tuple[int, ...] = ()
    comparison: Comparison | None = None
    losses: dict[int, float] = field(default_factory=dict)
    cross_entropy: Comparison | None = None
    failures: Failures | None = None

    @property
    def place(self) -> tuple[str, str, str]:
        """Data set, model and arm."""
        return self.dataset, self.model, self.arm

    @property
    def mean(self) -> float | None:
        """Mean over the seeds, or None if no run finished."""
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the seeds (n - 1), or None with fewer than two."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None
