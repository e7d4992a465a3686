"""a study with `tune`, its runs so far -> each arm's learning rate, and the runs at it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from warminit.lab.runs.looks import Cell, cell_of, score
from warminit.lab.runs.results import RunResult
from warminit.lab.study.spec import RunSpec
from warminit.lab.study.study import Study

Rates = Mapping[Cell, float]
"""Chosen learning rate of each arm, by data set, model and label."""

TENTH = 10


@dataclass(frozen=True, slots=True)
class Tuned:
    """Hold the results of one arm at one learning rate, on the validation images.

    Attributes:
        cell: Data set, model and label of the arm.
        lr_start: The learning rate.
        scores: Primary metric per tuning seed; NaN if the run failed.
        chosen: Whether it is the arm's best.
    """

    cell: Cell
    lr_start: float
    scores: tuple[float, ...]
    chosen: bool

    @property
    def mean(self) -> float | None:
        """Mean of the scores; None if a run failed."""
        mean = fmean(self.scores)
        return mean if math.isfinite(mean) else None


def at_rate(study: Study, rate: float) -> Study:
    """Return a study with another learning rate and without tuning."""
    protocol = study.protocol
    end: float | None = rate / 100
    if protocol.schedule == "constant":
        end = None
    elif protocol.lr_start is not None and protocol.lr_end is not None:
        end = rate * protocol.lr_end / protocol.lr_start
    changed = protocol.model_copy(update={"lr_start": rate, "lr_end": end})
    return study.model_copy(update={"protocol": changed, "tune": None})


def tuning_study(study: Study, rate: float, dataset: str, n_training: int) -> Study:
    """Return the tuning runs at one rate on one data set, as a study of ordinary runs."""
    tune = study.tune
    if tune is None:
        return study
    validation = tune.validation or study.validation or n_training // TENTH
    changes = {"datasets": (dataset,), "seeds": tune.seeds, "validation": validation}
    return at_rate(study, rate).model_copy(update=changes)


def tuned(study: Study, ended: Iterable[tuple[RunSpec, RunResult | None]]) -> tuple[Tuned, ...]:
    """Collect each arm's scores at each rate, and choose its best rate.

    Args:
        study: Study with `tune`.
        ended: Every finished run with its result, None if it failed; only tuning seeds count.

    Returns:
        One row per arm and rate, in the study's order, for arms with complete tuning. The best rate
        has the best mean of the primary metric; on a tie, the first. A rate with a failed run is
        chosen only if every rate has one.
    """
    if study.tune is None:
        return ()
    scores: dict[tuple[Cell, float | None], dict[int, float]] = {}
    for spec, result in ended:
        if spec.seed in study.tune.seeds:
            place = (cell_of(spec), spec.protocol.lr_start)
            scores.setdefault(place, {})[spec.seed] = score(result, study)
    toward = -1.0 if study.lower_is_better else 1.0
    rows: list[Tuned] = []
    for cell in _cells(study):
        found = [scores.get((cell, rate), {}) for rate in study.tune.lr_start]
        if any(seed not in each for each in found for seed in study.tune.seeds):
            continue
        values = [tuple(each[seed] for seed in study.tune.seeds) for each in found]
        means = [toward * fmean(each) for each in values]
        ranked = [mean if math.isfinite(mean) else -math.inf for mean in means]
        best = ranked.index(max(ranked))
        rows += [
            Tuned(cell, rate, each, number == best)
            for number, (rate, each) in enumerate(zip(study.tune.lr_start, values, strict=True))
        ]
    return tuple(rows)


def chosen(rows: Iterable[Tuned]) -> dict[Cell, float]:
    """Return each arm's best rate."""
    return {row.cell: row.lr_start for row in rows if row.chosen}


def at_baseline(study: Study, rates: Rates) -> dict[Cell, float]:
    """Return the baseline's best rate for every arm."""
    return {
        cell: rate
        for cell in _cells(study)
        if (rate := rates.get((*cell[:2], study.baseline))) is not None
    }


def is_at(study: Study, spec: RunSpec, rates: Rates) -> bool:
    """Tell whether a run belongs to the comparison at these rates."""
    tuning = study.tune is not None and spec.seed in study.tune.seeds
    return not tuning and spec.protocol.lr_start == rates.get(cell_of(spec), math.nan)


def _cells(study: Study) -> list[Cell]:
    return [
        (dataset, model, arm.label)
        for dataset in study.datasets
        for model in study.models
        for arm in study.arms
    ]
