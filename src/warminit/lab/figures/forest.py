"""Analysis -> forest plot: the paired difference and interval of each arm, data set and model."""

from typing import Any

import altair as alt

from warminit.lab.figures.theme import (
    FILE_WIDTH,
    ORANGE,
    OUTCOMES,
    Layered,
    Width,
    charted,
    in_lines,
    rows_axis,
    rows_height,
)
from warminit.lab.paper.published import TABLE_3
from warminit.lab.paper.training_tables import off_protocol
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import Row, cell_rows, scale_of

MOST_ROWS = 40
"""Maximum number of comparisons; of a larger sweep, those with the smallest p are shown."""

PAPER = "the paper's difference"

SIGNIFICANT = ("helps", "harms")
"""Outcomes that Holm's p decides; their points are filled."""


def forest_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return one row per comparison, in the study's order, with differences in the printed unit.

    Of more than `MOST_ROWS` comparisons, those with the smallest two-sided p are kept.
    """
    factor = scale_of(analysis).factor
    found = [row for row in cell_rows(analysis) if row.difference is not None]
    if len(found) > MOST_ROWS:
        smallest = sorted(range(len(found)), key=lambda place: _p(found[place]))[:MOST_ROWS]
        found = [found[place] for place in sorted(smallest)]
    several = len(analysis.study.datasets) * len(analysis.study.models) > 1
    rows = []
    for row in found:
        place = analysis.place(row.dataset, row.model)
        low, high = (
            None if end is None else factor * end for end in (row.interval_low, row.interval_high)
        )
        rows.append(
            {
                "row": in_lines(row.arm) + (f"\n{place}" if several else ""),
                "place": place,
                "arm": row.arm,
                "difference": factor * (row.difference or 0.0),
                "low": low,
                "high": high,
                "shown": row.texts.difference,
                "interval": row.texts.interval or "no interval",
                "holm": row.texts.p_holm or "not tested",
                "significant": row.outcome in ("helps", "harms"),
                "wins": row.texts.wins,
                "outcome": row.outcome,
                "paper": _paper(analysis, row, factor),
            }
        )
    return rows


def forest(analysis: Analysis, width: Width = FILE_WIDTH) -> Layered:
    """Draw every comparison as a point with its interval.

    Filled points are significant after Holm's correction. The band is the equivalence margin. A
    vertical tick is the paper's own figure from Table 3, in a study with the paper's protocol.
    """
    study, rows = analysis.study, forest_rows(analysis)
    factor, unit = (100.0, "points") if analysis.in_points else (1.0, study.unit or "")
    margin = factor * study.margin
    better = "lower is better" if study.lower_is_better else "higher is better"
    shown = unit if not analysis.in_points else "percentage points"
    title = [
        f"difference from {study.baseline}",
        f"{study.metric.replace('_', ' ')}{', ' + shown if shown else ''}",
        better,
    ]
    order = [row["row"] for row in rows]
    y = alt.Y("row:N", sort=order, title=None, axis=rows_axis())
    outcomes = [name for name in OUTCOMES if any(row["outcome"] == name for row in rows)]
    colours = alt.Scale(domain=outcomes, range=[OUTCOMES[name][0] for name in outcomes])
    shapes = alt.Scale(domain=outcomes, range=[OUTCOMES[name][1] for name in outcomes])
    # A separate scale makes the legend's symbols as empty or filled as the points.
    fills = alt.Scale(
        domain=outcomes,
        range=[OUTCOMES[name][0] if name in SIGNIFICANT else "transparent" for name in outcomes],
    )
    legend = alt.Legend(title=None, columns=2, symbolStrokeWidth=2)
    paper: list[alt.Chart] = []
    if any(row["paper"] is not None for row in rows):
        title.append(f"orange tick: {PAPER}")
        ticks = charted([row for row in rows if row["paper"] is not None])
        paper = [
            ticks.mark_tick(color=ORANGE, thickness=4, size=24, opacity=1).encode(
                y=y, x="paper:Q", tooltip=[alt.Tooltip("paper:Q", title=PAPER)]
            )
        ]
    x_axis = alt.Axis(
        title=title,
        titleAnchor="end",  # a long title has room to the left
        format="+.2~f" if analysis.in_points else "+.3~g",
        labelExpr="datum.value === 0 ? '0' : datum.label",
        tickCount=5,
    )
    base = charted(rows)
    tooltip = [
        alt.Tooltip(f"{name}:N", title=heading)
        for name, heading in (
            ("arm", "arm"),
            ("place", "data set, model"),
            ("shown", f"difference ({unit})" if unit else "difference"),
            ("interval", "interval"),
            ("holm", "Holm p"),
            ("wins", "wins"),
            ("outcome", "outcome"),
        )
    ]
    layers: list[alt.Chart] = [
        charted([{"low": -margin, "high": margin}])
        .mark_rect(color=OUTCOMES["equivalent"][0], opacity=0.13)
        .encode(x=alt.X("low:Q", axis=x_axis), x2="high:Q"),
        charted([{"zero": 0}]).mark_rule(strokeDash=[4, 3]).encode(x="zero:Q"),
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2.5)
        .encode(
            y=y,
            x=alt.X("low:Q", axis=x_axis),
            x2="high:Q",
            color=alt.Color("outcome:N", scale=colours, legend=legend),
            tooltip=tooltip,
        ),
        *paper,
        base.mark_point(size=110, strokeWidth=2, opacity=1).encode(
            y=y,
            x=alt.X("difference:Q", axis=x_axis),
            color=alt.Color("outcome:N", scale=colours, legend=legend),
            shape=alt.Shape("outcome:N", scale=shapes, legend=legend),
            fill=alt.Fill("outcome:N", scale=fills, legend=legend),
            tooltip=tooltip,
        ),
    ]
    return alt.layer(*layers).properties(
        width=width,
        height=rows_height(order),
        description=_description(analysis, rows, unit),
    )


def _paper(analysis: Analysis, row: Row, factor: float) -> float | None:
    """Return Table 3's difference for this arm, baseline, metric, model and data set, or None."""
    study = analysis.study
    same = (row.arm, study.baseline, study.metric) == ("prewarm", "torch-default", "accuracy")
    if not same or row.model != "simplecnn" or row.partial:
        return None
    if off_protocol(study):
        return None
    paper = TABLE_3.get(row.dataset)
    return None if paper is None else factor * paper.difference


def _p(row: Row) -> float:
    return 2.0 if row.p_two_sided is None else row.p_two_sided


def _description(analysis: Analysis, rows: list[dict[str, Any]], unit: str) -> str:
    told = [
        f"{row['arm']} on {row['place']}: {row['shown']} {unit}".rstrip() + f" ({row['outcome']})"
        for row in rows[:6]
    ]
    more = f"; and {len(rows) - 6} more" if len(rows) > 6 else ""
    return (
        f"Forest plot of {len(rows)} paired differences from {analysis.study.baseline} with their "
        f"intervals. {'; '.join(told)}{more}."
    )
