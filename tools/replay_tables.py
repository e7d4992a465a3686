"""kept studies of a fixed number of seeds -> the same through the sequential rule, as two tables.

Usage: python tools/replay_tables.py    # writes them into docs/sequential.md

The most seeds are those that the study had. What would have been run is found as the driver finds
it: the runs of each look, until every comparison is decided.
"""

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kept_format import RESULTS
from warminit.lab.runs.looks import Cell, needed
from warminit.lab.study.study import Study
from warminit.lab.verdict.adjusted import scores_of
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.kept import read_kept

PAGE = RESULTS.parent / "sequential.md"
MARKS = "<!-- replays begin -->", "<!-- replays end -->"


@dataclass(frozen=True, slots=True)
class Replay:
    """A kept study, and the same as it would have been decided look by look."""

    name: str
    fixed: Analysis
    sequential: Analysis

    def pairs(self) -> list[tuple[str, Comparison, Comparison]]:
        """Return each comparison's place, its fixed and its sequential outcome."""
        return [
            (f"{before.dataset}, {before.model}", before.comparison, after.comparison)
            for before, after in zip(self.fixed.cells, self.sequential.cells, strict=True)
            if before.comparison is not None and after.comparison is not None
        ]


def names() -> list[str]:
    """Return the kept studies that are replayed."""
    robust = sorted(folder.name for folder in RESULTS.glob("robustness-*") if folder.is_dir())
    return ["confirmation", "rivals-cifar10-1000", *robust]


def replayed(name: str, results: Path = RESULTS) -> Replay:
    """Replay one kept study with the default rule, whose maximum is the study's own seeds."""
    fixed = read_kept(results / name)
    plan = {"sequential": {"max_seeds": len(fixed.study.seeds)}}
    study = Study.model_validate(fixed.study.model_dump() | plan)
    runs = {(run.spec.dataset, run.spec.model, run.spec.arm.label, run.spec.seed): run
            for run in fixed.runs}  # fmt: skip
    there = scores_of(study, fixed.runs)
    scores: dict[Cell, dict[int, float]] = {}
    while wanted := needed(study, scores):
        for cell, seed in wanted:
            scores.setdefault(cell, {})[seed] = there.get(cell, {}).get(seed, math.nan)
    done = [
        runs[(*cell, seed)]
        for cell, seeds in scores.items()
        for seed in seeds
        if (*cell, seed) in runs
    ]
    return Replay(name, fixed, analyse(study, done, allow_mixed=True))


def tables(replays: list[Replay]) -> Iterator[str]:
    """Yield the lines of both tables: a row a study, then the verdicts that differ."""
    yield "| study | seeds | comparisons | same verdict | runs | run | spared |"
    yield "|---|---|---|---|---|---|---|"
    sums = [0, 0, 0, 0]
    for each in replays:
        pairs, asked = each.pairs(), each.fixed.asked
        same = sum(before.outcome == after.outcome for _, before, after in pairs)
        row = [len(pairs), same, asked, asked - each.sequential.spared]
        sums = [a + b for a, b in zip(sums, row, strict=True)]
        yield _row(each.name, str(len(each.fixed.study.seeds)), row)
    yield _row("all", "", sums)
    yield ""
    yield "| study | comparison | fixed | sequential | seeds | interval, fixed | sequential |"
    yield "|---|---|---|---|---|---|---|"
    for each in replays:
        for place, before, after in each.pairs():
            if before.outcome != after.outcome:
                cells = [each.name, f"{place}: {before.arm}", before.outcome, _outcome(after)]
                cells += [str(after.n), _interval(before), _interval(after)]
                yield f"| {' | '.join(cells)} |"


def _row(name: str, seeds: str, counts: list[int]) -> str:
    comparisons, same, asked, run = counts
    spared = f"{1 - run / asked:.0%}"
    return f"| {name} | {seeds} | {comparisons} | {same} | {asked} | {run} | {spared} |"


def _outcome(comparison: Comparison) -> str:
    decision = comparison.decision
    reason = "" if decision is None or not decision.reason else f" ({decision.reason})"
    return f"{comparison.outcome}{reason}"


def _interval(comparison: Comparison) -> str:
    ends = comparison.confidence_interval
    return "none" if ends is None else " to ".join(f"{100 * end:+.2f}" for end in ends)


def placed(text: str, lines: list[str]) -> str:
    """Return a page's text with the tables between its marks."""
    begin, end = MARKS
    inside = re.compile(f"{begin}.*{end}", re.DOTALL)
    if not inside.search(text):
        raise SystemExit(f"docs/sequential.md has no {begin} ... {end}")
    return inside.sub("\n".join([begin, "", *lines, "", end]), text)


def main() -> None:
    """Write the tables into the page."""
    lines = list(tables([replayed(name) for name in names()]))
    PAGE.write_text(placed(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
