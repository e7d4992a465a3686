"""path -> a file that whoever reads it finds whole: the old one or the new one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from warminit.errors import WarminitError
from warminit.paths import expanded


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a place to write, and put what was written there at `path` at once.

    Args:
        path: The file; its folder is made.

    Yields:
        A path beside it. After an error nothing is left there, and `path` is as it was.

    Raises:
        WarminitError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "new", "notes.txt")
        ...     with written_whole(path) as place:
        ...         _ = place.write_text("whole")
        ...     path.read_text()
        'whole'
    """
    path = expanded(path)
    place = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield place
        place.replace(path)
    except OSError as error:
        raise WarminitError(
            f"{path} cannot be written: {error}. Check the folder, or give another with --out."
        ) from error
    finally:
        with suppress(OSError):
            place.unlink(missing_ok=True)
