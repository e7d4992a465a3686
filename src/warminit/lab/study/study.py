"""TOML or keyword arguments -> Study (validated): what to run, not how."""

import itertools
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from warminit.errors import WarminitError, unexpected, unknown
from warminit.lab.sequential.design import Design
from warminit.lab.study.key_checks import YOURS, check_paths, check_study, explain
from warminit.lab.study.lines import lines_at_fault
from warminit.lab.study.protocol import Protocol, Strict
from warminit.lab.study.sequential import Sequential, completed
from warminit.lab.study.spec import ArmSpec, RunSpec
from warminit.lab.study.tune import Tune
from warminit.layout import Layout, Tabled

LOSSES = ("loss", "train_loss", "calibration_error")
METRICS = ("accuracy", "balanced_accuracy", "accuracy_area", *LOSSES)
"""Metrics of the laboratory's runs, by which a study can compare arms."""

PAPER_SEEDS = (42, 7, 13, 99, 2025, 1, 8, 21)
"""The eight seeds of Section 3.3, in the paper's order."""


MOST_SEEDS = 10_000
"""Most seeds of a study; a larger number is a typo."""


class Study(Tabled, Strict):
    """Define a study: data sets x models x arms x seeds, with one protocol.

    Attributes:
        name: Name of the results folder: letters, digits, dots, dashes and underscores.
        description: One sentence for the reader of the report.
        datasets: Names for `load_dataset`.
        models: Names for `build_model`.
        arms: Names, `module:function`, or tables of a name and parameters; a list of values of a
            parameter is swept.
        baseline: Label of the baseline arm.
        seeds: List of seeds, or a number of `default_seeds`.
        protocol: Training of each run.
        validation: Number of training images that replace the test set for evaluation; 0 uses the
            test set.
        patch_counts: `rule` derives n_patches from the training split, `as-published` uses
            Table 1, `own` leaves patches and k-means to each initializer, as `init_` does.
        metric: The primary metric, one of `METRICS`: `accuracy`, ..., or `train_loss`, the mean of
            the last 50 training losses. In a user's training loop, any name.
        higher_is_better: Whether a higher primary metric is better; None: True except for losses.
        unit: Unit of the primary metric, as for `compare_paired`; None: `points` for a share, no
            unit for a loss.
        margin: Equivalence margin of the primary metric, in its units.
        loss_margin: Non-inferiority margin of cross-entropy, in nats, shown beside the verdict.
        stuck_below: Final accuracy below which a run counts as failed; None: half of its arm's
            best, if that is at least 0.3.
        thresholds: Accuracies as shares. The report has each arm's steps to them, and to the
            baseline's final accuracy. Runs are then evaluated more often.
        tune: Search for each arm's learning rate, on validation images and separate seeds. The arms
            are then compared at their best rates, and all at the baseline's best.
        sequential: Design that decides each comparison as soon as its seeds suffice, or true for
            the default design. `seeds` are then the first seeds, continued by `default_seeds` up to
            the maximum.
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
    patch_counts: Literal["rule", "as-published", "own"] = "rule"
    metric: str = "accuracy"
    higher_is_better: bool | None = None
    unit: str | None = None
    margin: float = Field(default=0.001, gt=0)
    loss_margin: float = Field(default=0.02, gt=0)
    stuck_below: float | None = Field(default=None, ge=0, le=1)
    thresholds: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    tune: Tune | None = None
    sequential: Sequential | None = None

    def tables(self) -> list[Layout]:
        """Return what differs from the defaults, one line a key of a study file."""
        unsaid = {
            "name",
            "description",
            *(("datasets", "models", "protocol") if self.own_loop else ()),
        }
        rows = []
        for key in self.model_dump(exclude_defaults=True, exclude=unsaid):
            value = getattr(self, key)
            if isinstance(value, tuple):
                rows.append((key, ", ".join(getattr(each, "label", str(each)) for each in value)))
            elif isinstance(value, Strict):
                rows += [
                    (f"{key}.{name}", str(each))
                    for name, each in value.model_dump(exclude_defaults=True).items()
                ]
            else:
                rows.append((key, str(value)))
        return [Layout(f"{self.name}: {self.description}".removesuffix(": "), rows)]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        return completed(values) if isinstance(values, dict) else values

    @field_validator("arms", mode="before")
    @classmethod
    def _expand_arms(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise unexpected("arms", value, "a list of names or tables")
        return tuple(arm for entry in value for arm in ArmSpec.parse(entry))

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_seeds(cls, value: Any) -> Any:
        if not isinstance(value, int):
            return value
        if value > MOST_SEEDS:
            raise unexpected("seeds", value, f"at most {MOST_SEEDS:,} seeds")
        return default_seeds(value)

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
                raise unexpected(label, ", ".join(twice), "each of them once")
        if not self.seeds:
            raise unexpected("seeds", [], "at least one seed")
        for seed in self.seeds:
            if not 0 <= seed < 2**32:
                raise unexpected("seeds", seed, "seeds from 0 to 2**32 - 1")
        in_0_1 = {arm.label_in_0_1: arm.label for arm in self.arms}
        self.__dict__["baseline"] = in_0_1.get(self.baseline, self.baseline)
        labels = [arm.label for arm in self.arms]
        if self.baseline not in labels:
            raise unknown("baseline", self.baseline, labels)
        if not self.own_loop and self.metric not in METRICS:
            raise unknown("metric", self.metric, METRICS)
        if self.sequential is not None:
            self.__dict__["seeds"] = self._up_to(self.sequential.max_seeds)
            self.design()
        if self.tune is not None:
            self._check_tune(self.tune)
        return self

    def _check_tune(self, tune: Tune) -> None:
        if self.own_loop:
            expected = "none beside a training loop of the user"
            raise unexpected("tune", list(tune.lr_start), expected, "Leave it out.")
        shared = sorted({*tune.seeds} & {*self.seeds})
        if shared:
            step = "Tune on other seeds, or leave tune.seeds out."
            raise unexpected("tune.seeds", shared, "seeds that the comparison has not", step)

    def _up_to(self, most: int) -> tuple[int, ...]:
        """Return the seeds, continued up to a number; the default ones where none are given."""
        if "seeds" not in self.model_fields_set:
            return default_seeds(most)
        if len(self.seeds) > most:
            step = "Give max_seeds as many, or fewer seeds."
            raise unexpected("seeds", len(self.seeds), f"at most max_seeds={most} of them", step)
        more = (seed for seed in default_seeds(2 * most) if seed not in self.seeds)
        return (*self.seeds, *itertools.islice(more, most - len(self.seeds)))

    def design(self) -> Design | None:
        """Return the sequential design of all comparisons, or None.

        The family has every arm against the baseline, on every data set and model, as in a fixed
        study.

        Raises:
            WarminitError: For a study without a comparison, and a number out of its range.
        """
        if self.sequential is None:
            return None
        others = len(self.arms) - 1
        if not others:
            expected = "an arm beside the baseline in a sequential study"
            raise unexpected("arms", self.baseline, expected, "Add one, or leave sequential out.")
        family = others * len(self.datasets) * len(self.models)
        return self.sequential.design(family=family, margin=self.margin)

    @property
    def own_loop(self) -> bool:
        """Tell whether the runs use a user's loop, which has its own data, model and protocol."""
        return self.datasets == (YOURS,)

    @property
    def cross_entropy(self) -> str:
        """Return the metric that is a mean cross-entropy in nats, if known."""
        return "cross_entropy" if self.own_loop else "loss"

    @property
    def lower_is_better(self) -> bool:
        """Tell whether smaller values of the primary metric are better."""
        if self.higher_is_better is None:
            return self.metric in LOSSES
        return not self.higher_is_better

    @classmethod
    def create(cls, source: str = "the study", **values: Any) -> "Study":
        """Validate keyword arguments as a study.

        Args:
            source: Source of the values, for error texts.
            **values: Attributes of the study.

        Raises:
            WarminitError: For unknown names and impossible values, with the nearest valid name.

        Example:
            >>> Study.create(name="try", datasets=["digits"], arms=["torch-default"], seeds=2).seeds
            (42, 7)
        """
        try:
            study = cls.model_validate(values)
        except ValidationError as error:
            keys = {
                (): cls.model_fields,
                ("protocol",): Protocol.model_fields,
                ("sequential",): Sequential.model_fields,
                ("tune",): Tune.model_fields,
            }
            raise WarminitError(explain(error, source, keys)) from error
        try:
            check_study(
                study.datasets, study.models, study.arms, study.protocol, study.patch_counts
            )
        except WarminitError as error:
            raise WarminitError(f"{source} is not valid. {error}") from error
        return study

    @classmethod
    def from_toml(cls, path: Path) -> "Study":
        """Read and validate a study file.

        Raises:
            WarminitError: If the file cannot be read, is not TOML, or is not a study (with the
                line). Also if a relative path leads out of the folder.
        """
        try:
            text = path.read_text(
                encoding="utf-8-sig"
            )  # editors on Windows write a byte order mark
            values = tomllib.loads(text)
        except (OSError, UnicodeDecodeError) as error:
            raise WarminitError(f"study file {path} cannot be read: {error}.") from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:  # brackets a thousand deep
            raise WarminitError(f"study file {path} is not valid TOML: {error}.") from error
        try:
            study = cls.create(f"study file {path}", **values)
            check_paths(study.datasets)
        except WarminitError as error:
            raise WarminitError(f"{error}{lines_at_fault(text, error)}") from error
        return study

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
