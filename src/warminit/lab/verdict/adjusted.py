"""runs of a sequential study -> its comparisons, with the interval and p of the look that decided.

A p for a fixed number of seeds is invalid after several looks, so these p are left out.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from warminit.lab.runs.looks import Cell, Scores, cell_of, decisions, needed, score
from warminit.lab.sequential.decision import Decision
from warminit.lab.store.store import StoredRun
from warminit.lab.study.study import Study
from warminit.lab.verdict.at_look import without_fixed
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.paired import compare_paired


def scores_of(study: Study, runs: Sequence[StoredRun]) -> Scores:
    """Return the primary metric of every run that has ended, NaN for a failed run."""
    found: dict[Cell, dict[int, float]] = {}
    for run in runs:
        found.setdefault(cell_of(run.spec), {})[run.spec.seed] = score(run.result, study)
    return found


def adjusted_comparisons(
    study: Study, runs: Sequence[StoredRun], *, unit: str
) -> dict[Cell, Comparison]:
    """Compare every arm of a sequential study with the baseline, by the decisions at its looks.

    Args:
        study: Sequential study.
        runs: Stored runs of the study.
        unit: Unit of the primary metric.

    Returns:
        The comparisons by data set, model and arm, if any pair has finished. `n` is the number of
        seeds at the decision: later seeds, for example of an earlier fixed study, are not used.
        Invariant: `confidence_interval` is the interval that the outcome rests on.
    """
    scores = scores_of(study, runs)
    found = {}
    for cell, decision in decisions(study, scores).items():
        arm, baseline = scores.get(cell, {}), scores.get((*cell[:2], study.baseline), {})
        seeds = [
            seed
            for seed in study.seeds
            if all(math.isfinite(each.get(seed, math.nan)) for each in (arm, baseline))
        ]
        if decision.outcome != "go on" and decision.reason != "failure":
            seeds = seeds[: decision.seeds]
        if not seeds:
            continue
        comparison = compare_paired(
            [arm[seed] for seed in seeds],
            [baseline[seed] for seed in seeds],
            arm=cell[2],
            baseline=study.baseline,
            margin=study.margin,
            higher_is_better=not study.lower_is_better,
            unit=unit,
        )
        found[cell] = _adjusted(comparison, decision)
    return found


def spared(study: Study, runs: Sequence[StoredRun]) -> int:
    """Return the number of runs up to the maximum that are missing and no longer needed."""
    cells = itertools.product(study.datasets, study.models, (arm.label for arm in study.arms))
    asked = {(cell, seed) for cell in cells for seed in study.seeds}
    there = {(cell_of(run.spec), run.spec.seed) for run in runs}
    return len(asked - there - needed(study, scores_of(study, runs)))


def _adjusted(comparison: Comparison, decision: Decision) -> Comparison:
    interval = decision.interval
    if interval is not None and not all(map(math.isfinite, interval)):
        interval = None  # no interval if all differences are equal
    if interval is not None and not comparison.higher_is_better:
        interval = (-interval[1], -interval[0])  # differences are arm minus baseline
    return replace(
        without_fixed(comparison),
        decision=decision,
        confidence_interval=interval,
        equivalence_interval=interval if decision.outcome == "equivalent" else None,
        p_holm=decision.p,
    )
