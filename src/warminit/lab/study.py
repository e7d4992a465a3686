"""TOML or keyword arguments -> Study (validated). What is to be run, and nothing about how."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PAPER_SEEDS = (42, 7, 13, 99, 2025, 1, 8, 21)
"""The eight seeds of Section 3.3, in the paper's order."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(_Strict):
    """How one run is trained (Section 3.3).

    Attributes:
        steps: Optimizer steps.
        batch_size: Images a step; an incomplete last batch of an epoch is dropped.
        optimizer: `adam`, `adamw` or `sgd` (momentum 0.9, Nesterov).
        weight_decay: As the optimizer defines it.
        lr_start: Learning rate of the first step; None takes the data set's (Table 1).
        lr_end: Learning rate that the schedule ends at; None takes the data set's (Table 1).
        schedule: `cosine` per step from `lr_start` to `lr_end`, or `constant` at `lr_start`.
        augmentation: `none`, or `flip-crop` (mirror and shift by up to 4 zero-padded pixels).
        eval_interval: Steps between evaluations; None means steps / 20.
        precision: `float32`, or `bfloat16` autocast.
    """

    steps: int = Field(default=5000, ge=1)
    batch_size: int = Field(default=256, ge=2)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = Field(default=0.0, ge=0)
    lr_start: float | None = Field(default=None, gt=0)
    lr_end: float | None = Field(default=None, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    augmentation: Literal["none", "flip-crop"] = "none"
    eval_interval: int | None = Field(default=None, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def evaluation_steps(self) -> tuple[int, ...]:
        """Steps after which the evaluation split is measured; the last step is always one."""
        every = self.eval_interval or max(1, self.steps // 20)
        return tuple(sorted({*range(every, self.steps + 1, every), self.steps}))


class ArmSpec(_Strict):
    """An arm by name (or `module:function`) with the parameters that it is called with."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @property
    def label(self) -> str:
        """The arm as tables show it: its name, and its parameters where there are any."""
        if not self.parameters:
            return self.name
        inside = ", ".join(f"{key}={value}" for key, value in sorted(self.parameters.items()))
        return f"{self.name}({inside})"


class RunSpec(_Strict):
    """One run: a data set, a model, an arm, a seed and a protocol."""

    dataset: str
    model: str
    arm: ArmSpec
    seed: int
    protocol: Protocol
    validation: int = 0
