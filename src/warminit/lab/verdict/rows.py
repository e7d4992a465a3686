"""Analysis -> one row per run, and a summary, in plain values for files and tables."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from warminit.lab.runs.results import DERIVED, RunResult
from warminit.lab.store.store import StoredRun
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.cells import cell_rows
from warminit.lab.verdict.times import times

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the training at which the accuracy of a run is exported."""

THRESHOLDS = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Accuracies for which the first evaluated step is exported."""


def run_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Return one row per run: its settings, metrics and times, or its error.

    Accuracies are shares from 0 to 1. `accuracy_at_25_percent` and the like are the accuracy of the
    last evaluation at or before that share of the steps. `steps_to_accuracy_0.9` and the like are
    the first evaluated step with at least that accuracy. `steps_to_baseline` is the first evaluated
    step with at least the mean final accuracy of the study's baseline. `accuracy_area` is the mean
    of the accuracy curve over the evaluations. Values that were not measured are missing; a
    threshold that was not reached is None. Runs of a user's training loop have no columns for data
    set, model and protocol.
    """
    baselines = _baseline_accuracies(analysis)
    return [_run_row(analysis, run, baselines) for run in analysis.runs]


def _run_row(
    analysis: Analysis, run: StoredRun, baselines: Mapping[tuple[str, str], float]
) -> dict[str, Any]:
    spec = run.spec
    row: dict[str, Any] = {"arm": spec.arm.label, "seed": spec.seed}
    if not analysis.study.own_loop:
        partial = spec.dataset in analysis.partial
        row = {"dataset": spec.dataset, "partial": partial, "model": spec.model, **row}
        row |= {
            "steps": spec.protocol.steps,
            "batch_size": spec.protocol.batch_size,
            "precision": spec.protocol.precision,
            **({"lr_start": spec.protocol.lr_start} if analysis.study.tune else {}),
            "validation": spec.validation,
        }
    if run.result is not None:
        metrics = run.result.metrics
        row |= {name: value for name, value in metrics.items() if name not in DERIVED}
        if run.result.train_loss or "train_loss" in metrics:
            row["train_loss"] = run.result.metric("train_loss")
        if run.result.calibration_error is not None:
            row["calibration_error"] = run.result.calibration_error
        if "accuracy" in run.result.eval_metrics:
            row |= _curve_columns(
                run.result, spec.protocol.steps, baselines.get((spec.dataset, spec.model))
            )
        row["init_seconds"] = run.result.init_seconds
        row["train_seconds"] = run.result.train_seconds
        row["weights_digest"] = run.result.weights_digest
    return {**row, "error": run.error, "key": run.key}


def _curve_columns(result: RunResult, steps: int, baseline: float | None) -> dict[str, Any]:
    curve = dict(zip(result.eval_steps, result.eval_metrics["accuracy"], strict=True))
    columns: dict[str, Any] = {}
    for fraction in FRACTIONS:
        reached = [step for step in curve if step <= fraction * steps]
        columns[f"accuracy_at_{fraction:.0%}".replace("%", "_percent")] = (
            curve[max(reached)] if reached else None
        )
    for threshold in THRESHOLDS:
        columns[f"steps_to_accuracy_{threshold:g}"] = result.steps_to(threshold)
    columns["steps_to_baseline"] = None if baseline is None else result.steps_to(baseline)
    columns["accuracy_area"] = result.metric("accuracy_area")
    return columns


def _baseline_accuracies(analysis: Analysis) -> dict[tuple[str, str], float]:
    """Return the baseline's mean final accuracy by data set and model."""
    scores: dict[tuple[str, str], list[float]] = {}
    for run in analysis.runs:
        if run.spec.arm.label == analysis.study.baseline and run.result is not None:
            accuracy = run.result.metrics.get("accuracy")
            if accuracy is not None:
                scores.setdefault((run.spec.dataset, run.spec.model), []).append(accuracy)
    return {place: math.fsum(values) / len(values) for place, values in scores.items()}


def summary(analysis: Analysis) -> dict[str, Any]:
    """Return the values in the tables of a study.

    Returns:
        The study, its cells with every figure of their comparison (None if empty), the verdicts,
        the times to accuracies, the failed runs and the missing runs.
    """
    study = analysis.study
    return {
        "study": study.model_dump(mode="json"),
        "partial": sorted(analysis.partial),
        "mixed": list(analysis.mixed),
        "missing_runs": analysis.missing,
        "spared_runs": analysis.spared,
        "cells": [row.values() for row in cell_rows(analysis)],
        "verdicts": [comparison.verdict for comparison in analysis.comparisons],
        **_tuned(analysis),
        "times": [asdict(each) for each in times(analysis)],
        "failed": [
            {
                "dataset": run.spec.dataset,
                "model": run.spec.model,
                "arm": run.spec.arm.label,
                "seed": run.spec.seed,
                "error": last_line(run.error),
            }
            for run in analysis.failed
        ],
    }


def _tuned(analysis: Analysis) -> dict[str, Any]:
    """Return the choices of a tuned study, and the comparison at the baseline's best."""
    if analysis.at_baseline is None:
        return {}
    other = analysis.at_baseline
    return {
        "tuned": [asdict(row) | {"mean": row.mean} for row in analysis.tuned],
        "at_baseline": {
            "cells": [row.values() for row in cell_rows(other)],
            "verdicts": [comparison.verdict for comparison in other.comparisons],
        },
    }


def last_line(error: str | None) -> str:
    """Return the last line of an error's text, which names the exception."""
    return (error or "").strip().rpartition("\n")[2]
