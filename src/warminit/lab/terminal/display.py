"""Analysis -> one table per data set and model, and the verdicts, on a terminal."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from warminit.lab.paper.published import Erratum
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import Row, cell_rows
from warminit.lab.verdict.chosen_rates import OWN_BEST, at_baselines_best, tuning_sentences
from warminit.lab.verdict.rows import last_line
from warminit.lab.verdict.times import times
from warminit.lab.verdict.wording import counted, notes

MARK = "≠"
"""Mark of a figure that differs from the paper's."""

DAGGER = "†"
"""Mark of a figure of the paper that is known to be wrong."""

LONGEST_UNBROKEN = 28
"""Longest name of an arm on one line at 80 columns; longer names (sweeps) are folded, never cut."""


def print_analysis(analysis: Analysis, console: Console) -> None:
    """Print one table per data set and model, then one verdict per comparison."""
    if analysis.at_baseline is not None:
        say(console, *tuning_sentences(analysis), "", OWN_BEST)
    _print_places(analysis, console)
    if analysis.at_baseline is not None:
        say(console, at_baselines_best(analysis))
        _print_places(analysis.at_baseline, console)
    for note in notes(analysis):
        say(console, note)
    for run in analysis.failed:
        say(
            console,
            f"failed: {'' if analysis.study.own_loop else run.spec.dataset + ' '}"
            f"{run.spec.arm.label} seed {run.spec.seed}: {last_line(run.error)}",
        )


def _print_places(analysis: Analysis, console: Console) -> None:
    study, rows = analysis.study, cell_rows(analysis)
    found = times(analysis)
    for dataset in study.datasets:
        for model in study.models:
            shown = [row for row in rows if (row.dataset, row.model) == (dataset, model)]
            console.print(_table(analysis, analysis.place(dataset, model), shown))
            if dataset in analysis.partial:
                say(console, "Partial data: its counts differ from the published ones.")
            for row in shown:
                say(console, *_sentence(row, study.baseline))
                place = (row.dataset, row.model, row.arm)
                said = [each for each in found if (each.dataset, each.model, each.arm) == place]
                say(console, *(f"  {each.sentence}" for each in said))
            console.print()


def say(console: Console, *lines: str) -> None:
    """Print plain text, without interpreting markup."""
    for line in lines:
        console.print(line, markup=False, highlight=False)


def new_table(title: str, *columns: tuple[str, bool]) -> Table:
    """Return a table without a frame, with columns (heading, whether numeric)."""
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
    """Print the corrected values of the paper's marked figures, and the reasons."""
    for error in dict.fromkeys(errata):
        say(
            console,
            f"{DAGGER} {error.dataset}: the paper prints {error.printed:g}, it should be "
            f"{error.corrected:g}: {error.why}.",
        )


def _sentence(row: Row, baseline: str) -> list[str]:
    if row.verdict is not None:
        return [f"- {row.verdict}", *(f"  {text}" for text in row.beside)]
    if row.arm == baseline:
        return []
    nothing = f"- {row.arm}: no seed finished that {baseline} has too."
    return [nothing, *(f"  {text}" for text in row.beside)]


def _table(analysis: Analysis, title: str, rows: list[Row]) -> Table:
    tested = any(row.p_one_sided is not None for row in rows)
    counts = {row.seeds for row in rows}
    shared = f": {counted(counts.pop(), 'seed')}" if len(counts) == 1 else ""
    table = new_table(f"{title}{shared}")
    unbroken = max(len(row.arm) for row in rows) <= LONGEST_UNBROKEN
    table.add_column("arm", no_wrap=unbroken, overflow="fold")
    unit = "points and " if analysis.in_points else ""
    percent = "\n%" if analysis.in_points else ""
    sequential = analysis.study.sequential is not None
    level = "interval" if sequential else "95 %"  # a sequential verdict states the level
    headings = [analysis.study.metric.replace("_", "_\n") + percent, f"difference\n{unit}{level}"]
    headings += ["p one-\nsided", "p\nHolm"] if tested else []
    headings += ["p ad-\njusted"] if sequential else []
    for heading in [*([] if shared else ["seeds"]), *headings, "wins"]:
        numeric = heading != "p one-\nsided"  # stars follow its number
        table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, seeds=not shared, tested=tested, sequential=sequential))
    return table


def _cells(row: Row, *, seeds: bool, tested: bool, sequential: bool) -> list[str]:
    text = row.texts
    compared = row.difference is not None
    cells = [row.arm, *([str(row.seeds)] if seeds else [])]
    cells.append(f"{text.mean or '-'}\n± {text.sd}".removesuffix("\n± "))
    without = "baseline" if row.outcome == "baseline" else "-"
    cells.append(f"{text.difference}\n{text.interval}".rstrip() if compared else without)
    if tested:
        none = "-" if compared else ""
        # Without the blank of "< 0.0001" the widest table fits 80 columns.
        cells += [
            f"{text.p_one_sided}{text.stars}".replace(" ", "") or none,
            text.p_holm.replace(" ", "") or none,
        ]
    if sequential:
        cells.append(text.p_holm.replace(" ", ""))
    return [*cells, text.wins]
