"""arm, outcome -> colour and shape; light or dark -> chart configuration. Okabe and Ito's palette.

Source: Okabe and Ito, "Color Universal Design" (2008): eight colours that all kinds of colour
vision tell apart. No figure relies on colour alone: shapes, positions and texts say the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import altair as alt

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, GRAY = "#E69F00", "#56B4E9", "#F0E442", "#7A7F87"
"""Okabe and Ito's colours; gray stands for their black, which a dark page would swallow."""

ARM_COLOURS = (GRAY, BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""Colours in the order of the arms; the study's baseline is gray."""

ARM_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "stroke")

OUTCOMES: Mapping[str, tuple[str, str]] = {
    "helps": (BLUE, "triangle-right"),
    "harms": (VERMILLION, "triangle-left"),
    "equivalent": (GREEN, "diamond"),
    "undecided": (GRAY, "circle"),
    "not tested": (PURPLE, "cross"),
}
"""Colour and shape of each outcome of a comparison."""

Width = int | Literal["container"]
"""Width of a figure: pixels in a file, or the width of its container in a page."""

Layered = alt.LayerChart | alt.FacetChart
"""Type of layered charts; no figure here has facets."""

FILE_WIDTH = 620
"""Width of a file in pixels, that of a printed text column."""

FONT = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def config(mode: Literal["light", "dark"] = "light") -> dict[str, Any]:
    """Return the Vega-Lite configuration of every figure; the page sets the background."""
    text, quiet, grid = (
        ("#1b1f24", "#4a515a", "#e3e6ea") if mode == "light" else ("#eceff3", "#b6bec8", "#343b44")
    )
    titles = {"titleColor": text, "titleFontSize": 12, "titleFontWeight": "normal"}
    labels = {"labelColor": quiet, "labelFontSize": 11}
    return {
        "background": "transparent",
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            **titles,
            **labels,
            "gridColor": grid,
            "domainColor": quiet,
            "tickColor": quiet,
            "titlePadding": 8,
            "labelFlush": False,
            "labelOverlap": "greedy",
            "labelSeparation": 6,
        },
        "legend": {
            **titles,
            **labels,
            "orient": "bottom",
            "symbolSize": 90,
            "symbolOpacity": 1,
            "labelLimit": 200,
        },
        "title": {"color": text, "fontSize": 13, "fontWeight": 600, "anchor": "start"},
        "text": {"color": text, "fontSize": 11},
        "rule": {"color": quiet},
        "line": {"strokeWidth": 2},
    }


def arm_scale(arms: Sequence[str], baseline: str) -> dict[str, tuple[str, str]]:
    """Return each arm's colour and shape: the baseline is gray, the others in the study's order.

    Example:
        >>> arm_scale(["a", "b"], "b")["b"]
        ('#7A7F87', 'circle')
    """
    others = [arm for arm in arms if arm != baseline]
    return {baseline: (GRAY, "circle")} | {
        arm: (
            ARM_COLOURS[1:][number % (len(ARM_COLOURS) - 1)],
            ARM_SHAPES[1:][number % (len(ARM_SHAPES) - 1)],
        )
        for number, arm in enumerate(others)
    }


LINE = 26
"""Characters per line of an arm's name beside a chart; on a phone, the chart has as much room."""


def in_lines(arm: str) -> str:
    r"""Break an arm's name at its parameters into lines that fit beside a chart.

    Example:
        >>> in_lines("prewarm(n_filters=16, patches_per_image=22, scale=0.2)").split("\n")
        ['prewarm(', 'n_filters=16,', 'patches_per_image=22,', 'scale=0.2)']
    """
    if len(arm) <= LINE:
        return arm
    name, bracket, rest = arm.partition("(")
    lines = [name + bracket]
    for part in rest.split(", ") if rest else []:
        joined = f"{lines[-1]}, {part}"
        if len(lines) > 1 and len(joined) <= LINE:
            lines[-1] = joined
        else:
            lines[-1] += "," if len(lines) > 1 else ""
            lines.append(part)
    return "\n".join(lines)


def rows_axis() -> alt.Axis:
    """Return the axis of a chart with one row per name; names may have several lines."""
    return alt.Axis(
        labelExpr="split(datum.label, '\\n')",
        labelLimit=200,
        labelPadding=8,
        domain=False,
        labelBaseline="middle",
    )


def rows_height(names: Sequence[str]) -> int:
    """Return the height of the rows of names, each as high as the longest name."""
    lines = max((name.count("\n") + 1 for name in names), default=1)
    return max(1, len(names)) * (20 + 14 * lines)


def arm_legend(arms: Sequence[str]) -> alt.Legend:
    """Return a legend that fits a phone: names too long for two columns are stacked."""
    columns = 2 if sum(sorted(map(len, arms))[-2:]) < 1.5 * LINE else 1
    return alt.Legend(
        title=None, columns=columns, labelLimit=300, labelExpr="split(datum.label, '\\n')"
    )


def charted(values: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Return an empty chart with its rows inside, so that it opens without a network."""
    return alt.Chart(alt.InlineData(values=[dict(row) for row in values]))
