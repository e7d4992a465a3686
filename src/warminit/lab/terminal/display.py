"""an analysis -> what a terminal shows: a table a data set and model, and the verdicts."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from warminit.lab.paper.published import Erratum
from warminit.lab.verdict.analysis import Analysis, Cell
from warminit.lab.verdict.rows import last_line
from warminit.lab.verdict.wording import counted, notes, stars

MARK = "≠"
"""Stands beside a figure that differs from the paper's."""

DAGGER = "†"
"""Stands beside a figure of the paper that is known to be wrong."""

LONGEST_UNBROKEN = 28
"""Longest arm that keeps to one line at 80 columns; longer ones (sweeps) are folded, never cut."""


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print a table for each data set and model, then one sentence of verdict a comparison."""
    study = analysis.study
    for dataset in study.datasets:
        for model in study.models:
            cells = [c for c in analysis.cells if (c.dataset, c.model) == (dataset, model)]
            console.print(_table(analysis, dataset, model, cells))
            if dataset in analysis.partial:
                say(console, "Partial data: its counts differ from the published ones.")
            for cell in cells:
                say(console, *_sentence(analysis, cell))
            console.print()
    for note in notes(analysis):
        say(console, note)
    for run in analysis.failed:
        say(
            console,
            f"failed: {'' if study.own_loop else run.spec.dataset + ' '}{run.spec.arm.label} seed "
            f"{run.spec.seed}: "
            f"{last_line(run.error)}",
        )


def say(console: Console, *lines: str) -> None:
    """Print plain text, with nothing in it taken for markup."""
    for line in lines:
        console.print(line, markup=False, highlight=False)


def new_table(title: str, *columns: tuple[str, bool]) -> Table:
    """Return a table without a frame; columns are (heading, whether it holds numbers)."""
    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading, numeric in columns:
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    return table


def print_errata(console: Console, errata: Iterable[Erratum]) -> None:
    """Print what the paper's marked figures should be, and why."""
    for error in dict.fromkeys(errata):
        say(
            console,
            f"{DAGGER} {error.dataset}: the paper prints {error.printed:g}, it should be "
            f"{error.corrected:g}: {error.why}.",
        )


def _sentence(analysis: Analysis, cell: Cell) -> list[str]:
    if cell.comparison is not None:
        return [f"- {cell.comparison.verdict}"]
    if cell.arm == analysis.study.baseline:
        return []
    return [f"- {cell.arm}: no seed finished that {analysis.study.baseline} has too."]


def _table(analysis: Analysis, dataset: str, model: str, cells: list[Cell]) -> Table:
    factor, digits = (100, 2) if analysis.in_points else (1, 4)
    metric = analysis.study.metric
    tested = any(cell.comparison and cell.comparison.p_one_sided is not None for cell in cells)
    counts = {len(cell.scores) for cell in cells}
    shared = f": {counted(counts.pop(), 'seed')}" if len(counts) == 1 else ""
    table = new_table(f"{analysis.place(dataset, model)}{shared}")
    unbroken = max(len(cell.arm) for cell in cells) <= LONGEST_UNBROKEN
    table.add_column("arm", no_wrap=unbroken, overflow="fold")
    unit = "points and " if analysis.in_points else ""
    percent = "\n%" if analysis.in_points else ""
    headings = [metric.replace("_", "_\n") + percent, f"difference\n{unit}95 %"]
    headings += ["p one-\nsided", "p\nHolm"] if tested else []
    for heading in [*([] if shared else ["seeds"]), *headings, "wins"]:
        numeric = heading != "p one-\nsided"  # its stars stand behind the number
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for cell in cells:
        row = [cell.arm, *([] if shared else [str(len(cell.scores))]), _mean(cell, factor, digits)]
        c = cell.comparison
        if c is None:
            row += ["baseline" if cell.arm == analysis.study.baseline else "-"]
            row += ["", "", ""] if tested else [""]
        else:
            interval = ""
            if c.confidence_interval is not None:
                low, high = (factor * end for end in c.confidence_interval)
                interval = f"\n{low:+.{digits}f} to {high:+.{digits}f}"
            row += [f"{factor * c.mean_difference:+.{digits}f}{interval}"]
            if tested:
                row += [
                    "-" if c.p_one_sided is None else f"{c.p_one_sided:.4f}{stars(c.p_one_sided)}",
                    "-" if c.p_holm is None else f"{c.p_holm:.4f}",
                ]
            row += [f"{c.wins}/{c.n}"]
        table.add_row(*row)
    return table


def _mean(cell: Cell, factor: int, digits: int) -> str:
    if cell.mean is None:
        return "-"
    spread = "" if cell.sd is None else f"\n± {factor * cell.sd:.{digits}f}"
    return f"{factor * cell.mean:.{digits}f}{spread}"
