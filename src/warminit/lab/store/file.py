"""path -> SQLite connection, or one clear error; refused files are not changed."""

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
    """Open a store for writing, and create it if it is missing.

    Raises:
        WarminitError: If the folder cannot be written, or the file is damaged, has a newer schema
            or belongs to another program.
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
    """Open an existing store read-only.

    Raises:
        WarminitError: As for `open_for_writing`, and if the store has no study.
    """
    with explained(path):
        if _schema_of(path) == 0:
            raise WarminitError(
                f"{path} holds no study: expected a started study. Pass its folder."
            )
        return _connect_to_read(path)


def _schema_of(path: Path) -> int:
    """Return the schema of a file, 0 for none, or refuse the file.

    The file is only read, never changed.
    """
    if not path.exists():
        return 0
    with closing(_connect_to_read(path)) as connection:
        found = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if found > SCHEMA_VERSION:
            raise WarminitError(
                f"{path} was written by a newer warminit: schema {found}, and this version knows "
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
    """Open an existing file read-only."""
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
    "FULL": "Free some space and repeat the command",
    "IOERR": "Check that the disk has space and works, and repeat the command",
    "BUSY": "Close the other program that has the file open, and repeat the command",
}
"""Next step, by the first part of SQLite's name for an error."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an error of the file system or SQLite into one clear error."""
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
            f"{path} cannot be read or written: {error}. {advice}; finished runs are kept."
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
