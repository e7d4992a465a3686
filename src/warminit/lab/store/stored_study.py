"""a study's folder -> the study, its runs in order, and its partial data sets."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from warminit.errors import WarminitError
from warminit.lab.store.store import Store, StoredRun
from warminit.lab.study.study import Study
from warminit.layout import Layout, Tabled

STORE_NAME = "study.sqlite"

_NAMES = TypeAdapter(list[str])


@dataclass(frozen=True, slots=True)
class StoredStudy(Tabled):
    """Hold the content of a store; reading needs no data set.

    Attributes:
        study: Study of the last use.
        runs: Stored runs of the study, in its order; failed runs carry their error.
        partial: Data sets whose counts differ from the published ones.
    """

    study: Study
    runs: tuple[StoredRun, ...]
    partial: frozenset[str] = frozenset()

    __repr__ = Tabled.__str__  # the results of all runs would fill pages

    def tables(self) -> list[Layout]:
        """Return one row a data set, model and arm: how many runs are done, and how many failed."""
        done: dict[tuple[str, ...], list[bool]] = {}
        for run in self.runs:
            arm = run.spec.arm.label
            place = (arm,) if self.study.own_loop else (run.spec.dataset, run.spec.model, arm)
            done.setdefault(place, []).append(run.error is None)
        rows = [
            (*place, str(sum(states)), str(len(states) - sum(states)))
            for place, states in done.items()
        ]
        places = () if self.study.own_loop else ("data set", "model")
        headings = (*places, "arm", "done", "failed")
        title = f"{self.study.name}: {len(self.runs):,} runs"
        return [Layout(title, rows, headings if rows else ())]


def read_study(folder: str | Path) -> StoredStudy:
    """Read the study of a folder's last use.

    Args:
        folder: Folder of the store, or the store itself, `study.sqlite`.

    Raises:
        WarminitError: If there is no store, or it is damaged.
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
                f"{path} does not name its study ({error}). Run the study again in this folder; "
                "finished runs are kept."
            ) from error
        return StoredStudy(study, runs_in_order(keys, store), frozenset(partial))


def stored_runs(folder: Path) -> tuple[StoredRun, ...]:
    """Return every run of a folder's store, also of other studies; none without a store."""
    if not (folder / STORE_NAME).is_file():
        return ()
    with closing(Store.existing(folder / STORE_NAME)) as store:
        return store.runs()


def runs_in_order(keys: Sequence[str], store: Store) -> tuple[StoredRun, ...]:
    """Return the stored runs with these keys, in the order of the keys."""
    stored = {run.key: run for run in store.runs()}
    return tuple(stored[key] for key in keys if key in stored)
