"""path -> a file that is replaced as a whole, so readers see the old or the new one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from warminit.errors import WarminitError
from warminit.paths import expanded


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write to a temporary path, then replace `path` at once.

    Args:
        path: File to replace; its folder is created.

    Yields:
        Temporary path next to it. After an error it is removed, and `path` is unchanged.

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
