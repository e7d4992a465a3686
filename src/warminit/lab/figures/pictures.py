"""tiles of pixels -> SVG text. Filters, patches and images that scale to any width."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from warminit.lab.figures.theme import FONT, VERMILLION
from warminit.look.plot import filter_tiles

COLUMNS = 8
"""Maximum number of filters or patches per row."""

GAP = 5
"""Units between two tiles; the frame of a conditioned filter lies in this gap."""

TITLE_HEIGHT = 22


@dataclass(frozen=True, slots=True)
class Picture:
    """Hold one panel: a heading over tiles.

    Attributes:
        title: Heading.
        alt: Description for readers who cannot see the picture.
        body: SVG elements with escaped text, drawn from (0, 0).
        width: Width in units; one unit is one CSS pixel at full size.
        height: Height in units, without the heading.
    """

    title: str
    alt: str
    body: str
    width: int
    height: int


def mosaic(
    filters: Tensor,
    *,
    title: str,
    marked: Iterable[int] = (),
    names: Sequence[str] = (),
) -> Picture:
    """Draw filters as tiles, each scaled to its own range, with frames around marked filters.

    Args:
        filters: Filters, (F, C, *K).
        title: Heading.
        marked: Indices of the filters with a frame: the conditioned ones.
        names: Names of the filters for the tooltips; `filter 0` and so on by default.

    Returns:
        The panel, with one frame per marked filter.
    """
    tiles, marks = filter_tiles(filters.detach().float().cpu()), set(marked)
    norms = filters.detach().double().flatten(1).norm(dim=1).tolist()
    tips = [
        f"{names[number] if names else f'filter {number}'}: norm {norm:.3g}"
        f"{', conditioned' if number in marks else ''}"
        for number, norm in enumerate(norms)
    ]
    told = f"{len(tiles)} filters" + (f", {len(marks)} of them conditioned" if marks else "")
    return _panel(title, f"{title}: {told}.", tiles, tips, 32, marks)


def patch_strips(clusters: Mapping[str, Tensor], *, title: str) -> Picture:
    """Draw some patches of each cluster, one row per cluster.

    Args:
        clusters: Patches of each row by its name, (n, C, *K); the first `COLUMNS` are shown.
        title: Heading.
    """
    parts, top, widest, side = [], 0, 1, 26
    for name, patches in clusters.items():
        shown = patches[:COLUMNS]
        tiles = filter_tiles(shown.float().cpu())
        row = _panel("", "", tiles, [name] * len(shown), side, set())
        parts.append(
            f'<text x="0" y="{top + side // 2 + 4}" class="quiet">{escape(name)}</text>'
            f'<g transform="translate(88 {top})">{row.body}</g>'
        )
        top, widest = top + row.height, max(widest, 88 + row.width)
    told = f"{title}: {', '.join(clusters)}."
    return Picture(title, told, "".join(parts), widest, max(top, 1))


def images_with_positions(
    images: Tensor,
    positions: Sequence[Sequence[tuple[int, int]]],
    kernel: tuple[int, int],
    *,
    title: str,
) -> Picture:
    """Draw images in gray or colour with a frame around every sampled patch.

    Args:
        images: Images, (n, C, H, W), pixels from 0 to 1; with C other than 1 or 3, the first
            channel is shown.
        positions: Upper left corner (row, column) of each patch, by image.
        kernel: Height and width of a patch.
        title: Heading.
    """
    channels = 3 if images.shape[1] == 3 else 1
    pixels = images[:, :channels].expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
    tiles = (255 * pixels.clamp(0, 1)).round().byte().cpu().numpy()
    columns, side = 3, 96  # images a row, units of an image's width
    unit = side / images.shape[3]
    height = round(unit * images.shape[2])
    parts = []
    for number, (tile, corners) in enumerate(zip(tiles, positions, strict=True)):
        left, top = number % columns * (side + GAP), number // columns * (height + GAP)
        frames = "".join(
            f'<rect x="{unit * column:.1f}" y="{unit * row:.1f}" width="{unit * kernel[1]:.1f}" '
            f'height="{unit * kernel[0]:.1f}" class="position"/>'
            for row, column in corners
        )
        parts.append(
            f'<g transform="translate({left} {top})">{_image(tile, side, height)}{frames}</g>'
        )
    rows = -(-len(tiles) // columns)
    return Picture(
        title,
        f"{title}: {len(tiles)} images, with {sum(map(len, positions))} positions of "
        f"{kernel[0]} x {kernel[1]} patches.",
        "".join(parts),
        min(columns, len(tiles)) * (side + GAP),
        rows * (height + GAP),
    )


def to_svg(pictures: Sequence[Picture], *, columns: int = 1, ink: str = "#1b1f24") -> str:
    """Put panels beside and below one another into one SVG document.

    Args:
        pictures: Panels, at least one.
        columns: Number of panels per row.
        ink: Colour of the text; a page passes `currentColor` and sets the background.
    """
    width = max(picture.width for picture in pictures) + 16
    parts, top = [], 0
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        for number, picture in enumerate(row):
            heading = f'<text x="0" y="14" class="heading">{escape(picture.title)}</text>'
            offset = TITLE_HEIGHT if picture.title else 0
            parts.append(
                f'<g transform="translate({number * width} {top})">{heading if offset else ""}'
                f'<g transform="translate(0 {offset})">{picture.body}</g></g>'
            )
        top += max(picture.height for picture in row) + TITLE_HEIGHT + 8
    # A style sheet in an SVG applies to the whole page: every rule has a distinct class.
    style = (
        f".picture text{{font:12px {FONT};fill:{ink}}}.picture .heading{{font-size:13px;"
        f"font-weight:600}}.picture .quiet{{font-size:11px}}.picture image{{image-rendering:"
        f"pixelated}}.picture .tile{{fill:transparent}}"
        f".picture .frame{{fill:none;stroke:{VERMILLION};stroke-width:2.5}}"
        f".picture .position{{fill:none;stroke:{VERMILLION};stroke-width:1.2}}"
    )
    ground = "" if ink == "currentColor" else '<rect width="100%" height="100%" fill="white"/>'
    across = width * min(columns, len(pictures))
    label = escape(" ".join(picture.alt for picture in pictures))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {across} {top}" '
        f'width="{across}" height="{top}" role="img" aria-label="{label}"><style>{style}</style>'
        f"{ground}{''.join(parts)}</svg>"
    )


def _panel(
    title: str,
    alt: str,
    tiles: NDArray[np.uint8],
    tips: Sequence[str],
    side: int,
    marks: set[int],
) -> Picture:
    unit = side / min(tiles.shape[1:3])
    width, height = round(unit * tiles.shape[2]), round(unit * tiles.shape[1])
    columns = max(1, min(COLUMNS, len(tiles), max(1, COLUMNS * (side + GAP) // (width + GAP))))
    parts = []
    for number, (tile, tip) in enumerate(zip(tiles, tips, strict=True)):
        left = GAP // 2 + number % columns * (width + GAP)
        top = GAP // 2 + number // columns * (height + GAP)
        frame = ""
        if number in marks:
            frame = (
                f'<rect x="-1.5" y="-1.5" width="{width + 3}" height="{height + 3}" class="frame"/>'
            )
        parts.append(
            f'<g transform="translate({left} {top})">{_image(tile, width, height)}{frame}'
            f'<rect width="{width}" height="{height}" class="tile"><title>{escape(tip)}</title>'
            "</rect></g>"
        )
    rows = -(-len(tiles) // columns)
    return Picture(
        title, alt, "".join(parts), columns * (width + GAP) + 1, rows * (height + GAP) + 1
    )


def _image(tile: NDArray[Any], width: int, height: int) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(tile)).save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<image href="data:image/png;base64,{data}" width="{width}" height="{height}"/>'
