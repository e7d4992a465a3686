"""docs/results/across.md: its numbers anew from the kept runs, by pandas and SciPy alone."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from docs_tables import DOCS, holm

PAGE = (DOCS / "results" / "across.md").read_text("utf-8")


def not_stuck(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out runs below half of their arm's best, where that is at least 0.3."""
    best = table.groupby("arm")["accuracy"].transform("max")
    return table[(best < 0.3) | (table["accuracy"] >= best / 2)]


def pairs_of(arm: str) -> Iterator[pd.DataFrame]:
    for folder in sorted((DOCS / "results").glob("robustness-*/")):
        table = pd.read_csv(folder / "runs.csv")
        for _, place in table.groupby(["dataset", "model"], sort=False):
            if arm in set(place["arm"]):
                pairs = not_stuck(place).pivot_table(index="seed", columns="arm", values="accuracy")
                yield pairs[[arm, "torch-default"]].dropna()


def rows_under(heading: str) -> list[list[str]]:
    lines = PAGE[PAGE.index(heading) :].splitlines()
    table = [line for line in lines if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in table if "---" not in line][1:]


ROWS = {row[0]: row for row in rows_under("# All settings")[:3]}
ARMS = list(ROWS)


def test_every_arm_has_its_row() -> None:
    assert ARMS == ["whitening-small-head", "whitening", "small-head"]
    for arm, row in ROWS.items():
        settings = list(pairs_of(arm))
        assert row[1:3] == [str(len(settings)), str(sum(map(len, settings)))]
        gains = np.concatenate([pairs[arm] - pairs["torch-default"] for pairs in settings])
        assert row[3] == f"{100 * stats.trim_mean(gains, 0.25):+.2f}"
        shares = [
            stats.mannwhitneyu(pairs[arm], pairs["torch-default"]).statistic / len(pairs) ** 2
            for pairs in settings
        ]
        assert row[5] == f"{100 * np.mean(shares):.0f} %"


def test_outcomes_are_holms_over_all_settings() -> None:
    settings = [
        (arm, pairs[arm] - pairs["torch-default"]) for arm in ARMS for pairs in pairs_of(arm)
    ]
    corrected = holm([float(stats.ttest_1samp(gains, 0).pvalue) for _, gains in settings])
    for arm, row in ROWS.items():
        decided = [
            gains.mean() > 0
            for (name, gains), p in zip(settings, corrected, strict=True)
            if name == arm and p < 0.05
        ]
        assert [int(row[7]), int(row[8])] == [sum(decided), len(decided) - sum(decided)]
    table = rows_under("## Each setting")
    assert len(table) == len(settings)
    for row, (arm, gains) in zip(table, settings, strict=True):
        assert row[1:4] == [arm, str(len(gains)), f"{100 * gains.mean():+.2f}"]
