"""planned runs -> Estimate: number of missing runs, their time, and their stored bytes."""

import dataclasses
import json
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

import torch

from warminit.initializers import get_method
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.job import DataSource
from warminit.lab.engines.local import default_workers
from warminit.lab.networks.build import build_model
from warminit.lab.runs.batches import place_split
from warminit.lab.runs.evaluate import evaluate
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import train
from warminit.lab.study.protocol import Protocol

MEASURING_SECONDS = 3.0
"""Approximate time limit of an estimate; a step slower than its share is measured once."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Hold the estimated needs of a study, from steps measured on this machine.

    Attributes:
        runs: Number of runs in the plan.
        to_do: Number of runs without a result.
        seconds: Time for the runs without a result, with the planned workers. Other programs, and
            workers that share the memory, make it longer.
        megabytes: Disk space for the results of all runs (10**6 bytes).
        evaluation_share: Share of the evaluations in the time of all runs, from 0 to 1.
    """

    runs: int
    to_do: int
    seconds: float
    megabytes: float
    evaluation_share: float = 0.0


def estimate(
    runs: Sequence[PlannedRun],
    source: DataSource,
    finished: Collection[str] = (),
    *,
    workers: int | None = None,
) -> Estimate:
    """Measure a few real steps of each data set, model and protocol, and add up the plan.

    Args:
        runs: Planned runs.
        source: Data root, device and threads of the runs.
        finished: Keys of the runs with a result.
        workers: Maximum number of parallel runs, as for `run_study`.

    Returns:
        The estimate. `seconds` is at least the time of the longest run, or 0 if no run is missing.

    Raises:
        WarminitError: If a data set, a model or an arm cannot be used.
    """
    kinds: dict[tuple[str, str, Protocol], PlannedRun] = {}
    for run in runs:
        kinds.setdefault((run.spec.dataset, run.spec.model, run.spec.protocol), run)
    measured = {}
    with torch_threads(source.threads):
        for kind, run in kinds.items():
            measured[kind] = _measure(run, source, MEASURING_SECONDS / len(kinds))
    needed = [measured[run.spec.dataset, run.spec.model, run.spec.protocol] for run in runs]
    seconds = [each[0] for run, each in zip(runs, needed, strict=True) if run.key not in finished]
    # Runs that share a GPU also share its speed: their number hardly changes the time.
    processes = 1 if source.device != "cpu" else workers or default_workers(source.threads)
    return Estimate(
        runs=len(runs),
        to_do=len(seconds),
        seconds=max(sum(seconds) / processes, max(seconds, default=0.0)),
        megabytes=sum(size for *_, size in needed) / 1e6,
        evaluation_share=sum(each[1] for each in needed) / sum(each[0] for each in needed),
    )


def _measure(run: PlannedRun, source: DataSource, budget: float) -> tuple[float, float, int]:
    """Return the seconds of one run, the seconds of its evaluations, and its stored bytes."""
    dataset = source.load(run.spec.dataset, run.spec.validation)
    # Evaluations are measured separately: a run has few, but each covers a whole split.
    short = dataclasses.replace(
        dataset, test_images=dataset.test_images[:2], test_labels=dataset.test_labels[:2]
    )
    started = time.perf_counter()
    result = _train(run, short, source, steps=1)  # warm-up
    left = budget - (time.perf_counter() - started)
    # At least three steps: the first step of a process is not typical.
    steps = min(run.spec.protocol.steps, max(3, min(20, int(left / 2 / result.train_seconds))))
    result = _train(run, short, source, steps=steps)
    protocol = run.spec.protocol
    seconds = result.init_seconds
    seconds += result.train_seconds / len(result.train_loss) * protocol.steps
    evaluations = _evaluation_seconds(run, dataset, source) * len(protocol.evaluation_steps)
    return seconds + evaluations, evaluations, len(json.dumps(_filled(result, protocol).to_dict()))


def _train(run: PlannedRun, dataset: ImageDataset, source: DataSource, *, steps: int) -> RunResult:
    protocol = run.spec.protocol.model_copy(update={"steps": steps, "eval_interval": steps})
    return train(
        dataset,
        run.spec.model_copy(update={"protocol": protocol}),
        arm=get_method(run.spec.arm.name),
        arm_parameters=run.arm_parameters,
        device=source.device,
    )


def _evaluation_seconds(run: PlannedRun, dataset: ImageDataset, source: DataSource) -> float:
    n = len(dataset.test_images)
    shown = min(n, 500)
    part = dataclasses.replace(
        dataset, test_images=dataset.test_images[:shown], test_labels=dataset.test_labels[:shown]
    )
    device = torch.device(source.device)
    with torch.random.fork_rng(devices=[]):
        model = build_model(
            run.spec.model, dataset.in_channels, dataset.image_size, dataset.n_classes
        )
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
        split = place_split(part, "test", device)
        started = time.perf_counter()
        evaluate(model, split, dataset.n_classes, run.spec.protocol.precision)
        return (time.perf_counter() - started) * n / shown


def _filled(result: RunResult, protocol: Protocol) -> RunResult:
    """Return a result with as many values as the protocol gives, to measure its size."""
    times = len(protocol.evaluation_steps)
    return dataclasses.replace(
        result,
        train_loss=tuple(islice(cycle(result.train_loss), protocol.steps)),
        eval_steps=protocol.evaluation_steps,
        eval_metrics={
            name: tuple(curve[-1:]) * times for name, curve in result.eval_metrics.items()
        },
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set torch's number of threads, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
