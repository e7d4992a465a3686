"""stored measurements -> tables in Markdown between two marks of a page."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BEGIN, END = "<!-- benchmarks begin -->", "<!-- benchmarks end -->"

Record = Mapping[str, Any]


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
    body = "\n\n".join(_module(each) for each in stored)
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"


def _module(stored: Record) -> str:
    where = stored["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    load = f"{where['load_average'][0]} before, {where['load_average_after'][0]} after"
    machine = f"{where['cpu']}, {where['cores']} cores, {where['system']}; {versions}"
    lines = [
        f"### {stored['module']}",
        "",
        f"{machine}; load average {load}; {stored['seconds']:.0f} s.",
        "",
        *_table(
            ("setting", "target", "wanted", "measured", "", "note"),
            (
                (
                    each["setting"],
                    each["target"],
                    f"{each['better']} {each['wanted']:g}",
                    f"{each['value']:.3g}",
                    "pass" if each["passed"] else "**short**",
                    each["note"],
                )
                for each in stored["measured"]
            ),
        ),
    ]
    for each in stored["measured"]:
        if each["seconds"]:
            lines += ["", f"Seconds, {each['setting']} ({each['target']}):", ""]
            lines += _seconds(each["seconds"])
    lines += [f"\nSkipped: {reason}." for reason in stored["skipped"]]
    return "\n".join(lines)


def _seconds(seconds: Mapping[str, Sequence[float]]) -> list[str]:
    rows = (
        (
            name,
            *(f"{value:.4g}" for value in (statistics.median(each), min(each), max(each))),
            str(len(each)),
        )
        for name, each in seconds.items()
    )
    return _table(("", "median", "min", "max", "repeats"), rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(header), "|" + "---|" * len(header), *map(line, rows)]
