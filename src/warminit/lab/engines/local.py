"""many runs -> many outcomes, on this machine: one single-threaded process per core.

On a GPU, many runs take turns in one process.
"""

import multiprocessing
import pickle
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker
from typing import Any

from warminit.errors import WarminitError
from warminit.lab.engines.job import Begin, Job, Outcome
from warminit.lab.engines.options import RETRIES, OnProgress
from warminit.lab.engines.worker import READY, serve
from warminit.lab.runs.environment import available_cores
from warminit.lab.runs.plan import PlannedRun

MAX_FAILED_STARTS = 3
"""Workers in a row that may end before they are ready."""

RUNS_AT_ONCE = 8
"""Runs that share a GPU by default; chosen, not measured."""

LOST = object()
"""Message in place of those from a dead worker."""


def default_workers(threads: int) -> int:
    """Return the number of processes that fill the available cores, at least one."""
    return max(1, available_cores() // threads)


def run_all(
    runs: Sequence[PlannedRun],
    job: Job | Begin,
    *,
    threads: int = 1,
    workers: int | None = None,
    retries: int = RETRIES,
    time_limit: float | None = None,
    on_progress: OnProgress | None = None,
    at_once: int | None = None,
) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Execute all runs, the longest first, and yield each outcome as it finishes.

    A run that raises ends with the text of its error. A worker that dies (killed, out of memory) or
    exceeds the time limit is replaced, and its run restarts, at most `retries` times. Other runs
    are not affected. With `at_once` one worker has many runs, and its death costs each of them one
    attempt. Lost runs then run alone, to find the cause. Close the iterator (`contextlib.closing`)
    to end the workers early; they also end with this process.

    Args:
        runs: Runs to execute; a list may grow after each yielded outcome.
        job: Function that executes a run.
        threads: CPU threads per run.
        workers: Number of processes; by default the available cores divided by `threads`.
        retries: Maximum number of restarts of a run before it is reported as failed.
        time_limit: Seconds after which a run counts as hanging and its worker is ended; None:
            never.
        on_progress: Callback for finished steps, called in this process.
        at_once: Number of runs that take turns in a single worker process; `job` is then a function
            that begins a run (`job.begin`). None: one run at a time in each of `workers`.

    Raises:
        WarminitError: If worker processes cannot start, or the job cannot be sent to them.
    """
    try:
        pickled = pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise WarminitError(
            f"the function to run cannot be sent to worker processes: {error}. Define it at the "
            "top of an importable module, or leave workers out."
        ) from error
    size = 1 if at_once else workers or default_workers(threads)
    crew = _Crew(runs, (pickled, threads, at_once), size, retries + 1, time_limit)
    try:
        while crew.busy():
            crew.hire()
            crew.hand_out()
            for worker, message in crew.listen():
                if message == READY:
                    worker.ready, crew.failed_starts = True, 0
                elif message is LOST:
                    yield from crew.replace(worker)
                else:
                    key, news = message
                    if not isinstance(news, int):
                        run, _ = worker.runs.pop(key)
                        yield run, news
                    elif on_progress is not None:
                        on_progress(key, news)
            crew.end_overdue()
    finally:
        crew.dismiss()


@dataclass(slots=True, eq=False)
class _Worker:
    """Hold a process, the pipe to it, and its current runs by key, each with its starting time."""

    process: Any
    pipe: "connection.Connection[Any, Any]"
    ready: bool = False
    runs: dict[str, tuple[PlannedRun, float]] = field(default_factory=dict)
    overdue: frozenset[str] = frozenset()


class _Crew:
    """Hold the workers, the waiting runs, and the number of attempts at each run."""

    def __init__(
        self,
        runs: Sequence[PlannedRun],
        start: tuple[bytes, int, int | None],
        size: int,
        attempts: int,
        time_limit: float | None,
    ) -> None:
        self.waiting: deque[PlannedRun] = deque()
        self._runs, self._taken = runs, 0
        self.workers: list[_Worker] = []
        self.attempts: Counter[str] = Counter()
        self.failed_starts = 0
        self._start = start
        self._size = size
        self._room = start[-1] or 1
        self._max_attempts = attempts
        self._time_limit = time_limit

    def busy(self) -> int:
        """Take the new runs, and return the number of unfinished runs."""
        new = self._runs[self._taken :]
        self._taken += len(new)
        # Sorting keeps the order of equal runs, so paired runs finish close together.
        self.waiting.extend(sorted(new, key=lambda run: -run.work))
        return len(self.waiting) + sum(len(worker.runs) for worker in self.workers)

    def hire(self) -> None:
        """Start workers until every run has one, or the crew is full."""
        while len(self.workers) < min(self._size, self.busy()):
            self.workers.append(_start(*self._start))

    def hand_out(self) -> None:
        """Give every worker the next runs that it has room for."""
        for worker in self.workers:
            while worker.ready and self.waiting and self._has_room(worker):
                run = self.waiting.popleft()
                worker.runs[run.key] = (run, time.monotonic())
                self.attempts[run.key] += 1
                # If the worker has just died, `listen` finds out and charges it with the run.
                with suppress(OSError):
                    worker.pipe.send(run)

    def _has_room(self, worker: _Worker) -> bool:
        """Return whether the next run can join those of a worker; a lost run runs alone."""
        alone = self.attempts[self.waiting[0].key] or any(
            self.attempts[key] > 1 for key in worker.runs
        )
        return len(worker.runs) < (1 if alone else self._room)

    def listen(self) -> Iterator[tuple[_Worker, Any]]:
        """Wait for messages from workers, and yield them; yield LOST for a dead worker.

        Yield nothing if the next time limit ends first.
        """
        owners = {id(worker.pipe): worker for worker in self.workers}
        left = None
        if self._time_limit is not None:
            ends = [
                since + self._time_limit
                for worker in self._limited()
                for _, since in worker.runs.values()
            ]
            left = max(0.0, min(ends) - time.monotonic()) if ends else None
        for pipe in connection.wait([worker.pipe for worker in self.workers], left):
            worker = owners[id(pipe)]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                message = LOST
            yield worker, message

    def end_overdue(self) -> None:
        """Kill the workers of runs beyond the time limit; `listen` then finds them dead."""
        for worker in self._limited():
            if self._time_limit is not None:
                latest = time.monotonic() - self._time_limit
                worker.overdue = frozenset(
                    key for key, (_, since) in worker.runs.items() if since <= latest
                )
                if worker.overdue:
                    worker.process.kill()

    def _limited(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.runs and not worker.overdue]

    def replace(self, worker: _Worker) -> Iterator[tuple[PlannedRun, Outcome]]:
        """Remove a dead worker; its runs wait again, or have failed."""
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        code = worker.process.exitcode
        if not worker.ready:
            self.failed_starts += 1
            # Ended by a signal, not by its own error: another worker replaces it.
            if code > 0 or self.failed_starts == MAX_FAILED_STARTS:
                raise WarminitError(
                    f"a worker process ended before it could start (exit code {code}). In a script "
                    "of your own, call this under `if __name__ == '__main__':`, because every "
                    "worker imports the script; otherwise see the message above."
                )
        death = f"its worker process died {self._max_attempts} times, last with exit code {code}"
        for key, (run, _) in reversed(worker.runs.items()):
            overdue = key in worker.overdue
            if worker.overdue and not overdue:
                self.attempts[key] -= 1  # the runs to blame are known
            if self.attempts[key] < self._max_attempts:
                self.waiting.appendleft(run)
            else:
                yield run, overran(self._max_attempts, self._time_limit) if overdue else death

    def dismiss(self) -> None:
        """End the workers without waiting for their runs."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()


def overran(times: int, limit: float | None) -> str:
    """Return the error of a run that was stopped at its time limit `times` times."""
    return f"it ran for longer than its time limit of {limit:g} s, last of {times} times"


def _start(pickled: bytes, threads: int, at_once: int | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Not daemonic: a user's training loop may start further processes.
    process = context.Process(
        target=serve, args=(theirs, pickled, threads), kwargs={"turns": at_once is not None}
    )
    with _without_interrupts():
        process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(process, ours)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C for a process that is started here: the driver receives it and ends the workers.

    The process inherits the mask, which therefore applies from its first instruction. The driver
    receives an interrupt from this time afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting later, it would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
