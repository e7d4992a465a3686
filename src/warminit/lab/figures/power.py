"""Analysis -> power: the detectable effect at each number of seeds, and the seeds needed."""

from typing import Any

import altair as alt
from scipy import optimize

from warminit.lab.figures.theme import (
    FILE_WIDTH,
    Layered,
    Width,
    arm_legend,
    arm_scale,
    charted,
    in_lines,
)
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cell import Cell
from warminit.lab.verdict.tests import power

TARGET = 0.8
"""Power from which an effect counts as detectable."""

SEED_COUNTS = (2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""Numbers of seeds on the curves, besides that of the study."""

MOST_CURVES = 12


def detectable(sd: float, n: int, *, alpha: float = 0.05) -> float:
    """Return the smallest effect that n seeds detect with power `TARGET` (one-sided paired t).

    Args:
        sd: Standard deviation of the paired differences, above 0.
        n: Number of seeds, at least 2.
        alpha: Level of the test.

    Returns:
        The effect, above 0, in the unit of `sd`, to one part in 10,000.

    Example:
        >>> round(detectable(0.005, 41), 4)
        0.002
    """
    high = 1.0
    while power(high * sd, sd, n, alpha=alpha) < TARGET:
        high *= 2
    found = optimize.brentq(
        lambda ratio: power(ratio * sd, sd, n, alpha=alpha) - TARGET, 0.0, high, rtol=1e-5
    )
    return float(found) * sd


def power_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return one row per comparison and number of seeds: the smallest detectable effect."""
    factor = 100.0 if analysis.in_points else 1.0
    rows = []
    for cell in _tested(analysis):
        c = cell.comparison
        assert c is not None  # noqa: S101 - filtered
        assert c.sd_difference is not None  # noqa: S101 - filtered
        rows += [
            {
                "arm": cell.arm,
                "name": in_lines(cell.arm),
                "place": analysis.place(cell.dataset, cell.model),
                "seeds": n,
                "effect": factor * detectable(c.sd_difference, n, alpha=c.alpha),
                "here": n == c.n,
            }
            for n in sorted({*SEED_COUNTS, c.n})
        ]
    return rows


def power_curves(analysis: Analysis, width: Width = FILE_WIDTH) -> Layered | None:
    """Draw the smallest detectable effect against the number of seeds, on logarithmic axes.

    A large point marks the study's number of seeds. The rule is the study's margin. Return None if
    no comparison could be tested.
    """
    rows = power_rows(analysis)
    if not rows:
        return None
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    scale = arm_scale([*arms, analysis.study.baseline], analysis.study.baseline)
    names = [in_lines(arm) for arm in arms]
    several = len({row["place"] for row in rows}) > 1
    unit = (
        "percentage points"
        if analysis.in_points
        else (analysis.study.unit or f"units of {analysis.study.metric}")
    )
    legend = arm_legend(arms)
    base = charted(rows).encode(
        x=alt.X(
            "seeds:Q",
            title="seeds of each arm (logarithmic)",
            scale=alt.Scale(type="log", base=2, nice=False),
            axis=alt.Axis(values=[2, 4, 8, 16, 32, 64, 128], format="d"),
        ),
        y=alt.Y(
            "effect:Q",
            title=["smallest effect seen with 80 % power,", f"{unit} (logarithmic)"],
            scale=alt.Scale(type="log", nice=True),
            axis=alt.Axis(tickCount=6, format="~g"),
        ),
        color=alt.Color(
            "name:N",
            scale=alt.Scale(domain=names, range=[scale[arm][0] for arm in arms]),
            legend=legend,
        ),
        detail="place:N",
        tooltip=[
            alt.Tooltip("arm:N"),
            *([alt.Tooltip("place:N", title="data set, model")] if several else []),
            alt.Tooltip("seeds:Q"),
            alt.Tooltip("effect:Q", title=f"effect ({unit})", format=".3~g"),
        ],
    )
    shape = alt.Shape(
        "name:N",
        scale=alt.Scale(domain=names, range=[scale[arm][1] for arm in arms]),
        legend=legend,
    )
    layers: list[alt.Chart] = [
        base.mark_line(),
        base.mark_point(filled=True, size=25).encode(shape=shape),
        base.transform_filter("datum.here").mark_point(filled=True, size=170).encode(shape=shape),
    ]
    margin = charted([{"effect": (100.0 if analysis.in_points else 1.0) * analysis.study.margin}])
    layers.append(margin.mark_rule(strokeDash=[4, 3]).encode(y="effect:Q"))
    here = "; ".join(
        f"{row['arm']} on {row['place']}: {row['effect']:.2g} with {row['seeds']} seeds"
        for row in rows
        if row["here"]
    )
    return alt.layer(*layers).properties(
        width=width,
        height=260,
        description=f"Smallest effect that would be seen with 80 % power ({unit}): {here}.",
    )


def _tested(analysis: Analysis) -> list[Cell]:
    cells = [
        cell
        for cell in analysis.cells
        if cell.comparison is not None and cell.comparison.sd_difference
    ]
    return cells[:MOST_CURVES]
