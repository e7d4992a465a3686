"""the command line -> output at 80 columns, plain; and an engine that gives known results."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from study_runs import result
from warminit.cli import app
from warminit.lab.engines.job import Outcome
from warminit.lab.runs.plan import PlannedRun

ENGINE = "warminit.lab.engines.choose.run_all"
"""Where a study finds the engine of this machine."""


def plain(monkeypatch: pytest.MonkeyPatch, folder: Path | None = None) -> None:
    """Make a terminal of 80 columns without colour, and no data root; go to a folder."""
    for name, value in {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    for name in ("FORCE_COLOR", "WARMINIT_DATA"):
        monkeypatch.delenv(name, raising=False)
    if folder is not None:
        monkeypatch.chdir(folder)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def scored(run: PlannedRun) -> Outcome:
    """Return a result that depends on the arm and the seed, and is the same on every machine."""
    letters = sum(run.spec.arm.label.encode())
    shift = letters % 17 / 400
    score = 0.6 + shift + run.spec.seed % 11 / 500 + letters * run.spec.seed % 7 / 1000
    steps = run.spec.protocol.evaluation_steps
    losses = [2 - shift - 1.5 * step / run.spec.protocol.steps for step in steps]
    return result(score, steps=steps, train_loss=losses)


class Stub:
    """Stands for the worker processes: known results, and a look at what there is after each."""

    def __init__(
        self,
        look: Callable[[], object] = lambda: None,
        stop_after: int | None = None,
        outcome: Callable[[PlannedRun], Outcome] = scored,
    ) -> None:
        self.look, self.stop_after, self.outcome = look, stop_after, outcome
        self.seen: list[Any] = []

    def __call__(
        self, runs: Sequence[PlannedRun], job: object, **options: object
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        for number, run in enumerate(runs):
            if number == self.stop_after:
                raise KeyboardInterrupt
            yield run, self.outcome(run)
            self.seen.append(self.look())


def stubbed(monkeypatch: pytest.MonkeyPatch, **options: Any) -> Stub:
    stub = Stub(**options)
    monkeypatch.setattr(ENGINE, stub)
    return stub


def failing(arm: str, text: str) -> Callable[[PlannedRun], Outcome]:
    """Return an outcome that is an error for one arm."""

    def outcome(run: PlannedRun) -> Outcome:
        return text if run.spec.arm.label == arm else scored(run)

    return outcome
