"""a study of 10,000 runs that sleep -> what the driver costs.

`python -m benchmarks.driver --simulate 10000` runs the simulation alone, with sleeps of 2 to 4 s
(eight minutes), as `make bench` does; `--scale 0.25` shortens them.
"""

import argparse
import base64
import heapq
import io
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.harness import Measured
from warminit.lab.engines.choose import engine_for
from warminit.lab.engines.driver import complete
from warminit.lab.engines.job import DataSource, OnStep, Outcome
from warminit.lab.engines.options import Engine, EngineOptions, OnProgress
from warminit.lab.runs.plan import PlannedRun, digest
from warminit.lab.runs.results import RunResult
from warminit.lab.store.stored_study import STORE_NAME
from warminit.lab.study.study import Study
from warminit.lab.terminal.progress import live_progress

SLOTS = 64
SHORTEST, LONGEST = 2.0, 4.0
"""Seconds that a simulated run takes."""

LOSSES = 500
"""Training losses of a simulated result by default: steps of the grid of Section 4.4."""

REPORT: dict[str, Any] = {
    "arm": "prewarm",
    "layer": "conv1",
    "found": "the only convolution that takes 1 channels",
    "filters_set": 16,
    "out_channels": 32,
    "parameters": {"n_filters": 16, "patches_per_image": 22, "patch_size": [3, 3], "scale": 0.2},
    "provenance": {
        "n_filters": "floor(F / 2) with F = 32",
        "patches_per_image": "floor((F / 4) / d) with Otsu's foreground density d = 0.3540",
        "patch_size": "the layer's kernel size",
        "scale": "the paper's value for one channel",
    },
    "notes": [],
}
"""What an arm reports of a run, but for its seed and time."""

PARTS = 10
"""Parts of a study after which the size of its store is taken."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulated study showed.

    Attributes:
        runs: How many.
        seconds: Of wall time.
        utilization: Share of the slots' time in which they slept.
        store_bytes: Size of the store after each tenth of the runs.
        memory_mb: Most memory of the process while runs went on.
        loaded_mb: The same at the end, when all results are read for the analysis.
    """

    runs: int
    seconds: float
    utilization: float
    store_bytes: list[int]
    memory_mb: float
    loaded_mb: float

    @property
    def linearity(self) -> float:
        """Bytes that the last part of the runs added, over those that the first added."""
        added = [later - earlier for earlier, later in pairwise([0, *self.store_bytes])]
        return added[-1] / added[0]


def sleeping_study(n_runs: int) -> tuple[Study, tuple[PlannedRun, ...]]:
    """Return a study of eight seeds and its runs, planned without data."""
    scales = [0.001 * number for number in range(1, math.ceil(n_runs / 8))]
    swept = {"name": "prewarm", "scale": scales}
    values: dict[str, Any] = {"name": "sleeping", "datasets": ["digits"]}
    study = Study.create(**values, arms=["torch-default", swept], protocol={"steps": 1})
    specs = list(study.runs())[:n_runs]
    runs = tuple(
        PlannedRun(spec, dict(spec.arm.parameters), digest({"run": index}), work=float(index % 97))
        for index, spec in enumerate(specs)
    )
    return study, runs


def seconds_of(run: PlannedRun) -> float:
    """Return how long a run sleeps: from 2 to 4 seconds, by its key."""
    return SHORTEST + (LONGEST - SHORTEST) * int(run.key[:8], 16) / 0xFFFFFFFF


def result_of(run: PlannedRun, losses: int) -> RunResult:
    """Return a result of the size that a real run of SimpleCNN with so many steps leaves."""
    share = int(run.key[8:16], 16) / 0xFFFFFFFF
    names = ("accuracy", "balanced_accuracy", "loss")
    filters = np.random.default_rng(run.spec.seed).bytes(32 * 3 * 3 * 4)
    return RunResult(
        metrics=dict.fromkeys(names, share),
        train_loss=tuple(share / (1 + step) for step in range(losses)),
        eval_steps=tuple(range(1, 21)),
        eval_metrics=dict.fromkeys(names, (share,) * 20),
        weights_digest=run.key,
        init_report=REPORT | {"seed": run.spec.seed, "seconds": share},
        trained_filters={
            "layer": "conv1",
            "shape": [32, 1, 3, 3],
            "float32": base64.b64encode(filters).decode(),
        },
    )


