"""stored runs -> Analysis. Every arm against the baseline, at the seeds that both finished."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from warminit.errors import WarminitError
from warminit.lab.runs.environment import NUMERIC_PACKAGES
from warminit.lab.store.store import StoredRun
from warminit.lab.store.stored_study import read_study
from warminit.lab.study.study import Study
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.family import holm
from warminit.lab.verdict.paired import compare_paired

OWN_LOOP = "your training loop"
"""What headings call the place of a comparison whose data set and model are the user's own."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm on one data set and model.

    Attributes:
        dataset: Name of the data set.
        model: Name of the model.
        arm: Label of the arm.
        scores: The primary metric by seed, of the runs that finished.
        failed: Seeds whose run failed, or has no finite value of the metric.
        comparison: With the baseline at the seeds that both have; None for the baseline itself, and
            where they share none.
    """

    dataset: str
    model: str
    arm: str
    scores: dict[int, float]
    failed: tuple[int, ...] = ()
    comparison: Comparison | None = None

    @property
    def mean(self) -> float | None:
        """Mean over the seeds, or None where no run finished."""
        return math.fsum(self.scores.values()) / len(self.scores) if self.scores else None

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the seeds (n - 1), or None with fewer than two."""
        return statistics.stdev(self.scores.values()) if len(self.scores) > 1 else None


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a study's runs say, as far as they are finished.

    Attributes:
        study: What was asked.
        cells: Data sets x models x arms, in the study's order.
        runs: The runs that the study has in the store.
        partial: Data sets whose counts differ from the published ones: labelled wherever they are
            shown, and no reproduction of anything.
        mixed: What differs between the runs although they are compared (`allow_mixed`), in words.
        evaluated: Images that each run is evaluated on, by data set, where that is known.
    """

    study: Study
    cells: tuple[Cell, ...]
    runs: tuple[StoredRun, ...]
    partial: frozenset[str] = frozenset()
    mixed: tuple[str, ...] = ()
    evaluated: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the verdicts, one a line: the figures of all runs would fill pages."""
        verdicts = [each.verdict for each in self.comparisons]
        head = f"{type(self).__name__} of {self.study.name}: {len(self.runs)} runs"
        return "\n".join((head, *verdicts))

    @property
    def in_points(self) -> bool:
        """Whether the primary metric is a share from 0 to 1, shown in percent and points."""
        return _unit(self.study) == "points"

    @property
    def failed(self) -> tuple[StoredRun, ...]:
        """Runs that ended with an error; the same command tries them again."""
        return tuple(run for run in self.runs if run.error is not None)

    @property
    def missing(self) -> int:
        """Runs that the study asks for and the store has not."""
        study = self.study
        asked = len(study.datasets) * len(study.models) * len(study.arms) * len(study.seeds)
        return asked - len(self.runs)

    def title(self, dataset: str) -> str:
        """Return a data set's name as tables show it, with `(partial)` where it is."""
        return f"{dataset} (partial)" if dataset in self.partial else dataset

    def place(self, dataset: str, model: str) -> str:
        """Return a data set and a model as headings show them."""
        return OWN_LOOP if self.study.own_loop else f"{self.title(dataset)}, {model}"

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Every comparison of the family, with Holm's correction over all of them."""
        return tuple(cell.comparison for cell in self.cells if cell.comparison is not None)


