"""a kept run -> docs/assets/filters-light.svg and -dark.svg: its first layer before and after.

Usage: WARMINIT_DATA=FOLDER python tools/front_pictures.py
"""

import os
from pathlib import Path

from kept_format import RESULTS
from warminit.lab.data.load import load_dataset
from warminit.lab.figures.pictures import COLUMNS, Picture, mosaic
from warminit.lab.figures.theme import FONT, VERMILLION
from warminit.lab.report.starts import start_of
from warminit.lab.store.store import StoredRun
from warminit.lab.verdict.kept import kept_runs

ASSETS = Path(__file__).parent.parent / "docs" / "assets"

STUDY, DATASET, ARM, SEED = "confirmation", "cifar10", "whitening-small-head", 1001

INKS = {"light": ("#1b1f24", "#59636e"), "dark": ("#f0f3f6", "#9aa4af")}
"""Of each theme the colour of headings and of what stands below them; the page is the ground."""

BETWEEN, HEAD = 72, 62
"""Units between the two panels, where the arrow is, and above them."""

SET = 16
"""Filters that the arm sets, the first half of 32, so that one frame holds them."""


def kept_run() -> StoredRun:
    """Return the run whose first layer is drawn."""
    return next(
        run
        for run in kept_runs(RESULTS / STUDY)
        if (run.spec.dataset, run.spec.arm.label, run.spec.seed) == (DATASET, ARM, SEED)
    )


def panels(data_root: Path) -> tuple[Picture, Picture]:
    """Draw the first layer as torch makes it, and as the run trained from it."""
    start = start_of(load_dataset(DATASET, data_root=data_root), kept_run())
    return (
        mosaic(start.before, title="torch's default"),
        mosaic(start.after, title="after init_"),
    )


def picture(before: Picture, after: Picture, mode: str) -> str:
    """Put the two panels beside one another, an arrow between them, into one SVG document."""
    ink, quiet = INKS[mode]
    right, width = before.width + BETWEEN, before.width + BETWEEN + after.width + 4
    middle = HEAD + before.height // 2
    about = f"First layer of a CNN on CIFAR-10. Left: {before.alt} Right: {after.alt}"
    below = ("32 random filters", f"{SET} filters from one batch")
    set_height = after.height * SET // (4 * COLUMNS)
    headings = "".join(
        f'<text x="{left + 3}" y="22" class="head">{panel.title}</text>'
        f'<text x="{left + 3}" y="46" class="below">{text}</text>'
        for left, panel, text in ((0, before, below[0]), (right, after, below[1]))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEAD + after.height}" '
        f'width="{width}" height="{HEAD + after.height}" role="img" aria-label="{about}">'
        f"<style>text{{font:18px {FONT};fill:{quiet}}}.head{{font-size:22px;font-weight:600;"
        f"fill:{ink}}}image{{image-rendering:pixelated}}.tile{{fill:transparent}}.frame,.arrow{{"
        f"fill:none;stroke:{VERMILLION};stroke-width:2.5}}</style>{headings}"
        f'<path class="arrow" d="M{before.width + 14} {middle}h{BETWEEN - 30}m-9-9l9 9-9 9"/>'
        f'<g transform="translate(0 {HEAD})">{before.body}</g>'
        f'<g transform="translate({right} {HEAD})">{after.body}</g>'
        f'<rect class="frame" x="{right - 2}" y="{HEAD - 2}" width="{after.width + 1}" '
        f'height="{set_height + 2}" rx="4"/></svg>\n'
    )


if __name__ == "__main__":
    drawn = panels(Path(os.environ["WARMINIT_DATA"]))
    for mode in INKS:
        (ASSETS / f"filters-{mode}.svg").write_text(picture(*drawn, mode), encoding="utf-8")
