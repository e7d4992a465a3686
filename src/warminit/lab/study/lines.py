"""a study file's text, an error -> the numbers of the wrong lines."""

import re
from collections.abc import Sequence

from pydantic import ValidationError

from warminit.errors import WarminitError


def lines_at_fault(text: str, error: WarminitError) -> str:
    """Return ` (line 4)` or ` (lines 4 and 7)` for an error of `Study.create`, "" if unknown."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        numbers = [
            line_of_fault(text, detail.get("ctx", {}).get("error"), detail["loc"])
            for detail in cause.errors()
        ]
    else:
        numbers = [line_of_fault(text, cause or error)]
    shown = [str(number) for number in sorted({number for number in numbers if number})]
    if not shown:
        return ""
    return f" (line {shown[0]})" if len(shown) == 1 else f" (lines {' and '.join(shown)})"


def line_of_key(text: str, place: Sequence[str | int]) -> int | None:
    r"""Return the line of a key with its parent keys, else of the nearest parent table.

    Example:
        >>> line_of_key('name = "a"\n[protocol]\nstepz = 3', ("protocol", "stepz"))
        3
    """
    found = _keys(text)
    keys = tuple(part for part in place if isinstance(part, str))
    near = (found.get(keys[:length]) for length in range(len(keys), 0, -1))
    return next((number for number in near if number is not None), None)


def line_of_fault(
    text: str, error: BaseException | None, place: Sequence[str | int] = ()
) -> int | None:
    """Return the line of the wrong value, else of its key.

    Args:
        text: The study file.
        error: Error; its fields are read.
        place: Parent keys, if the error is about an inner table.
    """
    name = error.name if isinstance(error, WarminitError) else ""
    value = error.value.strip("'\"") if isinstance(error, WarminitError) else ""
    if value:
        shown = re.escape(value)
        wanted = re.compile(rf"""["']{shown}["']|(?<![\w-]){shown}\s*=""")
        for number, line in enumerate(text.splitlines(), start=1):
            if wanted.search(_without_comment(line)):
                return number
    inside = [part for part in name.split(".") if part and part not in place]
    return line_of_key(text, [*place, *inside])


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
