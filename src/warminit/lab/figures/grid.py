"""rows of a grid search -> heat maps of the gain, with the rule's prediction marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from warminit.lab.figures.theme import ORANGE, Layered, Width, charted
from warminit.lab.paper.grid_table import GridRow


@dataclass(frozen=True, slots=True)
class Prediction:
    """Hold the configuration that Pre-Warm's rules derive for a data set and model."""

    patch_size: int
    n_clusters: int
    n_patches: int
    scale: float


def grid_panels(rows: Sequence[GridRow]) -> list[tuple[int, int]]:
    """Return (patch_size, n_clusters) of every heat map, in order."""
    return sorted({(row.patch_size, row.n_clusters) for row in rows})


def grid_heat_map(
    rows: Sequence[GridRow],
    panel: tuple[int, int],
    predicted: Prediction | None = None,
    width: Width = 300,
) -> Layered:
    """Draw one (patch_size, n_clusters) of a grid: n_patches by scale, the colour being the gain.

    Blue is a lower loss than the baseline's and orange a higher one; all panels of the same `rows`
    share one colour scale. A dot marks p < 0.05 without correction, a large one what stands after
    Holm's. A frame marks the rule's prediction, or the nearest configuration that was run.

    Args:
        rows: Rows of the whole grid.
        panel: Panel of `grid_panels(rows)`.
        predicted: Configuration that the rules give, or None.
        width: Width of the panel.
    """
    limit = max(abs(row.delta) for row in rows) or 1.0
    patch_size, n_clusters = panel
    marked = _nearest(rows, predicted)
    values: list[dict[str, Any]] = [
        {
            "n_patches": row.n_patches,
            "scale": f"{row.scale:g}",
            "gain": row.delta,
            "p": "not tested"
            if row.comparison.p_one_sided is None
            else f"{row.comparison.p_one_sided:.4f}",
            "holm": "not tested"
            if row.comparison.p_holm is None
            else f"{row.comparison.p_holm:.4f}",
            "mark": _size(row),
            "rule": row is marked,
        }
        for row in rows
        if (row.patch_size, row.n_clusters) == panel
    ]
    scales = sorted({row.scale for row in rows}, reverse=True)
    base = charted(values).encode(
        x=alt.X(
            "n_patches:O",
            title="n_patches, patches an image",
            scale=alt.Scale(domain=sorted({row.n_patches for row in rows})),
            axis=alt.Axis(labelAngle=0),
        ),
        y=alt.Y(
            "scale:O",
            title="scale",
            scale=alt.Scale(domain=[f"{scale:g}" for scale in scales]),
        ),
        tooltip=[
            alt.Tooltip("n_patches:O"),
            alt.Tooltip("scale:O"),
            alt.Tooltip("gain:Q", title="loss below the baseline", format="+.4~f"),
            alt.Tooltip("p:N", title="one-sided p"),
            alt.Tooltip("holm:N", title="Holm p"),
        ],
    )
    gain = alt.Color(
        "gain:Q",
        title="loss below the baseline, nats",
        scale=alt.Scale(scheme="blueorange", domain=[limit, 0, -limit]),
        legend=alt.Legend(format="+.2~g", gradientLength=180, tickCount=4),
    )
    layers: list[alt.Chart] = [
        base.mark_rect().encode(color=gain),
        base.transform_filter("datum.mark > 0")
        .mark_point(filled=True, color="#1b1f24", opacity=1)
        .encode(size=alt.Size("mark:Q", scale=None, legend=None)),
    ]
    if marked is not None and (marked.patch_size, marked.n_clusters) == panel:
        layers.append(
            base.transform_filter("datum.rule").mark_rect(
                filled=False, stroke=ORANGE, strokeWidth=4
            )
        )
    best = max(values, key=lambda value: value["gain"])
    return alt.layer(*layers).properties(
        width=width,
        height=28 * len(scales),
        title=f"patch_size {patch_size}, n_clusters {n_clusters}",
        description=(
            f"Heat map of {len(values)} configurations with patch_size {patch_size} and n_clusters "
            f"{n_clusters}. Largest gain {best['gain']:+.4g} at n_patches {best['n_patches']}, "
            f"scale {best['scale']}."
        ),
    )


def _size(row: GridRow) -> int:
    if row.comparison.p_holm is not None and row.comparison.p_holm < row.comparison.alpha:
        return 110
    return 28 if row.significant else 0


def _nearest(rows: Sequence[GridRow], predicted: Prediction | None) -> GridRow | None:
    """Return the row of the predicted patch size and clusters whose numbers are nearest."""
    if predicted is None:
        return None
    fitting = [
        row
        for row in rows
        if (row.patch_size, row.n_clusters) == (predicted.patch_size, predicted.n_clusters)
    ]
    return min(
        fitting,
        key=lambda row: (
            abs(row.n_patches - predicted.n_patches),
            abs(row.scale - predicted.scale),
        ),
        default=None,
    )
