"""the installed package -> seconds until it is imported, says its help, and trains its first step.

Each is a process of its own. Imports are held by CPU time, which is the wall time of a machine that
does nothing else; the first training step, which two processes reach together, by wall time.
"""

import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.harness import Measured, interleaved

GROUP = "start-up"
REPEATS = 9

_HOOK = '''
import importlib.util, os, sys, time

class Finder:
    """Reports the first step of the first optimizer, and adds nothing before it is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != "torch.optim.optimizer":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.register_optimizer_step_post_hook(report)

        spec.loader.exec_module = exec_module
        return spec

def report(*_):
    open(os.environ["FIRST_STEP"], "a").write(f"{time.time()}\\n")

if "FIRST_STEP" in os.environ:
    sys.meta_path.insert(0, Finder())
'''

_FIRST_CALL = (
    "import torch, warminit; from torch import nn; model = nn.Sequential(nn.Conv2d(3, 32, 3),"
    " nn.ReLU(), nn.Flatten(), nn.Linear(28800, 10)); images = torch.randn(256, 3, 32, 32);"
    " model(images[:1])"
)


def measure(data_root: Path | None) -> list[Measured]:
    """Measure Section 4 of the targets; the data set of the first step is cached before."""
    python, warminit = sys.executable, str(_program())
    contenders = {
        "import torch": [python, "-c", "import torch"],
        "import torch, warminit": [python, "-c", "import torch, warminit"],
        "a model and a batch": [python, "-c", _FIRST_CALL],
        "a model and a batch, init_": [
            python,
            "-c",
            f"{_FIRST_CALL}; warminit.init_(model, images)",
        ],
        "warminit --help": [warminit, "--help"],
    }
    seconds = interleaved(
        {name: partial(_run, command) for name, command in contenders.items()},
        REPEATS,
        clock=_children,
    )
    over_torch = _over(seconds, "import torch, warminit", "import torch")
    first_call = _over(seconds, "a model and a batch, init_", "a model and a batch")
    helped = statistics.median(seconds["warminit --help"])
    note = "CPU time of the process, user and system"
    targets = (
        ("import warminit", "seconds over import torch", 0.05, over_torch),
        ("init_, the first call of a process", "seconds over model and batch", 0.3, first_call),
        ("warminit --help", "seconds", 0.5, helped),
    )
    found = [
        Measured(GROUP, setting, target, wanted, "at most", value, seconds, note)
        for setting, target, wanted, value in targets
    ]
    return [*found, _first_step(data_root)]


def _over(seconds: Mapping[str, Sequence[float]], name: str, other: str) -> float:
    pairs = zip(seconds[name], seconds[other], strict=True)
    return statistics.median(ours - without for ours, without in pairs)


def _first_step(data_root: Path | None) -> Measured:
    dataset = "fashion-mini" if data_root is None else "cifar10"
    walls, busy = zip(*[_until_first_step(dataset, data_root) for _ in range(4)][1:], strict=True)
    return Measured(
        GROUP,
        f"warminit compare --datasets {dataset}",
        "seconds until the first training step, data cached",
        5.0,
        "at most",
        statistics.median(walls),
        {"first step": list(walls), "CPU time of all its processes": list(busy)},
        "wall time since the process started, which a busy machine stretches; its processes "
        f"took {statistics.median(busy):.1f} s of CPU time together",
    )


def _until_first_step(dataset: str, data_root: Path | None) -> tuple[float, float]:
    """Start `warminit compare`, end it at its first step; return wall and CPU time until then."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sitecustomize.py").write_text(_HOOK)
        log = Path(folder, "step")
        variables = {"FIRST_STEP": str(log), "PYTHONPATH": folder}
        if data_root is not None:
            variables["WARMINIT_DATA"] = str(data_root)
        command = [str(_program()), "compare", "--datasets", dataset]
        started = time.time()
        process = subprocess.Popen(  # noqa: S603 - the program that was just installed
            [*command, "--out", str(Path(folder, "out"))],
            env=os.environ | variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            while not (log.exists() and log.read_text().endswith("\n")):
                if process.poll() is not None or time.time() > started + 120:
                    raise RuntimeError(f"no training step: {process.returncode}")
                time.sleep(0.005)
            return float(log.read_text().splitlines()[0]) - started, _session(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _session(leader: int) -> float:
    """Return the CPU time of all living processes of a session, 0 where /proc is not at hand."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended since
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - as above


def _program() -> Path:
    return Path(sys.executable).with_name("warminit")


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
