"""the key `tune` of a study -> Tune (validated): the search for each arm's learning rate."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from warminit.errors import unexpected
from warminit.lab.study.protocol import Strict

FIRST_SEED = 9001
"""First tuning seed, far from the paper's seeds and their continuation."""


class Tune(Strict):
    """Define the learning rates among which each arm's best is chosen, on validation images.

    Attributes:
        lr_start: Learning rates of the first step, two or more. The final rate keeps its ratio to
            the first: the protocol's if it sets both, else a hundredth.
        seeds: Seeds of the tuning runs, or how many: 9001, 9002 and so on.
        validation: Number of training images that are set aside. None: the study's number, or else
            a tenth of the training images.
    """

    lr_start: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=2)
    seeds: tuple[int, ...] = Field(default=(9001, 9002, 9003), min_length=1)
    validation: int | None = Field(default=None, ge=1)

    @field_validator("lr_start")
    @classmethod
    def _once(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value):
            raise unexpected("lr_start", list(value), "each rate once")
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_seeds(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return tuple(range(FIRST_SEED, FIRST_SEED + value))
        return value
