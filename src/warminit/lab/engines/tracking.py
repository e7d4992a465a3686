"""finished runs -> TensorBoard's event files, or MLflow's SQLite file, beside the study's store."""

import importlib.util
import logging
import os
import re
import shlex
import shutil
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from warminit.errors import WarminitError, WarminitWarning, unexpected, unknown
from warminit.lab.engines.driver import Listener
from warminit.lab.engines.job import Outcome
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.store.stored_study import stored_runs
from warminit.lab.study.spec import RunSpec
from warminit.lab.study.study import Study

Track = Callable[[str, RunSpec, Mapping[str, Any], RunResult], None]
"""Function of (key, spec, arm parameters, result); a written run stays unchanged."""

_NEEDS = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow", "sqlalchemy", "alembic")}
"""Packages that each tracker imports."""

_MOST_METRICS = 1000
"""Maximum number of metrics that MLflow accepts at once."""


def check_tracker(name: str) -> None:
    """Raise WarminitError if a tracker is unknown or not installed."""
    if name not in _NEEDS:
        raise unknown("track", name, _NEEDS)
    missing = [each for each in _NEEDS[name] if importlib.util.find_spec(each) is None]
    if missing:
        install = f'Run `pip install "warminit[{name}]"`, or leave --track out.'
        raise unexpected("track", name, f"{', '.join(missing)} to be installed", install)


def how_to_see(name: str, folder: Path) -> str:
    """Return the command that shows a tracker's files."""
    if name == "tensorboard":
        return f"tensorboard --logdir {shlex.quote(str(folder / 'tensorboard'))}"
    return f"mlflow ui --backend-store-uri {shlex.quote(f'sqlite:///{folder}/mlflow.db')}"


def tracked(listener: Listener, name: str, study: Study, folder: Path) -> Listener:
    """Return a listener that also writes every finished run of a study to a tracker.

    Earlier finished runs are written when the study begins. No run is written twice, since its key
    identifies it. An error of the tracker during the study is reported once, as a warning; the next
    call writes the missing runs.

    Args:
        listener: Listener to extend; it is called first.
        name: `tensorboard`, which writes `tensorboard/` in the folder, or `mlflow`, which writes
            `mlflow.db`.
        study: Study of the runs; its name is that of MLflow's experiment.
        folder: Folder of the study's store; it is created if missing.

    Raises:
        WarminitError: If the tracker is unknown, not installed, or its files cannot be opened.
    """
    check_tracker(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        track = _tensorboard(folder) if name == "tensorboard" else _mlflow(folder, study.name)
    except Exception as error:
        raise WarminitError(
            f"track={name!r} cannot write into {folder}: {error}. Check the folder, give another "
            "with --out, or leave --track out."
        ) from error
    failed = False

    def write(runs: Iterable[tuple[str, RunSpec, Mapping[str, Any], RunResult]]) -> None:
        nonlocal failed
        try:
            for run in runs:
                if not failed:
                    track(*run)
        except Exception as error:  # noqa: BLE001 - no error of a tracker stops the study
            failed = True
            warnings.warn(
                f"nothing more is written to {name} ({error}); the study goes on. The same command "
                "with --track writes what is missing.",
                WarminitWarning,
                stacklevel=2,
            )

    def planned(runs: tuple[PlannedRun, ...], finished: int) -> None:
        listener.planned(runs, finished)
        keys = {run.key for run in runs}
        write(
            (run.key, run.spec, run.arm_parameters, run.result)
            for run in stored_runs(folder)
            if run.key in keys and run.result is not None
        )

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        listener.finished(run, outcome)
        if isinstance(outcome, RunResult):
            write([(run.key, run.spec, run.arm_parameters, outcome)])

    return replace(listener, planned=planned, finished=finished)


def _tensorboard(folder: Path) -> Track:
    """Write one folder per run, `data set/model/arm/seed-N-key`, whole or not at all."""
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    def track(key: str, spec: RunSpec, parameters: Mapping[str, Any], result: RunResult) -> None:
        names = [_plain(name) for name in (spec.dataset, spec.model, spec.arm.label)]
        target = folder.joinpath("tensorboard", *names, f"seed-{spec.seed}-{key[:8]}")
        if target.exists():
            return
        scratch = folder / f".tensorboard-{key[:8]}.part"
        shutil.rmtree(scratch, ignore_errors=True)
        with SummaryWriter(str(scratch)) as writer:
            about = _tags(spec) | _settings(spec, parameters)
            final = {f"final/{name}": value for name, value in result.metrics.items()}
            for summary in hparams(about, final):
                writer.file_writer.add_summary(summary)
            for name, value in final.items():
                writer.add_scalar(name, value, spec.protocol.steps)
            for name, step, value in _curves(result):
                writer.add_scalar(name, value, step)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.rename(target)

    return track


def _mlflow(folder: Path, experiment: str) -> Track:
    """Write one MLflow run per run; an incomplete one is deleted and written again."""
    file = folder.resolve() / "mlflow.db"
    # MLflow itself tries for more than a minute before it reports a file that it cannot open.
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA schema_version")
    # No telemetry by default; set the variable to enable MLflow's telemetry.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    for name in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=f"sqlite:///{file}")
    known = client.get_experiment_by_name(experiment)
    place = (folder.resolve() / "mlruns").as_uri()
    number = known.experiment_id if known else client.create_experiment(experiment, place)

    def track(key: str, spec: RunSpec, parameters: Mapping[str, Any], result: RunResult) -> None:
        for run in client.search_runs([number], f"tags.key = '{key}'"):
            if run.info.status == "FINISHED":
                return
            client.delete_run(run.info.run_id)
        tags = {name: str(value) for name, value in _tags(spec).items()} | {"key": key}
        name = f"{spec.arm.label} seed {spec.seed}"
        run_id = client.create_run(number, run_name=name, tags=tags).info.run_id
        now = int(time.time() * 1000)
        settings = _settings(spec, parameters)
        client.log_batch(run_id, params=[Param(name, str(each)) for name, each in settings.items()])
        metrics = [Metric(name, value, now, step) for name, step, value in _curves(result)]
        metrics += [
            Metric(f"final/{name}", value, now, spec.protocol.steps)
            for name, value in result.metrics.items()
        ]
        for start in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(run_id, metrics=metrics[start : start + _MOST_METRICS])
        client.set_terminated(run_id)

    return track


def _curves(result: RunResult) -> Iterator[tuple[str, int, float]]:
    """Yield (name, finished optimizer steps, value) of every point."""
    for step, loss in enumerate(result.train_loss, start=1):
        yield "train/loss", step, loss
    for name, curve in result.eval_metrics.items():
        for step, value in zip(result.eval_steps, curve, strict=True):
            yield f"evaluation/{name}", step, value


def _tags(spec: RunSpec) -> dict[str, Any]:
    return {
        "dataset": spec.dataset,
        "model": spec.model,
        "arm": spec.arm.label,
        "seed": spec.seed,
    }


def _settings(spec: RunSpec, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run, in values that both trackers accept."""
    settings = {f"protocol.{name}": value for name, value in spec.protocol.model_dump().items()}
    settings |= {"validation": spec.validation}
    settings |= {f"arm.{name}": value for name, value in parameters.items()}
    simple = bool | int | float | str
    return {
        name: each if isinstance(each, simple) else str(each) for name, each in settings.items()
    }


def _plain(name: str) -> str:
    """Return a name that is a valid folder name on every system."""
    return re.sub(r"[^\w.,=+()-]+", "-", name).strip("-") or "-"
