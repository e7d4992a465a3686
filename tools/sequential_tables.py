"""simulated studies -> the tables of docs/sequential.md, as Markdown.

Usage: python tools/sequential_tables.py [STUDIES]

Takes about 10 minutes for 20,000 studies a cell, the page's number.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from warminit.lab.sequential.design import Design
from warminit.lab.sequential.replay import EQUIVALENT, HARMS, HELPS, replay

REFERENCE = 13  # the smallest fixed number of seeds with power 0.9 at one standard deviation
EFFECTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
FAMILIES = (1, 3, 10)
NO_MARGIN = 1e-9
BATCH = 5000


def main() -> None:
    """Print every table."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for title, lines in (
        ("Error rates", error_rates(studies)),
        ("Power and runs", power_and_runs(studies)),
        ("Equivalence", equivalence(studies)),
        ("Designs", designs(studies)),
        ("Betting", betting(studies)),
    ):
        print(f"\n{title}\n", flush=True)
        for line in lines:
            print(line, flush=True)


def error_rates(studies: int) -> Iterator[str]:
    """Count studies without an effect that find one."""
    yield "| comparisons | futility on | futility off |"
    yield "|---|---|---|"
    for family in FAMILIES:
        design = Design(family=family, margin=NO_MARGIN)
        rates = [
            play(replace(design, futility=futility), studies, 0.0, seed=1)[0]
            for futility in (0.1, 0.0)
        ]
        yield f"| {family} | {rates[0]:.4f} | {rates[1]:.4f} |"


def power_and_runs(studies: int) -> Iterator[str]:
    """Give power and average seeds, every arm with the same effect."""
    yield "| effect (sd) | " + " | ".join(f"power, {f} | runs, {f}" for f in FAMILIES) + " |"
    yield "|---|" + "---|" * 2 * len(FAMILIES)
    for effect in EFFECTS:
        cells = []
        for family in FAMILIES:
            _, share, seeds, _ = play(
                Design(family=family, margin=NO_MARGIN), studies, effect, seed=2
            )
            cells.append(f"{share:.3f} | {seeds / REFERENCE:.2f}")
        yield f"| {effect:g} | " + " | ".join(cells) + " |"


def equivalence(studies: int) -> Iterator[str]:
    """Give how often no effect is called equivalent, and how often an effect on the edge is."""
    yield "| margin (sd) | equivalent, no effect | runs | equivalent, effect on the edge |"
    yield "|---|---|---|---|"
    for margin in (0.75, 1.0, 1.5):
        design = Design(margin=margin)
        _, _, seeds, agree = play(design, studies, 0.0, seed=3)
        edge = play(design, studies, margin, seed=4)[3]
        yield f"| {margin:g} | {agree:.3f} | {seeds / REFERENCE:.2f} | {edge:.4f} |"


def designs(studies: int) -> Iterator[str]:
    """Compare maximum, futility, first look and spending."""
    yield "| maximum | first look | futility | gamma | power at 1 | runs at 0 | 1 | 1.5 | 2 |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for most, first, futility, gamma in (
        (18, 5, 0.1, 1.0),
        (18, 5, 0.0, 1.0),
        (18, 5, 0.1, -2.0),
        (16, 5, 0.15, 2.0),
        (13, 5, 0.15, 1.0),
    ):
        looks = tuple(range(first, most + 1))
        design = Design(
            max_seeds=most, looks=looks, futility=futility, gamma=gamma, margin=NO_MARGIN
        )
        found = [play(design, studies, e, seed=5) for e in (0.0, 1.0, 1.5, 2.0)]
        runs = " | ".join(f"{seeds / REFERENCE:.2f}" for _, _, seeds, _ in found)
        yield f"| {most} | {first} | {futility:g} | {gamma:g} | {found[1][1]:.2f} | {runs} |"


def betting(studies: int) -> Iterator[str]:
    """Give the price of the bound: power with betting, beside the t test's."""
    yield "| bound, effect | betting: power, 18 | power, 40 | seeds of 40 | t: power, 40 | seeds |"
    yield "|---|---|---|---|---|---|"
    for bound in (4.0, 6.0, 10.0):
        for effect in (1.0, 2.0):
            cells = []
            for most, method in ((18, "betting"), (40, "betting"), (40, "t")):
                design = Design(max_seeds=most, futility=0, margin=NO_MARGIN, bound=bound)
                design = replace(design, method="betting") if method == "betting" else design
                _, share, seeds, _ = play(design, studies // 4, effect, seed=6, clip=bound)
                cells += [f"{share:.3f}"] if most == 18 else [f"{share:.3f}", f"{seeds:.1f}"]
            yield f"| {bound:g}, {effect:g} | " + " | ".join(cells) + " |"


def play(
    design: Design,
    studies: int,
    effect: float,
    *,
    seed: int,
    clip: float = math.inf,
) -> tuple[float, float, float, float]:
    """Give the share of studies with any finding, of comparisons with one, seeds, equivalents."""
    rng, sums = np.random.default_rng(seed), np.zeros(4)
    for start in range(0, studies, BATCH):
        number = min(BATCH, studies - start)
        noise = rng.standard_normal((number, design.family, design.max_seeds))
        history = replay(design, np.clip(effect + noise, -clip, clip))
        found = np.isin(history.outcome, (HELPS, HARMS))
        seeds = np.array(design.looks)[history.look]
        agree = (history.outcome == EQUIVALENT).mean(axis=1)
        sums += [
            found.any(axis=1).sum(),
            found.mean(axis=1).sum(),
            seeds.mean(axis=1).sum(),
            agree.sum(),
        ]
    rates = sums / studies
    return float(rates[0]), float(rates[1]), float(rates[2]), float(rates[3])


if __name__ == "__main__":
    main()
