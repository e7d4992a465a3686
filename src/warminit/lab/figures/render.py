"""chart or SVG text -> SVG, PNG or PDF. Offline, with the fonts and engine of vl-convert."""

import json
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from warminit.errors import WarminitError
from warminit.lab.figures.theme import config
from warminit.lab.store.whole_file import written_whole

FORMATS = ("svg", "png", "pdf")

PNG_SCALE = 3
"""Pixels of a PNG per unit: 620 units are 1,860 pixels, 300 dots an inch over 6.2 inches."""

Figure = alt.TopLevelMixin | str
"""A chart, or the text of an SVG document."""


def spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """Return a chart as a Vega-Lite specification in plain values, without a configuration."""
    content: dict[str, Any] = json.loads(chart.to_json(validate=False))
    content.pop("config", None)
    # Altair adds the address of the schema, which nothing reads.
    return content


def render(figure: Figure, file_format: str = "svg") -> bytes:
    """Return a figure as a file's contents, light, on white.

    Args:
        figure: Figure of this package, with a width in pixels.
        file_format: `svg`, `png` or `pdf`.

    Raises:
        WarminitError: If the format is unknown.
    """
    if file_format not in FORMATS:
        raise WarminitError(
            f"format={file_format!r} is none of a figure's: {', '.join(FORMATS)}. Choose one."
        )
    svg = figure if isinstance(figure, str) else _chart_svg(figure)
    if file_format == "svg":
        return svg.encode()
    if file_format == "png":
        return bytes(vl_convert.svg_to_png(svg, scale=PNG_SCALE))
    return bytes(vl_convert.svg_to_pdf(svg))


def save(figure: Figure, path: Path) -> Path:
    """Write a figure to a file in the format of its ending; an error leaves no partial file.

    Raises:
        WarminitError: If the ending is unknown, or the file cannot be written.
    """
    content = render(figure, path.suffix.removeprefix(".").lower())
    with written_whole(path) as place:
        place.write_bytes(content)
    return path


def _chart_svg(chart: alt.TopLevelMixin) -> str:
    look = {**config("light"), "background": "white"}
    return vl_convert.vegalite_to_svg(spec(chart), config=look)
