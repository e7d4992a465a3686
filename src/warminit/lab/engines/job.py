"""one planned run -> one outcome, in whatever process an engine chose for it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from warminit.initializers import get_arm
from warminit.lab.datasets import ImageDataset, load_dataset
from warminit.lab.plan import PlannedRun
from warminit.lab.results import RunResult
from warminit.lab.training import train

Outcome = RunResult | str
"""A result, or the text of the error that the run ended with."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """What every worker of a study needs to know besides the run.

    Attributes:
        data_root: Folder laid out like the hub, or None.
        resize: As for `load_dataset`.
        device: Where runs take place.
        threads: CPU threads of a run.
    """

    data_root: str | None = None
    resize: int | None = None
    device: str = "cpu"
    threads: int = 1

    def load(self, name: str, validation: int = 0) -> ImageDataset:
        """Load a data set, with its validation split carved where one is asked for."""
        dataset = load_dataset(name, data_root=self.data_root, resize=self.resize)
        return dataset.with_validation(validation) if validation else dataset


def execute(
    run: PlannedRun,
    source: DataSource,
    *,
    on_step: Callable[[int, float], None] | None = None,
) -> Outcome:
    """Do one run; whatever it raises becomes the text of its outcome."""
    try:
        result = train(
            _loaded(source, run.spec.dataset, run.spec.validation),
            run.spec,
            arm=get_arm(run.spec.arm.name),
            arm_parameters=run.arm_parameters,
            device=source.device,
            on_step=on_step,
        )
    except Exception as error:  # noqa: BLE001 - a user's arm or model may raise anything
        return "".join(traceback.format_exception(error))
    if not result.finite:
        return f"the run diverged: its final metrics are {dict(result.metrics)}"
    return result


@lru_cache(maxsize=4)
def _loaded(source: DataSource, name: str, validation: int) -> ImageDataset:
    return source.load(name, validation)
