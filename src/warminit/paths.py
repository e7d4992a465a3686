"""a path with `~` -> the full path."""

from os import PathLike
from pathlib import Path

from warminit.errors import WarminitError


def expanded(path: str | PathLike[str]) -> Path:
    """Expand a leading `~`, as a shell does.

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
            f"path={str(path)!r}: expected a known home folder. Write the path out."
        ) from error
