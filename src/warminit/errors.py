"""bad input -> one clear error, with fields for the code that catches it."""

import difflib
from collections.abc import Iterable

MOST_LISTED = 12
"""Most valid names that an error lists; with more, it suggests the nearest name only."""


class WarminitError(ValueError):
    """Raised for every input that warminit cannot use.

    The text names the argument, its value, the expected value and the next step. The model is then
    bit-identical to its state before the call. The fields carry the same parts, so no caller has to
    parse the text. They are empty if the error is not about a single value.

    Attributes:
        name: Argument, option or key at fault.
        value: Rejected value, as the text shows it.
        expected: Expected value, a noun phrase.
        next_step: Advice, one sentence or two.
    """

    def __init__(
        self, text: str, *, name: str = "", value: str = "", expected: str = "", next_step: str = ""
    ) -> None:
        """Store the whole text and, if given, its parts."""
        super().__init__(text)
        self.name, self.value, self.expected, self.next_step = name, value, expected, next_step


class DataNotAvailableError(WarminitError):
    """Raised where a data set is not on this machine and cannot be fetched."""


class WarminitWarning(UserWarning):
    """Issued if the result is valid but rests on a doubtful assumption."""


def unexpected(name: str, value: object, expected: str, next_step: str = "") -> WarminitError:
    """Build the error for an unexpected value.

    Args:
        name: The argument, option or key.
        value: The value given.
        expected: Noun phrase, for example "a positive number".
        next_step: One sentence or two.

    Example:
        >>> print(unexpected("scale", -1, "a positive number", "Pass scale=0.25."))
        scale=-1: expected a positive number. Pass scale=0.25.
    """
    shown = repr(value)
    text = f"{name}={shown}: expected {expected}. {next_step}".rstrip()
    return WarminitError(text, name=name, value=shown, expected=expected, next_step=next_step)


def unknown(name: str, value: object, names: Iterable[str]) -> WarminitError:
    """Build the error for an unknown name.

    Example:
        >>> print(unknown("engine", "rai", ["local", "ray"]))
        engine='rai': expected local or ray. Did you mean 'ray'?
    """
    valid = list(names)
    *most, last = valid or ["nothing"]
    expected = f"{', '.join(most)} or {last}" if most else last
    if len(valid) > MOST_LISTED:
        expected = f"one of {len(valid)} names, for example {valid[0]!r}"
    return unexpected(name, value, expected, did_you_mean(value, valid))


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """Return `Did you mean 'ray'?` for the nearest valid name, "" where none is near."""
    near = difflib.get_close_matches(str(value), list(names), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""
