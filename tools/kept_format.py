"""A study's analysis -> its kept form: study.toml, one row a run in runs.csv, verdicts.json.

The kept form is small, so that the repository can hold every study. Training curves, filters and
the initializers' reports are left out; evaluation curves keep at most 50 points and six digits.
Final metrics keep every digit, so verdicts come out of it bit for bit. `lab.verdict.kept` reads it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from warminit.errors import WarminitError
from warminit.lab.runs.results import DERIVED, RunResult
from warminit.lab.store.plain_json import plain_json
from warminit.lab.store.store import StoredRun
from warminit.lab.study.toml import study_toml
from warminit.lab.verdict.analysis import Analysis
from warminit.lab.verdict.comparison import Comparison
from warminit.lab.verdict.export import runs_table

RESULTS = Path(__file__).parent.parent / "docs" / "results"

MOST_POINTS = 50
"""Points of an evaluation curve that are kept; the last evaluation is always one of them."""


def write_kept(analysis: Analysis, folder: Path) -> None:
    """Write a study's kept form to a folder, which is made where it is absent."""
    if analysis.study.tune is not None:
        raise WarminitError("tune: expected a study that is not tuned; keep its page and store.")
    folder.mkdir(parents=True, exist_ok=True)
    analysis = replace(analysis, runs=tuple(map(_light, analysis.runs)))
    (folder / "study.toml").write_text(study_toml(analysis.study), encoding="utf-8")
    environments = sorted({_environment(run.environment) for run in analysis.runs})
    rows = runs_table(analysis)
    more = [_more(run, environments) for run in analysis.runs]
    rows = pd.concat([rows, pd.DataFrame(more)], axis=1)
    rows.to_csv(folder / "runs.csv", index=False)
    verdicts = {
        "partial": sorted(analysis.partial),
        "missing_runs": analysis.missing,
        **({} if analysis.study.sequential is None else {"spared_runs": analysis.spared}),
        "environments": [json.loads(each) for each in environments],
        "comparisons": [
            {"dataset": cell.dataset, "model": cell.model}
            | cell.comparison.values()
            | {"verdict": cell.comparison.verdict}
            | {"cross_entropy": cell.cross_entropy and _beside(cell.cross_entropy)}
            | {"failures": cell.failures and asdict(cell.failures)}
            for cell in analysis.cells
            if cell.comparison is not None
        ],
    }
    (folder / "verdicts.json").write_text(f"{plain_json(verdicts)}\n", encoding="utf-8")


def _beside(c: Comparison) -> dict[str, Any]:
    """Return what is kept of the comparison of cross-entropy; the runs give the rest."""
    names = ("mean_difference", "confidence_interval", "p_two_sided", "p_holm", "p_noninferiority")
    return {name: getattr(c, name) for name in names} | {
        "outcome": c.outcome,
        "margin": c.margin,
        "verdict": c.beside("Cross-entropy"),
    }


def _more(run: StoredRun, environments: Sequence[str]) -> dict[str, Any]:
    """Return the columns that a row has beside those of an export."""
    row: dict[str, Any] = {
        "arm_parameters": json.dumps(dict(run.arm_parameters), default=str),
        "environment": environments.index(_environment(run.environment)),
    }
    if run.result is not None:
        row["eval_steps"] = " ".join(map(str, run.result.eval_steps))
        for name, curve in run.result.eval_metrics.items():
            row[f"eval_{name}"] = " ".join(f"{value:.6g}" for value in curve)
    return row


def _light(run: StoredRun) -> StoredRun:
    """Return a run with what is kept of its result: what is derived from it is then the same."""
    result = run.result
    if result is None:
        return run
    kept = thinned(len(result.eval_steps))
    derived = {name: result.metric(name) for name in DERIVED}
    curves = {
        name: [float(f"{curve[i]:.6g}") for i in kept]
        for name, curve in result.eval_metrics.items()
    }
    light = RunResult(
        metrics={
            **result.metrics,
            **{name: value for name, value in derived.items() if not math.isnan(value)},
        },
        train_loss=(),
        eval_steps=tuple(result.eval_steps[i] for i in kept),
        eval_metrics=curves,
        weights_digest=result.weights_digest,
        init_seconds=result.init_seconds,
        train_seconds=result.train_seconds,
        calibration_error=result.calibration_error,
    )
    return replace(run, result=light)


def thinned(n: int) -> list[int]:
    """Return at most `MOST_POINTS` evenly spread positions of n, the last one among them."""
    stride = math.ceil(n / MOST_POINTS)
    return list(range((n - 1) % stride, n, stride)) if n else []


def _environment(environment: Mapping[str, str]) -> str:
    return json.dumps(dict(environment), sort_keys=True)
