"""runs and drivers on a Ray cluster -> faults that befall them, and what is left of it all."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch

from ray_nodes import add_node
from study_cases import PATIENCE, environment, say, tiny_study
from warminit.lab.engines import ray_cluster
from warminit.lab.engines.driver import Listener, run_study
from warminit.lab.engines.job import DataSource, OnStep, Outcome
from warminit.lab.engines.options import EngineOptions
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.study.study import Study

N_SEEDS = 8

PROTOCOL = {"steps": 120, "batch_size": 16}
"""Long enough that there is always a run to be hit."""


def kill_node(cluster: Any, draw: random.Random) -> None:
    """Kill all processes of a node that no driver is connected to, and start another one."""
    node = draw.choice(sorted(cluster.worker_nodes, key=raylet))
    cluster.remove_node(node, allow_graceful=False)
    add_node(cluster)


def raylet(node: Any) -> int:
    """Return the process that a node's workers are children of."""
    return int(node.all_processes["raylet"][0].process.pid)


def busy_workers(cluster: Any) -> list[int]:
    """Return the processes of the cluster that have a run at present."""
    parents = {raylet(node) for node in cluster.list_all_nodes()}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                title = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it ended while we looked
                continue
            if title.startswith(b"ray::perform") and parent in parents:
                found.append(int(entry.name))
    return sorted(found)


def faulty_study(data: Path, n_seeds: int) -> Study:
    arms = ["torch-default", "prewarm"]
    return tiny_study(data, arms=arms, seeds=n_seeds, protocol=PROTOCOL)


def drive(data: str, folder: str, address: str, n_seeds: str) -> None:
    """Run the study on a cluster; print the key of each finished run, once it is stored."""
    ray_cluster.PATIENCE = PATIENCE  # the cluster is there, and the machine may be busy
    told = sys.stdout

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        with redirect_stdout(told):
            say(f"{'finished' if isinstance(outcome, RunResult) else 'failed'} {run.key}")

    with redirect_stdout(sys.stderr):  # where Ray may write in the middle of a line
        run_study(
            faulty_study(Path(data), int(n_seeds)),
            Path(folder),
            engine=EngineOptions("ray", address=address, retries=100),
            listener=Listener(finished=finished),
        )
    say("complete")


# ---------------------------------------------------------------- runs that need no data
def stub(accuracy: float = 0.5, **metrics: float) -> RunResult:
    return RunResult({"accuracy": accuracy, **metrics}, (), (), {}, "0" * 64)


def runs_of(study: Study) -> tuple[PlannedRun, ...]:
    """Return runs that need no data; the later a run's seed stands, the longer it is."""
    return tuple(
        PlannedRun(spec, {}, f"{spec.arm.label} {spec.seed}", work=float(index))
        for index, spec in enumerate(study.runs())
    )


def own_train(init: Any, seed: int, *, threads: int = 1) -> dict[str, float]:
    """Train nothing much, and say what a run finds set."""
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU())
    init(model, torch.rand(8, 1, 8, 8))
    assert torch.get_num_threads() == threads
    assert os.environ["OMP_NUM_THREADS"] == str(threads)
    return {"accuracy": float(model(torch.rand(8, 1, 8, 8)).mean().detach())}


def fine(_run: PlannedRun, _on_step: OnStep | None) -> Outcome:
    return stub()


def noted(run: PlannedRun, _on_step: OnStep | None, *, folder: Path) -> Outcome:
    """Leave a file with the time of the start and the process."""
    (folder / run.key).write_text(f"{time.time()} {os.getpid()}")
    return stub()


def misbehave(run: PlannedRun, on_step: OnStep | None, *, folder: Path) -> Outcome:
    """Do, once noted, what the run's arm is called."""
    with (folder / run.spec.arm.name).open("a") as file:
        file.write(f"{run.spec.seed}\n")
    if run.spec.arm.name == "he-normal":
        os.kill(os.getpid(), 9)
    if run.spec.arm.name == "he-uniform":
        time.sleep(3600)
    return stub()


def missing_module(_source: DataSource) -> Any:
    return Unloadable()


class Unloadable:
    """A job that a worker cannot load."""

    def __reduce__(self) -> Any:
        return __import__, ("a_module_that_no_node_has",)


def wait_for_one(run: PlannedRun, _: OnStep | None, *, folder: Path, first: str) -> Outcome:
    """Hang, but for one run, which ends once the other one has left its process number."""
    if run.key != first:
        (folder / "unseen").write_text(str(os.getpid()))
        (folder / "unseen").rename(folder / "worker")
        time.sleep(3600)
    while not (folder / "worker").exists():
        time.sleep(0.02)
    return stub()


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# ---------------------------------------------------------------- drivers, and what befalls them
class Faults:
    """Drivers of one study, one after another, with faults of three kinds among their runs."""

    def __init__(self, cluster: Any, data: Path, folder: Path, n_seeds: int) -> None:
        self.cluster, self.n_seeds = cluster, n_seeds
        self.arguments = (str(data), str(folder), cluster.address, str(n_seeds))
        self.counts: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.draw = random.Random(n_seeds)
        self.driver: subprocess.Popen[str] | None = None

    def start_driver(self) -> None:
        """Start a driver in a session of its own and let it read what the last one left."""
        code = "import sys, ray_cases; ray_cases.drive(*sys.argv[1:])"
        self.driver = subprocess.Popen(
            [sys.executable, "-c", code, *self.arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment(),
        )

    def await_runs(self, wanted: int) -> bool:
        """Read what the driver prints until so many runs more have ended; False at its end."""
        assert self.driver is not None
        assert self.driver.stdout is not None
        for line in iter(self.driver.stdout.readline, ""):
            kind, _, key = line.strip().partition(" ")
            if kind in ("finished", "failed"):
                self.counts[kind] += 1
                self.finished[key] += 1
                wanted -= 1
            if wanted <= 0:
                return True
        return False

    def strike(self, kind: str) -> bool:
        """Let one fault happen while runs go on; False where none was found to strike."""
        assert self.driver is not None
        if kind == "driver":
            self.driver.send_signal(signal.SIGKILL)
            self.end_driver(-signal.SIGKILL)
            self.start_driver()
        elif kind == "node":
            kill_node(self.cluster, self.draw)
        else:
            deadline = time.monotonic() + PATIENCE
            while not (workers := busy_workers(self.cluster)):
                if time.monotonic() > deadline or self.driver.poll() is not None:
                    return False
                time.sleep(0.02)
            try:
                os.kill(self.draw.choice(workers), signal.SIGKILL)
            except ProcessLookupError:
                return False
        self.counts[f"{kind}s killed"] += 1
        return True

    def end_driver(self, status: int = 0) -> None:
        """Wait for the driver's end and count what it printed before."""
        assert self.driver is not None
        assert self.driver.stdout is not None
        assert not self.await_runs(sys.maxsize)
        self.driver.stdout.close()
        assert self.driver.wait(PATIENCE) == status
