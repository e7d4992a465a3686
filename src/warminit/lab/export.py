"""Analysis -> files: one row a run as CSV, parquet or LaTeX, and everything as JSON."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from warminit.errors import WarminitError
from warminit.lab.analysis import Analysis

PERCENT = 100


def runs_table(analysis: Analysis) -> pd.DataFrame:
    """Return one row a run: what it was, its final metrics, its times, or its error."""
    rows = []
    for run in analysis.runs:
        row: dict[str, Any] = {
            "dataset": run.spec.dataset,
            "model": run.spec.model,
            "arm": run.spec.arm.label,
            "seed": run.spec.seed,
            "steps": run.spec.protocol.steps,
            "batch_size": run.spec.protocol.batch_size,
            "precision": run.spec.protocol.precision,
        }
        if run.result is not None:
            row |= run.result.metrics
            row["train_loss"] = run.result.metric("train_loss")
            row["accuracy_area"] = run.result.metric("accuracy_area")
            row["init_seconds"] = run.result.init_seconds
            row["train_seconds"] = run.result.train_seconds
            row["weights_digest"] = run.result.weights_digest
        rows.append({**row, "error": run.error, "key": run.key})
    return pd.DataFrame(rows)


def comparisons_table(analysis: Analysis) -> pd.DataFrame:
    """Return one row an arm: mean and deviation, and its comparison with the baseline."""
    rows = []
    for cell in analysis.cells:
        row: dict[str, Any] = {
            "dataset": cell.dataset,
            "model": cell.model,
            "arm": cell.arm,
            "seeds": len(cell.scores),
            "failed": len(cell.failed),
            f"mean_{analysis.study.metric}": cell.mean,
            f"sd_{analysis.study.metric}": cell.sd,
        }
        if cell.comparison is not None:
            c = cell.comparison
            low, high = c.confidence_interval or (None, None)
            row |= {
                "difference": c.mean_difference,
                "interval_low": low,
                "interval_high": high,
                "p_one_sided": c.p_one_sided,
                "p_holm": c.p_holm,
                "wins": c.wins,
                "ties": c.ties,
                "losses": c.losses,
                "verdict": c.verdict,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def to_json(analysis: Analysis) -> str:
    """Return everything: study, runs with their curves, comparisons with every test."""
    content = {
        "study": analysis.study.model_dump(),
        "runs": [
            {
                "spec": run.spec.model_dump(),
                "arm_parameters": dict(run.arm_parameters),
                "environment": dict(run.environment),
                "result": None if run.result is None else run.result.to_dict(),
                "error": run.error,
                "key": run.key,
                "finished_at": run.finished_at,
            }
            for run in analysis.runs
        ],
        "cells": [
            {
                **asdict(cell),
                "mean": cell.mean,
                "sd": cell.sd,
                "verdict": None if cell.comparison is None else cell.comparison.verdict,
            }
            for cell in analysis.cells
        ],
    }
    return json.dumps(content, indent=1, default=str) + "\n"


def _to_latex(analysis: Analysis) -> str:
    table = comparisons_table(analysis).drop(columns=["verdict"], errors="ignore")
    return table.to_latex(index=False, float_format="%.4f", escape=True, na_rep="")


_WRITERS: dict[str, Callable[[Analysis, Path], Any]] = {
    "csv": lambda analysis, path: runs_table(analysis).to_csv(path, index=False),
    "parquet": lambda analysis, path: runs_table(analysis).to_parquet(path, index=False),
    "json": lambda analysis, path: path.write_text(to_json(analysis), encoding="utf-8"),
    "latex": lambda analysis, path: path.write_text(_to_latex(analysis), encoding="utf-8"),
}
FORMATS = tuple(_WRITERS)


def export(analysis: Analysis, path: Path, file_format: str) -> Path:
    """Write a study's results to a file, which is either whole or not there.

    Args:
        analysis: What is written.
        path: The file.
        file_format: `csv` and `parquet` hold a row a run, `latex` the table of comparisons, `json`
            everything.

    Raises:
        WarminitError: If the format is unknown or the file cannot be written.
    """
    if file_format not in _WRITERS:
        raise WarminitError(
            f"format={file_format!r} is unknown; one of {', '.join(FORMATS)} is needed."
        )
    scratch = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[file_format](analysis, scratch)
        os.replace(scratch, path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise WarminitError(
            f"{path} cannot be written: {error}. Check the folder, or give another with --out."
        ) from error
    return path
