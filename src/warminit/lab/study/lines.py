"""a study file's text, what is wrong with it -> the numbers of the lines that are meant."""

import re
from collections.abc import Sequence

from pydantic import ValidationError

from warminit.errors import WarminitError


def lines_at_fault(text: str, error: WarminitError) -> str:
    """Return ` (line 4)` or ` (lines 4 and 7)` for what `Study.create` raised, "" where unknown."""
    cause = error.__cause__
    numbers: list[int | None] = []
    if isinstance(cause, ValidationError):
        for detail in cause.errors():
            quoted = detail["type"] == "value_error"  # a text of ours, which quotes what is wrong
            line = line_of_message(text, str(detail["ctx"]["error"])) if quoted else None
            numbers.append(line or line_of_key(text, detail["loc"]))
    else:
        numbers = [line_of_message(text, str(cause))]
    shown = [str(number) for number in sorted({number for number in numbers if number})]
    if not shown:
        return ""
    return f" (line {shown[0]})" if len(shown) == 1 else f" (lines {' and '.join(shown)})"


def line_of_key(text: str, place: Sequence[str | int]) -> int | None:
    r"""Return the line of a key, given with the keys above it; else of the nearest table above it.

    Example:
        >>> line_of_key('name = "a"\n[protocol]\nstepz = 3', ("protocol", "stepz"))
        3
    """
    found = _keys(text)
    keys = tuple(part for part in place if isinstance(part, str))
    near = (found.get(keys[:length]) for length in range(len(keys), 0, -1))
    return next((number for number in near if number is not None), None)


def line_of_message(text: str, message: str) -> int | None:
    """Return the line of what a message quotes, or of the key that it begins with.

    Messages say `key: 'value' ...; a hint` or `key='value' ... . A hint`. Of several quoted names
    the last before the hint is at fault: `arms: 'prewarm' does not take 'n_cluster'`.
    """
    fault = re.split(r"; |\. ", message, maxsplit=1)[0]
    lines = text.splitlines()
    for name in reversed(re.findall(r"'([^']+)'", fault)):
        wanted = re.compile(rf"""["']{re.escape(name)}["']|(?<![\w-]){re.escape(name)}\s*=""")
        for number, line in enumerate(lines, start=1):
            if wanted.search(_without_comment(line)):
                return number
    key = re.match(r"[\w.]+", message)
    return line_of_key(text, key[0].split(".")) if key else None


def _keys(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of every key that begins a line, and of every table's heading."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := re.match(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$", line):
            table = _parts(heading[1])
            found.setdefault(table, number)
        elif key := re.match(r"""\s*([\w\-."'\s]+?)\s*=""", line):
            keys = (*table, *_parts(key[1]))
            for length in range(1, len(keys) + 1):  # a dotted key names the tables above it
                found.setdefault(keys[:length], number)
    return found


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _without_comment(line: str) -> str:
    return line.partition("#")[0]
