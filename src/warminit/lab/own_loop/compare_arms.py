"""a user's train function -> runs, store, statistics and verdict."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from warminit.errors import WarminitError, WarminitWarning
from warminit.lab.engines.choose import engine_for, planning_device
from warminit.lab.engines.driver import complete
from warminit.lab.engines.job import DataSource, Job, Outcome
from warminit.lab.engines.options import Engine, EngineOptions, OnProgress, Places
from warminit.lab.own_loop.function_text import failing_line, train_source
from warminit.lab.own_loop.one_run import Train, execute
from warminit.lab.report.study_page import last_page, with_page
from warminit.lab.runs.environment import NUMERIC_VERSION, device_kind
from warminit.lab.runs.plan import PlannedRun, digest, own_source
from warminit.lab.runs.results import RunResult
from warminit.lab.store import read_study
from warminit.lab.store.store import StoredRun
from warminit.lab.study.key_checks import YOURS
from warminit.lab.study.spec import ArmSpec
from warminit.lab.study.study import Study
from warminit.lab.terminal.display import print_analysis
from warminit.lab.terminal.progress import live_progress
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.paths import expanded

ON_ERROR = ("stop", "continue")


def compare(
    train: Train,
    arms: Sequence[str | ArmSpec | Mapping[str, Any]],
    seeds: int | Sequence[int] | None = None,
    *,
    baseline: str | None = None,
    out: str | Path = "warminit-results/own-loop",
    metric: str = "accuracy",
    higher_is_better: bool = True,
    unit: str | None = None,
    margin: float = 0.001,
    until_decided: bool = False,
    version: str | None = None,
    on_error: Literal["stop", "continue"] = "stop",
    workers: int | None = None,
    engine: EngineOptions | None = None,
    quiet: bool = False,
) -> Analysis:
    """Compare initializers in your own training loop, seed by seed.

    `train(init, seed)` builds a model, trains it, and returns its metrics. Between the two it calls
    `init(model, images)` once, with a batch as the model is fed. Before the call, `seed` seeds the
    global generators of Python, NumPy and torch, and `init` does not change them. So all arms share
    the other weights and the batches, if the loop draws only from these generators or from `seed`.
    `init(model, images, mean=..., std=...)` passes options to every arm that accepts them.

    A finished run is stored at once, and the same call does not repeat it. A run is new if its arm,
    parameters, seed, device or threads change. So it is if `version`, the source of `train`, or a
    plain value that `train` reads from its scope changes. Pass another `version` if
    anything else changes, for example a function that `train` calls.

    Args:
        train: Your train function.
        arms: Names, `module:function`, or mappings of a name and parameters. A list of values is
            swept, except for `mean` and `std`, which have one value per channel.
        seeds: List of seeds, or their number, from the paper's eight and then 1001, 1002, ...; 8 by
            default, at most 18 with `until_decided`.
        baseline: Label of the arm to compare with; the first by default.
        out: Folder of the store and of the report page, `report.html`; its name is the study's.
        metric: Name of the metric that decides.
        higher_is_better: Whether larger values are better; False for a loss.
        unit: `points` for a share from 0 to 1, or any other name. The default is `points`, or no
            unit if lower is better.
        margin: Equivalence margin in the metric's unit.
        until_decided: Whether seeds run only until each comparison is decided. `seeds` is then the
            maximum, or a list of the first seeds. `docs/sequential.md` has the rule. A failed run
            ends its comparison.
        version: Text that names the state of your code.
        on_error: `stop` ends an arm at its first failed run; `continue` runs its other seeds. The
            next call repeats failed runs.
        workers: Number of processes with one thread each, or None to run one after another in this
            process. With processes, `train` must be importable.
        engine: Engine, processes on this machine or a Ray cluster. `EngineOptions("ray")` gives the
            bits of `workers=1` on the same kind of device.
        quiet: Whether to print no progress and no final table.

    Returns:
        The analysis; each of its `comparisons` has a `verdict`, one sentence per arm.

    Raises:
        WarminitError: For unknown arms, a metric that `train` does not return, a folder that cannot
            be written, or a cluster that does not answer. Also if every run failed.

    Warns: WarminitWarning: If some runs failed, with the failing line of your code.
    """
    if on_error not in ON_ERROR:
        raise WarminitError(f"on_error={on_error!r}: expected 'stop' or 'continue'. Choose one.")
    out = expanded(out)
    study = Study.create(
        "the comparison",
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", out.resolve().name).lstrip("._-") or "own-loop",
        datasets=[YOURS],
        models=[YOURS],
        arms=arms if isinstance(arms, str) else list(arms),
        baseline=_first_label(arms) if baseline is None else baseline,
        **({} if seeds is None else {"seeds": seeds}),
        sequential=until_decided,
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
    console = Console()
    with (
        planning_device(engine or EngineOptions(), source),
        live_progress(console, study, lambda: read_study(out).runs, quiet=quiet) as listener,
    ):
        runs = _plan(study, train, version, device, threads)
        names = [arm.name for arm in study.arms]
        job = partial(execute, train=train, arms=names, device=device)
        work = (
            _here(job)
            if engine is None
            else engine_for(engine, lambda _: job, source, places=places)
        )
        if on_error == "stop" and not until_decided:  # whose looks stop it themselves
            work = _stopping(work)
        stored = complete(
            study,
            runs,
            out,
            _checking(work, metric),
            device=device,
            listener=with_page(listener, study, out),
            places=places,
        )
    stopped = (
        " Their arms were stopped; on_error='continue' runs their other seeds."
        if on_error == "stop"
        else ""
    )
    _report_failures(stored, train, " Their comparisons were ended." if until_decided else stopped)
    analysis = analyse(study, stored)
    last_page(analysis, out)
    if not quiet:
        print_analysis(analysis, console)
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
            "source of the arm": "".join(
                own_source(each) for each in spec.arm.names if ":" in each
            ),
            "parameters": spec.arm.parameters,
            "seed": spec.seed,
            "device": device_kind(device),
            "threads": threads,
            "numeric_version": NUMERIC_VERSION,
        }
        planned.append(PlannedRun(spec, spec.arm.parameters, digest(decides)))
    return tuple(planned)


def _here(job: Job) -> Engine:
    return lambda runs, _on_progress: ((run, job(run, None)) for run in runs)


def _checking(engine: Engine, metric: str) -> Engine:
    """Return an engine that fails at the first run without the metric, not after hours."""

    def checking(
        runs: Sequence[PlannedRun], on_progress: OnProgress
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        with closing(engine(runs, on_progress)) as outcomes:  # type: ignore[type-var]  # a generator
            for run, outcome in outcomes:
                yield run, outcome
                if isinstance(outcome, RunResult):
                    outcome.metric(metric)

    return checking


def _stopping(engine: Engine) -> Engine:
    """Return an engine that skips the rest of an arm after a failed run.

    Runs of other arms in worker processes at that moment are restarted.
    """

    def stopping(
        runs: Sequence[PlannedRun], on_progress: OnProgress
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        waiting = list(runs)
        while waiting:
            ended: set[str] = set()
            failed: str | None = None
            with closing(engine(waiting, on_progress)) as outcomes:  # type: ignore[type-var]  # a generator
                for run, outcome in outcomes:
                    yield run, outcome
                    ended.add(run.key)
                    if isinstance(outcome, str):
                        failed = run.spec.arm.label
                        break
            waiting = [
                run
                for run in waiting
                if run.key not in ended and failed not in (None, run.spec.arm.label)
            ]

    return stopping


def _report_failures(stored: Sequence[StoredRun], train: Train, stopped: str) -> None:
    failed = [run for run in stored if run.error is not None]
    if not failed:
        return
    first, error = failed[0], failed[0].error or ""
    place = failing_line(train, error)
    # In brackets, or an error that ends in a full stop would end the sentence.
    text = (
        f"{len(failed)} of {len(stored)} runs failed; {first.spec.arm.label} at seed "
        f"{first.spec.seed}: {error.strip().splitlines()[-1]}{f' ({place})' if place else ''}. "
    )
    if len(failed) == len(stored):
        raise WarminitError(f"{text}Fix it and call again; the store has the full tracebacks.")
    warnings.warn(f"{text}The next call repeats them.{stopped}", WarminitWarning, stacklevel=3)
