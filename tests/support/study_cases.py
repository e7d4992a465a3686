"""a folder -> a tiny data set, studies on it, and drivers in processes of their own to stop."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from warminit.lab.engines.driver import Listener, run_study
from warminit.lab.engines.job import Outcome
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.store.store import StoredRun
from warminit.lab.study.study import Study
from warminit.report import InitReport

PATIENCE = 120
"""Seconds that a test waits for a process on a busy machine before it fails."""


def write_data(folder: Path, *, n_train: int = 96, n_test: int = 40) -> Path:
    """Write noisy 8 x 8 images of one template a class as a `.npz` file, the same every time."""
    rng = np.random.default_rng(5)
    # Dark and bright pixels, so that Pre-Warm's rules have the two modes that they look for.
    templates = np.where(rng.random((4, 8, 8)) < 0.3, 200, 40)

    def split(n: int) -> tuple[Any, Any]:
        labels = np.arange(n) % 4
        noise = rng.integers(-30, 30, (n, 8, 8))
        return np.clip(templates[labels] + noise, 0, 255).astype(np.uint8), labels

    train, test = split(n_train), split(n_test)
    path = folder / "tiny.npz"
    np.savez(
        path, train_images=train[0], train_labels=train[1], test_images=test[0], test_labels=test[1]
    )
    return path


def tiny_study(data: Path, **changes: Any) -> Study:
    values: dict[str, Any] = {
        "name": "tiny",
        "datasets": [str(data)],
        "arms": ["torch-default", "he-normal"],
        "seeds": 3,
        "protocol": {"steps": 4, "batch_size": 16, "eval_interval": 2},
    }
    return Study.create(**(values | changes))


def facts(run: StoredRun) -> tuple[object, ...]:
    """Everything that a rerun must give again, bit for bit: all but the measured times."""
    if run.result is None:
        return run.key, run.error
    values = run.result.to_dict()
    del values["init_seconds"], values["train_seconds"]
    values["init_report"] = {**values["init_report"], "seconds": None}
    return run.key, json.dumps(values, sort_keys=True)


# ---------------------------------------------------------------- arms that misbehave
def _report(seed: int) -> InitReport:
    return InitReport("mine", "conv1", "by the test", 0, 32, {}, seed, 0.0)


def well_behaved(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
    return _report(seed)


def draws(model: nn.Module, images: Tensor, *, seed: int) -> InitReport:
    """Draw from the global generators, as a user's arm may: the loop must not notice."""
    random.random(), np.random.rand(), torch.rand(3)
    return _report(seed)


def sleeps(model: nn.Module, images: Tensor, *, seed: int, started: str) -> InitReport:
    """Take an hour over it, and leave the file `started` at the beginning."""
    Path(started).touch()
    time.sleep(3600)
    return _report(seed)


def raises(model: nn.Module, images: Tensor, *, seed: int, healed: str) -> InitReport:
    """Raise until the file `healed` is there."""
    if not Path(healed).exists():
        raise RuntimeError("the arm's own complaint")
    return _report(seed)


def diverges(model: nn.Module, images: Tensor, *, seed: int, healed: str) -> InitReport:
    """Make every output NaN until the file `healed` is there."""
    if not Path(healed).exists():
        torch.nn.init.constant_(model.get_parameter("fc2.bias"), float("nan"))
    return _report(seed)


def dies(model: nn.Module, images: Tensor, *, seed: int, healed: str) -> InitReport:
    """Kill the worker, as the kernel does when memory is out, until the file `healed` is there."""
    if not Path(healed).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return _report(seed)


# ---------------------------------------------------------------- a driver to stop from outside
def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def drive(data: str, folder: str, workers: str, n_seeds: str, arms: str) -> None:
    """Run a study and print the key of each finished run, once it is stored."""

    def planned(runs: tuple[PlannedRun, ...], done: int) -> None:
        say(f"planned {len(runs)} {done}")

    def finished(run: PlannedRun, outcome: Outcome) -> None:
        say(f"finished {run.key}")

    changes = {"arms": json.loads(arms)} if arms else {}
    study = tiny_study(Path(data), seeds=int(n_seeds), **changes)
    run_study(
        study,
        Path(folder),
        workers=int(workers),
        listener=Listener(planned=planned, finished=finished),
    )
    say("complete")


def environment() -> dict[str, str]:
    """Return the environment of a process that imports what lies beside the tests."""
    kept = os.environ.get("PYTHONPATH")
    folders = [str(Path(__file__).parent), *([kept] if kept else [])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


class Driver:
    """A driver in a session of its own, with its worker processes, as a terminal would have it."""

    def __init__(
        self, data: Path, folder: Path, *, workers: int, n_seeds: int, arms: Any = None
    ) -> None:
        code = "import sys, study_cases; study_cases.drive(*sys.argv[1:])"
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                *(str(data), str(folder), str(workers), str(n_seeds)),
                json.dumps(arms) if arms else "",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment(),
        )

    def lines(self) -> Iterator[str]:
        """Yield what it prints, as it comes, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield line.strip()

    def kill(self) -> None:
        """Kill the driver alone, as `kill -9` does; its workers are not told."""
        self.process.kill()

    def interrupt(self) -> None:
        """Press Ctrl-C: the whole process group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return exit status and what it wrote to standard error."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    def survivors(self) -> list[int]:
        """Return the processes that live on in its session."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.process.pid:
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:  # it ended while we looked
                    continue
                if int(fields[3]) == self.process.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def alone_in_time(self) -> bool:
        """Wait until nothing of it is left."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self.survivors():
                return True
            time.sleep(0.05)
        return False
