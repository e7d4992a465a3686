"""stored measurements -> tables in Markdown between two marks of a page."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- benchmarks begin -->", "<!-- benchmarks end -->"

Record = Mapping[str, Any]

_REWORDED = {
    "and one start": "and one initialization",
    "from the start of the process": "since the process started",
}
"""Words of kept notes and today's: a kept result is never edited. Empty after the next run."""


def as_line(measured: Record) -> str:
    """Return one measured target as a line for the terminal."""
    word = "pass " if measured["passed"] else "short"
    return (
        f"{word}  {measured['value']:8.3g}  ({measured['better']} {measured['wanted']:g})  "
        f"{measured['target']} [{measured['setting']}]"
        + (f" - {measured['note']}" if measured["note"] else "")
    )


def as_tables(page: str, stored: Sequence[Record]) -> str:
    """Put the tables of all stored modules into a page, in place of those between the marks.

    Raises:
        ValueError: If the page lacks the marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {BEGIN} and {END} for the tables; add them.")
    body = "\n\n".join(["\n".join(_machines(stored)), *map(_module, stored)])
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"


def _machines(stored: Sequence[Record]) -> list[str]:
    header = ("benchmark", "processor", "cores", "system", "versions", "load average", "seconds")
    return _table(header, (_machine(each) for each in stored if each["measured"]))


def _machine(stored: Record) -> Sequence[str]:
    where = stored["environment"]
    return (
        stored["module"],
        where["cpu"],
        str(where["cores"]),
        where["system"],
        ", ".join(f"{name} {number}" for name, number in where["versions"].items()),
        f"{where['load_average'][0]} before, {where['load_average_after'][0]} after",
        f"{stored['seconds']:.0f}",
    )


def _module(stored: Record) -> str:
    lines = [f"### {stored['module']}"]
    if stored["measured"]:
        lines += ["", *_targets(stored["measured"])]
    if any(each["seconds"] for each in stored["measured"]):
        lines += ["", "Seconds of each contender:", "", *_seconds(stored["measured"])]
    lines += [f"\nSkipped: {reason}." for reason in stored["skipped"]]
    return "\n".join(lines)


def _targets(measured: Sequence[Record]) -> list[str]:
    return _table(
        ("setting", "target", "wanted", "measured", "", "note"),
        (
            (
                each["setting"],
                each["target"],
                f"{each['better']} {each['wanted']:g}",
                f"{each['value']:.3g}",
                "pass" if each["passed"] else "**short**",
                _reworded(each["note"]),
            )
            for each in measured
        ),
    )


def _seconds(measured: Sequence[Record]) -> list[str]:
    timed: list[Record] = []
    for each in measured:
        # Two targets of the same repeats need one set of rows.
        if each["seconds"] not in [other["seconds"] for other in timed]:
            timed.append(each)
    rows = (
        (
            each["setting"],
            name,
            *(f"{value:.4g}" for value in (statistics.median(taken), min(taken), max(taken))),
            str(len(taken)),
        )
        for each in timed
        for name, taken in each["seconds"].items()
    )
    return _table(("setting", "contender", "median", "min", "max", "repeats"), rows)


def _reworded(note: str) -> str:
    for old, new in _REWORDED.items():
        note = note.replace(old, new)
    return note


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(header), "|" + "---|" * len(header), *map(line, rows)]
