"""a study -> every run executed and stored; runs that are in the store are not repeated."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.choose import engine_for, planning_device
from warminit.lab.engines.due import Due, Part
from warminit.lab.engines.job import Begin, DataSource, Job, Outcome, begin, execute
from warminit.lab.engines.options import Engine, EngineOptions, Places
from warminit.lab.engines.tuned import apart, plan_tuned, plan_tuning
from warminit.lab.runs.environment import environment
from warminit.lab.runs.plan import PlannedRun, plan_runs
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.tuning import chosen, tuned
from warminit.lab.store.store import Store, StoredRun
from warminit.lab.store.stored_study import STORE_NAME, runs_in_order
from warminit.lab.study.study import Study


@dataclass(frozen=True, slots=True)
class Listener:
    """Hold callbacks for a driver's progress, which the driver calls in its own process.

    Attributes:
        loading: Callback with (data set, decoded images, all images), while a data set is decoded
            for the first time.
        planned: Callback with (all runs, number of finished runs).
        stepped: Callback with (key of a run, finished optimizer steps).
        finished: Callback with (run, its outcome), after the outcome is stored.
    """

    planned: Callable[[tuple[PlannedRun, ...], int], None] = lambda _runs, _done: None
    stepped: Callable[[str, int], None] = lambda _key, _step: None
    finished: Callable[[PlannedRun, Outcome], None] = lambda _run, _outcome: None
    loading: Callable[[str, int, int], None] = lambda _name, _done, _total: None


def run_study(
    study: Study,
    folder: Path,
    source: DataSource | None = None,
    *,
    workers: int | None = None,
    engine: EngineOptions | None = None,
    listener: Listener | None = None,
) -> tuple[StoredRun, ...]:
    """Run the missing runs of a study, and return all of its runs.

    A sequential study skips decided comparisons. Failed runs are repeated. After an interruption
    the same call continues, with the same bits as an uninterrupted call, except for measured times.

    Args:
        study: Study to run.
        folder: Folder of the store.
        source: Data root, device and threads.
        workers: Maximum number of parallel runs; by default as in `EngineOptions`.
        engine: Engine, this machine or a cluster; by default this machine. Results do not depend on
            it.
        listener: Listener for progress.

    Returns:
        The stored runs of the study, in its order; failed runs carry their error.

    Raises:
        WarminitError: If the study cannot be planned, no cluster answers, or the store cannot be
            written. Finished runs are in the store.
    """
    source = source or DataSource()
    listener = listener or Listener()
    options = engine or EngineOptions()
    if workers is not None:
        options = replace(options, workers=workers)
    options.check(source.device)
    with planning_device(options, source):
        datasets = _load(study, source, listener)
        incomplete = [name for name, each in datasets.items() if each.partial]
        places: Places = {}

        def done(
            runs: tuple[PlannedRun, ...],
            at_hand: Mapping[str, ImageDataset],
            before: tuple[PlannedRun, ...] = (),
            parts: Sequence[Part] = (),
        ) -> tuple[StoredRun, ...]:
            return complete(
                study,
                runs,
                folder,
                engine_for(
                    options, _job, source, make_begin=_begin, datasets=at_hand, places=places
                ),
                about={"partial": json.dumps(incomplete)},
                device=source.device,
                listener=listener,
                places=places,
                before=before,
                parts=parts,
            )

        if study.tune is None:
            runs = plan_runs(study, datasets, device=source.device, threads=source.threads)
            return done(runs, datasets)
        tuning, validated = plan_tuning(study, datasets, source)
        ended = done(tuning, validated, parts=[(_fixed(study), tuning)])
        rates = chosen(tuned(study, ((run.spec, run.result) for run in ended)))
        runs = plan_tuned(study, datasets, source, rates)
        return done(runs, datasets, before=tuning, parts=apart(study, runs, rates))


def _fixed(study: Study) -> Study:
    return study.model_copy(update={"sequential": None})


def _job(source: DataSource) -> Job:
    return partial(execute, source=source)


def _begin(source: DataSource) -> Begin:
    return partial(begin, source=source)


def complete(
    study: Study,
    runs: tuple[PlannedRun, ...],
    folder: Path,
    engine: Engine,
    *,
    about: Mapping[str, str] | None = None,
    device: str = "cpu",
    listener: Listener | None = None,
    places: Places | None = None,
    before: tuple[PlannedRun, ...] = (),
    parts: Sequence[Part] = (),
) -> tuple[StoredRun, ...]:
    """Execute the planned runs that are still needed with an engine, and store each at once.

    A fixed study needs all runs that are not in the store. A sequential study needs the runs of its
    next look, until every comparison is decided.

    `about` is stored beside the runs, so that their results can be read without the data. `places`
    has the environments of runs on other machines, by key, once the runs are yielded. `before` has
    runs of the study that have ended; they are not repeated, and are returned too. `parts` has the
    comparisons that are decided separately; by default there is one comparison with all runs.
    """
    listener = listener or Listener()
    here, places = environment(device), {} if places is None else places
    keys = [run.key for run in (*before, *runs)]
    with Store.opened(folder / STORE_NAME) as store:
        store.set_about(
            {
                **(about or {}),
                "study": study.model_dump_json(),
                "keys": json.dumps(keys),
            }
        )
        finished = store.finished_keys()
        listener.planned(runs, sum(run.key in finished for run in runs))
        due = Due(parts or [(study, runs)], _results(study, finished, store))
        if due.runs:
            # Closed here, not by the garbage collector: no worker outlives an error or Ctrl-C.
            with closing(engine(due.runs, listener.stepped)) as outcomes:  # type: ignore[type-var]  # a generator
                for run, outcome in outcomes:
                    store.add(run, places.pop(run.key, here), outcome)
                    listener.finished(run, outcome)
                    due.after(run, outcome)
        return runs_in_order(keys, store)


def _results(study: Study, finished: Iterable[str], store: Store) -> Mapping[str, RunResult | None]:
    """Return the finished runs by key, with results only if a sequential study needs them."""
    if study.sequential is None:
        return dict.fromkeys(finished)
    return {run.key: run.result for run in store.runs() if run.result is not None}


def finished_runs(
    study: Study, folder: Path, source: DataSource | None = None
) -> tuple[StoredRun, ...]:
    """Return the stored runs of a study, as `run_study` returns them, without running any."""
    with closing(Store.existing(folder / STORE_NAME)) as store:
        if store.about("study") == study.model_dump_json():
            return runs_in_order(json.loads(store.about("keys") or "[]"), store)
        if study.tune is not None:
            return ()  # the planned runs depend on their results
        runs = plan(study, source or DataSource())
        return runs_in_order([run.key for run in runs], store)


def plan(study: Study, source: DataSource) -> tuple[PlannedRun, ...]:
    """Load the study's data sets and plan its runs."""
    datasets = _load(study, source, Listener())
    return plan_runs(study, datasets, device=source.device, threads=source.threads)


def _load(study: Study, source: DataSource, listener: Listener) -> dict[str, ImageDataset]:
    return {
        name: source.load(name, study.validation, partial(listener.loading, name))
        for name in study.datasets
    }
