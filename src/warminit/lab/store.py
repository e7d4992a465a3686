"""RunResult <-> SQLite file, one a study. One transaction a finished run; resume."""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from warminit.errors import WarminitError
from warminit.lab.plan import PlannedRun
from warminit.lab.results import RunResult
from warminit.lab.study import RunSpec

SCHEMA_VERSION = 1

_SCHEMA = """
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
"""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run as the store has it: a result, or the error that it ended with."""

    key: str
    spec: RunSpec
    arm_parameters: Mapping[str, Any]
    environment: Mapping[str, str]
    result: RunResult | None = None
    error: str | None = None
    finished_at: str = field(default="", compare=False)


class Store:
    """The results of one study.

    A finished run is one row, written in one transaction: a driver that is killed at any moment
    leaves every finished run whole. Only the driver writes, and one driver at a time: `opened`
    holds a lock for as long as it is open. Reading needs no lock.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; use `opened` to write."""
        self.path = path
        with _explained(path):
            self._connection = sqlite3.connect(path)
            found = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if found > SCHEMA_VERSION:
                self._connection.close()
                raise WarminitError(
                    f"{path} was written by a newer warminit: schema {found}, and this one knows "
                    f"{SCHEMA_VERSION}. Upgrade warminit; the file is untouched."
                )
            if found < SCHEMA_VERSION:
                self._connection.execute("PRAGMA journal_mode = WAL")
                with self._connection:
                    self._connection.executescript(_SCHEMA)
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> "Iterator[Store]":
        """Open for writing, alone.

        Raises:
            WarminitError: If another driver has it, or the folder cannot be written.
        """
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.with_suffix(".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise WarminitError(
                    f"{path} is in use by another warminit process. Wait for it to finish, or give "
                    "another folder with --out."
                ) from error
        try:
            store = cls(path)
            try:
                yield store
            finally:
                store.close()
        finally:
            lock.release()

    @classmethod
    def existing(cls, path: Path) -> "Store":
        """Open a store that is there, to read it.

        Raises:
            WarminitError: If there is none.
        """
        if not path.is_file():
            raise WarminitError(
                f"there is no study at {path}. Give the folder that `warminit run` or `warminit "
                "compare` wrote."
            )
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def set_about(self, name: str, value: str) -> None:
        """Keep a text about the study, such as its file, under a name."""
        with _explained(self.path), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, value))

    def about(self, name: str) -> str | None:
        """Return a text that `set_about` kept, or None."""
        query = "SELECT value FROM about WHERE name = ?"
        with _explained(self.path):
            row = self._connection.execute(query, (name,)).fetchone()
        return None if row is None else str(row[0])

    def add(
        self,
        run: PlannedRun,
        environment: Mapping[str, str],
        outcome: RunResult | str,
    ) -> None:
        """Write a finished run: its result, or the text of the error that it ended with.

        A result is never written over; an error is, by whatever comes after it.
        """
        failed = isinstance(outcome, str)
        row = (
            run.key,
            run.spec.model_dump_json(),
            json.dumps(dict(run.arm_parameters), default=str),
            json.dumps(dict(environment)),
            None if isinstance(outcome, str) else json.dumps(outcome.to_dict()),
            outcome if failed else None,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with _explained(self.path), self._connection:
            self._connection.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "environment = excluded.environment, result = excluded.result, "
                "error = excluded.error, finished_at = excluded.finished_at "
                "WHERE runs.result IS NULL",
                row,
            )

    def finished_keys(self) -> frozenset[str]:
        """Return the keys of the runs that have a result."""
        with _explained(self.path):
            rows = self._connection.execute("SELECT key FROM runs WHERE result IS NOT NULL")
            return frozenset(str(key) for (key,) in rows)

    def runs(self) -> tuple[StoredRun, ...]:
        """Return every run in the order of the keys, failed ones included."""
        columns = "key, spec, arm_parameters, environment, result, error, finished_at"
        with _explained(self.path):
            rows = self._connection.execute(f"SELECT {columns} FROM runs ORDER BY key").fetchall()  # noqa: S608 - columns is the constant above
        return tuple(
            StoredRun(
                key=key,
                spec=RunSpec.model_validate_json(spec),
                arm_parameters=json.loads(parameters),
                environment=json.loads(environment),
                result=None if result is None else RunResult.from_dict(json.loads(result)),
                error=error,
                finished_at=finished_at,
            )
            for key, spec, parameters, environment, result, error, finished_at in rows
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a file system or SQLite says into one clear error."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        advice = "Free some space" if "full" in text else "Check the folder and its permissions"
        if "not a database" in text or "malformed" in text:
            advice = "It is not a warminit study or it is damaged; give another folder with --out"
        raise WarminitError(
            f"{path} cannot be read or written: {text}. {advice}; every run that had finished "
            "before stands."
        ) from error
    except OSError as error:
        raise WarminitError(
            f"{path} cannot be read or written: {error}. Check the folder and its permissions, or "
            "give another with --out."
        ) from error
