"""one finished run -> RunResult in plain values, for any store."""

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from warminit.errors import WarminitError

DERIVED = ("train_loss", "accuracy_area")
"""Metrics that are computed from curves, or stored in `metrics` if the curves were not kept."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Hold all results of one run.

    Accuracies are shares in [0, 1]; losses are mean cross-entropies in nats; times are seconds.
    Everything but the two times is a pure function of the run's specification: a rerun on the same
    machine and device gives the same bits. Curves are stored as arrays of doubles, since eight
    bytes per value are less than a tuple's thirty-two.

    Attributes:
        metrics: Final values on the evaluation split: `accuracy`, `balanced_accuracy`, `loss`, and
            `top5_accuracy` where there are more than 10 classes.
        train_loss: Training loss of every step, in order.
        eval_steps: Steps after which the evaluation split was measured; the last is the final step.
        eval_metrics: For each metric, its value at every one of `eval_steps`.
        weights_digest: SHA-256 over the final state of the model, names and bytes.
        init_report: The arm's `InitReport` as a mapping.
        init_seconds: Time of the initialization alone.
        train_seconds: Time of training and evaluation.
        trained_filters: Final filters of the input layer, as by `keep_filters`.
        calibration_error: Final calibration error on the evaluation split, a share in [0, 1]; None
            in old results and in a user's loop.
    """

    metrics: Mapping[str, float]
    train_loss: Sequence[float]
    eval_steps: tuple[int, ...]
    eval_metrics: Mapping[str, Sequence[float]]
    weights_digest: str
    init_report: Mapping[str, Any] = field(default_factory=dict)
    init_seconds: float = 0.0
    train_seconds: float = 0.0
    trained_filters: Mapping[str, Any] = field(default_factory=dict)
    calibration_error: float | None = None

    def __post_init__(self) -> None:
        """Compact the curves, and refuse curves that do not fit the evaluations."""
        curves = {name: array("d", curve) for name, curve in self.eval_metrics.items()}
        object.__setattr__(self, "train_loss", array("d", self.train_loss))
        object.__setattr__(self, "eval_metrics", curves)
        for name, curve in self.eval_metrics.items():
            if len(curve) != len(self.eval_steps):
                raise ValueError(
                    f"eval_metrics: {name} has {len(curve)} values for {len(self.eval_steps)} "
                    "evaluations"
                )

    @property
    def finite(self) -> bool:
        """Whether every final metric is a finite number."""
        return all(math.isfinite(value) for value in self.metrics.values())

    def metric(self, name: str) -> float:
        """Return a metric by name, from `metrics` or derived from the curves.

        `train_loss` is the mean of the last 50 training losses (Section 4.3's "loss at 500 steps"
        in a study of 500 steps), `accuracy_area` the mean of the accuracy curve over the
        evaluations. Both are NaN if a run has no curve, as in a user's loop. `calibration_error` is
        available if it was measured.

        Raises:
            WarminitError: If the run does not have the metric.
        """
        if name in self.metrics:
            return self.metrics[name]
        if name == "train_loss":
            return _mean(self.train_loss[-50:])
        if name == "accuracy_area":
            return _mean(self.eval_metrics.get("accuracy", ()))
        if name == "calibration_error" and self.calibration_error is not None:
            return self.calibration_error
        raise WarminitError(
            f"metric={name!r}: expected one of {', '.join(self.metrics)}. Choose one of these."
        )

    def steps_to(self, accuracy: float) -> int | None:
        """Return the first evaluated step with at least this accuracy, or None."""
        pairs = zip(self.eval_steps, self.eval_metrics.get("accuracy", ()), strict=True)
        return next((step for step, value in pairs if value >= accuracy), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        values = asdict(self)
        values["train_loss"] = tuple(self.train_loss)
        values["eval_metrics"] = {name: tuple(each) for name, each in self.eval_metrics.items()}
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunResult":
        """Read the output of `to_dict`, also after a round trip through JSON.

        Raises:
            ValueError: If the values are not a result.
        """
        return _RESULT.validate_python(values)


_RESULT = TypeAdapter(RunResult)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
