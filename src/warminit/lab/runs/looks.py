"""a sequential study, scores so far -> its decisions, and the runs for the next look.

The driver needs the runs, the analysis the decisions. Both are pure functions of the scores, so an
interrupted study reaches the same decisions.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from warminit.errors import WarminitError
from warminit.lab.runs.results import RunResult
from warminit.lab.study.spec import RunSpec
from warminit.lab.study.study import Study

if TYPE_CHECKING:
    from warminit.lab.sequential.decision import Decision

Cell = tuple[str, str, str]
"""Data set, model and label of the arm."""

Scores = Mapping[Cell, Mapping[int, float]]
"""Primary metric by seed, NaN if the run failed; unfinished runs are missing."""


def cell_of(spec: RunSpec) -> Cell:
    """Return the cell of a run."""
    return spec.dataset, spec.model, spec.arm.label


def score(result: RunResult | str | None, study: Study) -> float:
    """Return a run's primary metric, NaN if the run failed.

    A run below the study's `stuck_below` has failed too. Without this number a stuck run counts
    with its score, since later runs must not change a decision.
    """
    if not isinstance(result, RunResult):
        return math.nan
    floor = study.stuck_below
    stuck = floor is not None and result.metrics.get("accuracy", floor) < floor
    return math.nan if stuck else result.metric(study.metric)


def decisions(study: Study, scores: Scores) -> "dict[Cell, Decision]":
    """Decide every comparison of a sequential study from its scores so far.

    Returns:
        One decision for each data set, model and arm except the baseline; none for a fixed study.
    """
    from warminit.lab.sequential.decide import decide  # loads SciPy: runs come first

    design = study.design()
    return {} if design is None else decide(design, _gains(study, scores))


def needed(study: Study, scores: Scores) -> frozenset[tuple[Cell, int]]:
    """Return the missing runs for the next look of a sequential study.

    Returns:
        (cell, seed) of every open comparison's arm and baseline. Invariant: empty if and only if
        every comparison is decided.
    """
    from warminit.lab.sequential.decide import padded
    from warminit.lab.sequential.replay import OPEN, replay

    design = study.design()
    if design is None:
        raise WarminitError("sequential=None: expected a sequential study. Run every planned run.")
    gains = _gains(study, scores)
    values, failed = padded(design, gains)
    history = replay(design, values, failed)
    found = set()
    for place, (cell, pairs) in enumerate(gains.items()):
        if history.outcome[0, place] != OPEN or any(map(math.isnan, pairs)):
            continue
        upto = design.looks[int(history.look[0, place]) + 1]
        arms = (cell, (*cell[:2], study.baseline))
        found |= set(itertools.product(arms, study.seeds[:upto]))
    return frozenset(each for each in found if each[1] not in scores.get(each[0], {}))


def _gains(study: Study, scores: Scores) -> dict[Cell, list[float]]:
    """Return the paired differences of every comparison, in the order of the seeds."""
    toward = -1.0 if study.lower_is_better else 1.0
    labels = [arm.label for arm in study.arms if arm.label != study.baseline]
    return {
        (dataset, model, label): [
            toward * (theirs - base)
            for theirs, base in _pairs(
                study.seeds,
                scores.get((dataset, model, label), {}),
                scores.get((dataset, model, study.baseline), {}),
            )
        ]
        for dataset, model, label in itertools.product(study.datasets, study.models, labels)
    }


def _pairs(
    seeds: Iterable[int], arm: Mapping[int, float], baseline: Mapping[int, float]
) -> Iterator[tuple[float, float]]:
    """Yield both scores at each seed, up to the first missing score."""
    for seed in seeds:
        pair = arm.get(seed), baseline.get(seed)
        if any(value is not None and math.isnan(value) for value in pair):
            yield math.nan, math.nan  # whatever the other run gives, the pair has failed
            return
        theirs, base = pair
        if theirs is None or base is None:
            return
        yield theirs, base
