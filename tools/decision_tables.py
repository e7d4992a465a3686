"""docs/results/robustness-*, search-half, search-round4-* -> the tables of the decision page.

Usage: python tools/decision_tables.py

Two questions that no single study can answer. The grid: in which setting is the default start worse
than torch's default, with Holm's correction over all cells of all robustness studies? Half the
steps: is the start, trained for 2,500 steps, level with torch's default after all 5,000?
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from warminit.lab.study.study import Study
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.family import holm, holm_adjust
from warminit.lab.verdict.paired import compare_paired

RESULTS = Path(__file__).parent.parent / "docs" / "results"
START, BASELINE, PLAIN = "whitening-small-head", "torch-default", "whitening"
HALF_MARGIN = 0.002


def main() -> None:
    """Print both tables as Markdown."""
    print(table(grid(BASELINE)), "", table(grid(PLAIN)), "", table(half()), sep="\n")


def grid(other: str) -> list[tuple[str, Comparison]]:
    """Compare the start with another arm in every cell of the robustness studies that has both."""
    cells, compared = [], []
    for folder in sorted(RESULTS.glob("robustness-*")):
        study, runs = kept(folder.name)
        for (dataset, model), of_cell in runs.groupby(["dataset", "model"]):
            pairs = paired(of_cell)
            if other in pairs:
                budget = f"{study.protocol.steps:,} x {study.protocol.batch_size:,}"
                cells.append(f"{setting(study)} | {dataset} | {model} | {budget}")
                compared.append(compare(pairs[START], pairs[other], other, study.margin))
    return list(zip(cells, holm(compared), strict=True))


def setting(study: Study) -> str:
    """Return what a study changes, without its budget, which has a column of its own."""
    return re.sub(r",? [\d,]+ steps.*", "", study.description).rstrip(".")


def half() -> list[tuple[str, Comparison]]:
    """Compare half the steps with torch's default after all of them, at the same seeds."""
    _, short = kept("search-half")
    cells, compared = [], []
    for dataset, file in (("cifar10", "cifar10"), ("fashion-mnist", "fashion")):
        full = paired(kept(f"search-round4-{file}")[1])[BASELINE]
        pairs = paired(short[short["dataset"] == dataset])
        for arm in (START, BASELINE):
            seeds = full.dropna().index.intersection(pairs[arm].dropna().index)
            cells.append(f"{arm}, half the steps | {dataset} | simplecnn")
            compared.append(compare(pairs[arm][seeds], full[seeds], BASELINE, HALF_MARGIN))
    p_behind = holm_adjust([each.p_noninferiority for each in compared])
    return [
        (f"{cell} | p of being behind by 0.2 points: {p:.4f}", each)
        for cell, p, each in zip(cells, p_behind, holm(compared), strict=True)
    ]


def kept(name: str) -> tuple[Study, pd.DataFrame]:
    """Read one kept study and its runs."""
    folder = RESULTS / name
    return Study.from_toml(folder / "study.toml"), pd.read_csv(folder / "runs.csv")


def paired(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a seed, one column an arm."""
    return runs.pivot_table(index="seed", columns="arm", values="accuracy")


def compare(arm: pd.Series, other: pd.Series, name: str, margin: float) -> Comparison:
    """Compare at the seeds that both have."""
    both = pd.concat([arm, other], axis=1).dropna().to_numpy()
    return compare_paired(both[:, 0], both[:, 1], arm=START, baseline=name, margin=margin)


def table(rows: Sequence[tuple[str, Comparison]]) -> str:
    """Return rows of difference in points, 95 % interval, Holm's p, seeds ahead."""
    lines = []
    for cell, c in rows:
        low, high = c.confidence_interval or (math.nan, math.nan)
        p = math.nan if c.p_holm is None else c.p_holm
        lines.append(
            f"| {cell} | {100 * c.mean_difference:+.2f} | {100 * low:+.2f} to {100 * high:+.2f} |"
            f" {'< 0.0001' if p < 0.0001 else f'{p:.4f}'} | {c.wins} of {c.n} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
