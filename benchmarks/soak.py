"""a study that trains for an hour -> the memory of the driver and its workers, and its slope.

`python -m benchmarks.soak --seconds 3600` (and `--engine ray`). The runs are short trainings with
pauses, so that the machine stays usable.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from warminit.lab.engines.choose import engine_for
from warminit.lab.engines.driver import Listener, complete
from warminit.lab.engines.job import DataSource, OnStep, Outcome, execute
from warminit.lab.engines.options import EngineOptions
from warminit.lab.runs.plan import PlannedRun, plan_runs
from warminit.lab.study.study import Study

STUDY = Study.create(
    name="soak",
    datasets=["digits"],
    arms=["torch-default", "prewarm", "whitening"],
    seeds=8,
    protocol={"steps": 20, "batch_size": 64, "eval_interval": 20},
)
WARM = 0.25
"""Part of the time that is left out: caches and pools fill up."""


class TimeIsUpError(Exception):
    """Ends the study from its listener; a study of a fixed number of runs has no fixed length."""


def paced(run: PlannedRun, on_step: OnStep | None, *, source: DataSource, rest: float) -> Outcome:
    """Do a run and rest for a multiple of its time."""
    started = time.monotonic()
    outcome = execute(run, on_step, source=source)
    time.sleep(rest * (time.monotonic() - started))
    return outcome


def resident(process: int) -> float:
    """Return the memory of a process that is its own, in MB; 0 where it has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
        own = [line.split()[1] for line in lines if line.startswith(("Private_", "Swap:"))]
        return sum(map(int, own)) / 1024
    return 0.0


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [process]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of (seconds, MB) in MB an hour, without the warm-up."""
    warm = samples[int(WARM * len(samples)) :]
    seconds, megabytes = np.array(warm).T
    return float(np.polyfit(seconds, megabytes, 1)[0]) * 3600


def soak(options: EngineOptions, seconds: float, rest: float, every: float) -> dict[str, object]:
    """Train for so many seconds and return the memory over time, in MB, and its slopes.

    Of the driver, of all processes below it together (on Ray, Ray's own too, which come and go),
    and of the largest of these, which is a worker.
    """
    source = DataSource()
    datasets = {name: source.load(name) for name in STUDY.datasets}
    planned = plan_runs(STUDY, datasets)
    # The same few runs again and again, each time under a key of its own.
    runs = tuple(
        PlannedRun(run.spec, run.arm_parameters, f"{turn} {run.key}")
        for turn, run in zip(count(), [*planned] * 2000, strict=False)
    )
    started, done = time.monotonic(), [0]
    samples: dict[str, list[tuple[float, float]]] = {"driver": [], "workers": [], "largest": []}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            now = time.monotonic() - started
            driver = resident(os.getpid())
            workers = [resident(process) for process in descendants(os.getpid())]
            if not ended.is_set():  # else they are about to end
                for name, value in zip(
                    samples, (driver, sum(workers), max(workers, default=0.0)), strict=True
                ):
                    samples[name].append((now, value))

    def finished(_run: PlannedRun, outcome: Outcome) -> None:
        done[0] += not isinstance(outcome, str)
        if time.monotonic() - started > seconds:
            ended.set()
            raise TimeIsUpError

    engine = engine_for(
        options, lambda found: partial(paced, source=found, rest=rest), source, datasets=datasets
    )
    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as folder:
        try:
            complete(STUDY, runs, Path(folder), engine, listener=Listener(finished=finished))
        except TimeIsUpError:
            pass
        finally:
            ended.set()
            watcher.join()
    report: dict[str, object] = {"engine": options.engine, "seconds": seconds, "runs": done[0]}
    for name, values in samples.items():
        megabytes = [value for _, value in values]
        warm = megabytes[int(WARM * len(megabytes)) :]
        report[name] = {
            "MB an hour": round(slope(values), 2),
            "MB after the warm-up": round(warm[0], 1),
            "MB at the end": round(warm[-1], 1),
            "MB at most": round(max(megabytes), 1),
            "samples": len(megabytes),
            "MB at twelve moments": [
                round(value, 1) for value in megabytes[:: max(1, len(megabytes) // 12)]
            ],
        }
    return report


def main() -> None:
    """Soak and print the memory as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rest", type=float, default=4.0, help="pause after a run, in its times")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two samples")
    given = parser.parse_args()
    options = EngineOptions(given.engine, workers=given.workers)
    options.check()
    report = soak(options, given.seconds, given.rest, given.every)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
