"""many runs -> many outcomes, on this machine: one single-threaded process a core."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from typing import Any

from warminit.errors import WarminitError
from warminit.lab.engines.job import Job, Outcome, keep_freed_memory
from warminit.lab.environment import available_cores
from warminit.lab.plan import PlannedRun

MAX_ATTEMPTS = 3
"""Times a run is started whose worker process dies before it is reported as failed."""

READY = "ready"
"""What a worker sends once, when it can take a run."""

LOST = object()
"""Stands for what a dead worker cannot send."""

OnProgress = Callable[[str, int], None]
"""Called with (key of a run, optimizer steps that it has done)."""


def default_workers(threads: int) -> int:
    """Return how many processes of so many threads fill the cores at hand; at least one."""
    return max(1, available_cores() // threads)


def run_all(
    runs: Sequence[PlannedRun],
    job: Job,
    *,
    threads: int = 1,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Run everything, the longest first, and yield each outcome as it is there.

    A run that raises ends with the text of its error. A worker that dies (killed, out of memory) is
    replaced and its run started again, three times at most; the other runs do not notice. Close the
    iterator (`contextlib.closing`) to end the workers early; they also end when this process does,
    however it does.

    Args:
        runs: What is to be run.
        job: What is done with each run.
        threads: CPU threads of a run.
        workers: Processes; the cores at hand divided by `threads` by default.
        on_progress: Called in this process while runs go on.

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
    crew = _Crew(runs, pickled, threads, workers or default_workers(threads))
    try:
        while crew.busy():
            crew.hire()
            crew.hand_out()
            for worker, message in crew.listen():
                run = worker.run
                if message == READY:
                    worker.ready, crew.failed_starts = True, 0
                elif message is LOST:
                    yield from crew.replace(worker)
                elif run is not None and isinstance(message, int):
                    if on_progress is not None:
                        on_progress(run.key, message)
                elif run is not None:
                    worker.run = None
                    yield run, message
    finally:
        crew.dismiss()


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, the pipe to it, and the run that it has at present."""

    process: Any
    pipe: "connection.Connection[Any, Any]"
    ready: bool = False
    run: PlannedRun | None = None


class _Crew:
    """The workers, what waits for them, and how often each run was started."""

    def __init__(self, runs: Sequence[PlannedRun], pickled: bytes, threads: int, size: int) -> None:
        # Sorting keeps the order of equals, so that paired runs finish close together.
        self.waiting = deque(sorted(runs, key=lambda run: -run.work))
        self.workers: list[_Worker] = []
        self.attempts: Counter[str] = Counter()
        self.failed_starts = 0
        self._start = (pickled, threads)
        self._size = size

    def busy(self) -> int:
        """Return how many runs are not done."""
        return len(self.waiting) + sum(worker.run is not None for worker in self.workers)

    def hire(self) -> None:
        """Start workers until there is one for every run, or the crew is full."""
        while len(self.workers) < min(self._size, self.busy()):
            self.workers.append(_start(*self._start))

    def hand_out(self) -> None:
        """Give every worker without a run the next one."""
        for worker in self.workers:
            if worker.ready and worker.run is None and self.waiting:
                worker.run = run = self.waiting.popleft()
                self.attempts[run.key] += 1
                # One that died just now is found out by `listen`, with the run on its account.
                with suppress(OSError):
                    worker.pipe.send(run)

    def listen(self) -> Iterator[tuple[_Worker, Any]]:
        """Wait until some workers have something to tell, and yield it; LOST of a dead one."""
        owners = {id(worker.pipe): worker for worker in self.workers}
        for pipe in connection.wait([worker.pipe for worker in self.workers]):
            worker = owners[id(pipe)]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                message = LOST
            yield worker, message

    def replace(self, worker: _Worker) -> Iterator[tuple[PlannedRun, Outcome]]:
        """Let a dead worker go; its run waits again, or has failed."""
        self.workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        code, run = worker.process.exitcode, worker.run
        if not worker.ready:
            self.failed_starts += 1
            # Ended by a signal, not by an error of its own: another one takes its place.
            if code > 0 or self.failed_starts == MAX_ATTEMPTS:
                raise WarminitError(
                    f"a worker process ended before it could start (exit code {code}). In a script "
                    "of your own, call this under `if __name__ == '__main__':`, because every "
                    "worker imports the script; otherwise see the message above."
                )
        elif run is not None and self.attempts[run.key] < MAX_ATTEMPTS:
            self.waiting.appendleft(run)
        elif run is not None:
            yield run, f"its worker process died {MAX_ATTEMPTS} times, last with exit code {code}"

    def dismiss(self) -> None:
        """End the workers; nothing of what is under way is waited for."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()


def _start(pickled: bytes, threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Not daemonic: a user's training loop may start processes of its own.
    process = context.Process(target=_work, args=(theirs, pickled, threads))
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


def _work(pipe: "connection.Connection[Any, Any]", pickled: bytes, threads: int) -> None:
    """Take runs and give outcomes until the driver closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    keep_freed_memory()
    import torch

    torch.set_num_threads(threads)
    job: Job = pickle.loads(pickled)  # noqa: S301 - from the driver, which started this process
    pipe.send(READY)
    while True:
        try:
            run = pipe.recv()
        except EOFError:
            return
        pipe.send(job(run, lambda step, _loss: pipe.send(step)))


def _end_with_driver() -> None:
    """End this process when the driver dies, were it by `kill -9`: nobody waits for its results."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
