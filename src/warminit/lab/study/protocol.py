"""keyword arguments -> Protocol (validated), which defines the training of one run."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from warminit.errors import unexpected
from warminit.lab.study.table1 import OTHER_LEARNING_RATES, STEPS, TABLE_1

EVALUATIONS, EVALUATION_SHARE = 20, 0.1
"""Number of evaluations of a run by default, and their largest share of a short run's time."""
FINE_EVALUATIONS, FINE_SHARE = 50, 0.3
"""The same in a study with `thresholds`, whose times are then known to 2 % of the run."""

Precision = Literal["float32", "tf32", "bfloat16"]


class Strict(BaseModel):
    """Hold a validated table: values cannot be changed, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(Strict):
    """Define the training of one run (Section 3.3).

    Attributes:
        steps: Number of optimizer steps.
        batch_size: Images per step; an incomplete last batch of an epoch is dropped.
        optimizer: `adam`, `adamw` or `sgd` (momentum 0.9, Nesterov).
        weight_decay: Weight decay, as the optimizer defines it.
        lr_start: Learning rate of the first step; None for the data set's (Table 1).
        lr_end: Final learning rate of the schedule; None for the data set's (Table 1).
        schedule: `cosine` per step from `lr_start` to `lr_end`, or `constant` at `lr_start`.
        warmup: Number of steps in which the learning rate climbs linearly to `lr_start`; the
            schedule covers the others.
        augmentation: `none`, or `flip-crop` (mirror and shift by up to 4 zero-padded pixels).
        eval_interval: Steps between evaluations. None means steps / 20, or steps / 50 in a study
            with `thresholds`. It means more if evaluations would take over a tenth of a short run,
            or three tenths of it with `thresholds` (`affordable_interval`).
        precision: `float32`; `tf32`, products of float32 values rounded to 11 significant bits (on
            a GPU only); or `bfloat16` autocast.
    """

    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=256, ge=2)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0)
    lr_start: float | None = Field(default=None, gt=0)
    lr_end: float | None = Field(default=None, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = Field(default=0, ge=0)
    augmentation: Literal["none", "flip-crop"] = "none"
    eval_interval: int | None = Field(default=None, ge=1)
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        if self.warmup and self.warmup >= self.steps:
            raise unexpected("warmup", self.warmup, f"fewer than all {self.steps} steps")
        return self

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        if self.lr_start is None or self.lr_end is None or self.lr_end == self.lr_start:
            return self
        if self.schedule == "constant":
            expected = f"lr_start={self.lr_start:g}, where schedule='constant' stays"
            raise unexpected("lr_end", self.lr_end, expected, "Leave lr_end out.")
        if self.lr_end > self.lr_start:
            expected = f"at most lr_start={self.lr_start:g}, since a cosine schedule falls"
            raise unexpected("lr_end", self.lr_end, expected)
        return self

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """Return the steps after which the model is evaluated, including the last."""
        every = self.eval_interval or max(1, self.steps // EVALUATIONS)
        return tuple(sorted({*range(every, self.steps + 1, every), self.steps}))


def affordable_interval(protocol: Protocol, n_evaluated: int, *, fine: bool = False) -> int | None:
    """Return the steps between evaluations that cost at most a share of a run.

    A step costs about three forward passes of its images: one forward, and a backward pass of twice
    the size. An evaluation costs one forward pass per evaluated image. The last evaluation is
    always made.

    Args:
        protocol: Protocol of the run.
        n_evaluated: Number of images in the evaluation split.
        fine: Whether the study asks for times to accuracies. The run then has 50 evaluations, at
            most three tenths of its time, instead of 20 and a tenth.

    Returns:
        The interval. None if the protocol sets one, or if its 20 evaluations cost no more. Runs as
        long as the paper's keep all evaluations.

    Example:
        >>> affordable_interval(Protocol(steps=200, batch_size=64), 2000)
        100
    """
    if protocol.eval_interval is not None:
        return None
    share = FINE_SHARE if fine else EVALUATION_SHARE
    wanted = max(1, protocol.steps // (FINE_EVALUATIONS if fine else EVALUATIONS))
    training = 3 * protocol.steps * protocol.batch_size
    most = int(training * share / (1 - share) / n_evaluated)
    if protocol.steps >= STEPS or math.ceil(protocol.steps / wanted) <= most:
        return wanted if fine else None
    return math.ceil(protocol.steps / max(1, most))


def learning_rates(protocol: Protocol, dataset_name: str) -> tuple[float, float]:
    """Return the first and the last learning rate: the protocol's, else the data set's (Table 1).

    Example:
        >>> learning_rates(Protocol(), "svhn+validation")
        (0.0005, 3e-06)
    """
    row = TABLE_1.get(dataset_name.partition("+")[0])
    start, end = OTHER_LEARNING_RATES if row is None else (row.lr_start, row.lr_end)
    return (
        start if protocol.lr_start is None else protocol.lr_start,
        end if protocol.lr_end is None else protocol.lr_end,
    )
