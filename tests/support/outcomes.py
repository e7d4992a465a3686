"""Planned runs and their outcomes, for the tests of engines."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from study_cases import tiny_study
from warminit.lab.engines.job import Outcome
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult


def planned(n: int) -> tuple[PlannedRun, ...]:
    specs = tiny_study(Path("digits"), datasets=["digits"], arms=["torch-default"], seeds=n).runs()
    return tuple(PlannedRun(spec, {}, f"run {spec.seed}") for spec in specs)


def stub(**metrics: float) -> RunResult:
    return RunResult({"accuracy": 0.5, **metrics}, (), (), {}, "0" * 64)


def all_of(outcomes: Iterator[tuple[PlannedRun, Outcome]]) -> dict[str, Outcome]:
    with closing(outcomes) as each:  # type: ignore[type-var]  # a generator
        return {run.key: outcome for run, outcome in each}


def bits(outcome: Outcome) -> Any:
    assert isinstance(outcome, RunResult)
    values = outcome.to_dict()
    del values["init_seconds"], values["train_seconds"]
    return repr({**values, "init_report": {**values["init_report"], "seconds": None}})
