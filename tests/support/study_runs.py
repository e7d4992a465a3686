"""scores -> the runs of a study as a store would have them, and what is printed of them."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from warminit.lab.runs.results import RunResult
from warminit.lab.store.store import StoredRun
from warminit.lab.study.study import Study

CONSOLE = object()
"""Stands for the console among the arguments of `shown`."""

ENVIRONMENT = {"device": "cpu", "torch": "2.0", "numpy": "2.0", "scikit-learn": "1.5"}


def result(
    accuracy: float,
    *,
    curve: Sequence[float] | None = None,
    steps: Sequence[int] = (50, 100, 150, 200),
    train_loss: Sequence[float] = (2.0, 1.0),
    **metrics: float,
) -> RunResult:
    values = tuple(curve) if curve is not None else (accuracy,) * len(steps)
    return RunResult(
        metrics={"accuracy": accuracy, "balanced_accuracy": accuracy, "loss": 0.5, **metrics},
        train_loss=tuple(train_loss),
        eval_steps=tuple(steps),
        eval_metrics={"accuracy": values},
        weights_digest="0" * 64,
        init_seconds=0.25,
        train_seconds=3.5,
    )


def stored(
    study: Study,
    results: Mapping[tuple[str, int], RunResult | str],
    *,
    dataset: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[StoredRun]:
    """Return a run for each (arm label, seed) that is given; a text is a failed run's error."""
    runs = []
    for spec in study.runs():
        if dataset is not None and spec.dataset != dataset:
            continue
        outcome = results.get((spec.arm.label, spec.seed))
        if outcome is None:
            continue
        runs.append(
            StoredRun(
                key=f"{spec.dataset} {spec.model} {spec.arm.label} {spec.seed}",
                spec=spec,
                arm_parameters=spec.arm.parameters,
                environment=dict(environment or ENVIRONMENT),
                result=None if isinstance(outcome, str) else outcome,
                error=outcome if isinstance(outcome, str) else None,
            )
        )
    return runs


def scored(
    study: Study, scores: Mapping[str, Sequence[float]], *, dataset: str | None = None
) -> list[StoredRun]:
    """Return runs with one accuracy a seed, in the order of the study's seeds."""
    results = {
        (arm, seed): result(value)
        for arm, values in scores.items()
        for seed, value in zip(study.seeds, values, strict=False)
    }
    return stored(study, results, dataset=dataset)


def small_study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "name": "small",
        "datasets": ["digits"],
        "arms": ["torch-default", "prewarm", "he-normal"],
        "seeds": 4,
        "protocol": {"steps": 200, "batch_size": 64},
    }
    return Study.create(**(values | changes))


def shown(printer: Callable[..., None], *arguments: Any) -> str:
    """Print at 80 columns and return the text with every run of blanks as one.

    `console` stands in the arguments where the printer wants it.
    """
    file = io.StringIO()
    console = Console(width=80, file=file, color_system=None)
    printer(*(console if each is CONSOLE else each for each in arguments))
    lines = file.getvalue().splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    return " ".join(" ".join(lines).split())
