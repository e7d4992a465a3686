"""docs/results/ -> runs as tables and paired differences, by pandas and SciPy alone."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

DOCS = Path(__file__).parents[2] / "docs"


def kept_runs(study: str, column: str = "accuracy", **where: str) -> pd.DataFrame:
    """One row a seed, one column an arm, of the runs of a kept study for which all of it holds."""
    table = pd.read_csv(DOCS / "results" / study / "runs.csv")
    for name, value in where.items():
        table = table[table[name] == value]
    return table.pivot_table(index="seed", columns="arm", values=column)


def paired_in(table: pd.DataFrame, arm: str, other: str) -> tuple[str, str]:
    """The mean difference in points and its 95 % interval, as the pages write them."""
    difference = 100 * (table[arm] - table[other]).dropna().to_numpy()
    interval = stats.t.interval(
        0.95, len(difference) - 1, np.mean(difference), stats.sem(difference)
    )
    return f"{np.mean(difference):+.2f}", f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def holm(p_values: list[float]) -> list[float]:
    """By its definition: the smallest of m times m, the next times m - 1, never falling."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for n, i in enumerate(np.argsort(p_values)):
        corrected[i] = largest = max(largest, min(1.0, p_values[i] * (len(p_values) - n)))
    return corrected


def rows_of(page: str, table: str) -> list[list[str]]:
    """The rows of a table between the marks of a page, without its headings."""
    text = (DOCS / page).read_text(encoding="utf-8")
    inside = text[text.index(f"<!-- table: {table} -->") :].partition("<!-- end -->")[0]
    lines = [line for line in inside.splitlines() if line.startswith("| ")]
    return [line[2:-2].split(" | ") for line in lines][2:]
