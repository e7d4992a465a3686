"""warminit.methods(), the defaults by architecture -> their tables in docs/initializers.md.

Usage: python tools/methods_page.py
"""

import re
from collections.abc import Iterator
from pathlib import Path

from warminit.initializers import get_method, keywords, methods
from warminit.initializers.default import DEFAULTS

PAGE = Path(__file__).parents[1] / "docs" / "initializers.md"

SHARED = {"batches", "layers", "mean", "raw_images", "std"}
"""Options about the images and the place of the layer; the page explains them once."""


def method_rows() -> Iterator[str]:
    """Yield the lines of the table of methods."""
    yield "| method | sets | requires | what it does | options |"
    yield "|---|---|---|---|---|"
    for each in methods():
        names, _ = keywords(get_method(each.name))
        options = ", ".join(f"`{name}`" for name in sorted(names - SHARED))
        cells = [f"`{each.name}`", each.sets, ", ".join(each.needs), each.summary, options]
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |")


def default_rows() -> Iterator[str]:
    """Yield the lines of the table of defaults."""
    yield "| architecture | what `init_` applies | compared with torch's default |"
    yield "|---|---|---|"
    for each in DEFAULTS:
        link = f"[{each.evidence}](results/{each.evidence}/README.md)"
        compared = link if each.evidence else "not compared yet"
        yield f"| {each.architecture} | `{each.method}` | {compared} |"


def filled(text: str) -> str:
    """Return the page with both tables as they are today."""
    for name, rows in {"methods": method_rows(), "defaults": default_rows()}.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        region = re.compile(rf"{begin}\n.*?{end}", re.DOTALL)
        if len(region.findall(text)) != 1:
            raise ValueError(f"{PAGE}: expected one region {begin} ... {end}.")
        before, after = region.split(text)
        text = before + "\n".join([begin, *rows, end]) + after
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
