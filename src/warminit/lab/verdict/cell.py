"""One arm on one data set and model: its scores by seed, and its comparison with the baseline."""

import math
import statistics
from dataclasses import dataclass, field

from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.failures import Failures


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm on one data set and model.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        arm: Label of the arm.
        scores: The primary metric by seed, of the runs that finished.
        failed: Seeds whose run failed, is stuck, or has no finite value of the metric.
        comparison: With the baseline at the seeds that both have; None for the baseline itself, and
            where they share none.
        losses: Cross-entropy by seed, of the same runs, where they report it.
        cross_entropy: The comparison of `losses`; None also if cross-entropy is primary.
        failures: Beside the baseline's, at the seeds that have ended in both.
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
        """Mean over the seeds, or None where no run finished."""
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the seeds (n - 1), or None with fewer than two."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None
