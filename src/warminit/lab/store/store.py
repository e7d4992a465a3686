"""RunResult <-> one SQLite file per study, with one transaction per run."""

import json
import sqlite3
from array import array
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from warminit.errors import WarminitError
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.store.file import explained, open_for_reading, open_for_writing
from warminit.lab.study.spec import RunSpec
from warminit.paths import expanded
from warminit.renamed import parameters_today


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Hold one stored run: its result, or its error."""

    key: str
    spec: RunSpec
    arm_parameters: Mapping[str, Any]
    environment: Mapping[str, str]
    result: RunResult | None = None
    error: str | None = None
    finished_at: str = field(default="", compare=False)


_STORED_RUN = TypeAdapter(StoredRun)
"""Schema of a row, since a file may be damaged or edited."""


class Store:
    """Store the results of one study.

    A finished run is one row, written in one transaction, so a killed driver leaves every finished
    run whole. Only one driver writes at a time: `opened` holds a lock while it is open. Reading
    needs no lock.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Wrap an open file; use `opened` or `existing` to open one."""
        self._connection = connection
        self.path = path

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> "Iterator[Store]":
        """Open for exclusive writing; missing files and folders are created.

        Raises:
            WarminitError: If another driver has it, if the folder cannot be written, or if the file
                is damaged, newer or of another program. The file is then unchanged.
        """
        path = expanded(path)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # The operating system drops the lock of a process that dies, however it dies.
            lock = FileLock(path.with_suffix(".lock"))
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise WarminitError(
                    f"{path} is in use by another warminit process. Wait for it to finish, or give "
                    "another folder with --out."
                ) from error
        try:
            with closing(open_for_writing(path)) as connection:
                yield cls(connection, path)
        finally:
            lock.release()

    @classmethod
    def existing(cls, path: Path) -> "Store":
        """Open an existing store read-only, without a lock.

        Raises:
            WarminitError: If there is none, or it cannot be read.
        """
        path = expanded(path)
        if not path.is_file():
            raise WarminitError(
                f"there is no study at {path}. Pass a folder of `warminit run` or `warminit "
                "compare`."
            )
        return cls(open_for_reading(path), path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def set_about(self, texts: Mapping[str, str]) -> None:
        """Write named texts about the study, for example its settings; all or none."""
        with explained(self.path), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, ?)", texts.items()
            )

    def about(self, name: str) -> str | None:
        """Return a text of `set_about`, or None."""
        query = "SELECT value FROM about WHERE name = ?"
        with explained(self.path):
            row = self._connection.execute(query, (name,)).fetchone()
        return None if row is None else str(row[0])

    def add(
        self,
        run: PlannedRun,
        environment: Mapping[str, str],
        outcome: RunResult | str,
    ) -> None:
        """Write a finished run: its result, or the text of its error.

        A result is never overwritten; an error is replaced by the next attempt.
        """
        failed = isinstance(outcome, str)
        row = (
            run.key,
            run.spec.model_dump_json(),
            json.dumps(dict(run.arm_parameters), default=str),
            json.dumps(dict(environment)),
            None if isinstance(outcome, str) else json.dumps(_fields(outcome), default=_plain),
            outcome if failed else None,
            datetime.now(UTC).isoformat(timespec="seconds"),
        )
        with explained(self.path), self._connection:
            self._connection.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
                "environment = excluded.environment, result = excluded.result, "
                "error = excluded.error, finished_at = excluded.finished_at "
                "WHERE runs.result IS NULL",
                row,
            )

    def finished_keys(self) -> frozenset[str]:
        """Return the keys of the runs that have a result."""
        with explained(self.path):
            rows = self._connection.execute("SELECT key FROM runs WHERE result IS NOT NULL")
            return frozenset(str(key) for (key,) in rows)

    def runs(self) -> tuple[StoredRun, ...]:
        """Return every run, failed runs included, in the order of the keys."""
        columns = "key, spec, arm_parameters, environment, result, error, finished_at"
        with explained(self.path):
            rows = self._connection.execute(f"SELECT {columns} FROM runs ORDER BY key")  # noqa: S608 - columns is the constant above
            # One at a time: ten thousand runs as text besides would double the memory.
            known: dict[str, Any] = {}
            return tuple(_sharing(self._read(row), known) for row in rows)

    def _read(self, row: tuple[Any, ...]) -> StoredRun:
        names = ("key", "spec", "arm_parameters", "environment", "result", "error", "finished_at")
        values = dict(zip(names, row, strict=True))
        try:
            for name in names[1:5]:
                values[name] = None if values[name] is None else json.loads(values[name])
            run = _STORED_RUN.validate_python(values)
            today = parameters_today(run.spec.arm.name, run.arm_parameters)
            return replace(run, arm_parameters=today)
        except (RecursionError, TypeError, ValueError) as problem:  # ValueError: also of pydantic
            told = " ".join(str(problem).split())[:300]
            raise WarminitError(
                f"{self.path} is damaged: run {str(row[0])[:12]} cannot be read ({told}). Put a "
                "good copy in its place, or give another folder with --out."
            ) from problem


def _fields(result: RunResult) -> dict[str, Any]:
    """Return `RunResult.to_dict` without a copy of every loss."""
    return {each.name: getattr(result, each.name) for each in fields(result)}


def _plain(value: Any) -> list[Any] | dict[Any, Any]:
    """Return a curve or a mapping as JSON values."""
    return value.tolist() if isinstance(value, array) else dict(value)


def _sharing(run: StoredRun, known: dict[str, Any]) -> StoredRun:
    """Return a run that shares equal parts with other runs as the same objects.

    These parts would be half of the memory of a study's runs. `known` holds the parts so far.
    """

    def shared(part: Any) -> Any:
        return known.setdefault(repr(part), part)

    spec = run.spec
    parts = {name: shared(getattr(spec, name)) for name in ("dataset", "model", "arm", "protocol")}
    result = run.result
    if result is not None:
        report = {name: shared(each) for name, each in result.init_report.items()}
        result = replace(result, eval_steps=shared(result.eval_steps), init_report=report)
    return replace(
        run,
        spec=spec.model_copy(update=parts),
        arm_parameters=shared(run.arm_parameters),
        environment=shared(run.environment),
        result=result,
    )
