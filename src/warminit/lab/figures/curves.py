"""Analysis -> learning curves: accuracy and training loss by step, with bands over the seeds."""

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

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
from warminit.lab.runs.results import RunResult
from warminit.lab.verdict.analysis import Analysis

Curve = Literal["accuracy", "loss"]

MOST_POINTS = 60
"""Points of a curve; the losses between two points are averaged."""

TITLES = {"accuracy": "accuracy on the evaluation split, %", "loss": "training loss, nats"}

ZOOM = "Shift and the wheel zoom, Shift and drag move, a double click goes back."


def curve_rows(analysis: Analysis, dataset: str, model: str, curve: Curve) -> list[dict[str, Any]]:
    """Return one row per arm and step: mean over the seeds, and one standard deviation around it.

    Accuracies are in percent, at the evaluated steps. Losses are means over equal numbers of steps,
    at the last of these steps. Failed runs are left out.
    """
    arms = [cell.arm for cell in shown_cells(analysis, dataset, model)]
    values: dict[tuple[str, int], list[float]] = {}
    for run in analysis.runs:
        spec = run.spec
        if run.result is None or (spec.dataset, spec.model) != (dataset, model):
            continue
        for step, value in _points(run.result, curve):
            if math.isfinite(value):
                values.setdefault((spec.arm.label, step), []).append(value)
    return [
        _row(arm, step, values[arm, step])
        for arm in arms
        for step in sorted(each for name, each in values if name == arm)
    ]


def learning_curves(
    analysis: Analysis, dataset: str, model: str, curve: Curve, width: Width = FILE_WIDTH
) -> Layered | None:
    """Draw the curves of every arm; None if the runs have no curves."""
    rows = curve_rows(analysis, dataset, model, curve)
    if not rows:
        return None
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    scale, names = arm_scale(arms, analysis.study.baseline), [in_lines(arm) for arm in arms]
    colour = alt.Color(
        "name:N",
        scale=alt.Scale(domain=names, range=[scale[arm][0] for arm in arms]),
        legend=arm_legend(arms),
    )
    shape = alt.Shape(
        "name:N",
        scale=alt.Scale(domain=names, range=[scale[arm][1] for arm in arms]),
        legend=arm_legend(arms),
    )
    # Without Shift the wheel scrolls the page, as usual.
    zoom = alt.selection_interval(
        bind="scales",
        zoom="wheel![event.shiftKey]",
        translate="[pointerdown[event.shiftKey], window:pointerup] > window:pointermove!",
    )
    x = alt.X(
        "step:Q",
        title="optimizer steps",
        axis=alt.Axis(tickCount=5, format=",d"),
        scale=alt.Scale(nice=False, padding=10),
    )
    y_scale = alt.Scale(zero=False)
    base = charted(rows).encode(x=x, color=colour)
    band = base.mark_area(opacity=0.16, clip=True).encode(
        y=alt.Y("low:Q", title=TITLES[curve], scale=y_scale), y2="high:Q"
    )
    line = base.mark_line(clip=True).encode(y=alt.Y("mean:Q", scale=y_scale))
    points = (
        base.mark_point(filled=True, size=45 if curve == "accuracy" else 22, clip=True)
        .encode(
            y=alt.Y("mean:Q", scale=y_scale),
            shape=shape,
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("step:Q", format=",d"),
                alt.Tooltip("mean:Q", format=".4~g"),
                alt.Tooltip("sd:Q", title="standard deviation", format=".2~g"),
                alt.Tooltip("seeds:Q"),
            ],
        )
        .add_params(zoom)
    )
    last = {row["arm"]: f"{row['arm']} {row['mean']:.4g}" for row in rows}
    return alt.layer(band, line, points).properties(
        width=width,
        height=260,
        description=(
            f"{TITLES[curve].capitalize()}, by step, on {analysis.title(dataset)} with {model}: "
            f"mean and standard deviation over the seeds. At the end: {'; '.join(last.values())}."
        ),
    )


def _points(result: RunResult, curve: Curve) -> Iterable[tuple[int, float]]:
    if curve == "loss":
        return _averaged(result.train_loss)
    accuracies = result.eval_metrics.get("accuracy", ())
    return ((step, 100 * value) for step, value in zip(result.eval_steps, accuracies, strict=False))


def _averaged(losses: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield (last step, mean loss) of pieces of equal length; a rest at the end is a piece too."""
    length = max(1, math.ceil(len(losses) / MOST_POINTS))
    for start in range(0, len(losses), length):
        piece = losses[start : start + length]
        yield start + len(piece), math.fsum(piece) / len(piece)


def _row(arm: str, step: int, values: Sequence[float]) -> dict[str, Any]:
    mean = math.fsum(values) / len(values)
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {
        "arm": arm,
        "name": in_lines(arm),
        "step": step,
        "mean": mean,
        "sd": sd,
        "low": mean - sd,
        "high": mean + sd,
        "seeds": len(values),
    }
