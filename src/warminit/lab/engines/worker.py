"""threads -> a ready worker process; pipe -> its runs, until the driver ends.

The driver sends runs. A worker sends READY once, and then pairs of a run's key and either its
finished steps or its outcome.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from warminit.lab.engines.job import keep_freed_memory

if TYPE_CHECKING:
    from warminit.lab.engines.job import Begin, Job, Turns

READY = "ready"
"""Message that a worker sends once, when it can take a run."""


def prepare(threads: int) -> None:
    """Set the number of threads of a worker process, in every library.

    The number decides the order of floating point sums, so it is part of every run's key.
    """
    import torch

    # scikit-learn has a second OpenMP, which reads this when it is loaded: later than here, by
    # the first arm that clusters.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    keep_freed_memory()


def serve(
    pipe: "connection.Connection[Any, Any]", pickled: bytes, threads: int, *, turns: bool
) -> None:
    """Receive runs and send outcomes until the driver closes the pipe or dies.

    Args:
        pipe: Connection to the driver.
        pickled: Pickled job, or with `turns` a function that begins a run (`job.begin`).
        threads: CPU threads per run.
        turns: Whether all received runs take turns.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    prepare(threads)
    work: Any = pickle.loads(pickled)  # noqa: S301 - from the driver, which started this process
    pipe.send(READY)
    with suppress(EOFError):
        if turns:
            _take_turns(pipe, work)
        else:
            _one_by_one(pipe, work)


def _one_by_one(pipe: "connection.Connection[Any, Any]", job: "Job") -> None:
    while True:
        run = pipe.recv()
        pipe.send((run.key, job(run, partial(_tell, pipe, run.key))))


def _tell(pipe: "connection.Connection[Any, Any]", key: str, step: int, _loss: float) -> None:
    pipe.send((key, step))


def _take_turns(pipe: "connection.Connection[Any, Any]", begin: "Begin") -> None:
    """Give every received run a turn, repeatedly: on a GPU their work overlaps."""
    under_way: dict[str, Turns] = {}
    while True:
        while not under_way or pipe.poll():
            run = pipe.recv()
            under_way[run.key] = begin(run)
        for key, turns in list(under_way.items()):
            try:
                pipe.send((key, next(turns)))
            except StopIteration as end:
                del under_way[key]
                pipe.send((key, end.value))


def _end_with_driver() -> None:
    """End this process when the driver dies, even by `kill -9`: nobody needs its results."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
