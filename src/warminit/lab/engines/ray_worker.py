"""one planned run, in a worker process of a Ray cluster -> its outcome, and where it was done."""

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
"""What a worker's environment must share with the driver's, for its results to be compared."""

TELL_EVERY = 0.5
"""Seconds between two notes of a run's steps."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What every worker of a study is told once.

    Attributes:
        board: Handle of the actor that the steps are noted on.
        paths: The driver's `sys.path`, to find the user's own modules by.
        device: Where runs take place.
        threads: CPU threads of a run.
        driver: The driver's environment.
    """

    board: Any
    paths: tuple[str, ...]
    device: str
    threads: int
    driver: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker gives back.

    Attributes:
        outcome: Outcome of the run; None where it was refused.
        place: The environment of the worker's machine.
        refused: Why the machine cannot do runs of this study, or "".
    """

    outcome: Outcome | None
    place: Mapping[str, str]
    refused: str = ""


class Board:
    """Where workers note their steps and the driver reads them; an actor of its own."""

    def __init__(self) -> None:
        self._notes: dict[int, int] = {}

    def note(self, ticket: int, step: int) -> None:
        """Note that the attempt of this number has done so many steps; 0 when it starts."""
        self._notes[ticket] = step

    def take(self) -> dict[int, int]:
        """Return what was noted since the last call."""
        notes, self._notes = self._notes, {}
        return notes


@dataclass(frozen=True, slots=True)
class SharedSource(DataSource):
    """Data sets that lie in the cluster's object store; a worker maps them and copies nothing.

    Attributes:
        objects: (name of the data set, reference to what `packed` made of it).
    """

    objects: tuple[tuple[str, Any], ...] = ()

    def load(
        self,
        name: str,
        validation: int = 0,  # noqa: ARG002 - carved by the driver
        progress: Callable[[int, int], None] | None = None,  # noqa: ARG002 - it is at once there
    ) -> ImageDataset:
        """Return a data set whose tensors are views of the store: to be read, never written."""
        import ray

        return unpacked(ray.get(dict(self.objects)[name]))


def packed(dataset: ImageDataset) -> dict[str, Any]:
    """Return a data set with NumPy arrays for tensors: what Ray shares without a copy."""
    values = {field.name: getattr(dataset, field.name) for field in fields(dataset)}
    return {
        name: value.numpy() if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def unpacked(values: Mapping[str, Any]) -> ImageDataset:
    """Return the data set that was packed; nothing is copied."""
    with warnings.catch_warnings():
        # The store's arrays are read-only. No batch, model or arm is ever handed them: batches are
        # gathered into tensors of their own.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        tensors: dict[str, Any] = {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in values.items()
        }
    return ImageDataset(**tensors)


def perform(
    orders: Orders, job: list[Any], ticket: int, run: PlannedRun, _data: object = None
) -> Answer:
    """Do one run; a remote function.

    Args:
        orders: What every worker is told.
        job: The reference to the job, in a list so that it is not read before the user's modules
            can be found.
        ticket: Number of this attempt.
        run: What is to be done.
        _data: The run's data set, which Ray brings to the machine before the run starts; an error
            in that is then Ray's to report, not the run's.
    """
    _once(orders.paths, orders.threads)
    try:
        place = environment(orders.device)
    except WarminitError as error:  # no such device here
        return Answer(None, {}, str(error))
    differing = [name for name in MUST_AGREE if place[name] != orders.driver[name]]
    if differing:
        here, there = (
            ", ".join(f"{name} {each[name]}" for name in differing)
            for each in (place, orders.driver)
        )
        return Answer(None, place, f"it has {here}, and the driver {there}")
    work = _job(job[0])
    orders.board.note.remote(ticket, 0)  # from here on its time counts
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
