"""folder of a kept study (study.toml, runs.csv, verdicts.json) -> its Analysis."""

import csv
import io
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from warminit.lab.runs.results import DERIVED, RunResult
from warminit.lab.store.store import StoredRun
from warminit.lab.study.spec import RunSpec
from warminit.lab.study.study import Study
from warminit.lab.verdict.analysis import Analysis, analyse
from warminit.renamed import parameters_today

FILES = ("study.toml", "runs.csv", "verdicts.json")
"""Files of a kept study."""


def read_kept(folder: Path) -> Analysis:
    """Read a kept study and analyse its runs again."""
    study = kept_study(folder)
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    return analyse(study, tuple(kept_runs(folder)), allow_mixed=True, partial=verdicts["partial"])


def kept_study(folder: Path) -> Study:
    """Read a kept study without its models and arms, which need not be installed."""
    return Study.model_validate(tomllib.loads((folder / "study.toml").read_text(encoding="utf-8")))


def kept_runs(folder: Path) -> Iterator[StoredRun]:
    """Yield the runs of a kept study that have kept results."""
    study = kept_study(folder)
    # Results that version 0.1 kept have the labels of 0.1.
    arms = {label: arm for arm in study.arms for label in (arm.label_in_0_1, arm.label)}
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))
    text = (folder / "runs.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(io.StringIO(text, newline="")):
        spec = RunSpec(
            dataset=row["dataset"],
            model=row["model"],
            arm=arms[row["arm"]],
            seed=int(row["seed"]),
            protocol=study.protocol,
            validation=study.validation,
        )
        yield StoredRun(
            key=row["key"],
            spec=spec,
            arm_parameters=parameters_today(spec.arm.name, json.loads(row["arm_parameters"])),
            environment=verdicts["environments"][int(row["environment"])],
            result=None if row["error"] else _result(row),
            error=row["error"] or None,
        )


def _result(row: Mapping[str, str]) -> RunResult:
    names = [name.removeprefix("eval_") for name in row if name.startswith("eval_")]
    curves = {
        name: [float(each) for each in row[f"eval_{name}"].split()]
        for name in names
        if name != "steps" and row[f"eval_{name}"]
    }
    # A metric that is not a number, as after divergence, is an empty cell beside a curve.
    metrics = {name: float(row[name] or "nan") for name in curves}
    return RunResult(
        metrics=metrics | {name: float(row[name]) for name in DERIVED if row.get(name)},
        train_loss=(),
        eval_steps=tuple(int(each) for each in row["eval_steps"].split()),
        eval_metrics=curves,
        weights_digest=row["weights_digest"],
        init_seconds=float(row["init_seconds"]),
        train_seconds=float(row["train_seconds"]),
        calibration_error=float(row["calibration_error"]) if row.get("calibration_error") else None,
    )
