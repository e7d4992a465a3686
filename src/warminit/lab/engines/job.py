"""one planned run -> one outcome, in the process that an engine chose for the run."""

import ctypes
import traceback
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from weakref import WeakValueDictionary

import torch

from warminit.errors import WarminitWarning
from warminit.initializers import get_method
from warminit.lab.data.load import ImageDataset, load_source
from warminit.lab.data.sources import find_source
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import OnEnd, train, train_in_turns
from warminit.lab.runs.weights import save_weights

Outcome = RunResult | str
"""Result of a run, or the text of its error."""

OnStep = Callable[[int, float], None]
"""Callback with (finished optimizer steps, loss of the last step)."""

Job = Callable[[PlannedRun, OnStep | None], Outcome]
"""Function that executes one run; it is pickled for a worker process."""

Turns = Generator[int, None, Outcome]
"""Generator of a run: each turn yields the finished optimizer steps; the end is the outcome."""

Begin = Callable[[PlannedRun], Turns]
"""Function that begins one of many runs in a process; it is pickled like a job."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Hold the settings that every worker of a study needs besides the run.

    Attributes:
        data_root: Folder laid out like the hub, or None.
        resize: Image size, as for `load_dataset`.
        device: Device of the runs.
        threads: CPU threads per run.
        weights: Folder for the final weights of each run; None: weights are not kept.
    """

    data_root: str | None = None
    resize: int | None = None
    device: str = "cpu"
    threads: int = 1
    weights: Path | None = None

    def load(
        self,
        name: str,
        validation: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImageDataset:
        """Load a data set, with a validation split if one is requested.

        A data set that this process still holds is loaded again only if its files have changed.
        """
        found = find_source(name, self.data_root)
        key = found.name, found.location, found.fingerprint, self.resize, validation
        dataset = _HELD.get(key)
        if dataset is None:
            size = None if self.resize is None else (self.resize, self.resize)
            dataset = load_source(found, size, progress=progress)
            dataset = dataset.with_validation(validation) if validation else dataset
            _HELD[key] = dataset
        return dataset


_HELD: WeakValueDictionary[tuple[object, ...], ImageDataset] = WeakValueDictionary()


def execute(run: PlannedRun, on_step: OnStep | None, *, source: DataSource) -> Outcome:
    """Execute one run of the laboratory's training, and return an exception as its text.

    With `source` bound (`functools.partial`), this is the `Job` of every study.
    """
    return guarded(
        lambda: train(
            _loaded(source, run.spec.dataset, run.spec.validation),
            run.spec,
            arm=get_method(run.spec.arm.name),
            arm_parameters=run.arm_parameters,
            device=source.device,
            on_step=on_step,
            on_end=_keeping(run, source),
        )
    )


def begin(run: PlannedRun, *, source: DataSource) -> Turns:
    """Begin a run that takes turns; its outcome has the same bits as that of `execute`.

    Raises:
        RuntimeError: If the run has broken the GPU's state for this process (raised from a turn).
            The process must end.
    """
    try:
        result = yield from train_in_turns(
            _loaded(source, run.spec.dataset, run.spec.validation),
            run.spec,
            arm=get_method(run.spec.arm.name),
            arm_parameters=run.arm_parameters,
            device=source.device,
            on_end=_keeping(run, source),
        )
    except Exception as error:  # noqa: BLE001 - a user's arm or model may raise anything
        if source.device != "cpu":
            torch.cuda.synchronize(source.device)
        return _text(error)
    return _finite(result)


def weights_file(folder: Path, key: str) -> Path:
    """Return the file of a run's final weights, by the run's key."""
    return folder / f"{key}.safetensors"


def _keeping(run: PlannedRun, source: DataSource) -> OnEnd | None:
    """Return the function that keeps the weights of a run, or None if they are not kept."""
    if source.weights is None:
        return None
    return partial(save_weights, path=weights_file(source.weights, run.key))


def guarded(work: Callable[[], RunResult]) -> Outcome:
    """Return the result of a run, or the text of its error if the run raises or diverges."""
    try:
        return _finite(work())
    except Exception as error:  # noqa: BLE001 - as above
        return _text(error)


def _finite(result: RunResult) -> Outcome:
    if not result.finite:
        return f"the run diverged: its final metrics are {dict(result.metrics)}"
    return result


def _text(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


@lru_cache(maxsize=4)
def _loaded(source: DataSource, name: str, validation: int) -> ImageDataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WarminitWarning)  # reported when the study was planned
        dataset = source.load(name, validation)
    if source.device == "cpu":
        return dataset
    # Once for all runs of this process: `place_split` does not copy tensors on the device.
    tensors = {
        name: getattr(dataset, name).to(source.device)
        for name in ("train_images", "train_labels", "test_images", "test_labels")
    }
    return replace(dataset, **tensors)


def keep_freed_memory() -> None:
    """Keep freed memory in the process, if the C library is glibc.

    By default glibc returns every large block to the kernel. At every step it requests the block
    again, page by page and zeroed. Kept blocks save 15 % of the CPU time of a step (measured,
    SimpleCNN at batch 256). A worker only trains, so it has no other use for the memory.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library, or another system
    m_trim_threshold, m_mmap_threshold = -1, -3
    for size in (1 << 30, 32 << 20):  # older versions accept at most 32 MiB
        if mallopt(m_mmap_threshold, size):
            break
    mallopt(m_trim_threshold, 1 << 30)
