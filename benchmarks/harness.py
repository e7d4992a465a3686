"""contenders -> seconds of interleaved repeats -> Measured: a ratio beside what was asked for."""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

PACKAGES = ("torch", "numpy", "scikit-learn", "faiss-cpu")

Bound = Literal["at least", "at most"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One target and what was measured for it.

    Attributes:
        group: "init", "laboratory", "start-up", ...: a table of its own.
        setting: What was run, such as "CIFAR-10, 256 images".
        target: The sentence of the target, short.
        wanted: The ratio or value asked for.
        better: Whether `value` must be at least or at most `wanted`.
        value: What was measured: the median of the paired ratios, or the value.
        seconds: For each contender one entry a repeat, in the order of the repeats.
        note: What a reader should know.
    """

    group: str
    setting: str
    target: str
    wanted: float
    better: Bound
    value: float
    seconds: dict[str, list[float]] = field(default_factory=dict)
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the target was reached; a value that is not a number never does."""
        reached = self.value >= self.wanted if self.better == "at least" else None
        return self.value <= self.wanted if reached is None else reached

    def record(self) -> dict[str, Any]:
        """Return everything as JSON takes it, with `passed`."""
        return asdict(self) | {"passed": self.passed}


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time the contenders in turns, A B C B C A, so that a noisy minute falls on all of them.

    Args:
        contenders: By name; each call is one repeat, and is given nothing.
        repeats: Timed calls of each.
        warmup: Calls of each before, not timed: imports, caches and thread pools.
        clock: `time.perf_counter` for wall time, `time.process_time` for this process's CPU time
            over all of its threads.

    Returns:
        Seconds by name, one entry a repeat.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    was_enabled = gc.isenabled()
    for turn in range(-warmup, repeats):
        gc.collect()  # between the turns and never within: it is no contender's own time
        gc.disable()
        try:
            for name in names:
                started = clock()
                contenders[name]()
                elapsed = clock() - started
                if turn >= 0:
                    seconds[name].append(elapsed)
        finally:
            if was_enabled:
                gc.enable()
        names = names[1:] + names[:1]  # another one comes first, with the caches cold
    return seconds


def paired_ratio(seconds: Mapping[str, Sequence[float]], numerator: str, denominator: str) -> float:
    """Return the median over the repeats of one contender's seconds over another's."""
    pairs = zip(seconds[numerator], seconds[denominator], strict=True)
    return statistics.median(above / below for above, below in pairs)


def spread(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the minimum and the maximum."""
    return statistics.median(seconds), min(seconds), max(seconds)


def environment() -> dict[str, Any]:
    """Return the machine, its load and the versions that a figure depends on."""
    import torch

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": versions,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