def analyse(
    study: Study,
    runs: Sequence[StoredRun],
    *,
    allow_mixed: bool = False,
    partial: Iterable[str] = (),
    evaluated: Mapping[str, int] | None = None,
) -> Analysis:
    """Compare every arm with the baseline on the study's primary metric.

    Holm's correction goes over the family: every comparison of the study.

    Args:
        study: What was asked.
        runs: What is in the store of it; failed runs are counted and left out.
        allow_mixed: Compare runs of different versions of torch, NumPy or scikit-learn.
        partial: Data sets whose counts differ from the published ones.
        evaluated: Images that each run is evaluated on, by data set, where that is known.

    Returns:
        One cell for each data set, model and arm; wins + ties + losses = the seeds of a pair.

    Raises:
        WarminitError: If versions or devices differ between runs.
    """
    mixed = refuse_mixed([run.environment for run in runs], allow_mixed=allow_mixed)
    by_cell: dict[tuple[str, str, str], list[StoredRun]] = {}
    for run in runs:
        by_cell.setdefault((run.spec.dataset, run.spec.model, run.spec.arm.label), []).append(run)
    cells = []
    for dataset in study.datasets:
        for model in study.models:
            group = {
                arm.label: _cell(study, dataset, model, arm.label, by_cell) for arm in study.arms
            }
            cells += [_compared(study, cell, group[study.baseline]) for cell in group.values()]
    corrected = iter(holm(cell.comparison for cell in cells if cell.comparison is not None))
    cells = [
        cell if cell.comparison is None else replace(cell, comparison=next(corrected))
        for cell in cells
    ]
    return Analysis(
        study=study,
        cells=tuple(cells),
        runs=tuple(runs),
        partial=frozenset(partial),
        mixed=mixed,
        evaluated=evaluated or {},
    )


def read_analysis(folder: str | Path, *, allow_mixed: bool = False) -> Analysis:
    """Read a study's folder, or its store, and compare every arm with the baseline.

    Raises:
        WarminitError: If there is no study, or `analyse` refuses its runs.
    """
    found = read_study(folder)
    return analyse(found.study, found.runs, allow_mixed=allow_mixed, partial=found.partial)


def _cell(
    study: Study,
    dataset: str,
    model: str,
    arm: str,
    by_cell: dict[tuple[str, str, str], list[StoredRun]],
) -> Cell:
    runs = {run.spec.seed: run for run in by_cell.get((dataset, model, arm), [])}
    scores = {
        seed: math.nan if result is None else result.metric(study.metric)
        for seed in study.seeds
        if seed in runs
        for result in [runs[seed].result]
    }
    return Cell(
        dataset=dataset,
        model=model,
        arm=arm,
        scores={seed: score for seed, score in scores.items() if math.isfinite(score)},
        failed=tuple(seed for seed, score in scores.items() if not math.isfinite(score)),
    )


def _compared(study: Study, cell: Cell, baseline: Cell) -> Cell:
    shared = [seed for seed in cell.scores if seed in baseline.scores]
    if cell.arm == baseline.arm or not shared:
        return cell
    comparison = compare_paired(
        [cell.scores[seed] for seed in shared],
        [baseline.scores[seed] for seed in shared],
        arm=cell.arm,
        baseline=baseline.arm,
        margin=study.margin,
        higher_is_better=not study.lower_is_better,
        unit=_unit(study),
    )
    return replace(cell, comparison=comparison)


def _unit(study: Study) -> str:
    if study.unit is None:
        return "" if study.lower_is_better else "points"
    return study.unit


def refuse_mixed(
    environments: Iterable[Mapping[str, str]], *, allow_mixed: bool = False
) -> tuple[str, ...]:
    """Refuse to compare what was computed on different devices or with different versions.

    Args:
        environments: Of every run, and of this process where runs are still to come.
        allow_mixed: Accept different versions of torch, scikit-learn and NumPy; never devices.

    Returns:
        What differs and was accepted, one text a package.

    Raises:
        WarminitError: For what differs and is not accepted.
    """
    known = list(environments)
    accepted = []
    for name in ("device", *NUMERIC_PACKAGES):
        found = sorted({each.get(name, "unknown") for each in known})
        if len(found) < 2:
            continue
        if name == "device" or not allow_mixed:
            advice = (
                "Run the study anew in another folder (--out)"
                if name == "device"
                else "Run it anew in another folder (--out), or pass --allow-mixed"
            )
            raise WarminitError(
                f"the runs were computed with different {name}: {', '.join(found)}; they are not "
                f"compared, since a difference could come from that alone. {advice}."
            )
        accepted.append(f"{name} {' and '.join(found)}")
    return tuple(accepted)
