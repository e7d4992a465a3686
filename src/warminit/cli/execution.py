"""a study, engine options -> runs, progress and result files, also after an interruption."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from warminit.cli import options
from warminit.errors import unexpected
from warminit.paths import expanded

if TYPE_CHECKING:
    from rich.console import Console

    from warminit.lab.data.load import ImageDataset
    from warminit.lab.engines.driver import Listener
    from warminit.lab.engines.job import DataSource
    from warminit.lab.engines.options import EngineOptions
    from warminit.lab.study.study import Study
    from warminit.lab.verdict.analysis import Analysis

INTERRUPTED = 130
FAILED = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Hold where and how a study runs: the options that `placed` gives every command with runs.

    `command` is the typed line, and `engine` replaces the engine of this machine.
    `save_weights` keeps each run's final weights beside its results.
    """

    out: options.Out = None
    data_root: options.DataRoot = None
    resize: options.Resize = None
    device: options.Device = "cpu"
    threads: options.Threads = 1
    workers: options.Workers = None
    allow_mixed: options.AllowMixed = False
    track: options.Track = None
    quiet: options.Quiet = False
    command: str = ""
    engine: "EngineOptions | None" = None
    save_weights: bool = False

    def folder(self, study: "Study") -> Path:
        """Return the folder of the results, by default named after the study."""
        return expanded(self.out or Path("warminit-results") / study.name)

    def source(self) -> "DataSource":
        """Return the options of the workers."""
        from warminit.lab.engines.job import DataSource

        return DataSource(
            data_root=self.data_root,
            resize=self.resize,
            device=self.device,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """Hold the outcome of an execution.

    Attributes:
        analysis: Analysis of what is finished.
        datasets: Data sets of the study, by name.
        folder: Folder of the results.
        exit_code: 0, 1 if a run failed, 130 if it was interrupted.
        page: Report page, None if it could not be written.
        command: Command that continues and reproduces the study.
        track: Tracker that also received the runs.
        weights: Folder of the runs' final weights, None unless they are kept.
    """

    analysis: "Analysis"
    datasets: "Mapping[str, ImageDataset]"
    folder: Path
    exit_code: int
    page: Path | None
    command: str
    track: str | None = None
    weights: Path | None = None

    def files(self) -> dict[str, str | None]:
        """Return the paths of the results, for JSON."""
        page = None if self.page is None else str(self.page)
        weights = {} if self.weights is None else {"weights": str(self.weights)}
        return {"folder": str(self.folder), "report": page, "command": self.command} | weights


def execute(study: "Study", place: Place, console: "Console") -> Ending:
    """Run the missing runs of a study; write `results.csv`, `results.json` and the report page.

    Raises:
        WarminitError: If the study cannot run; finished runs are in the store.
    """
    from warminit.lab.engines.driver import finished_runs, run_study
    from warminit.lab.engines.options import EngineOptions
    from warminit.lab.engines.tracking import check_tracker, tracked
    from warminit.lab.report.study_page import last_page, with_page
    from warminit.lab.store.stored_study import stored_runs
    from warminit.lab.terminal.progress import live_progress
    from warminit.lab.verdict.analysis import analyse

    source, folder = place.source(), place.folder(study)
    if place.track is not None:
        check_tracker(place.track)
    engine = place.engine or EngineOptions(workers=place.workers)
    engine.check(place.device)
    if place.save_weights:
        if engine.engine == "ray":
            step = "Leave --save-weights out."
            raise unexpected("engine", "ray", "local, to keep weights on this machine", step)
        source = replace(source, weights=folder / "weights")
    datasets = load(study, source, console, quiet=place.quiet)
    partial = [name for name, dataset in datasets.items() if dataset.partial]
    if not place.quiet:
        for line in filter(None, (describe(study), slow(study, place))):
            console.print(line, highlight=False, markup=False)
    exit_code = 0
    try:
        with (
            # What others print meanwhile, Ray or a user's own network, is no part of the JSON.
            redirect_stdout(sys.stderr if console.stderr else sys.stdout),
            live_progress(
                console, study, lambda: stored_runs(folder), quiet=place.quiet
            ) as listener,
        ):
            told = _unmixed(listener, folder, place)
            if place.track is not None:
                told = tracked(told, place.track, study, folder)
            told = with_page(told, study, folder, partial=partial)
            runs = run_study(study, folder, source, engine=engine, listener=told)
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
        runs = finished_runs(study, folder, source) if stored_runs(folder) else ()
    evaluated = {name: len(dataset.test_images) for name, dataset in datasets.items()}
    analysis = analyse(
        study, runs, allow_mixed=place.allow_mixed, partial=partial, evaluated=evaluated
    )
    from warminit.lab.verdict.export import (
        export,  # loads pandas, which the first step need not wait for
    )

    for file_format in ("csv", "json"):
        export(analysis, folder / f"results.{file_format}", file_format)
    if not exit_code and analysis.failed:
        exit_code = FAILED
    # Who interrupts wants to be gone: the pictures of images and filters take seconds.
    pictured = {} if exit_code == INTERRUPTED else datasets
    page = last_page(analysis, folder, datasets=pictured, command=place.command or None)
    places = place.command, place.track, source.weights
    return Ending(analysis, datasets, folder, exit_code, page, *places)


def load(
    study: "Study", source: "DataSource", console: "Console", *, quiet: bool = False
) -> "dict[str, ImageDataset]":
    """Load a study's data sets, with a progress bar for the first decoding."""
    from warminit.lab.terminal.progress import loading_progress

    with loading_progress(console, quiet=quiet) as progress:
        return {
            name: source.load(name, study.validation, progress(name)) for name in study.datasets
        }


def describe(study: "Study") -> str:
    """Describe the study in one line."""
    from warminit.lab.verdict.wording import counted, seeds_planned

    protocol = study.protocol
    return (
        f"{study.name}: {counted(len(study.arms), 'arm')} x {seeds_planned(study)} on "
        f"{', '.join(study.datasets)} with {', '.join(study.models)}; {protocol.steps:,} steps at "
        f"batch {protocol.batch_size}"
    )


def slow(study: "Study", place: Place) -> str:
    """Return a note where the device is slow at the study's precision, else ""."""
    from warminit.lab.runs.arithmetic import emulated

    note = emulated(study.protocol.precision, place.device)
    return note and f"note: {note}"


def _unmixed(listener: "Listener", folder: Path, place: Place) -> "Listener":
    """Refuse runs that could not be compared afterwards, before any run."""
    from warminit.lab.runs.environment import environment
    from warminit.lab.runs.plan import PlannedRun
    from warminit.lab.store.stored_study import stored_runs
    from warminit.lab.verdict.mixed import refuse_mixed

    def planned(runs: tuple[PlannedRun, ...], finished: int) -> None:
        keys = {run.key for run in runs}
        before = [run.environment for run in stored_runs(folder) if run.key in keys and run.result]
        if len(before) < len(runs):
            refuse_mixed([*before, environment(place.device)], allow_mixed=place.allow_mixed)
        listener.planned(runs, finished)

    return replace(listener, planned=planned)


def close(ending: Ending, console: "Console") -> None:
    """Print the paths of the results, and exit with the exit code."""
    from warminit.lab.engines.job import weights_file
    from warminit.lab.engines.tracking import how_to_see
    from warminit.lab.verdict.wording import counted

    lines = [f"Results: {ending.folder} (results.csv, results.json)"]
    if ending.page is not None:
        lines.append(f"Report:  {ending.page}")
    if ending.track is not None:
        lines.append(f"Tracked: {how_to_see(ending.track, ending.folder)}")
    if ending.weights is not None:
        lines.append(f"Weights: {ending.weights}")
        ended = [run.key for run in ending.analysis.runs if run.result is not None]
        without = sum(not weights_file(ending.weights, key).exists() for key in ended)
        if without:
            lines.append(
                f"{counted(without, 'finished run')} without weights there: they ended before "
                "--save-weights was given. Give another --out to run them again."
            )
    if ending.exit_code == INTERRUPTED:
        kept = sum(run.result is not None for run in ending.analysis.runs)
        lines += [
            f"Interrupted; {counted(kept, 'finished run')} kept. Continue with the same command:",
            f"  {ending.command}",
        ]
    for line in lines:  # unwrapped, so that paths and commands can be copied
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if ending.exit_code:
        raise typer.Exit(ending.exit_code)
