"""Fixtures of the tests on Ray, as a plugin: one cluster for all of their files."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ray_cases import N_SEEDS, faulty_study
from ray_nodes import three_nodes
from study_cases import write_data
from warminit.lab.engines.driver import run_study
from warminit.lab.store.store import StoredRun


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Give the one cluster of a session: two cores have no room for a second."""
    with three_nodes() as started:
        yield started


@pytest.fixture(scope="session")
def joined(cluster: Any) -> Iterator[Any]:
    """Connect this process once, as a user's own script may, so that workers are kept."""
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[StoredRun, ...]:
    """Return the runs of the study that is disturbed on the cluster, from the local engine."""
    folder = tmp_path_factory.mktemp("local")
    return run_study(faulty_study(data, N_SEEDS), folder, workers=1)
