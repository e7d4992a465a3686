"""a user's own train function -> the same runs, store, statistics and verdict: `compare`."""

import inspect
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError, WarminitWarning
from warminit.initializers import get_arm
from warminit.lab.engines.choose import engine_for, planning_device
from warminit.lab.engines.driver import Listener, complete
from warminit.lab.engines.job import DataSource, Job, OnStep, Outcome, guarded
from warminit.lab.engines.options import Engine, EngineOptions, OnProgress, Places
from warminit.lab.report.study_page import last_page, with_page
from warminit.lab.runs.environment import NUMERIC_VERSION, device_kind
from warminit.lab.runs.kept_filters import keep_filters
from warminit.lab.runs.plan import PlannedRun, digest, own_source
from warminit.lab.runs.randomness import random_state_kept, seed_everything
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import plain_report, weights_digest
from warminit.lab.store.store import StoredRun
from warminit.lab.study.checks import YOURS
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.report import InitReport

Init = Callable[[nn.Module, Tensor], InitReport]
"""Applies the arm: (model, images as the model is fed) -> its report."""

Train = Callable[[Init, int], Mapping[str, float]]  # (init, seed) -> metrics by name


def compare(
    train: Train,
    arms: Sequence[str | ArmSpec | Mapping[str, Any]],
    seeds: int | Sequence[int] = 8,
    *,
    baseline: str | None = None,
    out: str | Path = "warminit-results/own-loop",
    metric: str = "accuracy",
    higher_is_better: bool = True,
    unit: str | None = None,
    margin: float = 0.001,
    version: str | None = None,
    workers: int | None = None,
    engine: EngineOptions | None = None,
    listener: Listener | None = None,
) -> Analysis:
    """Compare initializers in a training loop of your own, seed by seed.

    `train(init, seed)` builds a model, calls `init(model, images)` once with a batch as the model
    is fed, trains, and returns its metrics. The global generators of Python, NumPy and torch are
    seeded with `seed` before it, and `init` leaves them as they were, so that all arms see the same
    weights elsewhere and the same batches, as far as the loop draws from these or from `seed`.

    A finished run is stored at once and not done again by the same call. What makes another run is
    a change of the arm, its parameters, the seed, the device or its threads, `version`, the text of
    `train`, or a plain value that it reads from around it. Give another `version` when anything
    else changes, such as a function that `train` calls.

    Args:
        train: Your function.
        arms: Names, `module:function`, or mappings of a name and parameters (lists are swept).
        seeds: The seeds, or how many of the paper's eight and 1001, 1002, ...
        baseline: Label of the arm to compare with; the first by default.
        out: Folder of the store and of the report page, `report.html`.
        metric: The one of your metrics that decides.
        higher_is_better: False for a loss.
        unit: `points` for a share from 0 to 1, any other name for the rest; default: `points`, or
            none where lower is better.
        margin: Equivalence margin in the metric's unit.
        version: Any text that names the state of your code.
        workers: None runs one after another in this process. A number runs in so many processes of
            one thread each; `train` must then be a function that they can import.
        engine: Processes of one thread each on this machine, or a Ray cluster, and how; with
            `EngineOptions("ray")` the bits are those of `workers=1` on the same kind of device.
        listener: Told of the progress.

    Returns:
        The analysis: its `comparisons` have a `verdict`, one sentence an arm.

    Raises:
        WarminitError: For unknown arms, a metric that `train` does not return, a folder that cannot
            be written, a cluster that does not answer, and where every run failed.

    Warns:
        WarminitWarning: Where some runs failed; they are tried again by the next call.
    """
    study = Study.create(
        "the comparison",
        name="own-loop",
        datasets=[YOURS],
        models=[YOURS],
        arms=arms if isinstance(arms, str) else list(arms),
        baseline=_first_label(arms) if baseline is None else baseline,
        seeds=seeds,
        protocol={"steps": 1},
        metric=metric,
        higher_is_better=higher_is_better,
        unit=unit,
        margin=margin,
    )
    device = "cuda" if torch.cuda.is_available() or (engine and engine.gpus_per_run) else "cpu"
    if workers is not None:
        engine = replace(engine or EngineOptions(), workers=workers)
    threads = torch.get_num_threads()
    if engine is not None:
        engine.check(device)
        threads = 1
    source = DataSource(device=device, threads=threads)
    places: Places = {}
    with planning_device(engine or EngineOptions(), source):
        runs = _plan(study, train, version, device, threads)
        job = partial(_execute, train=train, device=device)
        work = (
            _here(job)
            if engine is None
            else engine_for(engine, lambda _: job, source, places=places)
        )
        stored = complete(
            study,
            runs,
            Path(out),
            _checking(work, metric),
            device=device,
            listener=with_page(listener or Listener(), study, Path(out)),
            places=places,
        )
    _report_failures(stored)
    analysis = analyse(study, stored)
    last_page(analysis, Path(out))
    return analysis


