"""one planned run, in a worker process of a Ray cluster -> its outcome and its machine."""

import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warminit.errors import WarminitError
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.job import DataSource, Job, Outcome
from warminit.lab.engines.worker import prepare
from warminit.lab.runs.environment import NUMERIC_PACKAGES, environment
from warminit.lab.runs.plan import PlannedRun

MUST_AGREE = ("warminit", *NUMERIC_PACKAGES, "device")
"""Environment entries that a worker must share with the driver, so that results are comparable."""

TELL_EVERY = 0.5
"""Seconds between two notes on a run's steps."""


@dataclass(frozen=True, slots=True)
class Orders:
    """Hold the orders that every worker of a study receives once.

    Attributes:
        board: Handle of the actor that collects the steps.
        paths: The driver's `sys.path`, to import the user's modules.
        device: Device of the runs.
        threads: CPU threads per run.
        driver: Environment of the driver.
    """

    board: Any
    paths: tuple[str, ...]
    device: str
    threads: int
    driver: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold the answer of a worker.

    Attributes:
        outcome: Outcome of the run; None if the worker refused it.
        place: Environment of the worker's machine.
        refused: Reason that the machine cannot execute runs of this study, or "".
    """

    outcome: Outcome | None
    place: Mapping[str, str]
    refused: str = ""


class Board:
    """Hold the steps of all workers for the driver, as an actor."""

    def __init__(self) -> None:
        self._notes: dict[int, int] = {}

    def note(self, ticket: int, step: int) -> None:
        """Note the finished steps of an attempt by its number; 0 when the attempt starts."""
        self._notes[ticket] = step

    def take(self) -> dict[int, int]:
        """Return the notes since the last call."""
        notes, self._notes = self._notes, {}
        return notes


@dataclass(frozen=True, slots=True)
class SharedSource(DataSource):
    """Hold data sets in the cluster's object store; a worker maps them without a copy.

    Attributes:
        objects: Pairs (name of the data set, reference to its `packed` form).
    """

    objects: tuple[tuple[str, Any], ...] = ()

    def load(
        self,
        name: str,
        validation: int = 0,  # noqa: ARG002 - carved by the driver
        progress: Callable[[int, int], None] | None = None,  # noqa: ARG002 - no decoding
    ) -> ImageDataset:
        """Return a data set whose tensors are read-only views of the store."""
        import ray

        return unpacked(ray.get(dict(self.objects)[name]))


def packed(dataset: ImageDataset) -> dict[str, Any]:
    """Return a data set with NumPy arrays for tensors, which Ray shares without a copy."""
    values = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    return {
        name: value.numpy() if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def unpacked(values: Mapping[str, Any]) -> ImageDataset:
    """Return the data set of a packed one, without a copy."""
    with warnings.catch_warnings():
        # The store's arrays are read-only. Batches, models and arms never see them: a batch is
        # gathered into a new tensor.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        tensors: dict[str, Any] = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }
    return ImageDataset(**tensors)


def perform(
    orders: Orders, job: list[Any], ticket: int, run: PlannedRun, _data: object = None
) -> Answer:
    """Execute one run, as a remote function.

    Args:
        orders: Orders for every worker.
        job: Reference to the job, in a list so that Ray does not load it before the user's modules
            can be imported.
        ticket: Number of the attempt.
        run: Run to execute.
        _data: Data set of the run, which Ray copies to the machine before the run starts; Ray, not
            the run, then reports an error in the copy.
    """
    _once(orders.paths, orders.threads)
    try:
        place = environment(orders.device)
    except WarminitError as error:  # the device is not available here
        return Answer(None, {}, str(error))
    differing = [name for name in MUST_AGREE if place[name] != orders.driver[name]]
    if differing:
        here, there = (
            ", ".join(f"{name} {each[name]}" for name in differing)
            for each in (place, orders.driver)
        )
        return Answer(None, place, f"it has {here}, and the driver {there}")
    work = _job(job[0])
    orders.board.note.remote(ticket, 0)  # the time limit counts from here
    told = time.monotonic()

    def tell(step: int, _loss: float) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_EVERY:
            told = time.monotonic()
            orders.board.note.remote(ticket, step)

    return Answer(work(run, tell), place)


@cache
def _once(paths: tuple[str, ...], threads: int) -> None:
    sys.path += [path for path in paths if path not in sys.path]
    prepare(threads)


@lru_cache(maxsize=1)
def _job(reference: Any) -> Job:
    import ray

    job: Job = ray.get(reference)
    return job
