"""a small study of real training -> runs a second with one and with two worker processes."""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Measured, paired_ratio
from warminit.lab.engines.driver import Listener, run_study
from warminit.lab.study.study import Study

STUDY = Study.create(
    name="workers",
    datasets=["fashion-mini"],
    arms=["torch-default", "prewarm"],
    seeds=4,
    protocol={"steps": 100, "batch_size": 64, "eval_interval": 100},
)
RUNS = len(list(STUDY.runs()))
REPEATS = 2


def train_with(workers: int, folder: Path) -> float:
    """Run the study anew; return the seconds from the first steps that are reported to the end.

    The start of the processes, in which each imports torch, is left out.
    """
    stepped: list[float] = []
    listener = Listener(stepped=lambda _key, _step: stepped.append(time.monotonic()))
    run_study(STUDY, Path(tempfile.mkdtemp(dir=folder)), workers=workers, listener=listener)
    return time.monotonic() - stepped[0]


def measure(data_root: Path | None) -> list[Measured]:  # noqa: ARG001 - embedded images
    """Train in turns with one worker and with two."""
    seconds: dict[str, list[float]] = {"1 worker": [], "2 workers": []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(REPEATS):
            for workers in (1, 2) if turn % 2 == 0 else (2, 1):
                name = list(seconds)[workers - 1]
                seconds[name].append(train_with(workers, Path(folder)))
    one, two = (RUNS / statistics.median(each) for each in seconds.values())
    return [
        Measured(
            group="workers",
            setting=f"{RUNS} trainings of SimpleCNN, 100 steps at batch 64, fashion-mini",
            target="runs a second, 2 local workers over 1",
            wanted=1.5,
            better="at least",
            value=paired_ratio(seconds, "1 worker", "2 workers"),
            seconds=seconds,
            note=f"{one:.2f} and {two:.2f} runs a second; no target was set, 1.5 is ours",
        )
    ]
