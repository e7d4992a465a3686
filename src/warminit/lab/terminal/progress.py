"""a running study -> its steps, time left, runs and arms so far, on a terminal."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from warminit.lab.engines.driver import Listener
from warminit.lab.engines.job import Outcome
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import StoredRun
from warminit.lab.study.study import Study
from warminit.lab.verdict.rows import last_line

MAX_ARMS_SHOWN = 6
"""Maximum number of arms under the bar; a sweep of hundreds would fill the screen."""

SPEED_WINDOW = 600
"""Seconds over which the speed is estimated: with many workers, steps are reported in bursts."""


class StudyProgress:
    """Hold the progress of a running study, reported by a driver's `Listener`.

    Attributes:
        runs: Number of runs in the study.
        done: Number of runs with a result, from this session and earlier ones.
        failed: Number of runs of this session that ended with an error.
        total_steps: Optimizer steps of the runs that were missing when the session began.
        steps: Finished steps of these runs.
    """

    def __init__(self, study: Study, stored: Callable[[], Iterable[StoredRun]]) -> None:
        """Take the study, and the function that reads its store once the runs are planned."""
        self.study = study
        self.runs = self.done = self.failed = self.total_steps = self.steps = 0
        self._stored = stored
        self._steps: dict[str, int] = {}
        self._scores: dict[str, list[float]] = {}

    @property
    def to_do(self) -> int:
        """Number of runs without a result or an error."""
        return self.runs - self.done - self.failed

    def plan(self, runs: tuple[PlannedRun, ...]) -> None:
        """Count the finished and the missing runs."""
        planned = {run.key: run for run in runs}
        self.runs = len(planned)
        for run in self._stored():
            if run.key in planned and run.result is not None:
                self._add_score(run.spec.arm.label, run.result)
                del planned[run.key]
        self.done = self.runs - len(planned)
        self.total_steps = sum(run.spec.protocol.steps for run in planned.values())

    def step(self, key: str, steps: int) -> None:
        """Note the finished steps of a run; a restarted run counts down."""
        # Kept as a total: a sum would add ten thousand values at every step of ten thousand runs.
        self.steps += steps - self._steps.get(key, 0)
        self._steps[key] = steps

    def finish(self, run: PlannedRun, outcome: Outcome) -> None:
        """Note the end of a run; all its steps count as finished, even if it failed early."""
        self.step(run.key, run.spec.protocol.steps)
        if isinstance(outcome, str):
            self.failed += 1
        else:
            self.done += 1
            self._add_score(run.spec.arm.label, outcome)

    def counts(self) -> str:
        """Return `3 done, 1 failed, 20 to do` in words."""
        failed = f", {self.failed} failed" if self.failed else ""
        if self.study.sequential is not None:
            return f"{self.done} of at most {self.runs} runs done{failed}"
        return f"{self.done} of {self.runs} runs done{failed}, {self.to_do} to do"

    def arms(self) -> str:
        """Return each arm's mean of the primary metric over all finished runs."""
        means = {
            arm.label: math.fsum(self._scores[arm.label]) / len(self._scores[arm.label])
            for arm in self.study.arms
            if self._scores.get(arm.label)
        }
        shown = [f"{label} {self.value(mean)}" for label, mean in means.items()][:MAX_ARMS_SHOWN]
        more = f"  and {len(means) - len(shown)} arms more" if len(means) > len(shown) else ""
        return f"{self.study.metric} so far: {'  '.join(shown)}{more}" if shown else ""

    def value(self, score: float) -> str:
        """Return the text of a value of the primary metric."""
        return f"{score:.4f}"

    def _add_score(self, label: str, result: RunResult) -> None:
        self._scores.setdefault(label, []).append(result.metric(self.study.metric))


@contextmanager
def live_progress(
    console: Console,
    study: Study,
    stored: Callable[[], Iterable[StoredRun]],
    *,
    quiet: bool = False,
) -> Iterator[Listener]:
    """Show steps, time left, numbers of runs, and the mean of each arm so far.

    The bar and the time left count the runs that were missing when the session began; the means use
    all finished runs. If the output is not a terminal, one line is printed per finished run.

    Args:
        console: Terminal to print to.
        study: Running study.
        stored: Function that reads the study's store; it is called once, when the runs are planned.
        quiet: Whether to show failures only.
    """
    state = StudyProgress(study, stored)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        speed_estimate_period=SPEED_WINDOW,
    )
    task = bar.add_task("planning", total=None)
    live = Live(
        get_renderable=lambda: Group(bar, Text(state.arms(), overflow="fold")),
        console=console,
        transient=True,
        refresh_per_second=4,
    )
    started = time.monotonic()

    def show() -> None:
        bar.update(task, completed=state.steps, total=state.total_steps, description=state.counts())

    def planned(runs: tuple[PlannedRun, ...], finished: int) -> None:
        state.plan(runs)
        if finished and not quiet:
            console.print(f"{finished} of {len(runs)} runs are already finished.")
        show()

    def stepped(key: str, step: int) -> None:
        state.step(key, step)
        show()

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        state.finish(run, outcome)
        show()
        failed = isinstance(outcome, str)
        if failed or not (quiet or console.is_terminal):
            text = (
                f"failed: {last_line(outcome)}"
                if isinstance(outcome, str)
                else f"{study.metric} {state.value(outcome.metric(study.metric))}"
            )
            ended = state.done + state.failed
            place = "" if study.own_loop else f"{run.spec.dataset} {run.spec.model} "
            console.print(
                f"[{ended}/{state.runs}, {time.monotonic() - started:.0f} s] "
                f"{place}{run.spec.arm.label} seed {run.spec.seed}: {text}",
                markup=False,
                highlight=False,
            )

    listener = Listener(planned=planned, stepped=stepped, finished=finished)
    if quiet or not console.is_terminal:
        yield listener
        return
    with live:
        yield listener


@contextmanager
def loading_progress(
    console: Console, *, quiet: bool = False
) -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Show the progress of decoding each data set; a cached data set shows nothing.

    Yields:
        A function from a data set's name to the `progress` of `load_dataset`.
    """
    bar = Progress(
        TextColumn("decoding {task.description}"),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )

    def of(name: str) -> Callable[[int, int], None]:
        tasks: list[TaskID] = []

        def progress(done: int, total: int) -> None:
            if not tasks:
                tasks.append(bar.add_task(name, total=total))
            bar.update(tasks[0], completed=done, total=total)

        return progress

    with bar:
        yield of
