"""keyword arguments -> EngineOptions (checked): the engine of a study and its resources."""

import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Literal

from warminit.errors import unexpected, unknown
from warminit.lab.engines.job import Outcome
from warminit.lab.runs.plan import PlannedRun

RETRIES = 2
"""Default number of restarts of a run whose worker died or exceeded the time limit."""

MOST_AT_ONCE = 24
"""Maximum number of runs on one GPU: torch has 32 streams per process, and each run needs one."""

OnProgress = Callable[[str, int], None]
"""Callback with (key of a run, finished optimizer steps)."""

Engine = Callable[[Sequence[PlannedRun], OnProgress], Iterator[tuple[PlannedRun, Outcome]]]
"""Function that executes runs and yields each with its outcome; close the generator to stop it.

The runs may be a list that grows after each yielded outcome; new runs are executed too.
"""

ENGINES = ("local", "ray")

Places = MutableMapping[str, Mapping[str, str]]
"""Environments of other machines by the key of the run that they executed."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """Choose the engine of a study and its resources; none of this changes the bits of a run.

    Attributes:
        engine: `local`, processes on this machine, or `ray`, a cluster.
        workers: Maximum number of parallel runs. Default for local: the available cores divided by
            the threads per run, or on a GPU 8 runs in one process. Default for ray: twice the
            capacity of the cluster, so that no node waits.
        retries: Maximum number of restarts of a run after a lost worker or node, or the time limit.
            A run that raises or diverges is reported at once.
        time_limit: Seconds after which a run counts as hanging; None: never.
        address: Address of the Ray cluster: `host:port`, `ray://host:port`, `auto` or `local`.
            `auto` is the cluster that this machine is part of; `local` makes one here for the
            study. Default: the environment variable RAY_ADDRESS, else `local`.
        cpus_per_run: CPUs that Ray reserves per run; by default the threads per run.
        gpus_per_run: GPUs, or a share of one, per run; by default 1 on `cuda`, 0 on the CPU.

    Example:
        >>> EngineOptions("ray", address="auto", gpus_per_run=0.25, time_limit=3600).retries
        2
    """

    engine: Literal["local", "ray"] = "local"
    workers: int | None = None
    retries: int = RETRIES
    time_limit: float | None = None
    address: str | None = None
    cpus_per_run: float | None = None
    gpus_per_run: float | None = None

    def check(self, device: str = "cpu") -> None:
        """Raise if the options are impossible, Ray is not installed, or no cluster answers.

        The check takes at most a few seconds. `run_study` repeats it; call it earlier if a script
        does long work before `run_study`.

        Raises:
            WarminitError: If an option is invalid; the text names its value and the expected value.
        """
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        self._check_numbers()
        if self.engine == "local":
            for name in ("address", "cpus_per_run", "gpus_per_run"):
                if getattr(self, name) is not None:
                    step = f"Choose engine='ray', or leave {name} out."
                    raise unexpected(name, getattr(self, name), "nothing with engine='local'", step)
            if device != "cpu" and (self.workers or 0) > MOST_AT_ONCE:
                expected = f"at most {MOST_AT_ONCE} runs at once on device={device!r}"
                raise unexpected("workers", self.workers, expected)
            return
        on_gpu = device != "cpu"
        if ":" in device:
            expected = "no number of a GPU, since Ray chooses it"
            raise unexpected("device", device, expected, "Give device='cuda'.")
        if self.gpus_per_run is not None and on_gpu != (self.gpus_per_run > 0):
            expected = f"{'more than 0' if on_gpu else '0'} with device={device!r}"
            raise unexpected("gpus_per_run", self.gpus_per_run, expected, "Change one of the two.")
        from warminit.lab.engines.ray_cluster import check_address

        check_address(self.address)

    def _check_numbers(self) -> None:
        for name, lowest in (("workers", 1), ("retries", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < lowest):
                raise unexpected(name, value, f"a whole number of at least {lowest}")
        for name in ("cpus_per_run", "time_limit"):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise unexpected(name, value, "a number above 0")
        gpus = self.gpus_per_run
        # Ray gives shares of one GPU, or whole ones.
        if gpus is not None and not (0 <= gpus <= 1 or (1 < gpus < math.inf and gpus % 1 == 0)):
            raise unexpected(
                "gpus_per_run", gpus, "a share of one GPU, or a whole number", "Give 0.25."
            )