def _first_label(arms: Sequence[Any]) -> str:
    try:
        return ArmSpec.parse(arms[0])[0].label
    except (IndexError, TypeError, ValueError):
        return ""  # Study.create refuses it with the whole text


def _plan(
    study: Study, train: Train, version: str | None, device: str, threads: int
) -> tuple[PlannedRun, ...]:
    code = {"train": train_source(train, version), "version": version}
    planned = []
    for spec in study.runs():
        decides = {
            **code,
            "arm": spec.arm.name,
            "source of the arm": own_source(spec.arm.name) if ":" in spec.arm.name else "",
            "parameters": spec.arm.parameters,
            "seed": spec.seed,
            "device": device_kind(device),
            "threads": threads,
            "numeric_version": NUMERIC_VERSION,
        }
        planned.append(PlannedRun(spec, spec.arm.parameters, digest(decides)))
    return tuple(planned)


def train_source(train: Train, version: str | None) -> dict[str, Any]:
    """Return the text of a function and the plain values that it reads from around it.

    Raises:
        WarminitError: If its text cannot be had and no version stands for it.
    """
    try:
        text = inspect.getsource(train)
        around = inspect.getclosurevars(train)
    except (OSError, TypeError) as error:
        if version is None:
            raise WarminitError(
                f"version=None: the source of train={train!r} cannot be read ({error}), so results "
                "of an earlier state of it could not be told from new ones. Give version='1', and "
                "another one whenever your code changes."
            ) from error
        return {}
    plain = {
        name: value
        for name, value in {**around.globals, **around.nonlocals}.items()
        if isinstance(value, bool | int | float | str)
    }
    return {"text": text, "values": plain}


def _here(job: Job) -> Engine:
    return lambda runs, _on_progress: ((run, job(run, None)) for run in runs)


def _checking(engine: Engine, metric: str) -> Engine:
    """Return an engine that raises at the first run without the metric, not after hours."""

    def checking(
        runs: Sequence[PlannedRun], on_progress: OnProgress
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        with closing(engine(runs, on_progress)) as outcomes:  # type: ignore[type-var]  # a generator
            for run, outcome in outcomes:
                yield run, outcome
                if isinstance(outcome, RunResult):
                    outcome.metric(metric)

    return checking


def _execute(run: PlannedRun, _on_step: OnStep | None, *, train: Train, device: str) -> Outcome:
    return guarded(lambda: _run(run, train, torch.device(device)))


def _run(run: PlannedRun, train: Train, device: torch.device) -> RunResult:
    arm, seed = get_arm(run.spec.arm.name), run.spec.seed
    done: list[tuple[nn.Module, InitReport, Tensor]] = []
    init_seconds = 0.0

    def init(model: nn.Module, images: Tensor) -> InitReport:
        nonlocal init_seconds
        started = time.perf_counter()
        with random_state_kept(device):
            seed_everything(seed, device)
            report = arm(model, images, seed=seed, **run.arm_parameters)
        init_seconds += time.perf_counter() - started
        done.append((model, report, images))
        return report

    started = time.perf_counter()
    with random_state_kept(device):
        seed_everything(seed, device)
        metrics = _checked(train(init, seed))
    seconds = time.perf_counter() - started
    if not done:
        raise WarminitError(
            "train did not call init(model, images), so no arm was applied and nothing would be "
            "compared. Call it once, after the model is built and before it is trained."
        )
    model, report, images = done[-1]
    return RunResult(
        metrics=metrics,
        train_loss=(),
        eval_steps=(),
        eval_metrics={},
        weights_digest=weights_digest(model),
        init_report=plain_report(report),
        init_seconds=init_seconds,
        train_seconds=seconds - init_seconds,
        trained_filters=keep_filters(model, images),
    )


def _checked(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, Mapping) or not metrics:
        raise WarminitError(
            f"train returned {metrics!r}; a dict of metrics is needed, such as "
            "{'accuracy': 0.91}. Return it at the end of your function."
        )
    try:
        return {str(name): float(value) for name, value in metrics.items()}
    except (TypeError, ValueError) as error:
        raise WarminitError(
            f"train returned {dict(metrics)!r}, where each metric must be one number ({error})."
        ) from error


def _report_failures(stored: Sequence[StoredRun]) -> None:
    failed = [run for run in stored if run.error is not None]
    if not failed:
        return
    last = (failed[0].error or "").strip().splitlines()[-1]
    text = (
        f"{len(failed)} of {len(stored)} runs failed; {failed[0].spec.arm.label} at seed "
        f"{failed[0].spec.seed}: {last}. The next call tries them again"
    )
    if len(failed) == len(stored):
        raise WarminitError(f"{text}; the store has each one's whole traceback.")
    warnings.warn(f"{text}.", WarminitWarning, stacklevel=3)
