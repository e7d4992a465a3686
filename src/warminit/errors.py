"""bad input -> one clear error, with fields for who catches it."""

import difflib
from collections.abc import Iterable

MOST_LISTED = 12
"""Valid names that an error lists; of more it names the nearest alone."""


class WarminitError(ValueError):
    """Raised for every input that warminit cannot use.

    The text names the argument, its value, what is expected and the next step. Nothing has been
    written to the model when it is raised: the weights are bit-identical to before the call. The
    fields carry the same, so that no caller has to read the text; they are empty where the error
    is not about one value.

    Attributes:
        name: The argument, option or key at fault.
        value: Its value, as the text shows it.
        expected: What is expected in its place.
        next_step: What to do.
    """

    def __init__(
        self, text: str, *, name: str = "", value: str = "", expected: str = "", next_step: str = ""
    ) -> None:
        """Take the whole text, and the fields where there are any."""
        super().__init__(text)
        self.name, self.value, self.expected, self.next_step = name, value, expected, next_step


class DataNotAvailableError(WarminitError):
    """Raised where a data set is not on this machine and cannot be fetched."""


class WarminitWarning(UserWarning):
    """Issued where the result stands but rests on a doubtful assumption."""


def unexpected(name: str, value: object, expected: str, next_step: str = "") -> WarminitError:
    """Return the error for a value that is not what is expected.

    Args:
        name: The argument, option or key.
        value: The value given.
        expected: A noun phrase, such as "a positive number".
        next_step: One sentence or two.

    Example:
        >>> print(unexpected("scale", -1, "a positive number", "Pass scale=0.25."))
        scale=-1: expected a positive number. Pass scale=0.25.
    """
    shown = repr(value)
    text = f"{name}={shown}: expected {expected}. {next_step}".rstrip()
    return WarminitError(text, name=name, value=shown, expected=expected, next_step=next_step)


def unknown(name: str, value: object, names: Iterable[str]) -> WarminitError:
    """Return the error for a value that is none of the valid names.

    Example:
        >>> print(unknown("engine", "rai", ["local", "ray"]))
        engine='rai': expected local or ray. Did you mean 'ray'?
    """
    valid = list(names)
    *most, last = valid or ["nothing"]
    expected = f"{', '.join(most)} or {last}" if most else last
    if len(valid) > MOST_LISTED:
        expected = f"one of {len(valid)} names, such as {valid[0]!r}"
    return unexpected(name, value, expected, did_you_mean(value, valid))


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """Return `Did you mean 'ray'?` for the nearest valid name, "" where none is near."""
    near = difflib.get_close_matches(str(value), list(names), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""
