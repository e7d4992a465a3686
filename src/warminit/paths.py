"""a path as a user writes it -> the path that is meant."""

from os import PathLike
from pathlib import Path

from warminit.errors import WarminitError


def expanded(path: str | PathLike[str]) -> Path:
    """Return a path with a leading `~` expanded, as a shell does it.

    Raises:
        WarminitError: If no home folder is known.

    Example:
        >>> expanded("data/mnist").as_posix(), expanded("~/data") == Path.home() / "data"
        ('data/mnist', True)
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise WarminitError(
            f"path={str(path)!r}: no such home folder is known. Write the path out."
        ) from error
