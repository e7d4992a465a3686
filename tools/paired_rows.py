"""docs/results/*/runs.csv -> rows of paired differences, and Markdown tables of them."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import pandas as pd

from kept_format import RESULTS
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.family import holm_adjust
from warminit.lab.verdict.scale import p_text
from warminit.lab.verdict.tests import PairedT, paired_t

TITLES = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "fashion-mnist": "Fashion-MNIST",
    "mnist": "MNIST", "svhn": "SVHN",
}  # fmt: skip
START, PLAIN, HEAD, DEFAULT = "whitening-small-head", "whitening", "small-head", "torch-default"
RANDOM = "norm-matched-random"
CIFAR, FASHION, MNIST = "cifar10", "fashion-mnist", "mnist"
GAIN = ("difference", "95 % interval")
STUCK = 0.25
"""Accuracy below which a run on ten classes counts as stuck."""


def both(options: str = "", arm: str = "") -> str:
    """Return the label of filters with the last layer x 0.1, as rounds 2 to 4 name it."""
    inside = [f"arm={arm}"] * bool(arm) + [f"options={{{options}}}"] * (bool(options) or not arm)
    return f"experiments.both:start({', '.join(inside)})"


@cache
def runs(
    studies: str, dataset: str = "", model: str = "", metric: str = "accuracy"
) -> pd.DataFrame:
    """Read kept studies: one row a seed, one column an arm.

    Of studies joined by a plus only the seeds count that have every arm of their study.
    """
    tables = []
    for study in studies.split("+"):
        rows = _rows(study)
        for column, value in (("dataset", dataset), ("model", model)):
            rows = rows[rows[column] == value] if value else rows
        tables.append(rows.pivot_table(index="seed", columns="arm", values=metric))
    return pd.concat([each.dropna() for each in tables]) if len(tables) > 1 else tables[0]


@cache
def _rows(study: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / study / "runs.csv")


@cache
def comparisons(study: str) -> dict[tuple[str, str, str], Comparison]:
    """Return the kept comparisons of a study by data set, network and arm, sorted by data set."""
    kept = json.loads((RESULTS / study / "verdicts.json").read_text(encoding="utf-8"))
    names = {each.name for each in fields(Comparison)}
    found = {
        (row["dataset"], row["model"], row["arm"]):
            Comparison(**{name: value for name, value in row.items() if name in names})
        for row in kept["comparisons"]
    }  # fmt: skip
    return dict(sorted(found.items(), key=lambda item: item[0][0]))


def gain_of(c: Comparison) -> tuple[str, str]:
    """Return the difference and the interval of a kept comparison, in points."""
    ends = " to ".join(f"{100 * end:+.2f}" for end in c.confidence_interval or ())
    return f"{100 * c.mean_difference:+.2f}", ends


@dataclass(frozen=True, slots=True)
class Pair:
    """An arm of kept studies, beside another arm at the same seeds; `labels` begin its row.

    Attributes:
        labels: First cells of the row.
        study: Name of a kept study, or several joined by a plus.
        arm: Label of the arm.
        beside: Label of the other arm, "" for a row that shows the arm alone.
        dataset: Data set of the runs, "" for all of the study.
        model: Network of the runs, "" for all of the study.
        other: Study of the other arm, "" for the same.
        margin: Loss that a test of non-inferiority rules out.
    """

    labels: tuple[str, ...]
    study: str
    arm: str
    beside: str = "torch-default"
    dataset: str = ""
    model: str = ""
    other: str = ""
    margin: float = 0.003

    def scores(self, metric: str = "accuracy") -> pd.DataFrame:
        """Return both arms at the seeds that both have: columns `arm` and `beside`."""
        columns = {"arm": runs(self.study, self.dataset, self.model, metric)[self.arm]}
        if self.beside:
            there = runs(self.other or self.study, self.dataset, self.model, metric)
            columns["beside"] = there[self.beside]
        return pd.DataFrame(columns).dropna()

    def differences(self) -> np.ndarray:
        """Return the paired differences of accuracy; none without another arm."""
        both = self.scores()
        return (both["arm"] - both["beside"]).to_numpy() if self.beside else np.empty(0)

    def test(self) -> PairedT | None:
        """Return the paired t test; None where the differences do not vary."""
        found = self.differences()
        return paired_t(found, margin=self.margin) if len(found) > 1 and np.ptp(found) else None


def difference(pair: Pair) -> str:
    """Return the mean difference in points; a plain 0 for equal weights."""
    found = pair.differences()
    return f"{100 * found.mean():+.2f}" if found.any() else "0" if len(found) else ""


def interval(pair: Pair) -> str:
    """Return the 95 % interval of the mean difference, in points."""
    test = pair.test()
    if test is not None:
        return f"{100 * float(test.low):+.2f} to {100 * float(test.high):+.2f}"
    return "the same filters" if pair.beside else ""


def ahead(pair: Pair) -> str:
    """Return in how many seeds the arm is ahead."""
    found = pair.differences()
    return f"{(found > 0).sum()} of {len(found)}" if len(found) else ""


def percent(column: str) -> Callable[[Pair], str]:
    """Return what writes the mean accuracy of one of both arms."""
    return lambda pair: f"{100 * pair.scores()[column].mean():.2f}"


def stuck(pair: Pair) -> str:
    """Return how many runs of the arm are stuck."""
    scores = pair.scores()["arm"]
    return f"{(scores < STUCK).sum()} of {len(scores)}"


def corrected(rows: Sequence[Pair], of: Callable[[PairedT], object]) -> list[float | None]:
    """Return Holm's p over the rows of a table, None for a row that tests nothing."""
    tests = [row.test() for row in rows]
    return list(holm_adjust([None if test is None else float(of(test)) for test in tests]))  # type: ignore[arg-type]  # an array of no dimension is a number


