"""a study under way, an analysis -> what a terminal shows: a live bar, tables, verdicts."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from warminit.lab.analysis import LOWER_IS_BETTER, Analysis, Cell
from warminit.lab.driver import Listener
from warminit.lab.engines.job import Outcome
from warminit.lab.plan import PlannedRun


@contextmanager
def live_progress(console: Console) -> Iterator[Listener]:
    """Show steps, time left, runs done and failed, and the mean accuracy of each arm so far.

    Where the output is not a terminal, one line is printed for each finished run instead.
    """
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        disable=not console.is_terminal,
    )
    steps: dict[str, int] = {}
    scores: dict[str, list[float]] = defaultdict(list)
    counts = {"all": 0, "done": 0, "failed": 0}
    started = time.monotonic()
    bar = progress.add_task("planning", total=None)

    def describe() -> str:
        arms = "  ".join(
            f"{arm} {100 * sum(values) / len(values):.2f}" for arm, values in scores.items()
        )
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        return f"{counts['done']} of {counts['all']} runs{failed}  {arms}"

    def planned(runs: tuple[PlannedRun, ...], finished: int) -> None:
        counts.update(all=len(runs), done=finished)
        total = sum(run.spec.protocol.steps for run in runs[: len(runs) - finished])
        if finished:
            console.print(f"{finished} of {len(runs)} runs are already finished.")
        progress.update(bar, total=total, description=describe())

    def stepped(key: str, step: int) -> None:
        advance = step - steps.get(key, 0)
        steps[key] = step
        if advance > 0:
            progress.update(bar, advance=advance)

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        counts["done"] += 1
        label = run.spec.arm.label
        if isinstance(outcome, str):
            counts["failed"] += 1
            text = f"failed: {outcome.strip().splitlines()[-1]}"
        else:
            scores[label].append(outcome.metrics["accuracy"])
            text = f"accuracy {outcome.metrics['accuracy']:.4f}"
        stepped(run.key, run.spec.protocol.steps)
        progress.update(bar, description=describe())
        if not console.is_terminal or isinstance(outcome, str):
            console.print(
                f"[{counts['done']}/{counts['all']}, {time.monotonic() - started:.0f} s] "
                f"{run.spec.dataset} {run.spec.model} {label} seed {run.spec.seed}: {text}",
                markup=False,
                highlight=False,
            )

    with progress:
        yield Listener(planned=planned, stepped=stepped, finished=finished)


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print a table for each data set and model, then one sentence of verdict a comparison."""
    study = analysis.study
    for dataset in study.datasets:
        for model in study.models:
            cells = [c for c in analysis.cells if (c.dataset, c.model) == (dataset, model)]
            console.print(_table(analysis, f"{dataset}, {model}", cells))
            for cell in cells:
                if cell.comparison is not None:
                    console.print(f"- {cell.comparison.verdict}", highlight=False, markup=False)
                elif cell.arm != study.baseline:
                    console.print(f"- {cell.arm}: no seed finished that {study.baseline} has too.")
    failed = [run for run in analysis.runs if run.error is not None]
    for run in failed:
        last = (run.error or "").strip().splitlines()[-1]
        console.print(
            f"failed: {run.spec.arm.label} seed {run.spec.seed}: {last}", markup=False, style="red"
        )


def _table(analysis: Analysis, title: str, cells: list[Cell]) -> Table:
    metric = analysis.study.metric
    points = metric not in LOWER_IS_BETTER
    factor = 100 if points else 1
    unit = "points" if points else metric
    table = Table(title=title, title_justify="left")
    table.add_column("arm")
    table.add_column("seeds", justify="right")
    table.add_column(f"{metric}{' %' if points else ''}", justify="right")
    table.add_column(f"difference ({unit})\n95 % interval", justify="right")
    table.add_column("p\none-sided", justify="right")
    table.add_column("p\nHolm", justify="right")
    table.add_column("wins", justify="right")
    for cell in cells:
        mean = "-" if cell.mean is None else f"{factor * cell.mean:.2f}"
        spread = "" if cell.sd is None else f" ± {factor * cell.sd:.2f}"
        row = [cell.arm, str(len(cell.scores)), mean + spread]
        c = cell.comparison
        if c is None:
            row += ["baseline" if cell.arm == analysis.study.baseline else "-", "", "", ""]
        else:
            interval = ""
            if c.confidence_interval is not None:
                low, high = (factor * end for end in c.confidence_interval)
                interval = f"\n{low:+.2f} to {high:+.2f}"
            row += [
                f"{factor * c.mean_difference:+.2f}{interval}",
                "-" if c.p_one_sided is None else f"{c.p_one_sided:.4f}",
                "-" if c.p_holm is None else f"{c.p_holm:.4f}",
                f"{c.wins}/{c.n}",
            ]
        table.add_row(*row)
    return table
