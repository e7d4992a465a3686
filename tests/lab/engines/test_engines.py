"""Options of the engines, limits and retries on one machine, clusters that are not there."""

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from outcomes import planned, stub
from study_cases import tiny_study, write_data
from warminit.errors import WarminitError
from warminit.lab.engines import ray_cluster
from warminit.lab.engines.choose import engine_for
from warminit.lab.engines.driver import complete, run_study
from warminit.lab.engines.job import DataSource, OnStep, Outcome
from warminit.lab.engines.local import run_all
from warminit.lab.engines.options import EngineOptions
from warminit.lab.runs.environment import environment
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult

STUDY = {"datasets": ["digits"], "arms": ["torch-default"]}


# ---------------------------------------------------------------- options
@pytest.mark.parametrize(
    ("options", "device", "text"),
    [
        ({"engine": "slurm"}, "cpu", "engine='slurm': expected local or ray."),
        ({"workers": 0}, "cpu", "workers=0: expected a whole number of at least 1"),
        ({"retries": -1}, "cpu", "retries=-1: expected a whole number of at least 0"),
        ({"retries": True}, "cpu", "retries=True: expected a whole"),
        ({"time_limit": 0}, "cpu", "time_limit=0: expected a number above 0."),
        ({"time_limit": float("nan")}, "cpu", "time_limit=nan: expected a number"),
        ({"address": "auto"}, "cpu", "address='auto': expected nothing with engine='local'"),
        ({"gpus_per_run": 1}, "cuda", "gpus_per_run=1: expected nothing with"),
        (
            {"engine": "ray", "gpus_per_run": 1.5},
            "cuda",
            "expected a share of one GPU, or a whole number",
        ),
        ({"engine": "ray", "gpus_per_run": 0.5}, "cpu", "gpus_per_run=0.5: expected 0 with"),
        ({"engine": "ray", "gpus_per_run": 0}, "cuda", "gpus_per_run=0: expected more than 0 with"),
        ({"engine": "ray", "cpus_per_run": 0}, "cpu", "cpus_per_run=0: expected a number"),
        ({"engine": "ray"}, "cuda:1", "device='cuda:1': expected no number of a GPU"),
    ],
)
def test_impossible_options_name_value_and_what_is_wanted(
    options: dict[str, Any], device: str, text: str
) -> None:
    with pytest.raises(WarminitError) as error:
        EngineOptions(**options).check(device)
    assert text in str(error.value)


# ---------------------------------------------------------------- one machine
def misbehave(run: PlannedRun, on_step: OnStep | None, *, folder: Path) -> Outcome:
    """Hang in the first run and kill the worker in the second; note each start."""
    with (folder / run.key).open("a") as file:
        file.write("started\n")
    if run.key == "run 42":
        time.sleep(3600)
    if run.key == "run 7":
        os.kill(os.getpid(), 9)
    time.sleep(0.1)
    return stub()


def test_a_run_that_hangs_is_started_again_and_then_reported_while_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    runs = planned(5)
    options = EngineOptions(workers=2, retries=1, time_limit=0.7)
    job = partial(misbehave, folder=tmp_path)
    stored = complete(
        tiny_study(Path("digits"), **STUDY, seeds=5),
        runs,
        tmp_path,
        engine_for(options, lambda _: job, DataSource()),
    )
    hung, killed, *fine = stored
    assert hung.error == "it ran for longer than its time limit of 0.7 s, last of 2 times"
    assert killed.error == "its worker process died 2 times, last with exit code -9"
    assert [run.result for run in fine] == [stub()] * 3
    times = [(tmp_path / run.key).read_text().count("started") for run in runs]
    assert times == [2, 2, 1, 1, 1]


def test_within_the_limit_runs_take_their_time(tmp_path: Path) -> None:
    # Twelve runs of 0.1 s: the limit is of each run, not of its worker.
    job = partial(misbehave, folder=tmp_path)
    with closing(run_all(planned(14)[2:], job, workers=1, retries=0, time_limit=1)) as outcomes:  # type: ignore[type-var]  # a generator
        assert [outcome for _, outcome in outcomes] == [stub()] * 12


def threads(_run: PlannedRun, _on_step: OnStep | None) -> Outcome:
    import torch
    from sklearn.cluster import MiniBatchKMeans  # noqa: F401 - loads its OpenMP
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return stub(torch=torch.get_num_threads(), pools=len(pools), least=min(pools), most=max(pools))