def holm_p(rows: Sequence[Pair]) -> list[str]:
    """Return Holm's p of any difference."""
    return [p_text(p) for p in corrected(rows, lambda test: test.p_two_sided)]


def holm_behind(rows: Sequence[Pair]) -> list[str]:
    """Return Holm's p of a loss as large as the margin."""
    return [p_text(p) for p in corrected(rows, lambda test: test.p_noninferiority)]


def each(cell: Callable[[Pair], str]) -> Callable[[Sequence[Pair]], list[str]]:
    """Return a column that looks at one row at a time."""
    return lambda rows: [cell(row) for row in rows]


COLUMNS: dict[str, Callable[[Sequence[Pair]], list[str]]] = {
    "accuracy, %": each(percent("arm")),
    "without it, %": each(percent("beside")),
    "stuck": each(stuck),
    "difference": each(difference),
    "95 % interval": each(interval),
    "Holm p": holm_p,
    "Holm p of the loss": holm_behind,
    "seeds": each(lambda pair: str(len(pair.scores()))),
    "seeds ahead": each(ahead),
}
"""What a table can show of its rows, by heading."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows)]


def long(labels: Sequence[str], columns: Sequence[str], rows: Sequence[Pair]) -> list[str]:
    """Return a table of one pair a row."""
    cells = zip(*(COLUMNS[name](rows) for name in columns), strict=True)
    lines = [(*row.labels, *more) for row, more in zip(rows, cells, strict=True)]
    return table([*labels, *columns], lines)


def named(arm: str) -> str:
    """Return an arm's label without where its function lies."""
    return re.sub(r"experiments\.(?:(\w+):start\b|\w+:)", r"\1", arm)


def every_arm(studies: Mapping[str, str], beside: str, shown: Sequence[str] = GAIN) -> list[str]:
    """Return every arm of kept studies, by data set, beside one of them; Holm's p by data set."""
    found, none = [], [""] * len(shown)
    for dataset, study in studies.items():
        arms = [str(arm) for arm in runs(study, dataset) if arm != beside]
        rows = [Pair((), study, arm, beside, dataset) for arm in arms]
        cells = zip(*(COLUMNS[name](rows) for name in shown), strict=True)
        found.append(dict(zip(arms, cells, strict=True)))
    lines = [
        [f"`{named(arm)}`", *(cell for each in found for cell in each.get(arm, none))]
        for arm in sorted(set().union(*found), key=named)
    ]
    return table(["initializer", *(h for d in studies for h in (TITLES[d], *shown[1:]))], lines)
