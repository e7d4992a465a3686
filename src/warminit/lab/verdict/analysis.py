"""stored runs -> Analysis: every arm against the baseline, at the seeds that both finished."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from warminit.lab.runs.tuning import Tuned, at_baseline, chosen, is_at, tuned
from warminit.lab.store.store import StoredRun
from warminit.lab.store.stored_study import read_study
from warminit.lab.study.study import Study
from warminit.lab.verdict.adjusted import adjusted_comparisons, spared
from warminit.lab.verdict.at_look import adjusted_failures, adjusted_losses, without_fixed
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.failures import compare_failures, stuck_below
from warminit.lab.verdict.family import holm
from warminit.lab.verdict.mixed import refuse_mixed
from warminit.lab.verdict.paired import compare_paired
from warminit.lab.verdict.printed import printed
from warminit.lab.verdict.scale import scale_for
from warminit.layout import Layout, Tabled

OWN_LOOP = "your training loop"
"""Heading of a comparison whose data set and model belong to the user's training loop."""


@dataclass(frozen=True, slots=True)
class Analysis(Tabled):
    """Hold the results of a study's finished runs.

    Attributes:
        study: Study of the runs.
        cells: Data sets x models x arms, in the study's order.
        runs: Stored runs of the study.
        partial: Data sets whose counts differ from the published ones. Every display labels them,
            and their results reproduce nothing.
        mixed: Accepted differences between the compared runs (`allow_mixed`), in words.
        evaluated: Number of evaluated images by data set, if known.
        spared: Number of runs of a sequential study that are missing and no longer needed, up to
            its maximum.
        tuned: Results of a tuned study by arm and learning rate; `cells` and `runs` are then those
            at each arm's best.
        at_baseline: Analysis of a tuned study with every arm at the baseline's best.
    """

    study: Study
    cells: tuple[Cell, ...]
    runs: tuple[StoredRun, ...]
    partial: frozenset[str] = frozenset()
    mixed: tuple[str, ...] = ()
    evaluated: Mapping[str, int] = field(default_factory=dict)
    spared: int = 0
    tuned: tuple[Tuned, ...] = ()
    at_baseline: "Analysis | None" = None

    def __repr__(self) -> str:
        """Return the verdicts, one per line: the figures of all runs would fill pages."""
        verdicts = [each.verdict for each in self.comparisons]
        head = f"{type(self).__name__} of {self.study.name}: {len(self.runs)} runs"
        return "\n".join((head, *verdicts))

    def tables(self) -> list[Layout]:
        """Return one row per data set, model and arm, and the verdicts below."""
        known = f"{len(self.runs) - len(self.failed):,} of {self.asked - self.spared:,} runs"
        failed = f", {len(self.failed)} failed" if self.failed else ""
        if self.at_baseline is not None:
            failed += ", each arm at its own best learning rate"
        places = None if self.study.own_loop else [self.title(cell.dataset) for cell in self.cells]
        headings, rows = printed(
            self.cells, self.study.metric, scale_for(_unit(self.study)), self.study.baseline, places
        )
        verdicts = ["", *(each.verdict for each in self.comparisons)] if self.comparisons else []
        return [Layout(f"{self.study.name}: {known}{failed}", rows, headings, verdicts)]

    @property
    def in_points(self) -> bool:
        """Whether the primary metric is a share from 0 to 1, shown in percent and points."""
        return _unit(self.study) == "points"

    @property
    def failed(self) -> tuple[StoredRun, ...]:
        """Runs that ended with an error; the same command repeats them."""
        return tuple(run for run in self.runs if run.error is not None)

    @property
    def missing(self) -> int:
        """Number of missing runs; in a sequential study, of those for the next look."""
        missing = self.asked - self.spared - len(self.runs)
        return max(missing, self.at_baseline.missing) if self.at_baseline else missing

    @property
    def asked(self) -> int:
        """Number of runs in the study; of a sequential study, up to its maximum."""
        study = self.study
        return len(study.datasets) * len(study.models) * len(study.arms) * len(study.seeds)

    def title(self, dataset: str) -> str:
        """Return a data set's name for tables, with `(partial)` if it is partial."""
        return f"{dataset} (partial)" if dataset in self.partial else dataset

    def place(self, dataset: str, model: str) -> str:
        """Return the heading of a data set and a model."""
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

    Holm's correction covers the family: every comparison of the study. The comparisons of
    cross-entropy are a second family. In a tuned study, the comparisons at each arm's best are one
    family, and those at the baseline's best another.

    Args:
        study: Study of the runs.
        runs: Stored runs of the study; failed runs are counted and left out.
        allow_mixed: Whether to compare runs of different versions of torch, NumPy or scikit-learn.
        partial: Data sets whose counts differ from the published ones.
        evaluated: Number of evaluated images by data set, if known.

    Returns:
        One cell for each data set, model and arm; wins + ties + losses = the seeds of a pair.

    Raises:
        WarminitError: If versions or devices differ between runs.
    """
    if study.tune is not None:
        rows = tuned(study, ((run.spec, run.result) for run in runs))
        rates = chosen(rows)
        own, other = (
            analyse(
                study.model_copy(update={"tune": None}),
                [run for run in runs if is_at(study, run.spec, each)],
                allow_mixed=allow_mixed,
                partial=partial,
                evaluated=evaluated,
            )
            for each in (rates, at_baseline(study, rates))
        )
        return replace(own, study=study, tuned=rows, at_baseline=other)
    mixed = refuse_mixed([run.environment for run in runs], allow_mixed=allow_mixed)
    by_cell: dict[tuple[str, str, str], list[StoredRun]] = {}
    for run in runs:
        by_cell.setdefault((run.spec.dataset, run.spec.model, run.spec.arm.label), []).append(run)
    cells = []
    for dataset in study.datasets:
        for model in study.models:
            group = {
                arm.label: _cell(study, (dataset, model, arm.label), by_cell) for arm in study.arms
            }
            cells += [_compared(study, cell, group[study.baseline]) for cell in group.values()]
    primary = iter(holm(cell.comparison for cell in cells if cell.comparison))
    beside = iter(holm(cell.cross_entropy for cell in cells if cell.cross_entropy))
    cells = [
        replace(
            cell,
            comparison=cell.comparison and next(primary),
            cross_entropy=cell.cross_entropy and next(beside),
        )
        for cell in cells
    ]
    design = study.design()
    if design is not None:
        adjusted = adjusted_comparisons(study, runs, unit=_unit(study))
        losses = adjusted_losses(study, {cell.place: cell.losses for cell in cells}, adjusted)
        cells = [
            replace(
                cell,
                comparison=adjusted.get(cell.place),
                cross_entropy=losses.get(cell.place)
                or (cell.cross_entropy and without_fixed(cell.cross_entropy)),
                failures=cell.failures and adjusted_failures(design, cell.failures),
            )
            for cell in cells
        ]
    return Analysis(
        study=study,
        cells=tuple(cells),
        runs=tuple(runs),
        partial=frozenset(partial),
        mixed=mixed,
        evaluated=evaluated or {},
        spared=0 if study.sequential is None else spared(study, runs),
    )


def read_analysis(folder: str | Path, *, allow_mixed: bool = False) -> Analysis:
    """Read a study's folder, or its store, and compare every arm with the baseline.

    Raises:
        WarminitError: If the folder has no study, or `analyse` refuses its runs.
    """
    found = read_study(folder)
    return analyse(found.study, found.runs, allow_mixed=allow_mixed, partial=found.partial)


def _cell(
    study: Study, place: tuple[str, str, str], by_cell: dict[tuple[str, str, str], list[StoredRun]]
) -> Cell:
    runs = {run.spec.seed: run for run in by_cell.get(place, [])}
    scores = {
        seed: math.nan if result is None else result.metric(study.metric)
        for seed in study.seeds
        if seed in runs
        for result in [runs[seed].result]
    }
    results = {seed: found for seed in scores if (found := runs[seed].result) is not None}
    accuracies = {seed: result.metrics.get("accuracy") for seed, result in results.items()}
    known = {seed: value for seed, value in accuracies.items() if value is not None}
    floor = stuck_below(known.values()) if study.stuck_below is None else study.stuck_below
    if study.sequential is not None:
        floor = 0.0  # the looks have already counted every score
    done = [s for s, score in scores.items() if math.isfinite(score) and known.get(s, 1.0) >= floor]
    return Cell(
        *place,
        scores={seed: scores[seed] for seed in done},
        failed=tuple(seed for seed in scores if seed not in done),
        losses={
            seed: loss
            for seed in done
            if math.isfinite(loss := results[seed].metrics.get(study.cross_entropy, math.nan))
        },
    )


def _compared(study: Study, cell: Cell, baseline: Cell) -> Cell:
    if cell.arm == baseline.arm:
        return cell
    ended = {*cell.scores, *cell.failed} & {*baseline.scores, *baseline.failed}
    if ended:
        failed = [[seed in each.failed for seed in ended] for each in (cell, baseline)]
        cell = replace(cell, failures=compare_failures(*failed))

    def paired(
        arm: dict[int, float], other: dict[int, float], margin: float, unit: str, *, falls: bool
    ) -> Comparison | None:
        shared = [seed for seed in arm if seed in other]
        if not shared:
            return None
        scores = ([each[seed] for seed in shared] for each in (arm, other))
        return compare_paired(
            *scores,
            arm=cell.arm,
            baseline=baseline.arm,
            margin=margin,
            unit=unit,
            higher_is_better=not falls,
        )

    beside = {} if study.metric == study.cross_entropy else cell.losses
    return replace(
        cell,
        comparison=paired(
            cell.scores, baseline.scores, study.margin, _unit(study), falls=study.lower_is_better
        ),
        cross_entropy=paired(beside, baseline.losses, study.loss_margin, "nats", falls=True),
    )


def _unit(study: Study) -> str:
    if study.unit is None:
        return "" if study.lower_is_better else "points"
    return study.unit