def test_a_run_has_its_threads_in_every_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # of the user's shell
    runs = planned(1)
    with closing(run_all(runs, threads, threads=2)) as outcomes:  # type: ignore[type-var]  # a generator
        ((_, outcome),) = outcomes
    assert isinstance(outcome, RunResult)
    found = dict(outcome.metrics)
    assert found.pop("pools") >= 1
    assert found == {"accuracy": 0.5, "torch": 2, "least": 2, "most": 2}


# ---------------------------------------------------------------- no cluster
def test_ray_that_is_not_installed_is_said_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    study = tiny_study(write_data(tmp_path), seeds=1)
    with pytest.raises(WarminitError, match=r'pip install "warminit\[ray\]"'):
        run_study(study, tmp_path / "out", engine=EngineOptions("ray"))
    assert not (tmp_path / "out").exists()


@contextmanager
def server(answer: bytes) -> Iterator[int]:
    """Listen on a port and answer every caller with so many bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # closed at the end
                while True:
                    caller, _ = listening.accept()
                    with caller:
                        caller.recv(64)
                        caller.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pass over the import: none of these gets as far as to need Ray."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_listens_is_refused_at_once(scheme: str, installed: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(WarminitError) as error:
        EngineOptions("ray", address=f"{scheme}127.0.0.1:{port}").check()
    text = str(error.value)
    assert text.startswith(f"address='{scheme}127.0.0.1:{port}': no Ray cluster was found there:")
    assert "Connection refused" in text
    assert "`ray start --head`" in text
    assert time.monotonic() - started < 2 * ray_cluster.PATIENCE


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"SSH-2.0\r\n"])
def test_an_address_of_something_else_is_refused(answer: bytes, installed: None) -> None:
    with server(answer) as port, pytest.raises(WarminitError, match="not answer as Ray does"):
        EngineOptions("ray", address=f"127.0.0.1:{port}").check()


def test_an_address_that_says_nothing_is_refused_in_time(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        with pytest.raises(WarminitError, match="not answer as Ray does"):
            EngineOptions("ray").check()


def test_an_address_of_a_grpc_server_is_let_through(installed: None) -> None:
    grpc = pytest.importorskip("grpc", reason="needs the extra warminit[ray]")
    serving = grpc.server(ThreadPoolExecutor(1))
    port = serving.add_insecure_port("127.0.0.1:0")
    serving.start()
    EngineOptions("ray", address=f"127.0.0.1:{port}").check()
    serving.stop(None).wait()


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:0", "host:99999", "ray://"])
def test_an_address_that_is_none_is_refused(address: str, installed: None) -> None:
    with pytest.raises(WarminitError, match="expected auto, local"):
        EngineOptions("ray", address=address).check()


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources}


class Cluster:
    """Stands for the module `ray`, with the nodes that it is given."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.nodes = lambda: nodes


@pytest.mark.parametrize(
    ("nodes", "cpus", "gpus", "wanted"),
    [
        ([node(CPU=4), node(CPU=3), node(False, CPU=64)], 2, 0, 3),
        ([node(CPU=0.7)], 0.1, 0, 7),
        ([node(CPU=64, GPU=2)], 1, 0.3, 6),  # three on each GPU, not 2 / 0.3 = 6.7
        ([node(CPU=64, GPU=3)], 1, 2, 1),
        ([node(CPU=4, GPU=8)], 1, 1, 4),
        ([node(CPU=8)], 1, 1, 0),
    ],
)
def test_slots(nodes: list[dict[str, Any]], cpus: float, gpus: float, wanted: int) -> None:
    assert ray_cluster.slots(Cluster(*nodes), cpus, gpus) == wanted


def test_this_machine_as_a_cluster_gives_the_process_back_as_it_was(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs the extra warminit[ray]")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    before = dict(os.environ)
    engine = engine_for(EngineOptions("ray", workers=1, retries=0), killed_or_fine, DataSource())
    with closing(engine(planned(2), lambda _key, _step: None)) as outcomes:  # type: ignore[type-var]  # a generator
        found = {run.key: outcome for run, outcome in outcomes}
    assert found["run 7"] == stub()
    assert "was lost 1 times" in str(found["run 42"])
    assert dict(os.environ) == before
    printed = capfd.readouterr()
    assert printed.err == ""
    assert all("worker died" in line for line in printed.out.strip().splitlines())
    assert environment()["device"] == "cpu"


def killed_or_fine(_source: DataSource) -> Any:
    return kill_the_first


def kill_the_first(run: PlannedRun, _on_step: OnStep | None) -> Outcome:
    if run.key == "run 42":
        os.kill(os.getpid(), 9)
    return stub()
