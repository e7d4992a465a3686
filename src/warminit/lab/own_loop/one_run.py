"""one arm, one seed, a user's train function -> RunResult, or the text of its error."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from warminit.errors import WarminitError, did_you_mean
from warminit.initializers import get_method, keywords, taken_by
from warminit.lab.engines.job import OnStep, Outcome, guarded
from warminit.lab.runs.kept_filters import keep_filters
from warminit.lab.runs.plan import PlannedRun
from warminit.lab.runs.results import RunResult
from warminit.lab.runs.train import plain_report
from warminit.lab.runs.weights import weights_digest
from warminit.models.randomness import random_state_kept, seed_everything
from warminit.report import InitReport


class Init(Protocol):
    """Apply the arm of a run: (model, images as the model is fed, options) -> its report."""

    def __call__(self, model: nn.Module, images: Tensor, /, **options: Any) -> InitReport:
        """Initialize the model in place; an option goes to every arm that accepts it."""


class Train(Protocol):
    """Build, initialize and train a model: (init, seed) -> metrics by name."""

    def __call__(self, init: Init, seed: int, /) -> Mapping[str, float]:
        """Return the metrics of one run."""


def execute(
    run: PlannedRun, _on_step: OnStep | None, *, train: Train, arms: Sequence[str], device: str
) -> Outcome:
    """Execute one run; with all but the first two arguments bound it is the `Job` of an engine.

    Args:
        run: Planned run.
        train: Train function of the user.
        arms: Names of all arms of the comparison; an option that no arm accepts is refused.
        device: Device of the seeded generators.
    """
    return guarded(lambda: _run(run, train, arms, torch.device(device)))


def _run(run: PlannedRun, train: Train, arms: Sequence[str], device: torch.device) -> RunResult:
    arm, seed = get_method(run.spec.arm.name), run.spec.seed
    done: list[tuple[nn.Module, InitReport, Tensor]] = []
    init_seconds = 0.0

    def init(model: nn.Module, images: Tensor, /, **options: Any) -> InitReport:
        nonlocal init_seconds
        _refuse_unknown(options, arms)
        # The arm's own parameters are what is compared: they come after, and win.
        taken = taken_by(arm, options)
        started = time.perf_counter()
        with random_state_kept(device):
            seed_everything(seed, device)
            report = arm(model, images, seed=seed, **{**taken, **run.arm_parameters})
        init_seconds += time.perf_counter() - started
        done.append((model, report, images))
        return report

    started = time.perf_counter()
    with random_state_kept(device):
        seed_everything(seed, device)
        metrics = _checked(train(init, seed))
    seconds = time.perf_counter() - started
    if not done:
        raise WarminitError(
            "train did not call init(model, images), so no arm was applied: expected one call. "
            "Call it after the model is built and before it is trained."
        )
    model, report, images = done[-1]
    return RunResult(
        metrics=metrics,
        train_loss=(),
        eval_steps=(),
        eval_metrics={},
        weights_digest=weights_digest(model),
        init_report=plain_report(report),
        init_seconds=init_seconds,
        train_seconds=seconds - init_seconds,
        trained_filters=keep_filters(model, images),
    )


def _refuse_unknown(options: Mapping[str, Any], arms: Sequence[str]) -> None:
    known: set[str] = set()
    for part in (part for arm in arms for part in arm.split("+")):
        names, any_keyword = keywords(get_method(part))
        if any_keyword:
            return
        known |= set(names)
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"Leave {name} out."
            raise WarminitError(f"init(..., {name}=...): no compared arm takes {name!r}. {hint}")


def _checked(metrics: object) -> dict[str, float]:
    if not isinstance(metrics, Mapping) or not metrics:
        raise WarminitError(
            f"train returned {metrics!r}: expected a dict of metrics, for example "
            "{'accuracy': 0.91}. Return it at the end of your function."
        )
    try:
        return {str(name): float(value) for name, value in metrics.items()}
    except (TypeError, ValueError) as error:
        raise WarminitError(
            f"train returned {dict(metrics)!r}: expected one number per metric ({error}). "
            "Return float values."
        ) from error
