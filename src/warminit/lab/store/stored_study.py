"""a study's folder -> the study, its runs in its order, and which of its data are partial."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from warminit.errors import WarminitError
from warminit.lab.store.store import Store, StoredRun
from warminit.lab.study.study import Study

STORE_NAME = "study.sqlite"

_NAMES = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """What a store knows; no data set is needed to read it.

    Attributes:
        study: The study that the store was last used for.
        runs: Its runs that are in the store, in its order; failed ones carry their error.
        partial: Data sets whose counts differ from the published ones.
    """

    study: Study
    runs: tuple[StoredRun, ...]
    partial: frozenset[str] = frozenset()


def read_study(folder: str | Path) -> StoredStudy:
    """Read the study that a folder was last used for.

    Args:
        folder: Folder of the store, or the store itself, `study.sqlite`.

    Raises:
        WarminitError: If there is none, or it is damaged.
    """
    path = Path(folder).expanduser()
    path = path if path.name == STORE_NAME else path / STORE_NAME
    with closing(Store.existing(path)) as store:
        try:
            study = Study.model_validate_json(store.about("study") or "")
            keys, partial = (
                _NAMES.validate_json(store.about(name) or "[]") for name in ("keys", "partial")
            )
        except ValueError as error:
            raise WarminitError(
                f"{path} does not say which study it holds ({error}). Start the study again in it, "
                "and it goes on."
            ) from error
        return StoredStudy(study, runs_in_order(keys, store), frozenset(partial))


def stored_runs(folder: Path) -> tuple[StoredRun, ...]:
    """Return every run of a folder's store, of other studies too; none where there is no store."""
    if not (folder / STORE_NAME).is_file():
        return ()
    with closing(Store.existing(folder / STORE_NAME)) as store:
        return store.runs()


def runs_in_order(keys: Sequence[str], store: Store) -> tuple[StoredRun, ...]:
    """Return the runs of these keys that a store has, in the order of the keys."""
    stored = {run.key: run for run in store.runs()}
    return tuple(stored[key] for key in keys if key in stored)
