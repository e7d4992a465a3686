"""Ray's own cluster utility -> three nodes on this machine; runs on them -> their outcomes."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from study_cases import PATIENCE
from warminit.lab.engines.choose import engine_for
from warminit.lab.engines.job import DataSource
from warminit.lab.engines.options import EngineOptions
from warminit.lab.runs.plan import PlannedRun

STORE_BYTES = 80 << 20
"""Of each node's object store: the least that Ray takes."""

RAY = EngineOptions("ray")

SYSTEM = {
    "local_fs_capacity_threshold": 0.0001,  # a full disk
    # On a busy machine nothing is dead because it is slow; what was killed refuses at once.
    "health_check_timeout_ms": 1000 * PATIENCE,
    "worker_register_timeout_seconds": PATIENCE,
}


@contextmanager
def three_nodes() -> Iterator[Any]:
    """Yield a cluster of three nodes with one CPU each; one believes in a GPU, all in a full disk.

    A full disk takes no part while everything fits into the stores' memory.
    """
    from ray.cluster_utils import Cluster

    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    # Its processes end with this one, were it killed.
    cluster: Any = Cluster()
    try:
        add_node(cluster, num_gpus=1, include_dashboard=False, _system_config=SYSTEM)
        for _ in range(2):
            add_node(cluster)
        yield cluster
    finally:
        cluster.shutdown()
        signal.signal(signal.SIGTERM, handler)
        os.environ.clear()
        os.environ.update(before)


def add_node(cluster: Any, **settings: Any) -> None:
    """Start a node and wait until the cluster has it, longer than Ray's own half a minute."""
    node = cluster.add_node(wait=False, num_cpus=1, object_store_memory=STORE_BYTES, **settings)
    cluster._wait_for_node(node, PATIENCE)


@contextmanager
def on_ray(
    runs: tuple[PlannedRun, ...], job: Any, options: EngineOptions = RAY, threads: int = 1
) -> Iterator[Any]:
    """Give the outcomes of runs on the cluster, and stop it when they are not read to the end."""
    engine = engine_for(options, lambda _: job, DataSource(threads=threads))
    with closing(engine(runs, lambda _key, _step: None)) as outcomes:  # type: ignore[type-var]  # a generator
        yield outcomes
