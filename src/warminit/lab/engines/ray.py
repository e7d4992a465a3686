"""many runs -> many outcomes, on a Ray cluster: Ray places the runs, the driver stores them."""

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from warminit.errors import WarminitError
from warminit.lab.data.load import ImageDataset
from warminit.lab.engines.job import DataSource, Job, Outcome
from warminit.lab.engines.local import overran
from warminit.lab.engines.options import EngineOptions, OnProgress, Places
from warminit.lab.engines.ray_cluster import connected, slots
from warminit.lab.engines.ray_worker import (
    TELL_EVERY,
    Answer,
    Board,
    Orders,
    SharedSource,
    packed,
    perform,
)
from warminit.lab.runs.environment import environment
from warminit.lab.runs.plan import PlannedRun

COUNT_EVERY = 10.0
"""Seconds between two counts of the cluster's capacity, since nodes join and leave."""


def run_on_ray(
    runs: Sequence[PlannedRun],
    make_job: Callable[[DataSource], Job],
    source: DataSource,
    *,
    options: EngineOptions,
    datasets: Mapping[str, ImageDataset],
    places: Places,
    on_progress: OnProgress,
) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Execute all runs, the longest first, and yield each outcome as it finishes.

    Data sets and the job go to the object store once. A run restarts, at most `options.retries`
    times, if its worker or node is lost or its time limit is exceeded. A run that raises or
    diverges ends with the text of its error, as on one machine. Close the iterator to stop the
    current runs.

    Args:
        runs: Runs to execute; a list may grow after each yielded outcome.
        make_job: Function from the workers' data source to the job of each run.
        source: Data root, device and threads of a run.
        options: Address, resources per run, parallel runs, retries and time limit.
        datasets: Data sets by the study's names; may be empty.
        places: Mapping to fill with the environment of each run's machine, before the run is
            yielded.
        on_progress: Callback for finished steps, called in this process.

    Raises:
        WarminitError: If there is no cluster, no node has room for a run, the data sets do not fit,
            the job cannot be sent or loaded, or a node has another device or other versions.
    """
    with connected(options.address, sum(_bytes(each) for each in datasets.values())) as ray:
        dispatch = _Dispatch(ray, runs, source, options)
        try:
            objects = {name: dispatch.put(packed(each), name) for name, each in datasets.items()}
            given = {field.name: getattr(source, field.name) for field in fields(source)}
            shared = SharedSource(**given, objects=tuple(objects.items()))
            dispatch.start(make_job(shared if objects else source), objects)
            while dispatch.busy():
                dispatch.submit()
                for flight in dispatch.landed():
                    yield from dispatch.settle(flight, places)
                dispatch.read_board(on_progress)
                dispatch.stop_overdue()
        finally:
            dispatch.cancel()


@dataclass(slots=True, eq=False)
class _Flight:
    """Hold one attempt at a run: its number, Ray's reference, and the reported starting time."""

    run: PlannedRun
    ticket: int
    reference: Any
    started: float | None = None
    overdue: bool = False


