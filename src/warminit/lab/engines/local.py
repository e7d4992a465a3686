"""many runs -> many outcomes, on this machine: one single-threaded process a core."""

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from warminit.lab.engines.job import DataSource, Outcome, execute
from warminit.lab.plan import PlannedRun

MAX_ATTEMPTS = 3
"""Times a run is started whose worker process dies before it is reported as failed."""

OnProgress = Callable[[str, int], None]
"""Called with (key of a run, optimizer steps that it has done)."""


def run_all(
    runs: Sequence[PlannedRun],
    source: DataSource,
    *,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Run everything and yield each outcome as it is there, in no set order.

    A run that raises ends with the text of its error. A worker that dies (killed, out of memory)
    takes only its pool along: the unfinished runs start again in a new one, three times at most.

    Args:
        runs: What is to be run.
        source: Where the workers find data, device and threads.
        workers: Processes; one a core by default.
        on_progress: Called in this process while runs go on.
    """
    waiting = {run.key: run for run in runs}
    attempts = dict.fromkeys(waiting, 0)
    workers = workers or max(1, (os.cpu_count() or 1) // source.threads)
    while waiting:
        for key in waiting:
            attempts[key] += 1
        for run, outcome in _one_pool(list(waiting.values()), source, workers, on_progress):
            del waiting[run.key]
            yield run, outcome
        for key in [key for key in waiting if attempts[key] >= MAX_ATTEMPTS]:
            yield waiting.pop(key), f"its worker process died {MAX_ATTEMPTS} times"


def _one_pool(
    runs: list[PlannedRun],
    source: DataSource,
    workers: int,
    on_progress: OnProgress | None,
) -> Iterator[tuple[PlannedRun, Outcome]]:
    """Run what one pool of workers can; ends early where a worker dies."""
    context = multiprocessing.get_context("spawn")
    progress: Any = context.Queue()
    pool = ProcessPoolExecutor(
        min(workers, len(runs)), context, _start_worker, (source.threads, progress)
    )
    pending: dict[Future[Outcome], PlannedRun] = {
        pool.submit(_work, run, source): run for run in runs
    }
    try:
        while pending:
            done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            _report(progress, on_progress)
            for future in done:
                run = pending.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool:
                    return
                yield run, outcome
    finally:
        # Also where the caller stops: nothing of what is under way is waited for.
        processes = list((pool._processes or {}).values())  # noqa: SLF001 - the only way to end them
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        progress.close()
        progress.cancel_join_thread()


def _report(progress: Any, on_progress: OnProgress | None) -> None:
    while True:
        try:
            key, step = progress.get_nowait()
        except queue.Empty:
            return
        if on_progress is not None:
            on_progress(key, step)


_progress: Any = None


def _start_worker(threads: int, progress: Any) -> None:
    global _progress  # noqa: PLW0603 - a pool's initializer can reach its tasks no other way
    _progress = progress
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(threads)


def _work(run: PlannedRun, source: DataSource) -> Outcome:
    def on_step(step: int, loss: float) -> None:  # noqa: ARG001 - the trainer's signature
        _progress.put((run.key, step))

    return execute(run, source, on_step=on_step)
