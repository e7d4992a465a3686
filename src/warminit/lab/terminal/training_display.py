"""measured Table 3 -> one line of the paper and one of ours per data set, on a terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from warminit.lab.paper.published import (
    ERRATA,
    MEAN_DIFFERENCE,
    MEAN_ERROR_CHANGE,
    TABLE_3,
    Erratum,
    erratum,
)
from warminit.lab.paper.reproduce import NOT_AVAILABLE
from warminit.lab.paper.training_tables import Table3Row, caveats, means
from warminit.lab.study.table1 import SEEDS
from warminit.lab.terminal.display import DAGGER, MARK, new_table, print_errata, say
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.scale import p_text
from warminit.lab.verdict.wording import stars


def print_table_3(rows: Sequence[Table3Row], analysis: Analysis | None, console: Console) -> None:
    """Print Table 3: a line of the paper and a line of ours for each data set."""
    notes = [] if analysis is None else caveats(analysis)
    title = "Table 3: final test accuracy, mean ± standard deviation"
    if notes:
        title += f"\nNot the paper's protocol: {'; '.join(notes)}"
    table = _table_3_columns(title)
    compared = [row for row in rows if row.paper is not None]
    for row in rows:
        if row.paper is not None:
            table.add_row(*_paper_cells(row))
            table.add_row(*_own_cells(row, row.title if row.paper is None else ""))
            table.add_section()
    _add_means(table, rows)
    if compared:
        console.print(table)
    else:
        say(console, title)
    partial = [row for row in rows if row.standing == "partial"]
    for row in partial:
        own = _table_3_columns(f"{row.title}, {row.reason}: no reproduction of the paper's row")
        own.add_row(*_own_cells(row, row.title))
        console.print()
        console.print(own)
    if any(row.differs for row in rows):
        say(
            console,
            f"{MARK} differs from the paper: a mean or a difference by Welch's test at 0.05, p by "
            "its stars, wins as a count.",
        )
    say(
        console,
        "One-sided paired t: * p < 0.1, ** p < 0.05, *** p < 0.01. Kaiming is torch's default "
        "(kaiming_uniform, a = sqrt(5)), as in the published code.",
    )
    shown = {row.dataset for row in compared}
    if shown:
        print_errata(
            console,
            [e for e in ERRATA if e.table == "table3" and e.dataset in {*shown, "mean"}],
        )
        say(
            console,
            "With Holm's correction over the paper's five p, Fashion-MNIST and CIFAR-10 stand at "
            "0.0616: not significant.",
        )
    for row in rows:
        if row.comparison is not None:
            partial_label = " (partial)" if row.standing == "partial" else ""
            say(console, f"- {row.title}{partial_label}: {row.comparison.verdict}")


def _table_3_columns(title: str) -> Table:
    table = new_table(
        title,
        ("data set", False),
        ("", False),
        ("Kaiming", True),
        ("Pre-Warm", True),
        ("Δacc", True),
        ("Δerr %", True),
        ("p", False),
        ("wins", True),
    )
    table.columns[0].no_wrap = True  # "Fashion-MNI ST" reads badly; the next column has words
    return table


def _paper_cells(row: Table3Row) -> list[str]:
    paper = TABLE_3[row.dataset]
    return [
        row.title,
        "paper",
        f"{paper.kaiming:.4f}\n± {paper.kaiming_sd:.4f}",
        f"{paper.prewarm:.4f}\n± {paper.prewarm_sd:.4f}",
        f"{paper.difference:+.4f}",
        _with_correction(paper.error_change, row.erratum),
        f"{paper.p_one_sided:.4f}{stars(paper.p_one_sided)}",
        f"{paper.wins}/{SEEDS}",
    ]


def _with_correction(value: float, error: Erratum | None) -> str:
    if error is None:
        return f"{value:+.2f}"
    return f"{value:+.2f}{DAGGER}\n({error.corrected:+.2f})"


def _own_cells(row: Table3Row, title: str) -> list[str]:
    c = row.comparison
    if c is None:
        missing = NOT_AVAILABLE if row.standing == "not available" else "no finished pair"
        return [title, f"here: {missing}", "-", "-", "-", "-", "-", "-"]
    marks = {column: MARK if differs else "" for column, differs in row.differs.items()}

    def marked(column: str, text: str) -> str:
        first, *rest = text.split("\n")
        return "\n".join([first + marks.get(column, ""), *rest])

    return [
        title,
        "here",
        marked("kaiming", _mean(c.mean_baseline, c.sd_baseline)),
        marked("prewarm", _mean(c.mean_arm, c.sd_arm)),
        marked("difference", f"{c.mean_difference:+.4f}"),
        "-" if row.error_change is None else marked("error_change", f"{row.error_change:+.2f}"),
        marked("p_one_sided", f"{p_text(c.p_one_sided)}{stars(c.p_one_sided)}" or "-"),
        marked("wins", f"{c.wins}/{c.n}"),
    ]


def _mean(mean: float, sd: float | None) -> str:
    return f"{mean:.4f}" + ("" if sd is None else f"\n± {sd:.4f}")


def _add_means(table: Table, rows: Sequence[Table3Row]) -> None:
    if not any(row.paper is not None for row in rows):
        return
    error = erratum("table3", "mean", "error_change")
    table.add_row(
        "Mean of 5",
        "paper",
        "",
        "",
        f"{MEAN_DIFFERENCE:+.4f}",
        _with_correction(MEAN_ERROR_CHANGE, error),
        "",
        "",
    )
    count, difference, change = means(rows)
    if difference is not None and change is not None:
        table.add_row(
            f"Mean of {count}", "here", "", "", f"{difference:+.4f}", f"{change:+.2f}", "", ""
        )
