"""Analysis -> paired seeds: one line per seed from arm to arm, and the mean of each arm."""

from typing import Any

import altair as alt

from warminit.lab.figures.theme import (
    BLUE,
    FILE_WIDTH,
    GRAY,
    ORANGE,
    Layered,
    Width,
    charted,
    in_lines,
    rows_axis,
    rows_height,
)
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell

MOST_ARMS = 12
"""Maximum number of arms with the baseline; of a larger sweep, those with the smallest p."""


def shown_cells(analysis: Analysis, dataset: str, model: str) -> list[Cell]:
    """Return the shown cells of a place, in the study's order, at most `MOST_ARMS`."""
    cells = [
        cell
        for cell in analysis.cells
        if (cell.dataset, cell.model) == (dataset, model) and cell.scores
    ]
    if len(cells) <= MOST_ARMS:
        return cells
    others = [cell for cell in cells if cell.arm != analysis.study.baseline]
    kept = sorted(others, key=lambda cell: (cell.comparison and cell.comparison.p_two_sided) or 2.0)
    names = {analysis.study.baseline, *(cell.arm for cell in kept[: MOST_ARMS - 1])}
    return [cell for cell in cells if cell.arm in names]


def paired_seeds(
    analysis: Analysis, dataset: str, model: str, width: Width = FILE_WIDTH
) -> Layered:
    """Draw the primary metric of every seed, with one line per seed from arm to arm.

    Parallel lines show that the seed, not the arm, decides a score. Lines that all lean one way
    show a difference.
    """
    study, cells = analysis.study, shown_cells(analysis, dataset, model)
    factor = 100.0 if analysis.in_points else 1.0
    rows: list[dict[str, Any]] = [
        {
            "arm": cell.arm,
            "row": in_lines(cell.arm),
            "position": place,
            "seed": str(seed),
            "score": factor * score,
        }
        for place, cell in enumerate(cells)
        for seed, score in cell.scores.items()
    ]
    means = [
        {
            "arm": cell.arm,
            "row": in_lines(cell.arm),
            "mean": factor * cell.mean,
            "seeds": len(cell.scores),
        }
        for cell in cells
        if cell.mean is not None
    ]
    names = [in_lines(cell.arm) for cell in cells]
    y = alt.Y("row:N", sort=names, title=None, axis=rows_axis())
    unit = ", %" if analysis.in_points else f", {study.unit}" if study.unit else ""
    x = alt.X(
        "score:Q",
        title=f"{study.metric.replace('_', ' ')}{unit}, a line a seed",
        scale=alt.Scale(zero=False, nice=True),
        axis=alt.Axis(tickCount=5, titleAnchor="end"),
    )
    base = charted(rows).encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("seed:N"),
        alt.Tooltip("score:Q", title=study.metric, format=".4~f"),
    ]
    lines = base.mark_line(strokeWidth=1.2, opacity=0.5).encode(
        detail="seed:N", order=alt.Order("position:Q"), color=alt.value(GRAY)
    )
    points = base.mark_circle(size=45, opacity=0.85).encode(color=alt.value(BLUE), tooltip=tooltip)
    ticks = (
        charted(means)
        .mark_tick(thickness=4, size=26, color=ORANGE)
        .encode(
            x=alt.X("mean:Q", scale=alt.Scale(zero=False)),
            y=y,
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("mean:Q", title="mean", format=".4~f"),
                alt.Tooltip("seeds:Q"),
            ],
        )
    )
    where = analysis.place(dataset, model)
    return alt.layer(lines, points, ticks).properties(
        width=width,
        height=rows_height(names),
        description=(
            f"{study.metric} of every seed on {where}, a line a seed from arm to arm, with the "
            f"mean of each arm: "
            + "; ".join(f"{row['arm']} {row['mean']:.4g}" for row in means)
            + "."
        ),
    )