def simulated_slots(slots: int, scale: float, losses: int) -> Engine:
    """Return an engine whose runs end when their sleep is over, in one process.

    A slot takes its next run when the driver asks, not before: all that the driver does with a
    result keeps the slots waiting whose runs end meanwhile, as it does on a cluster.
    """

    def engine(
        runs: Sequence[PlannedRun], on_progress: OnProgress
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        waiting = deque(sorted(runs, key=lambda run: -run.work))
        ends: list[tuple[float, str, PlannedRun]] = []
        while waiting or ends:
            while waiting and len(ends) < slots:
                run = waiting.popleft()
                on_progress(run.key, 0)
                due = time.monotonic() + seconds_of(run) * scale
                heapq.heappush(ends, (due, run.key, run))
            due, _, run = heapq.heappop(ends)
            time.sleep(max(0.0, due - time.monotonic()))
            yield run, result_of(run, losses)

    return engine


def simulate(n_runs: int, scale: float, slots: int = SLOTS, losses: int = LOSSES) -> Simulated:
    """Run a study of sleeping runs with the real driver, store and progress."""
    study, runs = sleeping_study(n_runs)
    sizes: list[int] = []
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)

        def finished(count: int) -> None:
            if count % (n_runs // PARTS) == 0:
                files = (out / STORE_NAME, out / f"{STORE_NAME}-wal")
                sizes.append(sum(file.stat().st_size for file in files if file.exists()))
                memory.append(_most_memory())

        engine = _counted(simulated_slots(slots, scale, losses), finished)
        with live_progress(Console(file=io.StringIO()), study, tuple) as listener:
            started = time.monotonic()
            stored = complete(study, runs, out, engine, listener=listener)
            seconds = time.monotonic() - started
    if len(stored) != n_runs:
        raise RuntimeError(f"{len(stored)} runs are stored, {n_runs} were planned")
    busy = sum(seconds_of(run) for run in runs) * scale
    return Simulated(n_runs, seconds, busy / (slots * seconds), sizes, memory[-1], _most_memory())


def _most_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _counted(engine: Engine, after: Any) -> Engine:
    def counted(
        runs: Sequence[PlannedRun], on_progress: OnProgress
    ) -> Iterator[tuple[PlannedRun, Outcome]]:
        with closing(engine(runs, on_progress)) as outcomes:  # type: ignore[type-var]  # a generator
            for count, each in enumerate(outcomes, start=1):
                yield each
                after(count)

    return counted


def sleep_and_tell(run: PlannedRun, _on_step: OnStep | None, *, scale: float) -> Outcome:
    """Sleep as a simulated run, in a worker process; the metrics are when."""
    started = time.time()
    time.sleep(seconds_of(run) * scale)
    return RunResult({"start": started, "end": time.time()}, (), (), {}, run.key)


def real_slots(options: EngineOptions, n_runs: int, scale: float, slots: int) -> float:
    """Return the utilization of an engine's real slots, from when all work to the last start."""
    _, runs = sleeping_study(n_runs)
    job = partial(sleep_and_tell, scale=scale)
    engine = engine_for(options, lambda _: job, DataSource())
    with closing(engine(runs, lambda _key, _step: None)) as outcomes:  # type: ignore[type-var]  # a generator
        times = [
            (outcome.metrics["start"], outcome.metrics["end"])
            for _, outcome in outcomes
            if isinstance(outcome, RunResult)
        ]
    starts = sorted(start for start, _ in times)
    first, last = starts[slots - 1], starts[-1]
    busy = sum(max(0.0, min(end, last) - max(start, first)) for start, end in times)
    return busy / (slots * (last - first))


def measure(data_root: Path | None) -> list[Measured]:  # noqa: ARG001 - they sleep
    """Measure the driver on 10,000 simulated runs: eight minutes.

    The simulation runs in a process of its own, whose memory is the driver's.
    """
    command = [sys.executable, "-m", "benchmarks.driver", "--simulate", "10000"]
    output = subprocess.check_output(command, text=True)  # noqa: S603 - this module, as above
    found = Simulated(**json.loads(output))
    setting = "10,000 runs that sleep 2 to 4 s on 64 slots"
    note = f"{found.seconds:.0f} s; results of {LOSSES} steps"
    store = f"{found.store_bytes[-1] / 1e6:.0f} MB in all"
    loaded = f"{found.loaded_mb:.0f} MB with all results read for the analysis"
    return [
        Measured("driver", setting, "work / slots", 0.95, "at least", found.utilization, note=note),
        Measured("driver", setting, "memory, MB", 500, "at most", found.memory_mb, note=loaded),
        Measured(
            "driver", setting, "store: last tenth / first", 1.05, "at most", found.linearity,
            note=store,
        ),
    ]  # fmt: skip


def main() -> None:
    """Run one part and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulate", type=int, metavar="RUNS")
    parser.add_argument("--engine", choices=("local", "ray"), help="sleep in real worker processes")
    parser.add_argument("--runs", type=int, default=200, help="with --engine")
    parser.add_argument("--slots", type=int, default=None)
    parser.add_argument("--scale", type=float, default=1.0, help="of the sleeps of 2 to 4 s")
    parser.add_argument("--losses", type=int, default=LOSSES, help="of a simulated result")
    given = parser.parse_args()
    if given.simulate:
        found = simulate(given.simulate, given.scale, given.slots or SLOTS, given.losses)
        values = {name: getattr(found, name) for name in Simulated.__slots__}
    else:
        slots = given.slots or 2
        options = EngineOptions(given.engine or "local", workers=slots)
        if given.engine == "ray":
            import ray

            # More slots than cores: they only sleep.
            ray.init(address="local", num_cpus=slots, include_dashboard=False, log_to_driver=False)
            options = EngineOptions("ray")
        values = {"utilization": real_slots(options, given.runs, given.scale, slots)}
    sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
