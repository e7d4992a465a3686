"""a study with `tune` -> its planned runs: tuning runs, then runs at the chosen rates."""

from collections.abc import Mapping, Sequence

from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.due import Part
from warminit.lab.engines.job import DataSource
from warminit.lab.runs.looks import Cell, cell_of
from warminit.lab.runs.plan import PlannedRun, plan_runs
from warminit.lab.runs.tuning import at_baseline, at_rate, is_at, tuning_study
from warminit.lab.study.study import Study

Datasets = Mapping[str, ImageDataset]


def plan_tuning(
    study: Study, datasets: Datasets, source: DataSource
) -> tuple[tuple[PlannedRun, ...], dict[str, ImageDataset]]:
    """Plan the tuning runs of every arm, and load their evaluation data.

    Args:
        study: Study with `tune`.
        datasets: Data sets of the comparison, by the study's names.
        source: Data root, device and threads.

    Returns:
        The runs, which have the keys of ordinary runs, and their data sets by name.
    """
    runs: list[PlannedRun] = []
    validated: dict[str, ImageDataset] = {}
    for name, dataset in datasets.items():
        for rate in study.tune.lr_start if study.tune else ():
            part = tuning_study(study, rate, name, len(dataset.train_images))
            if name not in validated:
                validated[name] = source.load(name, part.validation)
            runs += plan_runs(part, validated, device=source.device, threads=source.threads)
    return tuple(runs), validated


def plan_tuned(
    study: Study, datasets: Datasets, source: DataSource, rates: Mapping[Cell, float]
) -> tuple[PlannedRun, ...]:
    """Plan the comparisons at each arm's best rate and at the baseline's, each run once."""
    both: Sequence[Mapping[Cell, float]] = (rates, at_baseline(study, rates))
    runs: dict[str, PlannedRun] = {}
    for rate in study.tune.lr_start if study.tune else ():
        if not any(rate in each.values() for each in both):
            continue
        part = at_rate(study, rate)
        for run in plan_runs(part, datasets, device=source.device, threads=source.threads):
            if any(each.get(cell_of(run.spec)) == rate for each in both):
                runs[run.key] = run
    return tuple(runs.values())


def apart(
    study: Study, runs: Sequence[PlannedRun], rates: Mapping[Cell, float]
) -> tuple[Part, ...]:
    """Return the comparisons at each arm's best rate and at the baseline's, with their runs.

    A sequential study decides the two comparisons separately.
    """
    plain = study.model_copy(update={"tune": None})
    both: Sequence[Mapping[Cell, float]] = (rates, at_baseline(study, rates))
    return tuple((plain, [run for run in runs if is_at(study, run.spec, at)]) for at in both)


def most_runs(study: Study, datasets: Datasets, source: DataSource) -> tuple[PlannedRun, ...]:
    """Plan the most runs of a tuned study: those if no arm shares the baseline's best rate."""
    tuning, _ = plan_tuning(study, datasets, source)
    first, second = study.tune.lr_start[:2] if study.tune else (0.0, 0.0)
    rates = {
        (dataset, model, arm.label): first if arm.label == study.baseline else second
        for dataset in study.datasets
        for model in study.models
        for arm in study.arms
    }
    return (*tuning, *plan_tuned(study, datasets, source, rates))
