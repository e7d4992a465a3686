"""docs/results/robustness-* -> docs/results/across.md and across.svg: all settings together.

Usage: python tools/across_page.py
"""

from collections.abc import Sequence

from kept_format import RESULTS
from warminit.lab.figures.profile import profile
from warminit.lab.figures.render import save
from warminit.lab.verdict.kept import read_kept
from warminit.lab.verdict.scale import p_text
from warminit.lab.verdict.settings import (
    EXPLANATION,
    HEADINGS,
    Settings,
    across_settings,
    sentences,
    texts,
)

ABOUT = (
    "This page says what the kept studies `robustness-*` show together. `python "
    "tools/across_page.py` writes it, and `warminit across docs/results/robustness-*` prints the "
    "same. They differ in data set, network, optimizer, learning rate, batch, steps, warm-up and "
    "augmentation; all were evaluated on images set aside from training. Two rules of the default "
    "were made from some of these runs ([which](../other-settings.md))."
)


def page(settings: Settings) -> str:
    """Return the table over all settings, and one row a setting and arm."""
    lines = [
        "# All settings together",
        "",
        ABOUT,
        "",
        *table(HEADINGS, texts(settings)),
        "",
        EXPLANATION,
        "",
        *(f"- {sentence}" for sentence in sentences(settings)),
        "",
        "![Share of runs that gain more than so much over the baseline, by arm](across.svg)",
        "",
        "## Each setting",
        "",
        "Holm's p is over all rows of this table.",
        "",
    ]
    rows = []
    for arm in settings.arms:
        for setting, c in zip(arm.gains, arm.comparisons, strict=True):
            low, high = c.confidence_interval or (None, None)
            interval = "" if low is None else f"{_shown(settings, low)} to {_shown(settings, high)}"
            difference = _shown(settings, c.mean_difference)
            cells = (setting, arm.arm, str(c.n), difference, interval, p_text(c.p_holm), c.outcome)
            rows.append(cells)
    headings = ("setting", "arm", "seeds", "difference", "95 % interval", "Holm p", "outcome")
    return "\n".join([*lines, *table(headings, rows), ""])


def table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(row)} |" for row in (headings, ("---",) * len(headings), *rows)]


def _shown(settings: Settings, value: float | None) -> str:
    return "" if value is None else f"{settings.factor * value:+.2f}"


def robustness() -> Settings:
    """Read the kept studies."""
    folders = sorted(RESULTS.glob("robustness-*/"))
    return across_settings([read_kept(folder) for folder in folders])


if __name__ == "__main__":
    found = robustness()
    save(profile(found), RESULTS / "across.svg")
    (RESULTS / "across.md").write_text(page(found), encoding="utf-8")
