"""path -> SQLite connection, or one clear error. What is refused stays byte for byte as it was."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from warminit.errors import WarminitError

SCHEMA_VERSION = 1

# One transaction, so that a driver that is killed here leaves an empty file or a store.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    key TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    arm_parameters TEXT NOT NULL,
    environment TEXT NOT NULL,
    result TEXT,
    error TEXT,
    finished_at TEXT NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open a store, made first where there is none.

    Raises:
        WarminitError: If the folder cannot be written, or the file is damaged, of a newer schema or
            of another program.
    """
    with explained(path):
        found = _schema_of(path)
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a power cut loses nothing either
            if found == 0:
                connection.executescript(_SCHEMA)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open a store that is there, without the right to change it; needs no right to write.

    Raises:
        WarminitError: As `open_for_writing`, and if no study was started in it.
    """
    with explained(path):
        if _schema_of(path) == 0:
            raise WarminitError(
                f"{path} holds no study yet. Give the folder of a study that was started."
            )
        return _connect_to_read(path)


def _schema_of(path: Path) -> int:
    """Return the schema of a file, 0 for none; refuse what is not to be written to.

    The file is only read: what is refused is byte for byte as it was.
    """
    if not path.exists():
        return 0
    with closing(_connect_to_read(path)) as connection:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > SCHEMA_VERSION:
            raise WarminitError(
                f"{path} was written by a newer warminit: schema {found}, and this one knows "
                f"{SCHEMA_VERSION}. Upgrade warminit; the file is untouched."
            )
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem.splitlines()[-1])
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if found == 0 and tables:
            raise WarminitError(
                f"{path} is an SQLite file of another program, with {', '.join(sorted(tables))}. "
                "Give another folder with --out; the file is untouched."
            )
    return found


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that is there without the right to change it."""
    place = path.absolute().as_uri()
    connection = sqlite3.connect(f"{place}?mode=ro", uri=True)
    try:
        connection.execute("PRAGMA schema_version")
    except sqlite3.DatabaseError as error:
        connection.close()
        # In a folder that cannot be written SQLite reads only what it is told will not change: a
        # store that no driver has open and none was killed in has nothing beside it.
        beside = path.with_name(f"{path.name}-wal")
        in_use = beside.exists() and beside.stat().st_size
        refused = isinstance(error, sqlite3.OperationalError)
        if not refused or in_use or os.access(path.parent, os.W_OK):
            raise
        connection = sqlite3.connect(f"{place}?mode=ro&immutable=1", uri=True)
    return connection


_ADVICE = {
    "FULL": "Free some space and give the same command again",
    "IOERR": "Check that the disk has space and works, and give the same command again",
    "BUSY": "Another program has the file open; close it, and give the same command again",
}
"""What to do, by the first part of SQLite's name for an error."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what a file system or SQLite says of the file at `path` into one clear error."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT").split("_")[1]
        if code in ("NOTADB", "CORRUPT"):
            raise WarminitError(
                f"{path} is damaged, or no warminit study: {error}. Put a good copy in its place, "
                "or give another folder with --out."
            ) from error
        advice = _ADVICE.get(
            code, "The folder must be writable: check its permissions, or give another with --out"
        )
        raise WarminitError(
            f"{path} cannot be read or written: {error}. {advice}; every run that had finished "
            "before stands."
        ) from error
    except UnicodeDecodeError as error:
        raise WarminitError(
            f"{path} is damaged: a text in it is not UTF-8 ({error}). Put a good copy in its "
            "place, or give another folder with --out."
        ) from error
    except OSError as error:
        raise WarminitError(
            f"{path} cannot be read or written: {error}. Check the folder and its permissions, or "
            "give another with --out."
        ) from error