class _Dispatch:
    """Hold the waiting runs, the current attempts, and the number of attempts at each run."""

    def __init__(
        self, ray: Any, runs: Sequence[PlannedRun], source: DataSource, options: EngineOptions
    ) -> None:
        self._ray, self._options, self._source = ray, options, source
        self._waiting: deque[PlannedRun] = deque()
        self._runs, self._taken = runs, 0
        self._flying: dict[Any, _Flight] = {}
        self._attempts: Counter[str] = Counter()
        self._tickets = 0
        self._cpus = options.cpus_per_run or float(source.threads)
        on_gpu = source.device != "cpu"
        self._gpus = float(on_gpu) if options.gpus_per_run is None else options.gpus_per_run
        self._room = self._counted_at = self._read_at = 0.0
        self._board: Any = None
        self._notes: Any = None

    def put(self, value: object, name: str) -> Any:
        """Put a value into the object store."""
        try:
            return self._ray.put(value)
        except self._ray.exceptions.RayError as error:
            raise WarminitError(
                f"engine='ray': the object store has no room for {name!r}: {_first(error)}. Start "
                "the cluster with a larger --object-store-memory, or free space where it spills; "
                "every run that had finished before stands."
            ) from error
        except (TypeError, AttributeError) as error:
            raise WarminitError(
                f"the function to run cannot be sent to worker processes: {_first(error)}. Define "
                "it at the top of an importable module."
            ) from error

    def start(self, job: Job, objects: Mapping[str, Any]) -> None:
        """Check that a node has room for a run, and prepare the orders for every worker."""
        ray, source = self._ray, self._source
        if not slots(ray, self._cpus, self._gpus):
            has = {name: value for name, value in ray.cluster_resources().items() if len(name) == 3}
            raise WarminitError(
                f"cpus_per_run={self._cpus:g}, gpus_per_run={self._gpus:g}: no node of the cluster "
                f"has room for a run; all together have {has or 'none'}. Ask for less, or start "
                "larger nodes."
            )
        here = ray.get_runtime_context().get_node_id()
        near = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=True)
        board = ray.remote(Board).options(num_cpus=0, max_restarts=-1, scheduling_strategy=near)
        self._board = board.remote()
        orders = Orders(
            board=self._board,
            paths=tuple(sys.path),
            device=source.device,
            threads=source.threads,
            driver=dict(environment(source.device)),
        )
        self._objects = objects
        self._given = (self.put(orders, "orders"), [self.put(job, "job")])
        # Lost workers are handled here, not by Ray, which would not count them. With these
        # options a process ends after a run on a GPU: the next run may get another GPU.
        resources = {"num_cpus": self._cpus, "num_gpus": self._gpus}
        self._perform = ray.remote(**resources, max_retries=0)(perform)

    def busy(self) -> bool:
        """Take the new runs, and return whether any run is unfinished."""
        new = self._runs[self._taken :]
        self._taken += len(new)
        # Sorting keeps the order of equal runs, so paired runs finish close together.
        self._waiting.extend(sorted(new, key=lambda run: -run.work))
        return bool(self._waiting or self._flying)

    def submit(self) -> None:
        """Submit runs to Ray, up to the maximum number of current attempts."""
        now = time.monotonic()
        if self._options.workers is None and now >= self._counted_at:
            # Twice the capacity: a free slot gets its next run without waiting for the driver.
            self._room = max(1, 2 * slots(self._ray, self._cpus, self._gpus))
            self._counted_at = now + COUNT_EVERY
        most = self._options.workers or self._room
        while self._waiting and len(self._flying) < most:
            run = self._waiting.popleft()
            self._attempts[run.key] += 1
            self._tickets += 1
            data = self._objects.get(run.spec.dataset)
            reference = self._perform.remote(*self._given, self._tickets, run, data)
            self._flying[reference] = _Flight(run, self._tickets, reference)

    def landed(self) -> list[_Flight]:
        """Wait briefly for attempts to end, and return the ended ones, successful or not."""
        references = list(self._flying)
        self._ray.wait(references, timeout=TELL_EVERY)
        ended, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        return [self._flying.pop(reference) for reference in ended]

    def settle(self, flight: _Flight, places: Places) -> Iterator[tuple[PlannedRun, Outcome]]:
        """Yield the outcome of an attempt; nothing if its run restarts."""
        exceptions = self._ray.exceptions
        try:
            answer: Answer = self._ray.get(flight.reference)
        except exceptions.RayError as error:
            cause = getattr(error, "cause", None)  # set if `perform` itself raised
            # An object that cannot be fetched was lost; one that cannot be read stays unreadable.
            lost = isinstance(cause, exceptions.RayError)
            if cause is not None and (not lost or isinstance(cause, exceptions.RaySystemError)):
                raise WarminitError(
                    f"engine='ray': a worker could not take a run: {cause!r}. The package and your "
                    "own modules must be installed on every node, in the same versions."
                ) from error
            yield from self._lost(flight, _first(error))
            return
        if answer.outcome is None:
            raise WarminitError(
                "engine='ray': a node of the cluster cannot do runs of this study, whose results "
                f"would not be comparable: {answer.refused}. Give all nodes the same versions and "
                "kind of device; every run that had finished before stands."
            )
        places[flight.run.key] = answer.place
        yield flight.run, answer.outcome

    def _lost(self, flight: _Flight, why: str) -> Iterator[tuple[PlannedRun, Outcome]]:
        run, attempts = flight.run, self._options.retries + 1
        if self._attempts[run.key] < attempts:
            self._waiting.appendleft(run)
        elif flight.overdue:
            yield run, overran(attempts, self._options.time_limit)
        else:
            yield run, f"its worker or node was lost {attempts} times, last: {why}"

    def read_board(self, on_progress: OnProgress) -> None:
        """Read the workers' notes on their steps, without waiting."""
        now = time.monotonic()
        if self._notes is None and now >= self._read_at:
            self._notes, self._read_at = self._board.take.remote(), now + TELL_EVERY
        if self._notes is None or not self._ray.wait([self._notes], timeout=0)[0]:
            return
        notes, self._notes = self._notes, None
        try:
            noted: dict[int, int] = self._ray.get(notes)
        except self._ray.exceptions.RayError:
            return  # lost with its node; Ray starts another board
        flights = {flight.ticket: flight for flight in self._flying.values()}
        for ticket, step in noted.items():
            if ticket in flights:
                flight = flights[ticket]
                flight.started = flight.started or now
                on_progress(flight.run.key, step)

    def stop_overdue(self) -> None:
        """Stop the runs beyond the time limit; `landed` returns them."""
        limit = self._options.time_limit
        for flight in self._flying.values():
            if limit is not None and flight.started is not None and not flight.overdue:
                flight.overdue = time.monotonic() - flight.started >= limit
                if flight.overdue:
                    self._ray.cancel(flight.reference, force=True)

    def cancel(self) -> None:
        """Stop the current attempts without waiting."""
        # A lost cluster has no current attempts, and another error already reports the loss.
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            for reference in self._flying:
                self._ray.cancel(reference, force=True)
            if self._board is not None:
                self._ray.kill(self._board)


def _bytes(dataset: ImageDataset) -> int:
    arrays = packed(dataset).values()
    return sum(int(getattr(array, "nbytes", 0)) for array in arrays)


def _first(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if the text is empty."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
