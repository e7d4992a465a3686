"""many runs -> many outcomes, on this machine: one single-threaded process a core.

Or, on a GPU, one process in which many runs take turns.
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
"""Workers that may end one after another before they could start."""

RUNS_AT_ONCE = 8
"""Runs that share a GPU by default. Chosen, not measured."""

LOST = object()
"""Stands for what a dead worker cannot send."""


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
        runs: What is to be run; a list may grow while an outcome is handed over.
        job: What is done with each run.
        threads: CPU threads of a run.
        workers: Number of processes; by default the available cores divided by `threads`.
        retries: Times a run is started again before it is reported as failed.
        time_limit: Seconds after which a run is taken to hang and its worker is ended; None: never.
        on_progress: Called in this process while runs go on.
        at_once: Runs that take turns in one worker process, where there is only that one; `job` is
            then what begins a run (`job.begin`). None: one run at a time in each of `workers`.

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
    """A process, the pipe to it, and the runs that it has at present, by key, each since when."""

    process: Any
    pipe: "connection.Connection[Any, Any]"
    ready: bool = False
    runs: dict[str, tuple[PlannedRun, float]] = field(default_factory=dict)
    overdue: frozenset[str] = frozenset()


class _Crew:
    """The workers, what waits for them, and how often each run was started."""

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
        """Take the runs that are new, and return how many are not done."""
        new = self._runs[self._taken :]
        self._taken += len(new)
        # Sorting keeps the order of equals, so that paired runs finish close together.
        self.waiting.extend(sorted(new, key=lambda run: -run.work))
        return len(self.waiting) + sum(len(worker.runs) for worker in self.workers)

    def hire(self) -> None:
        """Start workers until there is one for every run, or the crew is full."""
        while len(self.workers) < min(self._size, self.busy()):
            self.workers.append(_start(*self._start))

    def hand_out(self) -> None:
        """Give every worker the next runs, as far as it has room for them."""
        for worker in self.workers:
            while worker.ready and self.waiting and self._has_room(worker):
                run = self.waiting.popleft()
                worker.runs[run.key] = (run, time.monotonic())
                self.attempts[run.key] += 1
                # One that died just now is found out by `listen`, with the run on its account.
                with suppress(OSError):
                    worker.pipe.send(run)

    def _has_room(self, worker: _Worker) -> bool:
        """Tell whether the next run can join those of a worker; what was lost once runs alone."""
        alone = self.attempts[self.waiting[0].key] or any(
            self.attempts[key] > 1 for key in worker.runs
        )
        return len(worker.runs) < (1 if alone else self._room)

    def listen(self) -> Iterator[tuple[_Worker, Any]]:
        """Wait until some workers have something to tell, and yield it; LOST of a dead one.

        Nothing is yielded where the next time limit ends first.
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
        """Kill the workers of runs that have overrun their time; `listen` finds them dead."""
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
        """Let a dead worker go; its runs wait again, or have failed."""
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        code = worker.process.exitcode
        if not worker.ready:
            self.failed_starts += 1
            # Ended by a signal, not by an error of its own: another one takes its place.
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
                self.attempts[key] -= 1  # it is known which ones are to blame
            if self.attempts[key] < self._max_attempts:
                self.waiting.appendleft(run)
            else:
                yield run, overran(self._max_attempts, self._time_limit) if overdue else death

    def dismiss(self) -> None:
        """End the workers; nothing of what is under way is waited for."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()


def overran(times: int, limit: float | None) -> str:
    """Return the error of a run that was stopped at its time limit, the last of so many times."""
    return f"it ran for longer than its time limit of {limit:g} s, last of {times} times"


def _start(pickled: bytes, threads: int, at_once: int | None) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Not daemonic: a user's training loop may start processes of its own.
    process = context.Process(
        target=serve, args=(theirs, pickled, threads), kwargs={"turns": at_once is not None}
    )
    with _without_interrupts():
        process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(process, ours)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach: the driver has it, and ends the workers itself.

    The mask is inherited and so holds from the first instruction; an interrupt that comes in
    between is delivered to the driver afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its own start would lift the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
