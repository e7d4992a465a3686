"""a train function -> its text, for the key of a run; a traceback -> the line that failed."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from warminit.errors import WarminitError

_FRAME = re.compile(
    r'^  File "(?P<file>.+)", line (?P<line>\d+), in .*\n(?:    (?P<code>.+))?', re.MULTILINE
)


def train_source(train: Callable[..., Any], version: str | None) -> dict[str, Any]:
    """Return the source of a function and the plain values that it reads from its scope.

    Raises:
        WarminitError: If its source cannot be read and there is no version.
    """
    try:
        text = inspect.getsource(train)
        around = inspect.getclosurevars(train)
    except (OSError, TypeError) as error:
        if version is None:
            raise WarminitError(
                f"version=None: the source of train={train!r} cannot be read ({error}), so "
                "changes of your code would not show. Pass version='1', and another version "
                "whenever your code changes."
            ) from error
        return {}
    plain = {
        name: value
        for name, value in {**around.globals, **around.nonlocals}.items()
        if isinstance(value, bool | int | float | str)
    }
    return {"text": text, "values": plain}


def failing_line(train: Callable[..., Any], error: str) -> str:
    r"""Return `file.py, line 12: the code`, the last line of a traceback in the user's code.

    It is the last line in the file of `train`, else the last line; "" if there is none.

    Example:
        >>> failing_line(len, 'Traceback:\n  File "a.py", line 3, in f\n    x()\nKeyError: 1')
        'a.py, line 3: x()'
    """
    frames = list(_FRAME.finditer(error))
    home = _file_of(train)
    own = [frame for frame in frames if frame["file"] == home] or frames
    if not own:
        return ""
    place = f"{Path(own[-1]['file']).name}, line {own[-1]['line']}"
    return f"{place}: {own[-1]['code']}" if own[-1]["code"] else place


def _file_of(train: Callable[..., Any]) -> str | None:
    inner = inspect.unwrap(getattr(train, "func", train))  # `functools.partial` has a `func`
    code = getattr(getattr(inner, "__func__", inner), "__code__", None)
    return None if code is None else str(code.co_filename)
