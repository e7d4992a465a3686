"""docs/results/ -> the tables of the pages that say what kept studies show together.

Usage: python tools/results_pages.py    # fills every `<!-- table: NAME -->` ... `<!-- end -->`

`results_tables.py` says which table compares what, `paired_rows.py` computes its rows.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from kept_format import RESULTS
from results_tables import TABLES
from setting_tables import robustness
from warminit.lab.figures.profile import profile
from warminit.lab.figures.render import save

DOCS = RESULTS.parent
PAGES = (*(DOCS / f"{name}.md" for name in ("choose", "faq", "why")), *sorted(RESULTS.glob("*.md")))
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def build() -> Iterator[tuple[Path, str]]:
    """Yield every page with each of its tables computed anew."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        yield page, MARKED.sub(lambda m: "\n".join([m[1], *TABLES[m[2]](), "", m[3]]), text)


if __name__ == "__main__":
    for path, text in build():
        path.write_text(text, encoding="utf-8")
    save(profile(robustness()), RESULTS / "across.svg")
