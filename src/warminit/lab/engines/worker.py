"""threads -> a worker process made ready; pipe -> its runs, until the driver goes."""

import multiprocessing
import os
import pickle
import signal
import threading
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from warminit.lab.engines.job import keep_freed_memory

if TYPE_CHECKING:
    from warminit.lab.engines.job import Job

READY = "ready"
"""What a worker sends once, when it can take a run."""


def prepare(threads: int) -> None:
    """Give a process that lives for runs alone their number of threads, in every library.

    The number decides the order of floating point sums, so it is part of every run's key.
    """
    import torch

    # scikit-learn brings an OpenMP of its own, which reads this when it is loaded: by the first
    # arm that clusters, later than here.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    keep_freed_memory()


def serve(pipe: "connection.Connection[Any, Any]", pickled: bytes, threads: int) -> None:
    """Take runs and give outcomes until the driver closes the pipe or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    prepare(threads)
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
