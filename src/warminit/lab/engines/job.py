"""one planned run -> one outcome, in whatever process an engine chose for it."""

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
"""A result, or the text of the error that the run ended with."""

OnStep = Callable[[int, float], None]
"""Called with (optimizer steps done, loss of the last one)."""

Job = Callable[[PlannedRun, OnStep | None], Outcome]
"""What an engine does with each run; pickled on its way to a worker process."""

Turns = Generator[int, None, Outcome]
"""A run under way: every turn gives the optimizer steps that it has done, the end its outcome."""

Begin = Callable[[PlannedRun], Turns]
"""What an engine begins each run with, where one process has many of them; pickled as a job is."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """What every worker of a study needs to know besides the run.

    Attributes:
        data_root: Folder laid out like the hub, or None.
        resize: As for `load_dataset`.
        device: Where runs take place.
        threads: CPU threads of a run.
        weights: Folder where each run leaves its final weights; None: they are not kept.
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
        """Load a data set, with its validation split carved where one is asked for.

        What this process still holds is not loaded again, unless its files have changed.
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
    """Do one run of the laboratory's own training; what it raises becomes the text of its outcome.

    With `source` bound (`functools.partial`) it is the `Job` of every study.
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
    """Begin the run that `execute` does in one go; its outcome is the same, bit for bit.

    Raises:
        RuntimeError: From a turn, where the run has brought the GPU into a state that no run of
            this process comes out of. The process is to end.
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
    """Return what keeps the weights of a run, where they are wanted."""
    if source.weights is None:
        return None
    return partial(save_weights, path=weights_file(source.weights, run.key))


def guarded(work: Callable[[], RunResult]) -> Outcome:
    """Return the result of a run; one that raises or diverges ends as the text of its error."""
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
        warnings.simplefilter("ignore", WarminitWarning)  # said where the study was planned
        dataset = source.load(name, validation)
    if source.device == "cpu":
        return dataset
    # Once for all runs of this process: `place_split` copies nothing that is there already.
    tensors = {
        name: getattr(dataset, name).to(source.device)
        for name in ("train_images", "train_labels", "test_images", "test_labels")
    }
    return replace(dataset, **tensors)


def keep_freed_memory() -> None:
    """Let the process keep what training frees, where the C library is glibc.

    By default glibc gives every large block back to the kernel and asks for it anew, page by page
    and zeroed, at every step. Kept blocks save 15 % of the CPU time of a step (measured, SimpleCNN
    at batch 256); a worker lives for nothing else, so it has no other use for the memory.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library, or another system
    m_trim_threshold, m_mmap_threshold = -1, -3
    for size in (1 << 30, 32 << 20):  # older versions take no more than 32 MiB
        if mallopt(m_mmap_threshold, size):
            break
    mallopt(m_trim_threshold, 1 << 30)
