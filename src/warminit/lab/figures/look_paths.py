"""Analysis of a sequential study -> the path of each comparison over its looks, with boundaries."""

from typing import Any

import altair as alt

from warminit.lab.figures.seed_lines import shown_cells
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

EVIDENCE = {"t": "paired t statistic", "betting": "log capital of the bets"}
"""Name of each method's evidence."""


def look_rows(analysis: Analysis, dataset: str, model: str) -> list[dict[str, Any]]:
    """Return one row per comparison and look, in the study's order, for `shown_cells` only.

    `evidence` is positive if the arm is better. From `boundary` up the arm helps; from minus
    `boundary` down it harms.
    """
    rows = []
    for cell in shown_cells(analysis, dataset, model):
        decision = None if cell.comparison is None else cell.comparison.decision
        if decision is None:
            continue
        for step in decision.path:
            last = step.seeds == decision.seeds
            rows.append(
                {
                    "arm": cell.arm,
                    "name": in_lines(cell.arm),
                    "seeds": step.seeds,
                    "evidence": step.evidence,
                    "boundary": step.boundary,
                    "minus": -step.boundary,
                    "last": last,
                    "outcome": decision.outcome if last else "go on",
                }
            )
    return rows


def look_paths(
    analysis: Analysis, dataset: str, model: str, width: Width = FILE_WIDTH
) -> Layered | None:
    """Draw the evidence of each comparison after each look, and the boundaries of that look.

    A large point marks the last look of a comparison. Return None before the first look.
    """
    rows, study = look_rows(analysis, dataset, model), analysis.study
    if not rows or study.sequential is None:
        return None
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    looks = sorted({row["seeds"] for row in rows})
    colours = arm_scale([arm.label for arm in study.arms], study.baseline)
    names = [in_lines(arm) for arm in arms]
    legend = arm_legend(arms)
    title = EVIDENCE[study.sequential.method]
    y_axis = alt.Axis(title=f"{title} (higher: the arm is better)", format="~g")
    y_scale = alt.Scale(type="symlog", constant=3)  # evidence may be tens of boundaries
    base = charted(rows).encode(
        x=alt.X(
            "seeds:Q",
            title="seeds so far",
            scale=alt.Scale(domain=[looks[0] - 0.5, looks[-1] + 0.5], nice=False, zero=False),
            axis=alt.Axis(values=looks, format="d"),
        ),
        color=alt.Color(
            "name:N",
            scale=alt.Scale(domain=names, range=[colours[arm][0] for arm in arms]),
            legend=legend,
        ),
        tooltip=[
            alt.Tooltip("arm:N"),
            alt.Tooltip("seeds:Q"),
            alt.Tooltip("evidence:Q", title=title, format=".3~f"),
            alt.Tooltip("boundary:Q", format=".3~f"),
            alt.Tooltip("outcome:N"),
        ],
    )
    shape = alt.Shape(
        "name:N",
        scale=alt.Scale(domain=names, range=[colours[arm][1] for arm in arms]),
        legend=legend,
    )
    evidence = base.encode(y=alt.Y("evidence:Q", axis=y_axis, scale=y_scale))
    bounds = [base.encode(y=alt.Y(f"{name}:Q", axis=y_axis)) for name in ("boundary", "minus")]
    layers: list[alt.Chart] = [
        charted([{"zero": 0}]).mark_rule(strokeDash=[4, 3]).encode(y="zero:Q"),
        *(bound.mark_line(strokeDash=[2, 3], strokeWidth=1.5) for bound in bounds),
        *(bound.mark_tick(orient="horizontal", thickness=2, size=16) for bound in bounds),
        evidence.mark_line(),
        evidence.mark_point(filled=True, size=30).encode(shape=shape),
        evidence.transform_filter("datum.last")
        .mark_point(filled=True, size=150)
        .encode(shape=shape),
    ]
    return alt.layer(*layers).properties(
        width=width,
        height=280,
        description=_description(analysis.place(dataset, model), title, rows),
    )


def _description(place: str, title: str, rows: list[dict[str, Any]]) -> str:
    told = "; ".join(
        f"{row['arm']}: {row['evidence']:.2f} after {row['seeds']} seeds, boundary "
        f"{row['boundary']:.2f} on either side ({row['outcome']})"
        for row in rows
        if row["last"]
    )
    return f"Path of the {title} of each comparison over its looks on {place}. At its end {told}."
