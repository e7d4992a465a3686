"""a study -> every run done and stored. Resumes: what the store has is not run again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from warminit.lab.engines.job import DataSource, Outcome
from warminit.lab.engines.local import run_all
from warminit.lab.environment import environment
from warminit.lab.plan import PlannedRun, plan_runs
from warminit.lab.store import Store, StoredRun
from warminit.lab.study import Study

STORE_NAME = "study.sqlite"


@dataclass(frozen=True, slots=True)
class Listener:
    """What a driver tells while it works. Each is called in the driver's own process.

    Attributes:
        planned: (all runs, those that are already finished).
        stepped: (key of a run, optimizer steps done).
        finished: (run, its outcome), after it is stored.
    """

    planned: Callable[[tuple[PlannedRun, ...], int], None] = lambda _runs, _done: None
    stepped: Callable[[str, int], None] = lambda _key, _step: None
    finished: Callable[[PlannedRun, Outcome], None] = lambda _run, _outcome: None


def run_study(
    study: Study,
    folder: Path,
    source: DataSource | None = None,
    *,
    workers: int | None = None,
    listener: Listener | None = None,
) -> tuple[StoredRun, ...]:
    """Run what is missing of a study and return all of its runs.

    Args:
        study: What is to be run.
        folder: Where the store is, or will be.
        source: Data root, device and threads.
        workers: Processes; one a core by default.
        listener: Told of the progress.

    Returns:
        The study's runs that are in the store, in the study's order; failed ones carry their error.

    Raises:
        WarminitError: If the study cannot be planned, or the store not be written. Whatever had
            finished by then is in the store.
    """
    source = source or DataSource()
    listener = listener or Listener()
    runs = plan(study, source)
    with Store.opened(folder / STORE_NAME) as store:
        store.set_about("study", study.model_dump_json())
        finished = store.finished_keys()
        missing = [run for run in runs if run.key not in finished]
        listener.planned(runs, len(runs) - len(missing))
        about = environment(source.device)
        for run, outcome in run_all(missing, source, workers=workers, on_progress=listener.stepped):
            store.add(run, about, outcome)
            listener.finished(run, outcome)
        return _of_plan(runs, store)


def finished_runs(
    study: Study, folder: Path, source: DataSource | None = None
) -> tuple[StoredRun, ...]:
    """Return what the store has of a study, running nothing: as `run_study` returns it."""
    store = Store.existing(folder / STORE_NAME)
    try:
        return _of_plan(plan(study, source or DataSource()), store)
    finally:
        store.close()


def plan(study: Study, source: DataSource) -> tuple[PlannedRun, ...]:
    """Load the study's data sets and plan its runs."""
    datasets = {name: source.load(name, study.validation) for name in study.datasets}
    return plan_runs(study, datasets, device=source.device, threads=source.threads)


def _of_plan(runs: tuple[PlannedRun, ...], store: Store) -> tuple[StoredRun, ...]:
    stored = {run.key: run for run in store.runs()}
    return tuple(stored[run.key] for run in runs if run.key in stored)
