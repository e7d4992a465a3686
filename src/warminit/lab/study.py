"""TOML or keyword arguments -> Study (validated). What is to be run, and nothing about how."""

import difflib
import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from warminit.errors import WarminitError

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

    @classmethod
    def parse(cls, value: Any) -> list["ArmSpec"]:
        """Read one entry of `arms`: a name, or a table whose lists of values are swept.

        `{name = "prewarm", scale = [0.1, 0.2], n_clusters = 16}` gives two arms.
        """
        if isinstance(value, ArmSpec):
            return [value]
        if isinstance(value, str):
            return [cls(name=value)]
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ValueError(  # noqa: TRY004 - pydantic reports value errors only
                f"{value!r} is not an arm: give its name, or a table with a name"
            )
        given = {key: each for key, each in value.items() if key != "name"}
        swept = [each if isinstance(each, list | tuple) else [each] for each in given.values()]
        return [
            cls(name=value["name"], parameters=dict(zip(given, chosen, strict=True)))
            for chosen in itertools.product(*swept)
        ]


class RunSpec(_Strict):
    """One run: a data set, a model, an arm, a seed and a protocol."""

    dataset: str
    model: str
    arm: ArmSpec
    seed: int
    protocol: Protocol
    validation: int = 0


class Study(_Strict):
    """Data sets x models x arms x seeds, all with one protocol.

    Attributes:
        name: Names the results folder: letters, digits, dots, dashes and underscores.
        description: One sentence for the reader of the report.
        datasets: Names that `load_dataset` knows.
        models: Names that `build_model` knows.
        arms: Names, `module:function`, or tables of a name and parameters; a list of values of a
            parameter is swept.
        baseline: Label of the arm that the others are compared with.
        seeds: The seeds, or how many of `default_seeds`.
        protocol: How each run is trained.
        validation: Training images that are set aside and evaluated on in place of the test set;
            0 evaluates on the test set.
        patch_counts: `rule` derives n_patches from the training split, `as-published` takes
            Table 1's.
        metric: The primary metric: `accuracy`, or `train_loss`, the mean of the last 50 training
            losses.
        margin: Equivalence margin of the primary metric, in its own units.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    datasets: tuple[str, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(default=("simplecnn",), min_length=1)
    arms: tuple[ArmSpec, ...] = Field(min_length=1)
    baseline: str = "torch-default"
    seeds: tuple[int, ...] = PAPER_SEEDS
    protocol: Protocol = Protocol()
    validation: int = Field(default=0, ge=0)
    patch_counts: Literal["rule", "as-published"] = "rule"
    metric: Literal["accuracy", "train_loss"] = "accuracy"
    margin: float = Field(default=0.001, gt=0)

    @field_validator("arms", mode="before")
    @classmethod
    def _expand_arms(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("arms is a list of names or tables")  # noqa: TRY004 - as above
        return tuple(arm for entry in value for arm in ArmSpec.parse(entry))

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_seeds(cls, value: Any) -> Any:
        return default_seeds(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for label, values in {
            "datasets": self.datasets,
            "models": self.models,
            "arms": tuple(arm.label for arm in self.arms),
            "seeds": self.seeds,
        }.items():
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{label} names {', '.join(twice)} more than once")
        if not self.seeds:
            raise ValueError("seeds is empty; at least one is needed")
        if any(not 0 <= seed < 2**32 for seed in self.seeds):
            raise ValueError("seeds must be from 0 to 2**32 - 1")
        if self.baseline not in {arm.label for arm in self.arms}:
            raise ValueError(
                f"baseline {self.baseline!r} is not among the arms: "
                f"{', '.join(arm.label for arm in self.arms)}"
            )
        return self

    @classmethod
    def create(cls, source: str = "the study", **values: Any) -> "Study":
        """Validate keyword arguments as a study.

        Args:
            source: Where the values come from, for error texts.
            **values: The attributes above.

        Raises:
            WarminitError: For anything unknown or impossible, with the nearest valid name.

        Example:
            >>> Study.create(name="try", datasets=["digits"], arms=["torch-default"], seeds=2).seeds
            (42, 7)
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise WarminitError(_explain(error, source)) from error

    @classmethod
    def from_toml(cls, path: Path) -> "Study":
        """Read and validate a study file.

        Raises:
            WarminitError: If the file cannot be read, is not TOML, or is not a study.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise WarminitError(f"study file {path} cannot be read: {error}.") from error
        except tomllib.TOMLDecodeError as error:
            raise WarminitError(f"study file {path} is not valid TOML: {error}.") from error
        return cls.create(f"study file {path}", **values)

    def runs(self) -> Iterator[RunSpec]:
        """Yield every run, arms innermost, so that paired runs finish close together."""
        for dataset, model, seed, arm in itertools.product(
            self.datasets, self.models, self.seeds, self.arms
        ):
            yield RunSpec(
                dataset=dataset,
                model=model,
                arm=arm,
                seed=seed,
                protocol=self.protocol,
                validation=self.validation,
            )


def default_seeds(count: int) -> tuple[int, ...]:
    """Return the paper's eight seeds in its order, then 1001, 1002 and so on."""
    return (PAPER_SEEDS + tuple(range(1001, 1001 + max(0, count))))[: max(0, count)]


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint that names the nearest valid name, or all of them where none is near."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}."


def _explain(error: ValidationError, source: str) -> str:
    lines = []
    for detail in error.errors():
        place = ".".join(str(part) for part in detail["loc"]) or "study"
        text = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            owner = Protocol if detail["loc"][0] == "protocol" else Study
            text = f"unknown key; {nearest(str(detail['loc'][-1]), owner.model_fields)}"
        elif detail["type"] == "missing":
            text = "missing; this key is needed"
        else:
            text += f" (got {detail['input']!r})"
        lines.append(f"{place}: {text}")
    return f"{source} is not valid. " + "; ".join(lines)
